namespace Pitr.Storage;

/// <summary>One open file of the real disk.</summary>
/// <remarks>
/// THREADS  any. Dispose while a call runs closes the descriptor after that call; calls that come later throw
/// <see cref="ObjectDisposedException"/>.
/// FAILURE  pread and pwrite go on after EINTR and after a short count. A sync is never repeated, whatever it said,
/// EINTR too: its error may be the only sign that pages were dropped. The caller must not repeat it either (H3, H11).
/// </remarks>
internal sealed unsafe class PosixFileHandle(DescriptorHandle file, string path) : IFileHandle
{
    public string Path => path;

    private DescriptorHandle Descriptor => file;

    public long LengthBytes
    {
        get
        {
            long length = PosixCalls.Length(file);
            return length < 0 ? throw Failed("tell the length of") : length;
        }
    }

    public uint Links => PosixCalls.Status(file, out PosixCalls.NameStatus status) == 0
        ? status.Links
        : throw Failed("tell the names of");

    public int Read(long offset, Span<byte> buffer)
    {
        int done = 0;
        fixed (byte* start = buffer)
        {
            while (done < buffer.Length)
            {
                nint read = PosixCalls.ReadAt(file, start + done, buffer.Length - done, offset + done);
                if (read == 0)
                    break;
                if (read > 0)
                    done += (int)read;
                else if (PosixCalls.LastErrno() != Errno.EINTR)
                    throw Failed("read");
            }
        }
        return done;
    }

    public void StartRead(long offset, long lengthBytes) => PosixCalls.ReadAhead(file, offset, lengthBytes);

    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        int done = 0;
        fixed (byte* start = bytes)
        {
            while (done < bytes.Length)
            {
                nint written = PosixCalls.WriteAt(file, start + done, bytes.Length - done, offset + done);
                if (written > 0)
                    done += (int)written;
                else if (written == 0)
                    throw StorageErrors.FileOperation("write", path, Errno.EIO); // no progress and no reason: no loop
                else if (PosixCalls.LastErrno() != Errno.EINTR)
                    throw Failed("write");
            }
        }
    }

    /// <summary>Whatever keeps the kernel from it, copying by hand tells whose failure it is.</summary>
    public long CopyFrom(IFileHandle origin, long offset, long lengthBytes)
    {
        long done = 0;
        while (done < lengthBytes && origin is PosixFileHandle other)
        {
            nint copied = PosixCalls.CopyRange(other.Descriptor, file, offset + done, lengthBytes - done);
            if (copied > 0)
                done += copied;
            else if (copied == 0 || PosixCalls.LastErrno() != Errno.EINTR)
                break;
        }

        return done == lengthBytes
            ? done
            : done + RangeCopy.ByHand(origin, this, offset + done, lengthBytes - done);
    }

    public void SyncData()
    {
        if (PosixCalls.SyncContent(file) != 0)
            throw Failed("sync");
    }

    public void StartWriteback(long offset, long lengthBytes)
    {
        if (PosixCalls.WriteBack(file, offset, lengthBytes, waits: false) != 0)
            throw Failed("start writing back");
    }

    public void AwaitWriteback(long offset, long lengthBytes)
    {
        if (PosixCalls.WriteBack(file, offset, lengthBytes, waits: true) != 0)
            throw Failed("write back");
    }

    public void SetLength(long lengthBytes)
    {
        int result;
        do
            result = PosixCalls.Truncate(file, lengthBytes);
        while (result != 0 && PosixCalls.LastErrno() == Errno.EINTR);
        if (result != 0)
            throw Failed("set the length of");
    }

    public void Dispose() => file.Dispose();

    private StorageFailedException Failed(string operation) =>
        StorageErrors.FileOperation(operation, path, PosixCalls.LastErrno());
}
