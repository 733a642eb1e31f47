using System.IO.Hashing;

namespace Pitr.Simulation;

/// <summary>The bytes of a simulated file: sparse chunks, copied only when a shared one is written.</summary>
/// <remarks>
/// A missing chunk reads as zeroes, and one that is written over with zeroes becomes missing, so preallocated WAL costs
/// nothing. <see cref="Clone"/> shares table and chunks; each side copies what it changes: a chunk may be written
/// in place only by the content whose token it carries. Bytes at or past the length are zero in every chunk.
/// Not thread-safe: the disk's lock protects it.
/// </remarks>
internal sealed class SparseContent
{
    private const int ChunkBytes = 4096;

    private Chunk?[] _chunks = [];
    private bool _tableIsShared;
    private object _token = new();

    /// <summary>The length of the file.</summary>
    public long LengthBytes { get; private set; }

    /// <summary>A second content with the same bytes; costs the same at any length.</summary>
    public SparseContent Clone()
    {
        _token = new object();
        _tableIsShared = true;
        return new SparseContent { _chunks = _chunks, _tableIsShared = true, LengthBytes = LengthBytes };
    }

    /// <summary>Reads what there is; returns the bytes read.</summary>
    public int Read(long offset, Span<byte> buffer)
    {
        int total = (int)Math.Clamp(LengthBytes - offset, 0, buffer.Length);
        for (int done = 0; done < total;)
        {
            (int index, int at) = Place(offset + done);
            int part = Math.Min(ChunkBytes - at, total - done);
            Span<byte> target = buffer.Slice(done, part);
            if (index < _chunks.Length && _chunks[index] is { } chunk)
                chunk.Bytes.AsSpan(at, part).CopyTo(target);
            else
                target.Clear();
            done += part;
        }
        return total;
    }

    /// <summary>Writes, and makes the file longer where needed.</summary>
    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        LengthBytes = Math.Max(LengthBytes, offset + bytes.Length);
        for (int done = 0; done < bytes.Length;)
        {
            (int index, int at) = Place(offset + done);
            int part = Math.Min(ChunkBytes - at, bytes.Length - done);
            ReadOnlySpan<byte> source = bytes.Slice(done, part);
            done += part;
            bool isMissing = index >= _chunks.Length || _chunks[index] is null;
            if ((isMissing || part == ChunkBytes) && !source.ContainsAnyExcept((byte)0))
            {
                if (!isMissing)
                    Drop(index);
                continue;
            }

            source.CopyTo(Own(index, isWhole: part == ChunkBytes).AsSpan(at));
        }
    }

    /// <summary>A number for the bytes; chunks that did not change since they were last asked cost nothing.</summary>
    public ulong Fingerprint()
    {
        ulong all = (ulong)LengthBytes;
        for (int i = 0; i < _chunks.Length; i++)
        {
            if (_chunks[i] is { } chunk)
                all = Mix(all, Mix((ulong)i, chunk.Fingerprint()));
        }
        return all;
    }

    /// <summary>Two numbers into one, in which their order counts.</summary>
    public static ulong Mix(ulong left, ulong right)
    {
        ulong z = (left ^ (right + 0x9E3779B97F4A7C15UL + (left << 6) + (left >> 2))) * 0xBF58476D1CE4E5B9UL;
        return z ^ (z >> 29);
    }

    /// <summary>Cuts the file or makes it longer with zeroes.</summary>
    public void SetLength(long lengthBytes)
    {
        if (lengthBytes < LengthBytes)
        {
            (int index, int at) = Place(lengthBytes);
            if (at > 0 && index < _chunks.Length && _chunks[index] is not null)
                Own(index, isWhole: false).AsSpan(at).Clear();
            int first = at > 0 ? index + 1 : index;
            if (first < _chunks.Length)
            {
                OwnTable(_chunks.Length);
                Array.Clear(_chunks, first, _chunks.Length - first);
            }
        }
        LengthBytes = lengthBytes;
    }

    private static (int Index, int At) Place(long offset) =>
        (checked((int)(offset / ChunkBytes)), (int)(offset % ChunkBytes));

    /// <summary>A chunk that may be written in place; what it held is not needed if all of it is written.</summary>
    private byte[] Own(int index, bool isWhole)
    {
        OwnTable(index + 1);
        Chunk? chunk = _chunks[index];
        if (chunk is null || chunk.Token != _token)
        {
            byte[] bytes = isWhole ? GC.AllocateUninitializedArray<byte>(ChunkBytes)
                : chunk is null ? new byte[ChunkBytes]
                : chunk.Bytes.AsSpan().ToArray();
            _chunks[index] = chunk = new Chunk(bytes, _token);
        }

        chunk.Forget();
        return chunk.Bytes;
    }

    private void Drop(int index)
    {
        OwnTable(index + 1);
        _chunks[index] = null;
    }

    private void OwnTable(int needed)
    {
        if (!_tableIsShared && needed <= _chunks.Length)
            return;
        var own = new Chunk?[needed <= _chunks.Length ? _chunks.Length : Math.Max(needed, _chunks.Length * 2)];
        _chunks.AsSpan().CopyTo(own);
        _chunks = own;
        _tableIsShared = false;
    }

    private sealed class Chunk(byte[] bytes, object token)
    {
        public readonly byte[] Bytes = bytes;
        public readonly object Token = token;
        private ulong _fingerprint;

        public ulong Fingerprint() => _fingerprint != 0 ? _fingerprint : _fingerprint = XxHash3.HashToUInt64(Bytes) | 1;

        public void Forget() => _fingerprint = 0;
    }
}
