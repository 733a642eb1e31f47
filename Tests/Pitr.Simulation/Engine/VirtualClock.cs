namespace Pitr.Simulation;

/// <summary>
/// The time of a world: it goes on a little with each operation on the disk, and jumps to the next timer when nothing
/// else can go on. The clock that people set (UTC) can be set back or forth, the one that measures cannot (H8).
/// </summary>
internal sealed class VirtualClock(World world) : TimeProvider
{
    private static readonly DateTimeOffset Beginning = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly PriorityQueue<VirtualTimer, (long Due, ulong Order)> _timers = new();

    /// <summary>Time since the world began.</summary>
    public TimeSpan Now { get; private set; }

    /// <summary>How far somebody has set the clock.</summary>
    public TimeSpan SetBy { get; set; }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => Beginning + Now + SetBy;

    public override long GetTimestamp() => Now.Ticks;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new VirtualTimer(world, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    public void Advance(TimeSpan by) => Now += by;

    /// <summary>When the next timer is due; null if there is none.</summary>
    public TimeSpan? NextDue
    {
        get
        {
            while (_timers.TryPeek(out VirtualTimer? timer, out (long Due, ulong) at))
            {
                if (timer.IsSetFor(at.Due))
                    return new TimeSpan(at.Due);
                _timers.Dequeue();
            }

            return null;
        }
    }

    /// <summary>A timer that is due is taken out; null if none is.</summary>
    public VirtualTimer? TakeDue()
    {
        if (NextDue is not { } due || due > Now)
            return null;
        VirtualTimer timer = _timers.Dequeue();
        timer.IsTaken();
        return timer;
    }

    public void Jump(TimeSpan to) => Now = to;

    internal void Enqueue(VirtualTimer timer, TimeSpan due, ulong order) => _timers.Enqueue(timer, (due.Ticks, order));
}

/// <summary>One timer of a world; its callback is a step of whoever made it.</summary>
internal sealed class VirtualTimer(World world, Action callback) : ITimer
{
    private TimeSpan? _due;
    private TimeSpan _period;
    private bool _isReady;

    public Strand Strand { get; } = world.Current.Timers;

    public bool Change(TimeSpan dueTime, TimeSpan period)
    {
        (_period, _isReady) = (period, false);
        Set(dueTime);
        return true;
    }

    public void Dispose() => (_due, _isReady) = (null, false);

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    internal bool IsSetFor(long dueTicks) => _due is { } due && due.Ticks == dueTicks;

    /// <summary>It was taken out of the clock.</summary>
    internal void IsTaken() => (_due, _isReady) = (null, true);

    /// <summary>Its step.</summary>
    internal void Fire()
    {
        if (!_isReady)
            return; // somebody has stopped it meanwhile, or set it anew
        _isReady = false;
        world.Note("timer");
        if (_period > TimeSpan.Zero)
            Set(_period);
        callback();
    }

    private void Set(TimeSpan dueTime)
    {
        if (dueTime < TimeSpan.Zero)
        {
            _due = null;
            return;
        }

        TimeSpan due = world.Clock.Now + dueTime;
        if (_due is { } old && due == old)
            return;
        _due = due;
        world.Clock.Enqueue(this, due, Strand.NextOrder(world));
    }
}
