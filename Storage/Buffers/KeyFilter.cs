using System.IO.Hashing;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// A blocked Bloom filter over the keys of one write buffer, which grows with it: "surely not here" or "look".
/// </summary>
/// <remarks>
/// LAYOUT  blocks of 64 bytes; the upper bits of a key's hash choose the block, and a remix of the hash 6 bits in it.
///
/// A table has room for one key per 16 bits. When it is full a table of four times the length is begun; each later key
/// goes into both, and carries some hashes of earlier keys over (their 4 bytes each are kept for that), until the new
/// table has all of them and is published. So no single insert pays for the growth, and the old table is overfull by a
/// quarter at most.
///
/// INVARIANTS
///   K1  The published table has the bits of every key whose <see cref="Add"/> ended. (An error is possible only
///        towards "look".)
///
/// THREADS  one writer; readers on any thread. Bits are only ever set; a key's bits are set before its slot is
/// published, so who must see the key sees its bits. Superseded tables live as long as the buffer, because a reader may
/// still be in one.
/// </remarks>
internal sealed unsafe class KeyFilter : IDisposable
{
    private const int BlockBytes = 64;
    private const int KeysPerBlock = BlockBytes * 8 / 16;
    private const int FirstBlocks = 64;
    private const int Growth = 4;
    private const int GrowingBlocksMax = int.MaxValue / BlockBytes / Growth;
    private const int CarriedPerKey = 5;
    private const int HashesPerPart = 4096;

    private readonly ArenaPool _pool;
    private readonly List<nint> _hashParts = [];
    private readonly List<Table> _tables = [];
    private Table _table;
    private Table? _next;
    private long _keyCount;
    private long _carriedCount;
    private bool _disposed;

    public KeyFilter(ArenaPool pool)
    {
        _pool = pool;
        _table = NewTable(FirstBlocks);
    }

    /// <summary>Bytes of all tables and kept hashes.</summary>
    public long LengthBytes { get; private set; }

    /// <summary>
    /// The hash that <see cref="Add"/> and <see cref="MayContain"/> take: one for all buffers of a view.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint HashOf(ReadOnlySpan<byte> key)
    {
        ulong hash = XxHash3.HashToUInt64(key);
        return (uint)(hash ^ (hash >> 32));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool MayContain(uint hash)
    {
        ulong* block = Volatile.Read(ref _table).BlockOf(hash);
        ulong bits = Remix(hash);
        return (Bit(block, bits) & Bit(block, bits >> 9) & Bit(block, bits >> 18)
            & Bit(block, bits >> 27) & Bit(block, bits >> 36) & Bit(block, bits >> 45) & 1) != 0;
    }

    /// <summary>Adds a key that is not in the filter. Writer only.</summary>
    public void Add(uint hash)
    {
        Keep(hash);
        Set(_table.BlockOf(hash), hash);
        if (_next is { } next)
            Carry(next, hash);
        else if (_keyCount == (long)_table.BlockCount * KeysPerBlock && _table.BlockCount <= GrowingBlocksMax)
            _next = NewTable(_table.BlockCount * Growth);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        foreach (Table table in _tables)
            _pool.ReturnBlock((byte*)table.Blocks, (long)table.BlockCount * BlockBytes);
        foreach (nint part in _hashParts)
            _pool.ReturnBlock((byte*)part, HashesPerPart * sizeof(uint));
    }

    private void Carry(Table next, uint hash)
    {
        Set(next.BlockOf(hash), hash);
        long until = Math.Min(_carriedCount + CarriedPerKey, _keyCount);
        for (; _carriedCount < until; _carriedCount++)
        {
            uint earlier = HashAt(_carriedCount);
            Set(next.BlockOf(earlier), earlier);
        }
        if (_carriedCount < _keyCount)
            return;
        Volatile.Write(ref _table, next);
        _next = null;
        _carriedCount = 0;
    }

    private void Keep(uint hash)
    {
        int at = (int)(_keyCount % HashesPerPart);
        if (at == 0)
        {
            _hashParts.Add((nint)_pool.RentBlock(HashesPerPart * sizeof(uint)));
            LengthBytes += HashesPerPart * sizeof(uint);
        }
        ((uint*)_hashParts[^1])[at] = hash;
        _keyCount++;
    }

    private uint HashAt(long index) => ((uint*)_hashParts[(int)(index / HashesPerPart)])[index % HashesPerPart];

    private Table NewTable(int blockCount)
    {
        long lengthBytes = (long)blockCount * BlockBytes;
        byte* blocks = _pool.RentBlock(lengthBytes);
        NativeMemory.Clear(blocks, (nuint)lengthBytes);
        var table = new Table((ulong*)blocks, blockCount);
        _tables.Add(table);
        LengthBytes += lengthBytes;
        return table;
    }

    /// <summary>54 bits: nine for each of the six.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Remix(uint hash) => (hash * 0x9E37_79B9_7F4A_7C15UL) >> 10;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Bit(ulong* block, ulong bits) => block[(bits >> 6) & 7] >> (int)(bits & 63);

    private static void Set(ulong* block, uint hash)
    {
        ulong bits = Remix(hash);
        for (int bit = 0; bit < 6; bit++, bits >>= 9)
            block[(bits >> 6) & 7] |= 1UL << (int)(bits & 63);
    }

    private sealed class Table(ulong* blocks, int blockCount)
    {
        public readonly ulong* Blocks = blocks;
        public readonly int BlockCount = blockCount;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public ulong* BlockOf(uint hash) =>
            Blocks + (((ulong)hash * (uint)BlockCount) >> 32) * (BlockBytes / sizeof(ulong));
    }
}
