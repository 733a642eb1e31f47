using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// The clean pages of all datafiles of a database in native memory, within one budget.
/// </summary>
/// <remarks>
/// STATE  frames (<see cref="PageFrames"/>) and, per file, a page table (<see cref="PagedFile"/>). When fewer than a
/// reserve of frames is free, the clock's hand takes pages that were not used since it last passed out of their tables;
/// their frames are reused once the epochs in which they may still be read have ended.
///
/// INVARIANTS
///   C1, C2  see <see cref="PageFrames"/>.
///   C3  Frames stay within the budget, but for those that a read takes while readers keep all others from being
///       reused: a read never waits for another read, but for some yields. As soon as frames come back, all extra ones are evicted, and
///       their slabs go back to the system: by the next read that misses, or by <see cref="TrimSoon"/>, since where all is
///       in the cache none does. Pages that nobody waits for (read ahead, written by a flush) never take one.
///
/// THREADS  any. The lock protects the frames' lists; a hit takes no lock.
/// FAILURE  <see cref="OutOfMemoryException"/> from the system goes to the reader.
/// </remarks>
internal sealed unsafe class PageCache : IDisposable, IThreadPoolWorkItem
{
    /// <summary>Least budget: below it a flush and a few readers would live on extra frames.</summary>
    public const long BudgetBytesMin = 4L << 20;

    private const int EvictedAtOnceMax = 128;
    private const int ReserveMax = 1024;
    private const int YieldsMax = 4;

    private readonly Lock _lock = new();
    private readonly PageFrames _frames = new();
    private readonly List<PagedFile?> _files = [];
    private readonly int _framesMax;
    private readonly int _reserve;
    private int _evictingFrames;
    private bool _extraInUse;
    private long _loads;
    private long _evictions;
    private bool _disposed;

    /// <param name="budgetBytes">How much native memory pages may take; at least <see cref="BudgetBytesMin"/>.</param>
    /// <param name="epochs">In which pages are read.</param>
    /// <param name="slabsMax">Of the slabs that the budget holds so many are used at most.</param>
    public PageCache(long budgetBytes, EpochTable epochs, int slabsMax = int.MaxValue)
    {
        BudgetBytes = Math.Max(budgetBytes, BudgetBytesMin);
        Epochs = epochs;
        int slabs = (int)Math.Min(
            slabsMax, Math.Min(BudgetBytes / PageFrames.SlabBytes, int.MaxValue / PageFrames.FramesPerSlab));
        _framesMax = slabs * PageFrames.FramesPerSlab;
        _reserve = Math.Min(_framesMax / 8, ReserveMax);
    }

    /// <summary>How much native memory pages may take.</summary>
    public long BudgetBytes { get; }

    /// <summary>The epochs in which pages are read.</summary>
    public EpochTable Epochs { get; }

    /// <summary>Pages read from disk since the start.</summary>
    public long Loads => Volatile.Read(ref _loads);

    /// <summary>Pages that made room since the start.</summary>
    public long Evictions => Volatile.Read(ref _evictions);

    /// <summary>Native memory held now.</summary>
    public long HeldBytes
    {
        get
        {
            lock (_lock)
                return (long)_frames.Count * PageFrames.Stride;
        }
    }

    /// <summary>
    /// Begins to cache a file. The handle stays the caller's; it is closed after the returned object was.
    /// </summary>
    public PagedFile OpenFile(IFileHandle handle, string name)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            int index = _files.IndexOf(null);
            if (index < 0)
            {
                index = _files.Count;
                _files.Add(null);
            }
            var file = new PagedFile(this, index, handle, name);
            _files[index] = file;
            return file;
        }
    }

    /// <summary>
    /// Called each second: lets a thread of the pool give back what reads took beyond the budget, if their epochs have
    /// ended since.
    /// </summary>
    public void TrimSoon()
    {
        if (!HasRoom || Epochs.Waiting > 0)
            Epochs.Threads.Queue(this);
    }

    /// <summary>Frees all memory. Every file has to be closed before.</summary>
    public void Dispose()
    {
        Epochs.AwaitAll(); // files that were closed without waiting end with it
        lock (_lock)
        {
            if (_disposed)
                return;
            Invariant.Require(
                _files.TrueForAll(file => file is null), "C2", "the page cache is closed before its files.");
            _disposed = true;
        }
        lock (_lock)
            _frames.Dispose();
    }

    /// <summary>False while reads take frames beyond the budget: there is no room for what nobody waits for.</summary>
    internal bool HasRoom => !Volatile.Read(ref _extraInUse);

    /// <summary>What is to be read ahead.</summary>
    internal PrefetchRuns Ahead { get; } = new();

    internal void NoteLoad() => Interlocked.Increment(ref _loads);

    /// <summary>
    /// A frame to fill. It becomes readable by <see cref="PagedFile"/>, or is given back with <see cref="GiveBack"/>.
    /// </summary>
    internal byte* Take(int file, uint number)
    {
        byte* page = TryTake(file, number);
        return page != null ? page : Begin(TakeLast(), file, number);
    }

    /// <summary>The same within the budget: null if all frames are in use or wait for readers.</summary>
    internal byte* TryTake(int file, uint number)
    {
        Epochs.Collect();
        byte* page;
        lock (_lock)
        {
            page = _frames.TryTake();
            if (page == null && _frames.Count < _framesMax)
            {
                _frames.AddSlab();
                page = _frames.TryTake();
            }
            else if (page != null && _extraInUse)
                EvictExtra(); // epochs end again
            if (_frames.Count >= _framesMax && _frames.FreeCount + _evictingFrames < _reserve)
                EvictSome();
        }
        return page == null ? null : Begin(page, file, number);
    }

    /// <summary>A frame that nobody got to see.</summary>
    internal void GiveBack(byte* page)
    {
        lock (_lock)
            _frames.GiveBack(page);
    }

    /// <summary>Frames that no page table names any more.</summary>
    internal void Retire(List<nint> pages)
    {
        foreach (nint page in pages)
            PageFrames.HeadOf((byte*)page)->State = FrameState.Retired;
        Epochs.Retire(() =>
        {
            lock (_lock)
            {
                foreach (nint page in pages)
                    _frames.GiveBack((byte*)page);
            }
        });
    }

    /// <summary>
    /// Ends a file that no reader is in or can enter: its pages leave the cache, its page table is freed.
    /// </summary>
    internal void Close(PagedFile file, nint[] table)
    {
        lock (_lock) // the clock's hand, too, is out of the table now
        {
            foreach (nint page in _frames.ResidentOf(file.Index))
            {
                PageFrames.HeadOf((byte*)page)->State = FrameState.Retired;
                _frames.GiveBack((byte*)page);
            }
            foreach (nint chunk in table)
                NativeMemory.Free((void*)chunk);
            _files[file.Index] = null;
        }
    }

    /// <summary>What <see cref="TrimSoon"/> has queued.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        Epochs.Collect();
        lock (_lock)
        {
            if (!_disposed && _extraInUse && (_frames.FreeCount > 0 || _evictingFrames == 0))
                EvictExtra();
        }
        Epochs.Collect();
    }

    private static byte* Begin(byte* page, int file, uint number)
    {
        FrameHead* head = PageFrames.HeadOf(page);
        head->File = file;
        head->Number = number;
        head->Referenced = 0;
        return page;
    }

    // All frames are in use or wait for readers. Others get a moment to end; then a frame beyond the budget (C3).
    private byte* TakeLast()
    {
        Ahead.Drop();
        for (int tries = 0; ; tries++)
        {
            Epochs.Collect();
            lock (_lock)
            {
                byte* page = _frames.TryTake();
                if (page != null)
                    return page;
                if (tries == YieldsMax)
                {
                    _extraInUse = true;
                    return _frames.TakeExtra();
                }
            }
            Epochs.Threads.Yield();
        }
    }

    private void EvictExtra()
    {
        _extraInUse = false;
        List<nint> victims = _frames.ResidentExtra();
        victims.RemoveAll(page => !TryUnlink((byte*)page));
        _evictions += victims.Count;
        if (victims.Count != 0)
            Retire(victims);
    }

    private bool TryUnlink(byte* page)
    {
        FrameHead* head = PageFrames.HeadOf(page);
        return _files[head->File]!.TryUnlink(head->Number, page);
    }

    private void EvictSome()
    {
        var victims = new List<nint>(EvictedAtOnceMax);
        while (victims.Count < EvictedAtOnceMax)
        {
            byte* page = _frames.NextVictim();
            if (page == null)
                break;
            if (TryUnlink(page))
            {
                PageFrames.HeadOf(page)->State = FrameState.Retired;
                victims.Add((nint)page);
            }
        }
        if (victims.Count == 0)
            return;
        _evictingFrames += victims.Count;
        _evictions += victims.Count;
        Epochs.Retire(() => Reuse(victims));
    }

    private void Reuse(List<nint> victims)
    {
        lock (_lock)
        {
            _evictingFrames -= victims.Count;
            foreach (nint page in victims)
                _frames.GiveBack((byte*)page);
            if (_extraInUse)
                EvictExtra();
        }
    }
}
