using Akka.Actor;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Back pressure (design §3): from half of the limit of buffered bytes a commit is delayed in proportion, at the limit
/// it waits for a flush, and after the request timeout it is refused. Memory does not grow, and nobody waits for ever.
/// </summary>
/// <remarks>
/// ORDER  a queue: while a commit is delayed those behind it wait too, so that the commits of one thread get their LSNs
/// in the order of its calls. Delays run beside each other: a commit is due when its own delay is over, and not before
/// the one ahead of it. A delayed commit is one that WalWriter has not taken: a cancellation withdraws it. When the
/// engine stops, what is delayed goes to the closed intake, which fails it, at the latest after <see cref="LongestDelay"/>.
/// THREADS  any number of callers; one pump, a task that runs while something is delayed.
/// </remarks>
internal sealed class CommitDelay(EngineContext engine, IActorRef walWriter) : IThreadPoolWorkItem
{
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan ShortestWait = TimeSpan.FromMilliseconds(1);

    private readonly Lock _gate = new();
    private readonly Queue<Delayed> _queue = new();
    private int _count;
    private long _lastDue;

    /// <summary>Commits that are delayed now.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>
    /// Hands the commit to WalWriter, now or when it is due. The caller has its task already.
    /// </summary>
    public void Enqueue(PendingCommit commit)
    {
        if (Count == 0 && (IsFarFromFull || engine.Fill < 0.5))
        {
            Pass(commit);
            return;
        }

        long now = engine.Clock.GetTimestamp();
        TimeSpan delay = DelayAt(engine.Fill);
        lock (_gate)
        {
            _lastDue = Math.Max(_lastDue, now + (long)(delay.TotalSeconds * engine.Clock.TimestampFrequency));
            _queue.Enqueue(new Delayed(commit, now, _lastDue));
            _count++;
            if (_count > 1)
                return; // the pump runs
        }

        engine.Threads.Queue(this);
    }

    /// <summary>
    /// True if far from any delay, as of the last group and what came since: the look that each commit can afford. The
    /// exact one reads what other threads write all the time.
    /// </summary>
    private bool IsFarFromFull =>
        engine.FillAtLastGroup < 0.25
        && engine.Intake.Bytes < Math.Min(engine.WriteBufferBytesMax, engine.Intake.BytesMax) / 8;

    /// <summary>In proportion: nothing much at half, the most when it is full.</summary>
    public static TimeSpan DelayAt(double fill) => LongestDelay * Math.Clamp((fill - 0.5) * 2, 0.1, 1);

    /// <summary>Begins the pump.</summary>
    void IThreadPoolWorkItem.Execute() => _ = PumpAsync();

    private async Task PumpAsync()
    {
        while (true)
        {
            Delayed first;
            lock (_gate)
                first = _queue.Peek();
            TimeSpan wait = TimeSpan.Zero;
            bool isRefused = false;
            if (engine.Intake.ClosedWhy is null)
            {
                long now = engine.Clock.GetTimestamp();
                if (now < first.Due)
                    wait = engine.Clock.GetElapsedTime(now, first.Due);
                else if (engine.Fill >= 1)
                    (wait, isRefused) =
                        (LongestDelay, engine.Clock.GetElapsedTime(first.Since) > engine.Options.RequestTimeout);
            }

            if (wait > TimeSpan.Zero && !isRefused)
            {
                await Task.Delay(wait < ShortestWait ? ShortestWait : wait, engine.Clock).ConfigureAwait(false);
                continue;
            }

            lock (_gate)
            {
                _queue.Dequeue();
                if (isRefused)
                    Refuse(first.Commit);
                else
                    Pass(first.Commit); // before it counts as gone: who comes next may pass by itself
                if (--_count == 0)
                    return;
            }
        }
    }

    private void Pass(PendingCommit commit)
    {
        commit.Since = engine.Metrics.TimesCommits && engine.Intake.IsEmpty ? engine.Clock.GetTimestamp() : 0;
        if (engine.Intake.Enqueue(commit))
            walWriter.Tell(Drain.Instance, ActorRefs.NoSender);
    }

    private void Refuse(PendingCommit commit)
    {
        PitrException why = EngineErrors.BuffersFull(engine.Slots.BufferedBytes, engine.WriteBufferBytesMax);
        engine.Metrics.NoteRefused(why);
        commit.Complete(why);
    }

    private readonly record struct Delayed(PendingCommit Commit, long Since, long Due);
}
