namespace Pitr.Storage;

/// <summary>Removes a file that may be large, so that commits beside it do not wait for the disk.</summary>
/// <remarks>
/// A file system that gives 1 GiB back at once, and tells the disk so, keeps both busy for 100 ms and more, in which no
/// sync of the WAL ends. So the name goes first, durably; then the file without a name is cut from its end in steps.
/// INVARIANTS
///   GR1  Content is cut only of a file that has no name any more, had no other one, and whose lock was free: nobody
///        reads it, or keeps it under another name. Else its name goes, and that is all.
/// A crash meanwhile gives back what is left. THREADS  one a file. FAILURE  as the disk's, until the name is gone.
/// </remarks>
internal static class GentleRemoval
{
    /// <summary>When it returns the name is gone; the caller makes that durable.</summary>
    public static void Run(IFileSystem files, PacedWriter writer, string path)
    {
        FileEntry? entry = files.Stat(path);
        bool isLarge = entry is { IsFolder: false, IsSymlink: false, Links: 1, LengthBytes: > PacedWriter.CutBytes };
        using IDisposable? alone = isLarge ? files.TryLock(path) : null;
        using IFileHandle? file = alone is null ? null : TryOpen(files, path);
        files.Delete(path);
        if (file is null)
            return;
        files.SyncFolder(DurableReplace.FolderOf(path));
        CutNameless(file, writer);
    }

    /// <summary>Gives the room of a file back whose name is gone, durably, and that nobody else has (GR1).</summary>
    public static void CutNameless(IFileHandle file, PacedWriter writer)
    {
        try
        {
            writer.Cut(file, file.LengthBytes);
        }
        catch (StorageFailedException)
        {
            // Closing it gives the rest back.
        }
    }

    private static IFileHandle? TryOpen(IFileSystem files, string path)
    {
        try
        {
            return files.Open(path, FileOpen.ReadWrite);
        }
        catch (StorageFailedException)
        {
            return null;
        }
    }
}
