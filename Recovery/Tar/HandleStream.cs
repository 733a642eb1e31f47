using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>A stretch of an open file as a stream for reading; closes the file only if it was given it.</summary>
/// <param name="file">The file.</param>
/// <param name="from">Where the stretch begins, in bytes.</param>
/// <param name="lengthBytes">How long it is; the file may end before.</param>
/// <param name="ownsFile">The file is closed with it.</param>
internal sealed class HandleStream(IFileHandle file, long from, long lengthBytes, bool ownsFile) : Stream
{
    private long _at;

    public override bool CanRead => true;
    public override bool CanSeek => true;
    public override bool CanWrite => false;
    public override long Length => lengthBytes;

    public override long Position
    {
        get => _at;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            _at = value;
        }
    }

    public override int Read(Span<byte> buffer)
    {
        int want = (int)Math.Min(buffer.Length, lengthBytes - _at);
        if (want <= 0)
            return 0;
        int read = file.Read(from + _at, buffer[..want]);
        _at += read;
        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => _at + offset,
        _ => lengthBytes + offset,
    };

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && ownsFile)
            file.Dispose();
        base.Dispose(disposing);
    }
}
