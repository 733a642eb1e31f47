using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// Moves visible LSN in group order (I8): a group becomes visible when every datafile concerned has applied it and the
/// group before it is visible. Then, and not before, its callers complete: durable and visible.
/// </summary>
/// <remarks>
/// THREADS  WalWriter publishes groups in order; any datafile's thread reports; whoever completes one advances. The
/// lock protects the queue and the order; callers are completed outside of it, on threads of the pool.
/// Credits: WalWriter asks <see cref="TryAwaitCredit"/> before it takes the next group, so that it is at most
/// <see cref="GroupsMax"/> ahead of the slowest datafile.
/// </remarks>
internal sealed class VisibilityTracker(IThreads threads, TimeProvider? clock = null, EngineMetrics? metrics = null)
{
    /// <summary>Groups that may be synced and not yet visible (design §3).</summary>
    public const int GroupsMax = 4;

    private readonly Lock _gate = new();
    private readonly Stack<CommitGroup> _spare = new();
    private readonly List<(Lsn Lsn, IActorRef To, object Message)> _waiters = [];
    private CommitGroup? _oldest;
    private CommitGroup? _newest;
    private int _groups;
    private long _bytes;
    private (IActorRef To, object Message)? _creditWaiter;
    private ulong _visible;
    private Func<Exception>? _failed;

    /// <summary>Where callers go on.</summary>
    public IThreads Threads { get; } = threads;

    /// <summary>A snapshot at this LSN sees all of every transaction at or below it.</summary>
    public Lsn Visible => new(Volatile.Read(ref _visible));

    /// <summary>Bytes of the groups that are synced and not yet visible.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Sets where an opened database begins.</summary>
    public void Start(Lsn visible) => Volatile.Write(ref _visible, visible.Value);

    /// <summary>An empty group to fill.</summary>
    public CommitGroup Rent()
    {
        lock (_gate)
        {
            if (_spare.TryPop(out CommitGroup? group))
                return group;
        }

        return new CommitGroup();
    }

    /// <summary>Puts a synced group, with its expectations set, at the end of the queue.</summary>
    public void Publish(CommitGroup group)
    {
        Func<Exception>? failed;
        lock (_gate)
        {
            failed = _failed;
            if (failed is not null)
                group.Next = null;
            else if (_newest is null)
                _oldest = group;
            else
                _newest.Next = group;
            if (failed is null)
            {
                _newest = group;
                _groups++;
                Volatile.Write(ref _bytes, _bytes + group.Bytes);
            }
        }

        if (failed is not null)
            FailMembers(group, failed); // what came before was given up: visible LSN must not pass over it (I8)
        else if (group.IsApplied)
            Advance(); // nothing but begins, or events that no datafile hears of
    }

    /// <summary>A datafile has applied the group.</summary>
    public void Applied(CommitGroup group, FileId file)
    {
        if (group.Applied(file))
            Advance();
    }

    /// <summary>
    /// A datafile will apply nothing any more: it counts as having applied. WalWriter says so, after which it expects
    /// it of no later group.
    /// </summary>
    public void FileGone(FileId file)
    {
        lock (_gate)
        {
            for (CommitGroup? group = _oldest; group is not null; group = group.Next)
                group.Applied(file);
        }

        Advance();
    }

    /// <summary>True if another group may be begun; otherwise the message is sent when it may.</summary>
    public bool TryAwaitCredit(IActorRef to, object message)
    {
        lock (_gate)
        {
            if (_groups < GroupsMax)
                return true;
            _creditWaiter = (to, message);
            return false;
        }
    }

    /// <summary>Sends the message once visible LSN has reached <paramref name="lsn"/>; at once if it has.</summary>
    public void WhenVisible(Lsn lsn, IActorRef to, object message)
    {
        lock (_gate)
        {
            if (Visible < lsn)
            {
                _waiters.Add((lsn, to, message));
                return;
            }
        }

        to.Tell(message, ActorRefs.NoSender);
    }

    /// <summary>The engine stops: every caller in the queue ends with the error.</summary>
    public void FailAll(Func<Exception> why)
    {
        CommitGroup? group;
        lock (_gate)
        {
            group = _oldest;
            _oldest = _newest = null;
            _groups = 0;
            Volatile.Write(ref _bytes, 0);
            _waiters.Clear();
            _failed ??= why;
        }

        for (; group is not null; group = group.Next)
            FailMembers(group, why);
    }

    private static void FailMembers(CommitGroup group, Func<Exception> why)
    {
        for (int i = 0; i < group.Count; i++)
            group.Members[i].Abandon(why());
    }

    private void Advance()
    {
        while (true)
        {
            CommitGroup group;
            (IActorRef To, object Message)? credit = null;
            lock (_gate)
            {
                if (_oldest is null || !_oldest.IsApplied)
                    return;
                group = _oldest;
                _oldest = group.Next;
                if (_oldest is null)
                    _newest = null;
                _groups--;
                Volatile.Write(ref _bytes, _bytes - group.Bytes);
                if (group.Lsn > Visible)
                    Volatile.Write(ref _visible, group.Lsn.Value);
                TellWaiters();
                (credit, _creditWaiter) = (_creditWaiter, null);
            }

            credit?.To.Tell(credit.Value.Message, ActorRefs.NoSender);
            if (group.Since is { } since and not 0)
                metrics?.NoteVisible(clock!.GetElapsedTime(since));
            group.Complete(this);
        }
    }

    /// <summary>Nobody is in the group any more.</summary>
    public void Return(CommitGroup group)
    {
        group.Clear();
        lock (_gate)
            _spare.Push(group);
    }

    private void TellWaiters()
    {
        for (int i = _waiters.Count - 1; i >= 0; i--)
        {
            if (_waiters[i].Lsn > Visible)
                continue;
            _waiters[i].To.Tell(_waiters[i].Message, ActorRefs.NoSender);
            _waiters.RemoveAt(i);
        }
    }
}
