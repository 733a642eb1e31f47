namespace Pitr.Wal;

/// <summary>The two times of a group.</summary>
/// <param name="CommitTime">UTC, growing by at least 100 ns a group.</param>
/// <param name="RawClock">UTC, what the clock said.</param>
internal readonly record struct GroupTime(DateTimeOffset CommitTime, DateTimeOffset RawClock);

/// <summary>
/// Gives each group its commit time: UTC, growing by at least 100 ns a group on a timeline, even if the clock stands,
/// steps back, or the engine crashed in between (H8).
/// </summary>
/// <remarks>
/// It goes on from the last commit time in the WAL, which the opener gives it. When the clock steps back, commit times
/// creep by 100 ns until it has caught up; the raw clock beside them is how a time target learns that it is ambiguous.
/// THREADS  one.
/// </remarks>
internal sealed class CommitClock
{
    private readonly TimeProvider _clock;
    private long _lastTicks;

    /// <param name="clock">The system's clock.</param>
    /// <param name="last">The last commit time of the timeline and its parents; the default value if there is
    /// none.</param>
    public CommitClock(TimeProvider clock, DateTimeOffset last) => (_clock, _lastTicks) = (clock, last.UtcTicks);

    /// <summary>The last commit time given; the default value before the first.</summary>
    public DateTimeOffset Last => new(_lastTicks, TimeSpan.Zero);

    /// <summary>The times of the next group.</summary>
    public GroupTime Next()
    {
        DateTimeOffset raw = _clock.GetUtcNow().ToUniversalTime();
        _lastTicks = Math.Max(raw.UtcTicks, _lastTicks + 1);
        return new GroupTime(Last, raw);
    }
}
