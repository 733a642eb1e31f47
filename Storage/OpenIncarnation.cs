namespace Pitr.Storage;

/// <summary>A file that is open as long as somebody may read it: a spill, or a datafile's former incarnation.</summary>
internal interface IKeptForReaders : IDisposable
{
    /// <summary>Nobody reads it any more: the room on the disk and in the cache is given back, without waiting.</summary>
    void Close();
}

/// <summary>
/// One incarnation of a datafile that is open: the file, its lock, its pages as readers see them, and which of them may
/// be written. What has the numbers of its pages in it belongs to it alone (H42).
/// </summary>
/// <remarks>
/// A flush goes on in the same incarnation, and a move too, since the file that it goes on in has the same pages at the
/// same places. A compacted file has the same rows in other pages: that is another incarnation, and this one stays open
/// for the views that name it.
/// INVARIANTS
///   OI1  Pages that a flush of this incarnation freed are released into its own free pages, whichever incarnation is
///        the present one by then.
///   OI2  The lock is released after the handle is closed (D4).
///   OI3  A file is closed, or given to whoever takes it to cut it, only when nobody reads it any more (H41).
/// THREADS  the owner replaces the handle; any thread reads it. FAILURE  none of its own.
/// </remarks>
internal sealed class OpenIncarnation : IKeptForReaders
{
    private readonly DatafileEnvironment _environment;
    private volatile IFileHandle _handle;
    private IDisposable _fileLock;

    /// <param name="environment">The datafile's.</param>
    /// <param name="handle">Open for reading and writing; owned from here on.</param>
    /// <param name="fileLock">Its lock; owned from here on.</param>
    /// <param name="pages">What reads through the handle; owned from here on.</param>
    /// <param name="pageCount">The meta page's.</param>
    public OpenIncarnation(
        DatafileEnvironment environment, IFileHandle handle, IDisposable fileLock, PagedFile pages, uint pageCount)
    {
        (_environment, _handle, _fileLock, Pages) = (environment, handle, fileLock, pages);
        Free = new FreePages(pageCount);
    }

    public IFileHandle Handle => _handle;

    public PagedFile Pages { get; }

    public FreePages Free { get; }

    public long LengthBytes => (long)Free.PageCount * PageLayout.PageBytes;

    /// <summary>Gets the file when <see cref="Close"/> would close it: it has no name any more. Null: it is closed.</summary>
    public Action<NamelessFile>? TakesUnread { get; set; }

    /// <summary>
    /// Goes on in another file that has the same pages, byte for byte. The former one is closed, and its lock released,
    /// when the epochs of now have ended.
    /// </summary>
    /// <param name="handle">The other file; owned from here on.</param>
    /// <param name="fileLock">Its lock; owned from here on.</param>
    /// <param name="takesFormer">
    /// Gets the former file instead, which has no name any more; on whichever thread collects epochs. It must not throw.
    /// </param>
    public void GoOnIn(IFileHandle handle, IDisposable fileLock, Action<NamelessFile>? takesFormer)
    {
        (IFileHandle former, IDisposable formerLock) = (_handle, _fileLock);
        (_handle, _fileLock) = (handle, fileLock);
        Pages.ReadFrom(handle);
        _environment.Epochs.Retire(() => LetGo(former, formerLock, takesFormer)); // OI3
    }

    /// <summary>Nobody reads these pages any more. On whichever thread collects epochs.</summary>
    public void Release(uint[] pages)
    {
        Pages.Forget(pages);
        Free.Release(pages);
    }

    /// <inheritdoc/>
    public void Close()
    {
        Pages.CloseUnread();
        LetGo(_handle, _fileLock, TakesUnread);
    }

    /// <summary>The same when there may be readers: waits for them; not inside an epoch.</summary>
    public void Dispose()
    {
        Pages.Dispose();
        LetGo(_handle, _fileLock, taker: null);
    }

    private void LetGo(IFileHandle handle, IDisposable fileLock, Action<NamelessFile>? taker)
    {
        _environment.Writer.Forget(handle);
        if (taker is not null)
        {
            taker(new NamelessFile(handle, fileLock));
            return;
        }

        handle.Dispose();
        fileLock.Dispose();
    }
}
