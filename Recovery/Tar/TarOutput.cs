using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>Where a tar goes: counts what was written, and is never written to again once it failed.</summary>
/// <remarks>
/// It can't seek, whatever is behind it: a tar to a pipe and one to a file are made by the same steps. THREADS  one.
/// </remarks>
internal sealed class TarOutput(Stream destination) : Stream
{
    /// <summary>Bytes that the destination has taken.</summary>
    public long Written { get; private set; }

    /// <summary>A write has failed: how much of it arrived is not known.</summary>
    public bool HasFailed { get; private set; }

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        Invariant.Require(!HasFailed, "T2", "the destination has failed.");
        try
        {
            destination.Write(buffer);
        }
        catch
        {
            HasFailed = true;
            throw;
        }
        Written += buffer.Length;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush() => destination.Flush();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
