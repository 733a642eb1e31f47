using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// A disk with somebody else on it: what a test says happens just before, or just after, a file is locked or a folder listed.
/// </summary>
internal sealed class MeddlingDisk(IFileSystem disk) : IFileSystem
{
    /// <summary>Called once, with the path, before the next lock is asked for.</summary>
    public Action<string>? BeforeLock { get; set; }

    /// <summary>Called once, with the path, after the next lock was given.</summary>
    public Action<string>? AfterLock { get; set; }

    /// <summary>Called once, with the path, before the next folder is listed.</summary>
    public Action<string>? BeforeList { get; set; }

    public IFileHandle Open(string path, FileOpen mode) => disk.Open(path, mode);
    public FileEntry? Stat(string path) => disk.Stat(path);

    public IReadOnlyList<string> List(string folder)
    {
        (Action<string>? before, BeforeList) = (BeforeList, null);
        before?.Invoke(folder);
        return disk.List(folder);
    }

    public void Rename(string from, string to) => disk.Rename(from, to);
    public void Link(string existing, string newName) => disk.Link(existing, newName);
    public void Symlink(string target, string linkName) => disk.Symlink(target, linkName);
    public string? ReadLink(string path) => disk.ReadLink(path);
    public void Delete(string path) => disk.Delete(path);
    public void DeleteFolder(string path) => disk.DeleteFolder(path);
    public void CreateFolder(string path) => disk.CreateFolder(path);
    public void SyncFolder(string folder) => disk.SyncFolder(folder);
    public long FreeBytes(string folder) => disk.FreeBytes(folder);

    public IDisposable? TryLock(string path)
    {
        (Action<string>? before, BeforeLock) = (BeforeLock, null);
        before?.Invoke(path);
        IDisposable? taken = disk.TryLock(path);
        if (taken is not null)
        {
            (Action<string>? after, AfterLock) = (AfterLock, null);
            after?.Invoke(path);
        }
        return taken;
    }
}
