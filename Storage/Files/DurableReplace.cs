namespace Pitr.Storage;

/// <summary>
/// Puts a small file under a name as one durable step: after a crash the name has all of the old or all of the new.
/// </summary>
/// <remarks>
/// DURABILITY  in this order; Golden/control-file.txt is the same list as system calls
/// <code>
///   1. create NAME.new (O_EXCL)   2. write   3. SyncData   4. rename over NAME   5. SyncFolder
/// </code>
/// Without 3 the new name may lead to an empty file; without 5 the old content may come back after something else
/// relied on the new one. When it returns, the new content is durable.
/// FAILURE  before 4 the old content stands, and NAME.new is removed if the disk lets it be; a left-over one is removed
/// by the next replace. An error from 5 leaves it open which content a crash brings: the caller takes it as failed and
/// reads the file again before it relies on either.
/// THREADS  one writer per name; readers any.
/// </remarks>
internal static class DurableReplace
{
    /// <summary>What a half-made file is called; never read.</summary>
    public const string UnfinishedSuffix = ".new";

    /// <summary>Makes the content the file's, whether there was one before or not.</summary>
    public static void Write(IFileSystem disk, string path, ReadOnlySpan<byte> content)
    {
        string unfinished = WriteUnfinished(disk, path, content);
        try
        {
            disk.Rename(unfinished, path);
        }
        catch (StorageFailedException)
        {
            RemoveIfPossible(disk, unfinished);
            throw;
        }
        disk.SyncFolder(FolderOf(path));
    }

    /// <summary>
    /// Gives the content a name that must not be taken; false, and nothing is changed, if it is (H27: link(2) is the
    /// only way to claim a name together with its content).
    /// </summary>
    public static bool TryCreate(IFileSystem disk, string path, ReadOnlySpan<byte> content)
    {
        string unfinished = WriteUnfinished(disk, path, content);
        bool isOurs = true;
        try
        {
            disk.Link(unfinished, path);
        }
        catch (StorageFailedException taken) when (taken.Errno == Errno.EEXIST)
        {
            isOurs = false;
        }
        finally
        {
            RemoveIfPossible(disk, unfinished);
        }
        // Also if it was taken: who acts on that must not see the name vanish in a crash.
        disk.SyncFolder(FolderOf(path));
        return isOurs;
    }

    /// <summary>Creates a folder and those above it that are missing; each name is durable when it returns.</summary>
    public static void CreateFolders(IFileSystem disk, string folder)
    {
        if (disk.Stat(folder) is { IsFolder: true })
            return;
        string parent = FolderOf(folder);
        CreateFolders(disk, parent);
        try
        {
            disk.CreateFolder(folder);
        }
        catch (StorageFailedException taken) when (taken.Errno == Errno.EEXIST
            && disk.Stat(folder) is { IsFolder: true })
        {
            // somebody else was faster; the sync below makes it durable all the same
        }
        disk.SyncFolder(parent);
    }

    /// <summary>The folder that holds a name.</summary>
    public static string FolderOf(string path)
    {
        string? folder = System.IO.Path.GetDirectoryName(path);
        return string.IsNullOrEmpty(folder) ? path.StartsWith('/') ? "/" : "." : folder;
    }

    private static string WriteUnfinished(IFileSystem disk, string path, ReadOnlySpan<byte> content)
    {
        string unfinished = path + UnfinishedSuffix;
        if (disk.Stat(unfinished) is not null)
            disk.Delete(unfinished); // a stray of a crash: only this class makes that name
        try
        {
            using IFileHandle file = disk.Open(unfinished, FileOpen.CreateNew);
            file.Write(0, content);
            file.SyncData();
        }
        catch (StorageFailedException)
        {
            RemoveIfPossible(disk, unfinished);
            throw;
        }
        return unfinished;
    }

    /// <summary>Best effort: the next replace removes what stays, and the first error is the one to report.</summary>
    private static void RemoveIfPossible(IFileSystem disk, string path)
    {
        try
        {
            disk.Delete(path);
        }
        catch (StorageFailedException)
        {
            // said above
        }
    }
}
