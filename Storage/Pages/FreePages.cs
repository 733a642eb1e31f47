using System.Collections.Concurrent;

namespace Pitr.Storage;

/// <summary>
/// Which pages of a datafile a flush may write, and which have to wait until nobody can read them any more.
/// </summary>
/// <remarks>
/// STATE
/// <code>
///                 Take                    the meta page is synced and the root published
///   available ───────────▶ taken ──────────────────────────────────▶ live
///       ▲                    │ drop                                    │ Free by a later flush
///       │◀───────────────────┘                                         ▼
///       └───────────── Release: views and epochs have ended ──────── waiting
/// </code>
/// <c>_free</c> holds available and waiting ones: what the file's free chain lists. Pages at or above the page count
/// were never used, or were cut off.
///
/// INVARIANTS
///   I4 (design §13)  Only a page that was taken by the running flush is written.   (asserted in <see
///       cref="FlushSink"/>)
///   F1  A page is in one of these states only.                                     (asserted in <see
///       cref="PageBits"/>)
///   F6  What the tree gives up was in use until then: neither listed as free, nor of the chain, nor taken by this flush,
///       nor given up before. The file says both, so where they differ it is damaged (<see cref="TryFree"/>).
///   F4  A page that a flush of generation g freed is available only after every view of a root below g was released
///       and every epoch that was running then has ended (H12); nothing else is cut off the file's end (H41).
///
/// POLICY  a flush takes the lowest run of at least 32 pages (256 KiB), at most 128. If there is none: single pages,
/// when more than a quarter of the file (and 64 pages) is available; else the file grows by 128 pages at a time, and
/// what is not used of them is given back at the end of the flush.
///
/// THREADS  one at a time: the worker of the running flush, or the owner when none runs. <see cref="Release"/> and the
/// counters: any.
/// </remarks>
internal sealed class FreePages
{
    public const uint RunPagesMin = 32;
    public const uint RunPagesMax = 128;
    private const long SmallRunsFrom = 64;

    private readonly PageBits _free = new();
    private readonly PageBits _available = new();
    private readonly PageBits _taken = new();
    private readonly List<uint> _freed = [];
    private readonly PageBits _givenUp = new(); // the same pages
    private readonly ConcurrentQueue<uint[]> _released = new();
    private IReadOnlyList<uint> _chain = [];
    private uint _pageCount;
    private uint _pageCountBefore;
    private uint _longRunsFrom;
    private uint _smallRunsFrom;
    private bool _freedAreListed;
    private bool _isBegun;
    private long _waitingPages;

    public FreePages(uint pageCount) => _pageCount = pageCount;

    /// <summary>True once the file's chain was read.</summary>
    public bool IsLoaded { get; private set; }

    /// <summary>All pages lie below it.</summary>
    public uint PageCount => _pageCount;

    /// <summary>Free pages that may still be read.</summary>
    public long WaitingPages => Volatile.Read(ref _waitingPages);

    /// <summary>Pages that the chain to be written lists.</summary>
    public long FreeCount => _free.Count;

    public long AvailableCount => _available.Count;

    /// <summary>The pages of the present chain.</summary>
    public IReadOnlyList<uint> Chain => _chain;

    public bool IsTaken(uint page) => _taken.Contains(page);

    public bool IsFree(uint page) => _free.Contains(page);

    /// <summary>Takes over what the file says. Once, by the first flush.</summary>
    public void Load(FreeChainContent content)
    {
        Invariant.Require(!IsLoaded, "F1", "the free pages are loaded twice.");
        foreach (PageRun run in content.Runs)
        {
            _free.Add(run.First, run.Count);
            _available.Add(run.First, run.Count);
        }
        _chain = content.Pages;
        IsLoaded = true;
    }

    /// <summary>A view's wait is over: the pages may be taken from the next flush on. Any thread.</summary>
    public void Release(uint[] pages)
    {
        _released.Enqueue(pages);
        Interlocked.Add(ref _waitingPages, -pages.Length);
    }

    // ---- a flush ---------------------------------------------------------------------------------

    /// <summary>Begins a flush.</summary>
    public void Begin()
    {
        Invariant.Require(IsLoaded && !_isBegun, "F1", "a flush begins within another one.");
        _isBegun = true;
        while (_released.TryDequeue(out uint[]? pages))
        {
            foreach (uint page in pages)
                _available.Add(page);
        }
        _pageCountBefore = _pageCount;
        _longRunsFrom = _smallRunsFrom = 0;
        _freedAreListed = false;
    }

    /// <summary>Pages next to each other that the running flush may write.</summary>
    public PageRun Take()
    {
        while (_available.NextRun(_longRunsFrom, out uint first, out uint count))
        {
            _longRunsFrom = first + Math.Min(count, RunPagesMax);
            if (count >= RunPagesMin)
                return Taken(new PageRun(first, Math.Min(count, RunPagesMax)));
            _longRunsFrom = first + count;
        }
        if (_available.Count > Math.Max(SmallRunsFrom, _pageCount / 4)
            && _available.NextRun(_smallRunsFrom, out uint small, out uint smallCount))
        {
            _smallRunsFrom = small + smallCount;
            return Taken(new PageRun(small, Math.Min(smallCount, RunPagesMax)));
        }
        return Grow(RunPagesMax);
    }

    /// <summary>Takes back pages of a run that the flush did not use.</summary>
    public void GiveBack(PageRun run)
    {
        if (run.Count == 0)
            return;
        _taken.Remove(run.First, run.Count);
        _free.Add(run.First, run.Count);
        _available.Add(run.First, run.Count);
    }

    /// <summary>
    /// The new root does not reach this page, or it is of the old chain. False if it was not in use (F6).
    /// </summary>
    public bool TryFree(uint page)
    {
        if (page < MetaPage.Slots || page >= _pageCountBefore || _free.Contains(page) || _taken.Contains(page)
            || _givenUp.Contains(page))
            return false;
        _givenUp.Add(page);
        _freed.Add(page);
        return true;
    }

    /// <summary>
    /// Ends the taking for the tree: cuts what is available at the file's end, lists what was freed, and takes the
    /// pages of the new chain. After it <see cref="PageCount"/> and <see cref="Listed"/> are those of the new meta
    /// page. The pages of the old chain were freed before.
    /// </summary>
    public List<uint> EndWithChain()
    {
        CutTail();
        foreach (uint page in _freed)
            _free.Add(page);
        _freedAreListed = true;
        // Taking can split a listed run: what is available may lie between pages that wait. So it counts again.
        List<uint> chain = [];
        uint from = 0;
        while (FreeChain.PagesFor(_free.CountRuns()) - (long)chain.Count is > 0 and var missing)
        {
            PageRun run = _available.NextRun(from, out uint first, out uint count)
                ? Taken(new PageRun(first, (uint)Math.Min(count, missing)))
                : Grow((uint)missing);
            for (uint i = 0; i < run.Count; i++)
                chain.Add(run.First + i);
            from = run.First + run.Count;
        }
        return chain;
    }

    /// <summary>What the new chain has to list.</summary>
    public PageBits Listed => _free;

    /// <summary>
    /// The meta page is durable and the new root published: returns the pages that wait from now on, to be given to
    /// <see cref="Release"/> when nobody can read them.
    /// </summary>
    public uint[] Complete(IReadOnlyList<uint> chain)
    {
        uint[] waiting = [.. _freed];
        Interlocked.Add(ref _waitingPages, waiting.Length);
        _chain = chain;
        ForgetFreed();
        _taken.Clear();
        _isBegun = false;
        return waiting;
    }

    /// <summary>
    /// The flush is dropped before its meta page: all is as before. Returns the pages that it may have written.
    /// </summary>
    public uint[] Drop()
    {
        if (!_isBegun)
            return [];
        _isBegun = false;
        if (_freedAreListed)
        {
            foreach (uint page in _freed)
                _free.Remove(page);
        }
        ForgetFreed();
        List<uint> written = [];
        uint from = 0;
        while (_taken.NextRun(from, out uint first, out uint count))
        {
            for (uint page = first; page < first + count; page++)
                written.Add(page);
            _free.Add(first, count);
            _available.Add(first, count);
            from = first + count;
        }
        _taken.Clear();
        // Pages that were cut come back as free ones, pages that were grown go.
        if (_pageCount < _pageCountBefore)
        {
            _free.Add(_pageCount, _pageCountBefore - _pageCount);
            _available.Add(_pageCount, _pageCountBefore - _pageCount);
        }
        for (uint page = _pageCountBefore; page < _pageCount; page++)
        {
            _free.Remove(page);
            _available.Remove(page);
        }
        _pageCount = _pageCountBefore;
        return [.. written];
    }

    private void ForgetFreed()
    {
        foreach (uint page in _freed)
            _givenUp.Remove(page);
        _freed.Clear();
    }

    private PageRun Taken(PageRun run)
    {
        _free.Remove(run.First, run.Count);
        _available.Remove(run.First, run.Count);
        _taken.Add(run.First, run.Count);
        return run;
    }

    private PageRun Grow(uint pages)
    {
        var run = new PageRun(_pageCount, pages);
        _pageCount = checked(_pageCount + pages);
        _taken.Add(run.First, run.Count);
        return run;
    }

    private void CutTail()
    {
        uint end = _pageCount;
        while (end > MetaPage.Slots && _available.Contains(end - 1))
            end--;
        if (end == _pageCount)
            return;
        _available.Remove(end, _pageCount - end);
        _free.Remove(end, _pageCount - end);
        _pageCount = end;
    }
}
