using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// One file in memory that counts what is done to it and fails on demand: for tests of a single class.
/// </summary>
internal sealed class MemoryFile : IFileHandle
{
    private readonly Lock _lock = new();
    private byte[] _content = [];

    public string Path => "/memory/file";
    public long LengthBytes { get; private set; }
    public uint Links => 1;
    public int Reads { get; private set; }
    public int Syncs { get; private set; }
    public List<(long Offset, int LengthBytes)> Writes { get; } = [];
    public List<(long Offset, long LengthBytes)> Writebacks { get; } = [];
    public List<(long Offset, long LengthBytes)> AwaitedWritebacks { get; } = [];
    public List<(long Offset, long LengthBytes)> StartedReads { get; } = [];
    public Action? OnRead { get; set; }
    public Action? OnWriteback { get; set; }
    public Action? OnAwaitedWriteback { get; set; }
    public Action? OnSync { get; set; }

    public static StorageFailedException InputOutputError() =>
        new(ErrorCode.FileOperationFailed, "Injected.", "None.") { Errno = 5 };

    public void StartRead(long offset, long lengthBytes) => StartedReads.Add((offset, lengthBytes));

    public int Read(long offset, Span<byte> buffer)
    {
        OnRead?.Invoke();
        lock (_lock)
        {
            Reads++;
            int length = (int)Math.Clamp(LengthBytes - offset, 0, buffer.Length);
            _content.AsSpan((int)Math.Min(offset, LengthBytes), length).CopyTo(buffer);
            return length;
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            Writes.Add((offset, bytes.Length));
            LengthBytes = Math.Max(LengthBytes, offset + bytes.Length);
            if (_content.Length < LengthBytes)
                Array.Resize(ref _content, (int)LengthBytes * 2);
            bytes.CopyTo(_content.AsSpan((int)offset));
        }
    }

    public void SyncData()
    {
        OnSync?.Invoke();
        Syncs++;
    }

    public void StartWriteback(long offset, long lengthBytes)
    {
        OnWriteback?.Invoke();
        Writebacks.Add((offset, lengthBytes));
    }

    public void AwaitWriteback(long offset, long lengthBytes)
    {
        OnAwaitedWriteback?.Invoke();
        AwaitedWritebacks.Add((offset, lengthBytes));
    }

    public void SetLength(long lengthBytes)
    {
        lock (_lock)
        {
            Array.Resize(ref _content, (int)lengthBytes);
            LengthBytes = lengthBytes;
        }
    }

    public void Dispose() { }

    /// <summary>Writes a page that passes the guard: an overflow page whose content is its generation.</summary>
    public byte[] WritePage(uint number, ulong generation)
    {
        byte[] page = PageOf(number, generation);
        Write((long)number * PageLayout.PageBytes, page);
        return page;
    }

    public static byte[] PageOf(uint number, ulong generation)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        PageLayout.Describe(page, PageKind.FreeChain, flags: 0, count: 0, fieldA: 0, fieldB: 0);
        page.AsSpan(PageLayout.HeaderBytes).Fill((byte)generation);
        PageChecksum.Stamp(page, number, generation);
        return page;
    }
}
