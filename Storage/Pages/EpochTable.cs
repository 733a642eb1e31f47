using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// Who is reading right now: memory, arenas and disk pages that were taken out of sight are reused only after everybody
/// who may still look at them has left (H12).
/// </summary>
/// <remarks>
/// STATE  a clock of epochs, and one slot a thread with the epoch in which its outermost guard was entered; 0 is
/// "outside". A retired action carries the epoch in which its object was taken out of sight; it is due when no slot
/// holds that epoch or an earlier one.
///
/// INVARIANTS
///   E1  An action runs only after every guard and hold that was entered before <see cref="Retire"/> has ended.
///   E2  A slot is written by its own thread only (a hold's by whoever ends it).
///
/// PROOF  A reader stores its slot, then a full fence, then reads what is published. A retirer takes the object out of
/// sight, then moves the clock (a full fence), and whoever collects reads the slots after that. So either the collector
/// sees the reader's slot and waits, or the reader's fence comes after the collector's look and it cannot find the
/// object.
///
/// THREADS  any. The lock protects the queue and the tables' growth, never a guard.
/// FAILURE  actions must not throw: what they free would be lost for the rest of the batch.
/// </remarks>
internal sealed class EpochTable(IThreads? threads = null) : IThreadPoolWorkItem
{
    private const int SlotsPerChunk = 64;

    private readonly Lock _lock = new();
    private readonly Queue<(long Epoch, Action Release)> _retired = new();
    private readonly Stack<int> _freeHolds = new();
    private Slot[][] _threads = [];
    private Slot[][] _holds = [];
    private int _holdCount;
    private long _clock = 1;
    private int _retiredCount;
    private int _running;
    private int _isSoon;

    /// <summary>Where work goes on beside the caller: what is read ahead, what is released.</summary>
    public IThreads Threads { get; } = threads ?? PoolThreads.Instance;

    /// <summary>Actions that have not run yet.</summary>
    public int Waiting => Volatile.Read(ref _retiredCount);

    /// <summary>Begins a read on this thread; the guard's Dispose ends it. Guards may be nested.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public EpochGuard Enter()
    {
        int thread = Environment.CurrentManagedThreadId;
        Slot[][] chunks = _threads;
        int chunk = thread / SlotsPerChunk;
        ref Slot slot = ref (uint)chunk < (uint)chunks.Length
            ? ref chunks[chunk][thread % SlotsPerChunk]
            : ref Grow(thread);
        if (slot.Depth++ == 0)
            Interlocked.Exchange(ref slot.Epoch, Volatile.Read(ref _clock)); // full fence: see PROOF
        return new EpochGuard(ref slot);
    }

    /// <summary>
    /// Begins a read that is not bound to a thread, such as a page that is loaded ahead by another one. Called inside a
    /// guard it counts as entered when that guard was, so that it also covers what was found since then.
    /// </summary>
    public EpochHold Hold()
    {
        int index;
        lock (_lock)
        {
            if (!_freeHolds.TryPop(out index))
            {
                index = _holdCount++;
                if (index / SlotsPerChunk >= _holds.Length)
                    _holds = [.. _holds, new Slot[SlotsPerChunk]];
            }
        }
        Interlocked.Exchange(ref HoldSlot(index).Epoch, IsInside ? OwnEpoch() : Volatile.Read(ref _clock));
        return new EpochHold(this, index);
    }

    /// <summary>
    /// Runs <paramref name="release"/> some time after every guard that was entered before this call has ended.
    /// </summary>
    public void Retire(Action release)
    {
        lock (_lock)
        {
            long epoch = Interlocked.Increment(ref _clock) - 1;
            _retired.Enqueue((epoch, release));
            Volatile.Write(ref _retiredCount, _retired.Count);
        }
    }

    /// <summary>Runs what is due, on the calling thread; returns how many actions ran.</summary>
    public int Collect()
    {
        if (Waiting == 0)
            return 0;
        int ran = 0;
        while (true)
        {
            Action release;
            lock (_lock)
            {
                if (_retired.Count == 0 || _retired.Peek().Epoch >= OldestRunning())
                    return ran;
                release = _retired.Dequeue().Release;
                Volatile.Write(ref _retiredCount, _retired.Count);
                _running++;
            }
            try
            {
                release();
            }
            finally
            {
                lock (_lock)
                    _running--;
            }
            ran++;
        }
    }

    /// <summary>
    /// Lets a thread of the pool run what is due, for callers that have no time for it: an emptied write buffer takes
    /// milliseconds to give back. What is not due within some tries is left to whoever collects next.
    /// </summary>
    public void CollectSoon()
    {
        if (Interlocked.Exchange(ref _isSoon, 1) == 0)
            Threads.Queue(this);
    }

    /// <summary>
    /// Waits until all guards and holds that are entered now have ended, and until every action retired before has run
    /// (H41).
    /// </summary>
    public void AwaitAll()
    {
        Invariant.Require(!IsInside, "E1", "a thread inside an epoch waits for all epochs to end.");
        long epoch = Interlocked.Increment(ref _clock) - 1;
        var spin = new SpinWait();
        while (OldestRunning() <= epoch)
            Threads.Yield(ref spin);
        Collect();
        while (IsRunning()) // on another thread
            Threads.Yield(ref spin);
    }

    /// <summary>True if the calling thread is inside a guard.</summary>
    public bool IsInside
    {
        get
        {
            int thread = Environment.CurrentManagedThreadId;
            Slot[][] chunks = _threads;
            return thread / SlotsPerChunk < chunks.Length
                && chunks[thread / SlotsPerChunk][thread % SlotsPerChunk].Depth > 0;
        }
    }

    internal void End(int hold)
    {
        Volatile.Write(ref HoldSlot(hold).Epoch, 0);
        lock (_lock)
            _freeHolds.Push(hold);
    }

    private long OwnEpoch()
    {
        int thread = Environment.CurrentManagedThreadId;
        return _threads[thread / SlotsPerChunk][thread % SlotsPerChunk].Epoch;
    }

    /// <summary>What <see cref="CollectSoon"/> has queued.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        Volatile.Write(ref _isSoon, 0);
        var spin = new SpinWait();
        for (int tries = 0; tries < 20 && Waiting > 0; tries++)
        {
            Collect();
            Threads.Yield(ref spin);
        }
    }

    private bool IsRunning()
    {
        lock (_lock)
            return _running > 0;
    }

    private ref Slot HoldSlot(int index) => ref _holds[index / SlotsPerChunk][index % SlotsPerChunk];

    private long OldestRunning()
    {
        Interlocked.MemoryBarrier();
        return Math.Min(Oldest(Volatile.Read(ref _threads)), Oldest(Volatile.Read(ref _holds)));
    }

    private static long Oldest(Slot[][] chunks)
    {
        long oldest = long.MaxValue;
        foreach (Slot[] chunk in chunks)
        {
            for (int i = 0; i < chunk.Length; i++)
            {
                long epoch = Volatile.Read(ref chunk[i].Epoch);
                if (epoch != 0 && epoch < oldest)
                    oldest = epoch;
            }
        }
        return oldest;
    }

    // Managed thread ids are small and given again after a thread has ended, so the table stays as small as the
    // process.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private ref Slot Grow(int thread)
    {
        lock (_lock)
        {
            Slot[][] chunks = _threads;
            int needed = thread / SlotsPerChunk + 1;
            if (chunks.Length < needed)
            {
                var grown = new Slot[needed][];
                chunks.CopyTo(grown, 0); // the chunks themselves never move: guards hold references into them
                for (int i = chunks.Length; i < needed; i++)
                    grown[i] = new Slot[SlotsPerChunk];
                Volatile.Write(ref _threads, grown);
                chunks = grown;
            }
            return ref chunks[thread / SlotsPerChunk][thread % SlotsPerChunk];
        }
    }

    /// <summary>Two cache lines a slot, so that no two threads' epochs share one.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 128)]
    internal struct Slot
    {
        public long Epoch;
        public int Depth;
    }
}

/// <summary>A read in progress on this thread; see <see cref="EpochTable.Enter"/>.</summary>
internal readonly ref struct EpochGuard
{
    private readonly ref EpochTable.Slot _slot;

    internal EpochGuard(ref EpochTable.Slot slot) => _slot = ref slot;

    /// <summary>Ends it. Once only, on the thread that began it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Dispose()
    {
        if (--_slot.Depth == 0)
            Volatile.Write(ref _slot.Epoch, 0);
    }
}

/// <summary>A read in progress that is not bound to a thread; see <see cref="EpochTable.Hold"/>.</summary>
internal readonly struct EpochHold : IDisposable
{
    private readonly EpochTable _table;
    private readonly int _index;

    internal EpochHold(EpochTable table, int index) => (_table, _index) = (table, index);

    /// <summary>Ends it. Once only, on any thread.</summary>
    public void Dispose() => _table.End(_index);
}
