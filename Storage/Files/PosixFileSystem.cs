namespace Pitr.Storage;

/// <summary>The real disk: every promise of <see cref="IFileSystem"/> by the system call that keeps it.</summary>
/// <remarks>
/// DURABILITY  SyncData is fdatasync, SyncFolder is open + fsync of the folder; on macOS both are F_FULLFSYNC. A
/// system-call trace in the tests proves that they reach the kernel.
/// MODES  files 0600, folders 0700, created with O_EXCL; every descriptor is closed on exec, so no child keeps a lock.
/// THREADS  any; it has no state.
/// FAILURE  <see cref="StorageErrors.FileOperation"/> with the operation, the path and the error number. EINTR is
/// repeated where nothing was done.
/// </remarks>
internal sealed class PosixFileSystem : IFileSystem
{
    public IFileHandle Open(string path, FileOpen mode)
    {
        DescriptorHandle? file = PosixCalls.OpenFile(
            Checked("open", path), mode == FileOpen.Read ? PosixCalls.ReadOnly : PosixCalls.ReadWrite,
            createNew: mode == FileOpen.CreateNew);
        return file is null
            ? throw Failed(mode == FileOpen.CreateNew ? "create" : "open", path)
            : new PosixFileHandle(file, path);
    }

    public FileEntry? Stat(string path)
    {
        if (PosixCalls.Status(Checked("stat", path), followLink: false, out PosixCalls.NameStatus named) != 0)
            return PosixCalls.LastErrno() is Errno.ENOENT or Errno.ENOTDIR ? null : throw Failed("stat", path);
        if (!named.IsSymlink)
            return EntryOf(named, isSymlink: false);
        if (PosixCalls.Status(path, followLink: true, out PosixCalls.NameStatus target) != 0)
            return new FileEntry(false, true, 0, 0); // the link is there, what it names is not
        return EntryOf(target, isSymlink: true);
    }

    private static FileEntry EntryOf(PosixCalls.NameStatus status, bool isSymlink) => new(
        status.IsFolder, isSymlink, status.IsFolder ? 0 : status.LengthBytes, status.Inode, status.Links)
    {
        Permissions = (int)(status.Mode & 0x1FF),
        Device = status.Device,
    };

    /// <summary>
    /// True if the name leads to a pipe, a device or the like: something that is written to, and never replaced.
    /// </summary>
    public static bool IsSpecial(string path) =>
        PosixCalls.Status(path, followLink: true, out PosixCalls.NameStatus status) == 0
        && !status.IsRegular && !status.IsFolder;

    public IReadOnlyList<string> List(string folder)
    {
        List<string> names = PosixCalls.Names(Checked("list", folder)) ?? throw Failed("list", folder);
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    public void Rename(string from, string to)
    {
        Checked("rename", to);
        if (PosixCalls.Rename(Checked("rename", from), to) != 0)
            throw Failed("rename", from);
    }

    public void Link(string existing, string newName)
    {
        Checked("link", existing);
        if (PosixCalls.Link(existing, Checked("link", newName)) != 0)
            throw Failed("link", newName);
    }

    public void Symlink(string target, string linkName)
    {
        Checked("symlink", target);
        if (PosixCalls.Symlink(target, Checked("symlink", linkName)) != 0)
            throw Failed("symlink", linkName);
    }

    public string? ReadLink(string path)
    {
        string? target = PosixCalls.LinkTarget(Checked("read the link", path));
        return target is null && PosixCalls.LastErrno() != Errno.EINVAL ? throw Failed("read the link", path) : target;
    }

    public void Delete(string path)
    {
        if (PosixCalls.Unlink(Checked("delete", path)) != 0)
            throw Failed("delete", path);
    }

    public void DeleteFolder(string path)
    {
        if (PosixCalls.RemoveFolder(Checked("delete folder", path)) != 0)
            throw Failed("delete folder", path);
    }

    public void CreateFolder(string path)
    {
        if (PosixCalls.MakeFolder(Checked("create folder", path), PosixCalls.OwnerFolder) != 0)
            throw Failed("create folder", path);
    }

    public void SyncFolder(string folder)
    {
        using DescriptorHandle handle = PosixCalls.OpenFolder(Checked("sync folder", folder))
            ?? throw Failed("sync folder", folder);
        if (PosixCalls.SyncNames(handle) != 0)
            throw Failed("sync folder", folder);
    }

    public long FreeBytes(string folder)
    {
        long free = PosixCalls.FreeBytes(Checked("tell the room at", folder));
        return free < 0 ? throw Failed("tell the room at", folder) : free;
    }

    public IDisposable? TryLock(string path)
    {
        DescriptorHandle file = PosixCalls.OpenFile(Checked("lock", path), PosixCalls.ReadWrite, createNew: false)
            ?? throw Failed("lock", path);
        if (PosixCalls.LockNow(file) == 0)
            return file; // closing it is what releases the lock
        StorageFailedException? failure = PosixCalls.LastErrno() == Errno.EAGAIN ? null : Failed("lock", path);
        file.Dispose();
        return failure is null ? null : throw failure;
    }

    /// <summary>A zero character would end the name early in the kernel, which would then act on another one.</summary>
    private static string Checked(string operation, string path) =>
        path.Length == 0 || path.Contains('\0', StringComparison.Ordinal)
            ? throw StorageErrors.FileOperation(operation, path, Errno.EINVAL)
            : path;

    private static StorageFailedException Failed(string operation, string path) =>
        StorageErrors.FileOperation(operation, path, PosixCalls.LastErrno());
}
