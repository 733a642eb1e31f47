namespace Pitr.Storage;

/// <summary>
/// A scratch file beside a datafile that is held still: what its write buffers have no room for, as a tree, until the
/// datafile may be written again.
/// </summary>
/// <remarks>
/// STATE  pages as a datafile's; two trees, since a tree of rows can't say that a key was deleted
/// <code>
///   Puts      keys that were put last, with their values
///   Deletes   keys that were deleted last, with empty values; no key is in both
/// </code>
/// INVARIANTS
///   SF1  It has no name while it has a byte: made (O_EXCL), unlinked, the folder synced, and only then written. So a
///        crash leaves at most an empty file, and nothing ever opens a spill as a datafile (H17).
///   SF2  A published root is on the disk: a page that could not be written is known before the buffers go. Not for
///        durability, which the WAL gives, but so that a page read again is never an older one of the same number.
///   SF3  Pages of a published root are written again only when no view names that root and its epochs have ended (H12).
///
/// THREADS  the worker of one spill at a time writes; <see cref="Pages"/>: any, inside an epoch. FAILURE  after a failed
/// write or sync nothing is written into it any more; what was published stays readable.
/// </remarks>
internal sealed class SpillFile : IKeptForReaders
{
    /// <summary>Behind the datafile's path; no datafile may have a name that ends so.</summary>
    public const string Suffix = ".spill";

    private readonly DatafileEnvironment _environment;

    private SpillFile(DatafileEnvironment environment, IFileHandle handle, string name)
    {
        _environment = environment;
        Handle = handle;
        Pages = environment.Cache.OpenFile(handle, name);
        Free.Load(new FreeChainContent([], []));
    }

    public IFileHandle Handle { get; }

    public PagedFile Pages { get; }

    public FreePages Free { get; } = new(MetaPage.Slots);

    /// <summary>On a worker.</summary>
    /// <param name="environment">The datafile's.</param>
    /// <param name="datafilePath">Beside which it is made.</param>
    /// <param name="name">The datafile's name, for messages.</param>
    /// <exception cref="StorageFailedException">The disk said no, or somebody's file has the name.</exception>
    public static SpillFile Create(DatafileEnvironment environment, string datafilePath, string name)
    {
        IFileSystem files = environment.Files;
        RemoveLeftOver(files, datafilePath);
        string path = datafilePath + Suffix;
        IFileHandle handle = files.Open(path, FileOpen.CreateNew);
        try
        {
            files.Delete(path); // SF1
            files.SyncFolder(DurableReplace.FolderOf(path));
            return new SpillFile(environment, handle, name);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Removes what a crash between making and unlinking has left: an empty file. Anything else is somebody's, and stays.
    /// </summary>
    public static void RemoveLeftOver(IFileSystem files, string datafilePath)
    {
        string path = datafilePath + Suffix;
        if (files.Stat(path) is not { IsFolder: false, IsSymlink: false, LengthBytes: 0 })
            return;
        files.Delete(path);
        files.SyncFolder(DurableReplace.FolderOf(path));
    }

    /// <summary>Nobody reads these pages any more.</summary>
    public void Release(uint[] pages)
    {
        Pages.Forget(pages);
        Free.Release(pages);
    }

    /// <inheritdoc/>
    public void Close()
    {
        Pages.CloseUnread();
        CloseHandle();
    }

    /// <summary>The same when there may be readers: waits for them; not inside an epoch.</summary>
    public void Dispose()
    {
        Pages.Dispose();
        CloseHandle();
    }

    private void CloseHandle()
    {
        _environment.Writer.Forget(Handle);
        Handle.Dispose();
    }
}

/// <summary>One generation of a spill, as a read view names it.</summary>
/// <param name="File">Where its pages are.</param>
/// <param name="Puts">See <see cref="SpillFile"/>.</param>
/// <param name="Deletes">See <see cref="SpillFile"/>.</param>
/// <param name="UpTo">Every change at or below it that the datafile's tree lacks is here.</param>
internal sealed record Spilled(SpillFile File, TreeRoot Puts, TreeRoot Deletes, Lsn UpTo)
{
    public ulong Generation => Puts.Generation;

    /// <summary>What the spill knows of a key, as a write buffer would say it.</summary>
    /// <exception cref="DamageException">A page is not what was written.</exception>
    public BufferHit TryGet(ReadOnlySpan<byte> key, out ValueRef value)
    {
        if (BTree.TryGet(File.Pages, Puts, key, out value))
            return BufferHit.Put;
        return BTree.TryGet(File.Pages, Deletes, key, out _) ? BufferHit.Delete : BufferHit.None;
    }
}
