namespace Pitr.Actors;

/// <summary>
/// Where callers leave their commits and WalWriter takes them all at once: a lock-free list, bounded in bytes.
/// </summary>
/// <remarks>
/// THREADS  any number of callers enqueue; WalWriter alone takes. Whoever finds the list empty must wake the writer
/// (<see cref="Enqueue"/> says so): one wake-up for a whole group.
/// FAILURE  <see cref="Close"/> sets a flag first; every enqueue checks it again after its push, so that a commit is
/// either taken, or failed by whoever drains the closed intake. No caller waits for ever (design §3).
/// </remarks>
internal sealed class CommitIntake
{
    private PendingCommit? _newest;
    private long _bytes;
    private Exception? _closedWhy;

    public CommitIntake(long bytesMax) => BytesMax = bytesMax;

    /// <summary>Callers wait from here on.</summary>
    public long BytesMax { get; }

    /// <summary>Bytes of the commits that are in no group yet.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>True if the next one opens a group, most likely.</summary>
    public bool IsEmpty => Volatile.Read(ref _newest) is null;

    /// <summary>Why no commit is taken any more; null while it is open.</summary>
    public Exception? ClosedWhy => Volatile.Read(ref _closedWhy);

    /// <summary>Adds one commit. True if the writer must be woken.</summary>
    public bool Enqueue(PendingCommit commit)
    {
        Interlocked.Add(ref _bytes, commit.IntakeBytes);
        PendingCommit? seen = Volatile.Read(ref _newest);
        while (true)
        {
            commit.Next = seen;
            PendingCommit? found = Interlocked.CompareExchange(ref _newest, commit, seen);
            if (found == seen)
                break;
            seen = found;
        }

        if (ClosedWhy is { } why)
        {
            FailAll(why);
            return false;
        }

        return seen is null;
    }

    /// <summary>
    /// Takes all, oldest first; null if there are none. They count until the writer says that they have left.
    /// </summary>
    public PendingCommit? TakeAll()
    {
        PendingCommit? newestFirst = Interlocked.Exchange(ref _newest, null);
        PendingCommit? oldestFirst = null;
        while (newestFirst is not null)
        {
            PendingCommit? next = newestFirst.Next;
            newestFirst.Next = oldestFirst;
            oldestFirst = newestFirst;
            newestFirst = next;
        }

        return oldestFirst;
    }

    /// <summary>WalWriter has put commits of so many bytes into a group, or ended them.</summary>
    public void Left(long bytes) => Interlocked.Add(ref _bytes, -bytes);

    /// <summary>From here on every commit fails with <paramref name="why"/>, also those that are in the list.</summary>
    public void Close(Exception why)
    {
        Interlocked.CompareExchange(ref _closedWhy, why, null);
        FailAll(why);
    }

    private void FailAll(Exception why)
    {
        for (PendingCommit? commit = TakeAll(); commit is not null;)
        {
            PendingCommit? next = commit.Next;
            Left(commit.IntakeBytes);
            commit.Complete(why);
            commit = next;
        }
    }
}
