namespace Pitr.Storage;

/// <summary>
/// The read views of a datafile that somebody may still hold, and what waits for them: pages that a flush freed, and
/// write buffers that a flush emptied.
/// </summary>
/// <remarks>
/// STATE  the published view; the views that are not released; per flush the pages it freed with the generation of its
/// root; the buffers it emptied.
///
/// INVARIANTS
///   R1  Pages freed by generation g are released after every view with a root below g was, and after the epochs that
///       ran then have ended (H12). A reader without a pin found the view inside such an epoch.
///   R2  The same holds for a buffer and the views that name it, for a page that a spill freed and the views that name
///       an older generation of that spill, and for a spill's file.
///
/// THREADS  <see cref="Current"/>: any. Publish, Wait…: the owner. Views are released on the thread of their last pin:
/// the lock protects the lists against it.
/// </remarks>
internal sealed class DatafileViews
{
    private readonly EpochTable _epochs;
    private readonly Action<uint[]> _releasePages;
    private readonly Lock _lock = new();
    private readonly List<ReadView> _live = [];
    private readonly List<(ulong Generation, uint[] Pages)> _pages = [];
    private readonly List<WriteBuffer> _buffers = [];
    private readonly List<(SpillFile File, ulong Generation, uint[] Pages)> _spilledPages = [];
    private readonly List<(SpillFile File, Action LetGo)> _spillFiles = [];
    private ReadView _current;
    private bool _ended;

    public DatafileViews(EpochTable epochs, ReadView first, Action<uint[]> releasePages)
    {
        (_epochs, _releasePages, _current) = (epochs, releasePages, first);
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
    public void WaitToReuse(ulong generation, uint[] pages)
    {
        if (pages.Length == 0)
            return;
        lock (_lock)
            _pages.Add((generation, pages));
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

    /// <summary>Says that a spill's changes are in the tree. Before the view without it is published.</summary>
    public void WaitToDispose(SpillFile file, Action letGo)
    {
        lock (_lock)
            _spillFiles.Add((file, letGo));
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
            _spillFiles.Clear(); // whoever closes the file closes them
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
                uint[] pages = _pages[i].Pages;
                _pages.RemoveAt(i);
                _epochs.Retire(() => _releasePages(pages));
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

        for (int i = _spillFiles.Count - 1; i >= 0; i--)
        {
            (SpillFile file, Action letGo) = _spillFiles[i];
            if (_live.Exists(live => live.Spilled?.File == file))
                continue;
            _spillFiles.RemoveAt(i);
            _spilledPages.RemoveAll(waiting => waiting.File == file);
            _epochs.Retire(letGo);
        }
    }
}
