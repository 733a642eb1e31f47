namespace Pitr.Actors;

/// <summary>
/// The transactions that share one write and one sync of the WAL, until all of their datafiles have applied them.
/// Used again and again; it holds no caller's data beyond its round.
/// </summary>
/// <remarks>
/// CALLERS GO ON on threads of the pool, one work item for many of them: a queued item a caller, and an object for it,
/// cost more than the rest of the hand-over. A caller that blocks holds up nobody: whoever begins to run queues another
/// item first as long as callers are left, so that another thread can always take the next one.
/// </remarks>
internal sealed class CommitGroup : IThreadPoolWorkItem
{
    private VisibilityTracker? _returnTo;
    private int _items; // queued or running
    private int _claimed;
    private Expectation[] _expected = new Expectation[4];
    private int _expectedCount;
    private int _outstanding;

    public PendingCommit[] Members { get; private set; } = new PendingCommit[64];

    public int Count { get; private set; }

    /// <summary>Bytes of its members.</summary>
    public long Bytes { get; private set; }

    /// <summary>The group's last LSN: visible LSN once all of it is applied and the group before is visible.</summary>
    public Lsn Lsn { get; set; }

    /// <summary>When its first member was handed in, by the clock's timestamps; 0 if nobody wants to know.</summary>
    public long Since { get; set; }

    /// <summary>Link of the visibility queue.</summary>
    public CommitGroup? Next;

    public void Add(PendingCommit commit)
    {
        if (Count == Members.Length)
        {
            PendingCommit[] larger = new PendingCommit[Count * 2];
            Members.CopyTo(larger, 0);
            Members = larger;
        }

        Members[Count++] = commit;
        Bytes += commit.IntakeBytes;
    }

    /// <summary>The group waits for this datafile's <see cref="Applied"/>. Only before it is published.</summary>
    public void Expect(FileId file)
    {
        if (_expectedCount == _expected.Length)
            Array.Resize(ref _expected, _expectedCount * 2);
        _expected[_expectedCount++] = new Expectation { File = file };
        _outstanding++;
    }

    /// <summary>
    /// A datafile has applied it, or counts as having done so. True if it was the last one. May be said twice.
    /// </summary>
    public bool Applied(FileId file)
    {
        for (int i = 0; i < _expectedCount; i++)
        {
            if (_expected[i].File == file && Interlocked.Exchange(ref _expected[i].Done, 1) == 0)
                return Interlocked.Decrement(ref _outstanding) == 0;
        }

        return false;
    }

    public bool IsApplied => Volatile.Read(ref _outstanding) == 0;

    /// <summary>It is visible: its callers go on, then it goes back to the tracker.</summary>
    public void Complete(VisibilityTracker returnTo)
    {
        if (Count == 0)
        {
            returnTo.Return(this);
            return;
        }

        _returnTo = returnTo;
        _claimed = 0;
        _items = 1;
        returnTo.Threads.Queue(this);
    }

    /// <summary>Runs callers until none is left.</summary>
    public void Execute()
    {
        if (Volatile.Read(ref _claimed) < Count - 1)
        {
            Interlocked.Increment(ref _items);
            _returnTo!.Threads.Queue(this);
        }

        for (int next; (next = Interlocked.Increment(ref _claimed) - 1) < Count;)
            Members[next].Complete();
        if (Interlocked.Decrement(ref _items) == 0)
            _returnTo!.Return(this);
    }

    public void Clear()
    {
        Array.Clear(Members, 0, Count);
        Count = 0;
        Bytes = 0;
        _expectedCount = 0;
        _outstanding = 0;
        Next = null;
        Lsn = default;
        Since = 0;
    }

    private struct Expectation
    {
        public FileId File;
        public int Done;
    }
}
