using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>A tar that becomes a file: it gets its name when it is whole and durable.</summary>
/// <remarks>
/// ORDER  temporary file beside it (O_EXCL, 0600) · written, at most 8 MiB of it dirty, so that the WAL's syncs stay fast
/// beside it · SyncData · rename · SyncFolder. What had the name before stays until the rename. A crash before leaves
/// the temporary file <c>.NAME.pgtar-RRRRRRRRRRRRRRRR</c>, which holds no set.
/// THREADS  one. FAILURE  as the disk's; after one it is not written any more, and <see cref="Dispose"/> removes it.
/// </remarks>
internal sealed class TarFileOutput : Stream
{
    private readonly IFileSystem _disk;
    private readonly string _path;
    private readonly IFileHandle _file;
    private readonly PacedWriter _paced;
    private long _at;
    private bool _isPublished;

    private TarFileOutput(IFileSystem disk, string path, IFileHandle file, PacedWriter paced) =>
        (_disk, _path, _file, _paced) = (disk, path, file, paced);

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => _at;

    public override long Position
    {
        get => _at;
        set => throw new NotSupportedException();
    }

    /// <param name="disk">Where.</param>
    /// <param name="path">The name that it is to get; a link there is followed.</param>
    /// <param name="draw">For the temporary name.</param>
    /// <param name="paced">How it is written.</param>
    public static TarFileOutput Create(IFileSystem disk, string path, Func<ulong> draw, PacedWriter paced)
    {
        for (int links = 0; links < 8 && disk.Stat(path) is not null && disk.ReadLink(path) is { } target; links++)
            path = Path.GetFullPath(target, FolderOf(path));
        string temporary = $"{FolderOf(path)}/.{Path.GetFileName(path)}.pgtar-{draw():X16}";
        return new TarFileOutput(disk, path, disk.Open(temporary, FileOpen.CreateNew), paced);
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            ReadOnlySpan<byte> chunk = buffer[..Math.Min(buffer.Length, PacedWriter.ChunkBytesMax)];
            _paced.Write(_file, _at, chunk);
            _at += chunk.Length;
            buffer = buffer[chunk.Length..];
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <summary>It is whole: it gets its name. Durable when this returns.</summary>
    public void Publish()
    {
        _paced.Sync(_file);
        _disk.Rename(_file.Path, _path);
        _isPublished = true;
        _disk.SyncFolder(FolderOf(_path));
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _paced.Forget(_file);
            _file.Dispose();
            if (!_isPublished)
                RemoveQuietly();
        }
        base.Dispose(disposing);
    }

    private void RemoveQuietly()
    {
        try
        {
            _disk.Delete(_file.Path);
        }
        catch (StorageFailedException)
        {
            // Best effort: it has no manifest, and the first failure is the one to tell.
        }
    }

    private static string FolderOf(string path) => Path.GetDirectoryName(path)!;
}
