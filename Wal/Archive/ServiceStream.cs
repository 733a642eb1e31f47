namespace Pitr.Wal;

/// <summary>
/// An object as it comes from a service: read forward, exactly as long as the service said it is, and never silent for
/// longer than it may be.
/// </summary>
/// <remarks>
/// Without it a worker would wait for ever for a connection that nobody feeds, and an object that was cut off on its way
/// would look like a short one.
/// FAILURE  StorageFailedException StoreFailed: it may be read again from its start.
/// </remarks>
internal sealed class ServiceStream(
    string store, string name, Stream content, long lengthBytes, TimeSpan silenceMax, TimeProvider clock,
    IDisposable? whole = null) : Stream
{
    private long _at;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => lengthBytes;
    public override long Position { get => _at; set => throw new NotSupportedException(); }

    public override int Read(byte[] buffer, int offset, int count)
    {
        int read;
        try
        {
            using var silent = new CancellationTokenSource(silenceMax, clock);
            read = content.ReadAsync(buffer.AsMemory(offset, count), silent.Token).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw ArchiveErrors.StoreFailed(store, name, $"it sent nothing for {silenceMax.TotalSeconds} s");
        }
        catch (Exception broken) when (broken is not PitrException and not ArgumentException)
        {
            throw ArchiveErrors.StoreFailed(store, "read", name, broken);
        }
        if (read == 0 && count > 0 && _at < lengthBytes)
            throw ArchiveErrors.StoreFailed(store, name, $"it sent {_at} of {lengthBytes} bytes");
        _at += read;
        return _at <= lengthBytes
            ? read
            : throw ArchiveErrors.StoreFailed(store, name, $"it sent more than the {lengthBytes} bytes that it said");
    }

    /// <summary>All of it, of an object that fits into memory.</summary>
    public ReadOnlyMemory<byte> ReadWhole()
    {
        if (lengthBytes > Array.MaxLength)
            throw ArchiveErrors.StoreFailed(store, name, $"it has {lengthBytes} bytes, too many to be read at once");
        byte[] bytes = new byte[lengthBytes];
        this.ReadExactly(bytes);
        byte[] more = new byte[1];
        _ = Read(more, 0, 1); // throws if there is one
        return bytes;
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            content.Dispose();
            whole?.Dispose();
        }
        base.Dispose(disposing);
    }
}
