namespace Pitr.Storage;

/// <summary>
/// The read views of a datafile that somebody may still hold, and what waits for them: pages that a flush freed, write
/// buffers that a flush emptied, and files that nothing but a view names any more.
/// </summary>
/// <remarks>
/// STATE  the published view; the views that are not released; per flush the pages it freed with the generation of its
/// root; the buffers it emptied; former incarnations and spills.
///
/// INVARIANTS
///   R1  Pages freed by generation g are released after every view with a root below g was, and after the epochs that
///       ran then have ended (H12). A reader without a pin found the view inside such an epoch.
///   R2  The same holds for a buffer and the views that name it, for a page that a spill freed and the views that name
///       an older generation of that spill, and for the file of a spill or of a former incarnation (H42).
///
/// THREADS  <see cref="Current"/>: any. Publish, Wait…: the owner. Views are released on the thread of their last pin:
/// the lock protects the lists against it.
/// </remarks>
internal sealed class DatafileViews
{
    private readonly EpochTable _epochs;
    private readonly Lock _lock = new();
    private readonly List<ReadView> _live = [];
    private readonly List<(OpenIncarnation File, ulong Generation, uint[] Pages)> _pages = [];
    private readonly List<WriteBuffer> _buffers = [];
    private readonly List<(SpillFile File, ulong Generation, uint[] Pages)> _spilledPages = [];
    private readonly List<(IKeptForReaders File, Action LetGo)> _files = [];
    private ReadView _current;
    private bool _ended;

    public DatafileViews(EpochTable epochs, ReadView first)
    {
        (_epochs, _current) = (epochs, first);
        _live.Add(first);
    }

    /// <summary>What a reader takes, inside an epoch.</summary>
    public ReadView Current => Volatile.Read(ref _current);

    /// <summary>Views that are not released, the current one included.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _live.Count;
        }
    }

    /// <summary>Memory of emptied buffers that views still name.</summary>
    public long BytesKept
    {
        get
        {
            lock (_lock)
                return _buffers.Sum(static buffer => buffer.Bytes);
        }
    }

    /// <summary>Shows another view to readers that come from now on.</summary>
    public void Publish(ReadView next)
    {
        ReadView before = _current;
        lock (_lock)
            _live.Add(next);
        Volatile.Write(ref _current, next);
        before.Supersede(WhenReleased);
    }

    /// <summary>
    /// Says what the root of a generation does not reach any more. Before that root's view is published.
    /// </summary>
    public void WaitToReuse(OpenIncarnation file, ulong generation, uint[] pages)
    {
        if (pages.Length == 0)
            return;
        lock (_lock)
            _pages.Add((file, generation, pages));
    }

    /// <summary>Says that a buffer's changes are in the tree. Before the view without it is published.</summary>
    public void WaitToDispose(WriteBuffer buffer)
    {
        lock (_lock)
            _buffers.Add(buffer);
    }

    /// <summary>
    /// Says what a generation of a spill does not reach any more. Before that generation's view is published.
    /// </summary>
    public void WaitToReuse(SpillFile file, ulong generation, uint[] pages)
    {
        if (pages.Length == 0)
            return;
        lock (_lock)
            _spilledPages.Add((file, generation, pages));
    }

    /// <summary>
    /// Says that what is published next does not name a file: a spill's changes are in the tree, or the rows of a former
    /// incarnation in another one. Before that view is published.
    /// </summary>
    public void WaitToClose(IKeptForReaders file, Action letGo)
    {
        lock (_lock)
            _files.Add((file, letGo));
    }

    /// <summary>
    /// The file is closed: nothing is published any more, and buffers go when their last view is released.
    /// </summary>
    public void End()
    {
        lock (_lock)
        {
            _ended = true;
            foreach (ReadView view in _live)
                view.End();
            foreach (WriteBuffer buffer in _current.Buffers)
                _buffers.Add(buffer);
            _pages.Clear();
            _spilledPages.Clear();
            _files.Clear(); // whoever closes the datafile closes them
        }
        _current.Supersede(WhenReleased);
    }

    private void WhenReleased(ReadView view)
    {
        lock (_lock)
        {
            _live.Remove(view);
            ulong oldest = ulong.MaxValue;
            foreach (ReadView live in _live)
                oldest = Math.Min(oldest, live.Root.Generation);
            for (int i = _pages.Count - 1; i >= 0; i--)
            {
                if (_pages[i].Generation > oldest)
                    continue;
                (OpenIncarnation file, _, uint[] pages) = _pages[i];
                _pages.RemoveAt(i);
                _epochs.Retire(() => file.Release(pages));
            }
            for (int i = _buffers.Count - 1; i >= 0; i--)
            {
                WriteBuffer buffer = _buffers[i];
                if (_live.Exists(live => live.Buffers.Contains(buffer)))
                    continue;
                _buffers.RemoveAt(i);
                _epochs.Retire(buffer.Dispose);
            }
            ReleaseSpilled();
            ReleaseFiles();
        }
        if (Volatile.Read(ref _ended))
            _epochs.Collect(); // nobody else may come to do it
    }

    private void ReleaseSpilled()
    {
        for (int i = _spilledPages.Count - 1; i >= 0; i--)
        {
            (SpillFile file, ulong generation, uint[] pages) = _spilledPages[i];
            if (_live.Exists(live => live.Spilled is { } named && named.File == file && named.Generation < generation))
                continue;
            _spilledPages.RemoveAt(i);
            _epochs.Retire(() => file.Release(pages));
        }
    }

    private void ReleaseFiles()
    {
        for (int i = _files.Count - 1; i >= 0; i--)
        {
            (IKeptForReaders file, Action letGo) = _files[i];
            if (_live.Exists(live => Names(live, file)))
                continue;
            _files.RemoveAt(i);
            _spilledPages.RemoveAll(waiting => waiting.File == file);
            _pages.RemoveAll(waiting => waiting.File == file);
            _epochs.Retire(letGo);
            _epochs.CollectSoon(); // its room on the disk does not wait until somebody comes to read
        }
    }

    private static bool Names(ReadView view, IKeptForReaders file) =>
        file is OpenIncarnation former ? view.Pages == former.Pages : view.Spilled?.File == file;
}
