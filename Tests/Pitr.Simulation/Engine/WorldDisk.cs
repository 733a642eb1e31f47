using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A simulated disk as the engine of a world meets it: each operation takes time, is noted, and others may go on before
/// it is done.
/// </summary>
internal sealed class WorldDisk(World world, SimulatedDisk disk, DiskManners manners) : IFileSystem
{
    /// <summary>Called before each operation that changes the disk: a crash is a copy taken here.</summary>
    public Action? BeforeChange { get; set; }

    public SimulatedDisk Inner => disk;

    /// <summary>From now on operations of a kind, on paths that contain this, stand until the gate is released.</summary>
    public WorldGate Hold(FileOp op, string of)
    {
        var gate = new WorldGate(op, of, _gates);
        _gates.Add(gate);
        return gate;
    }

    public IFileHandle Open(string path, FileOpen mode)
    {
        Before(mode == FileOpen.CreateNew ? FileOp.Create : FileOp.Open, path);
        return new Handle(this, disk.Open(path, mode));
    }

    public FileEntry? Stat(string path)
    {
        Before(FileOp.Stat, path);
        return disk.Stat(path);
    }

    public IReadOnlyList<string> List(string folder)
    {
        Before(FileOp.List, folder);
        return disk.List(folder);
    }

    public void Rename(string from, string to)
    {
        Before(FileOp.Rename, to);
        disk.Rename(from, to);
    }

    public void Link(string existing, string newName)
    {
        Before(FileOp.Link, newName);
        disk.Link(existing, newName);
    }

    public void Symlink(string target, string linkName)
    {
        Before(FileOp.Symlink, linkName);
        disk.Symlink(target, linkName);
    }

    public string? ReadLink(string path)
    {
        Before(FileOp.ReadLink, path);
        return disk.ReadLink(path);
    }

    public void Delete(string path)
    {
        Before(FileOp.Delete, path);
        disk.Delete(path);
    }

    public void DeleteFolder(string path)
    {
        Before(FileOp.DeleteFolder, path);
        disk.DeleteFolder(path);
    }

    public void CreateFolder(string path)
    {
        Before(FileOp.CreateFolder, path);
        disk.CreateFolder(path);
    }

    public void SyncFolder(string folder)
    {
        Before(FileOp.SyncFolder, folder);
        disk.SyncFolder(folder);
    }

    public long FreeBytes(string folder)
    {
        Before(FileOp.FreeBytes, folder);
        return disk.FreeBytes(folder);
    }

    public IDisposable? TryLock(string path)
    {
        Before(FileOp.Lock, path);
        return disk.TryLock(path);
    }

    private void Before(FileOp op, string path, long offset = -1, long lengthBytes = -1)
    {
        if (!disk.IsOff)
        {
            if (_gates.Find(gate => gate.Stops(op, path)) is { } closed)
                closed.Await(world);
            if (world.Draw(100) < manners.GiveWayPercent)
                world.GiveWay();
            world.Clock.Advance(manners.TimeOf(op, world));
            if (path.EndsWith(SpillFile.Suffix, StringComparison.Ordinal) && world.Draw(100) < 30)
                world.Pause(TimeSpan.FromMilliseconds(1 + world.Draw(200))); // whoever ends the fence comes meanwhile
        }

        world.Note(Words[(int)op], path, offset, lengthBytes);
        if (disk.IsOff) // it has gone away: the engine meets what a kernel says of such a disk
            throw StorageErrors.FileOperation(Words[(int)op], path, Errno.EIO);
        if (SimulatedDisk.ChangesTheDisk(op))
            BeforeChange?.Invoke();
    }

    private readonly List<WorldGate> _gates = [];

    private static readonly string[] Words = Enum.GetNames<FileOp>();

    private sealed class Handle(WorldDisk owner, IFileHandle handle) : IFileHandle
    {
        public string Path => handle.Path;

        public long LengthBytes => handle.LengthBytes;

        public uint Links => handle.Links;

        public int Read(long offset, Span<byte> buffer)
        {
            owner.Before(FileOp.Read, Path, offset, buffer.Length);
            return handle.Read(offset, buffer);
        }

        /// <summary>A hint: nothing is done, and nothing is waited for.</summary>
        public void StartRead(long offset, long lengthBytes) => handle.StartRead(offset, lengthBytes);

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            owner.Before(FileOp.Write, Path, offset, bytes.Length);
            handle.Write(offset, bytes);
        }

        public void SyncData()
        {
            owner.Before(FileOp.SyncData, Path);
            handle.SyncData();
        }

        public void StartWriteback(long offset, long lengthBytes)
        {
            owner.Before(FileOp.StartWriteback, Path, offset, lengthBytes);
            handle.StartWriteback(offset, lengthBytes);
        }

        public void AwaitWriteback(long offset, long lengthBytes) => handle.AwaitWriteback(offset, lengthBytes);

        public void SetLength(long lengthBytes)
        {
            owner.Before(FileOp.SetLength, Path, lengthBytes);
            handle.SetLength(lengthBytes);
        }

        public void Dispose() => handle.Dispose();
    }
}

/// <summary>
/// A disk that does not answer: whoever asks for such an operation stands in it, until somebody opens the gate. Then, and
/// from then on, the operations are done.
/// </summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "No thread waits for the event: the world does, so it has no handle.")]
internal sealed class WorldGate(FileOp op, string of, List<WorldGate> shut)
{
    private readonly ManualResetEventSlim _opened = new();

    /// <summary>Somebody stands before it.</summary>
    public bool IsReached { get; private set; }

    public bool Stops(FileOp asked, string path) => asked == op && path.Contains(of, StringComparison.Ordinal);

    public void Await(World world)
    {
        IsReached = true;
        world.Wait(_opened);
    }

    public void Release()
    {
        shut.Remove(this);
        _opened.Set();
    }
}

/// <summary>How a disk behaves in one run.</summary>
/// <param name="GiveWayPercent">How often others go on before an operation is done.</param>
/// <param name="SlowPercent">How often an operation takes long.</param>
internal sealed record DiskManners(int GiveWayPercent, int SlowPercent)
{
    public TimeSpan TimeOf(FileOp op, World world)
    {
        if (SlowPercent > 0 && world.Draw(100) < SlowPercent)
            return TimeSpan.FromMilliseconds(1 + world.Draw(2000));
        return TimeSpan.FromMicroseconds(op is FileOp.SyncData or FileOp.SyncFolder ? 100 + world.Draw(100) : 5);
    }
}
