using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Pitr.Bench;

/// <summary>
/// The ceiling: an append-only log with group commit, one pwrite and one fdatasync a batch into a file of written
/// zeroes. No index, no recovery.
/// </summary>
internal sealed partial class RawLogEngine : IBenchEngine
{
    private const long FileBytes = 512L << 20;
    private readonly SafeFileHandle _file;
    private readonly Batcher _batcher;
    private byte[] _staging = new byte[1 << 20];
    private long _at;

    public RawLogEngine(string folder)
    {
        _file = File.OpenHandle(Path.Combine(folder, "log"), FileMode.CreateNew, FileAccess.ReadWrite);
        byte[] zeroes = new byte[1 << 20];
        for (long at = 0; at < FileBytes; at += zeroes.Length)
            RandomAccess.Write(_file, zeroes, at);
        RandomAccess.FlushToDisk(_file);
        _batcher = new Batcher(Commit);
    }

    public string Name => "raw-log";

    public bool IsBlocking => false;

    public void Load()
    {
        // A log has nothing to load.
    }

    public Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> Writer() => _batcher.CommitAsync;

    public Func<byte[], bool> Reader() => throw new NotSupportedException("A log has no index.");

    public long Scan() => throw new NotSupportedException("A log has no index.");

    public void Dispose()
    {
        _batcher.Dispose();
        _file.Dispose();
    }

    private void Commit(List<Batcher.Put> puts)
    {
        int length = 0;
        foreach (Batcher.Put put in puts)
        {
            int bytes = 8 + put.Key.Length + put.Value.Length;
            if (length + bytes > _staging.Length)
                Array.Resize(ref _staging, _staging.Length * 2);
            Span<byte> frame = _staging.AsSpan(length, bytes);
            put.Key.Span.CopyTo(frame[8..]);
            put.Value.Span.CopyTo(frame[(8 + put.Key.Length)..]);
            BitConverter.TryWriteBytes(frame, bytes);
            BitConverter.TryWriteBytes(frame[4..], Crc(frame[8..]));
            length += bytes;
        }

        if (_at + length > FileBytes)
            _at = 0;
        RandomAccess.Write(_file, _staging.AsSpan(0, length), _at);
        _at += length;
        if (FDataSync(_file.DangerousGetHandle()) != 0)
            throw new IOException($"fdatasync: errno {Marshal.GetLastPInvokeError()}");
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes))
            crc = System.Numerics.BitOperations.Crc32C(crc, word);
        foreach (byte last in bytes[(bytes.Length & ~7)..])
            crc = System.Numerics.BitOperations.Crc32C(crc, last);
        return ~crc;
    }

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FDataSync(nint handle);
}
