namespace Pitr.Storage;

/// <summary>Removes a file that may be large, so that commits beside it do not wait for the disk.</summary>
/// <remarks>
/// Giving 1 GiB back at once keeps a file system busy for 100 ms and more; and where a guest reports the memory of the
/// file's cached pages to its host, the host's work on that holds the disk up as long. No sync of the WAL ends meanwhile.
/// So the name goes first, durably; then the file without a name is cut from its end in steps. The name goes here
/// (<see cref="Unlink"/>), or when something else is renamed over it: the first move of a datafile, and compacting one.
/// INVARIANTS
///   GR1  Content is cut only of a file that has no name any more, which its handle says before the first step (a file
///        without a name gets none again), and that nobody reads: its lock was free, or whoever held it gives the file
///        away, having waited for its readers (H41). Else it is closed, and that is all.
///   GR2  Its last name is gone durably before: no power loss makes a name lead to what was cut.
/// Nothing on the disk depends on it: whatever ends it, the kernel gives back what is left.
/// THREADS  one a file. FAILURE  as the disk's, until the name is gone.
/// </remarks>
internal static class GentleRemoval
{
    /// <summary>True of a file that is worth it, and that this name alone keeps.</summary>
    /// <param name="entry">The file.</param>
    /// <param name="cutBytes">See <see cref="PacedWriter.CutBytes"/>.</param>
    public static bool IsLarge(FileEntry? entry, long cutBytes) =>
        entry is { IsFolder: false, IsSymlink: false, Links: 1, LengthBytes: var bytes } && bytes > cutBytes;

    /// <summary>
    /// When it returns the name is gone; the caller makes that durable, unless it gets a file: then it is.
    /// </summary>
    /// <returns>A large file that has no name any more, to be cut and disposed of; null: nothing is left.</returns>
    public static NamelessFile? Unlink(IFileSystem files, string path, long cutBytes)
    {
        bool isLarge = IsLarge(files.Stat(path), cutBytes);
        IDisposable? alone = isLarge ? files.TryLock(path) : null;
        IFileHandle? file = alone is null ? null : TryOpen(files, path);
        try
        {
            files.Delete(path);
            if (file is null)
                return null;
            files.SyncFolder(DurableReplace.FolderOf(path));
            var left = new NamelessFile(file, alone!);
            (file, alone) = (null, null);
            return left;
        }
        finally
        {
            file?.Dispose();
            alone?.Dispose();
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

/// <summary>
/// A large file whose name is gone, durably (GR2), and that nobody else reads (GR1). Disposing gives all of it back.
/// </summary>
/// <param name="file">Open for writing; owned from here on.</param>
/// <param name="alone">Its lock; owned from here on.</param>
internal sealed class NamelessFile(IFileHandle file, IDisposable alone) : IDisposable
{
    /// <summary>Gives its room back in steps; ended, the rest is given back at once when it is disposed of.</summary>
    public void Cut(PacedWriter writer, CancellationToken ended) => Cut(file, writer, PacedWriter.CutStep, ended);

    /// <summary>The same of a file that the caller has open, whose name is gone durably, and that nobody reads.</summary>
    /// <param name="file">The file.</param>
    /// <param name="writer">Waits.</param>
    /// <param name="step">Beside commits each step is at least so long.</param>
    /// <param name="ended">Ends it.</param>
    public static void Cut(IFileHandle file, PacedWriter writer, TimeSpan step, CancellationToken ended)
    {
        try
        {
            if (file.Links == 0) // GR1: else somebody keeps it under another name
                writer.Cut(file, file.LengthBytes, step, ended);
        }
        catch (StorageFailedException)
        {
            // Closing it gives the rest back.
        }
    }

    public void Dispose()
    {
        file.Dispose();
        alone.Dispose();
    }
}
