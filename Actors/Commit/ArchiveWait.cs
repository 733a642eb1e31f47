using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// Commits that wait until every store has them: the optional synchronous mode of the archive
/// (<see cref="PitrOptions.ArchiveCommitWait"/>).
/// </summary>
/// <remarks>
/// A commit that waits here is durable and visible; what it waits for is that the loss of this machine would not lose it.
/// Waiters ask the Archiver to ship at once; while one push is under way the next one collects, so many commits share one.
///
/// INVARIANTS
///   A1  A wait ends well only if each store that takes the tail has everything up to its LSN, read back; a store
///       that was removed is waited for no longer, one that was added is from then on. What was given up while a store
///       was down (ArchiveLagChoice) is not in it, though the store goes on behind it: such a wait fails.
///   A2  What is kept here grows with those who wait, and not with those who have given up while a store was down.
/// THREADS  any. FAILURE  StorageFailedException CommitNotArchived when the time is over or the engine has stopped: then
///          the commit is what it was, only not in a store.
/// </remarks>
internal sealed class ArchiveWait(TimeSpan longest, TimeProvider clock, IThreads threads)
{
    private readonly Lock _gate = new();
    private readonly PriorityQueue<TaskCompletionSource, ulong> _waiting = new();
    private Lsn _archived;
    private Lsn _lostTo;
    private Action? _ask;
    private string _lacking = "";
    private int _givenUp; // of those in the queue

    /// <summary>Entries of the queue, those who have given up and are not taken out yet among them.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _waiting.Count;
        }
    }

    /// <summary>
    /// Who ships, asked by whoever waits, on the committer's thread; and at once if somebody waits already, who has asked
    /// nobody, or the one before.
    /// </summary>
    public void AskWith(Action ask)
    {
        bool isWaitedFor;
        lock (_gate)
        {
            _ask = ask;
            isWaitedFor = _waiting.Count > 0;
        }

        if (isWaitedFor)
            ask();
    }

    /// <summary>Every store has everything up to here; <see cref="Lsn.MaxValue"/> if there is none to wait for.</summary>
    /// <param name="archived">Read back in all of them, but for what was given up.</param>
    /// <param name="lostTo">Where that ends; zero if nothing was.</param>
    /// <param name="lacking">The store that has least, and why, for the message.</param>
    public void Move(Lsn archived, Lsn lostTo, string lacking)
    {
        var done = new List<(TaskCompletionSource Waiter, Lsn Lsn)>();
        lock (_gate)
        {
            (_archived, _lostTo, _lacking) = (archived, lostTo, lacking);
            while (_waiting.TryPeek(out TaskCompletionSource? first, out ulong lsn) && lsn <= archived.Value)
            {
                _waiting.Dequeue();
                if (first.Task.IsCompleted)
                    _givenUp--;
                done.Add((first, new Lsn(lsn)));
            }
        }
        foreach ((TaskCompletionSource waiter, Lsn lsn) in done)
        {
            if (lsn > lostTo)
                waiter.TrySetResult();
            else
                waiter.TrySetException(Lost(lsn, lostTo));
        }
    }

    /// <summary>Until every store has an LSN.</summary>
    /// <exception cref="StorageFailedException">CommitNotArchived.</exception>
    /// <exception cref="OperationCanceledException">The caller waits no longer; the commit stands.</exception>
    public async Task UntilAsync(Lsn lsn, CancellationToken stopped, CancellationToken cancellation)
    {
        var waiter = new TaskCompletionSource(threads.Promises);
        Action? ask;
        lock (_gate)
        {
            if (lsn <= _archived)
            {
                if (lsn <= _lostTo)
                    throw Lost(lsn, _lostTo);
                return;
            }

            _waiting.Enqueue(waiter, lsn.Value);
            ask = _ask;
        }
        ask?.Invoke();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stopped, cancellation);
        try
        {
            await waiter.Task.WaitAsync(longest, clock, either.Token).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw EngineErrors.CommitNotArchived(lsn, Lacking, longest);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw EngineErrors.CommitNotArchived(lsn, "the engine has stopped", longest);
        }
        finally
        {
            GiveUp(waiter);
        }
    }

    private StorageFailedException Lost(Lsn lsn, Lsn lostTo) =>
        EngineErrors.CommitNotArchived(lsn, $"a store was down, and WAL up to {lostTo} was given up", longest);

    /// <summary>A2: each time that half of the queue has given up it is made anew, so a wait costs the same on average.</summary>
    private void GiveUp(TaskCompletionSource waiter)
    {
        lock (_gate)
        {
            if (!waiter.TrySetCanceled() || ++_givenUp <= _waiting.Count / 2)
                return;
            (TaskCompletionSource, ulong)[] left =
                [.. _waiting.UnorderedItems.Where(static one => !one.Element.Task.IsCompleted)];
            _waiting.Clear();
            _waiting.EnqueueRange(left);
            _givenUp = 0;
        }
    }

    private string Lacking
    {
        get
        {
            lock (_gate)
                return _lacking;
        }
    }
}
