namespace Pitr.Wal;

/// <summary>When to try a store again: growing pauses, as state only; who waits is the caller's business.</summary>
/// <remarks>
/// Policy: 1 s after the first failure, then twice as long each time, up to 60 s. What only an operator can change
/// (another owner, other content, another database) waits 60 s at once. Pauses are measured, not read off the clock:
/// one that steps back does not lengthen them (H8).
/// </remarks>
internal sealed class ShipRetry(TimeProvider clock)
{
    public static readonly TimeSpan PauseFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(60);

    private long _failedAt;

    /// <summary>Failures in a row.</summary>
    public int Failures { get; private set; }

    /// <summary>The last failure; null after a success.</summary>
    public PitrException? LastError { get; private set; }

    /// <summary>How long after the last failure nothing is tried; zero after a success.</summary>
    public TimeSpan Pause { get; private set; }

    /// <summary>True until the pause is over.</summary>
    public bool IsWaiting => Pause > TimeSpan.Zero && clock.GetElapsedTime(_failedAt) < Pause;

    /// <summary>Notes a failure.</summary>
    public void Failed(PitrException error)
    {
        Failures++;
        LastError = error;
        _failedAt = clock.GetTimestamp();
        Pause = error is StorageFailedException
            ? TimeSpan.FromTicks(Math.Min(PauseMax.Ticks, PauseFirst.Ticks << Math.Min(Failures - 1, 10)))
            : PauseMax;
    }

    /// <summary>Ends the pause.</summary>
    public void TryNow() => Pause = TimeSpan.Zero;

    /// <summary>Notes a success.</summary>
    public void Succeeded() => (Failures, LastError, Pause) = (0, null, TimeSpan.Zero);
}
