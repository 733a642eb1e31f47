namespace Pitr.Wal;

/// <summary>When to try a store again: growing pauses, as state only; who waits is the caller's business.</summary>
/// <remarks>
/// Policy: 1 s after the first failure, then twice as long each time, up to 60 s. What only an operator can change
/// (another owner, other content, another database) waits 60 s at once.
/// </remarks>
internal sealed class ShipRetry
{
    public static readonly TimeSpan PauseFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(60);

    /// <summary>Failures in a row.</summary>
    public int Failures { get; private set; }

    /// <summary>The last failure; null after a success.</summary>
    public PitrException? LastError { get; private set; }

    /// <summary>Not before this.</summary>
    public DateTimeOffset NextAttempt { get; private set; } = DateTimeOffset.MinValue;

    /// <summary>Notes a failure.</summary>
    public void Failed(PitrException error, DateTimeOffset now)
    {
        Failures++;
        LastError = error;
        TimeSpan pause = error is StorageFailedException
            ? TimeSpan.FromTicks(Math.Min(PauseMax.Ticks, PauseFirst.Ticks << Math.Min(Failures - 1, 10)))
            : PauseMax;
        NextAttempt = now + pause;
    }

    /// <summary>Ends the pause.</summary>
    public void TryNow() => NextAttempt = DateTimeOffset.MinValue;

    /// <summary>Notes a success.</summary>
    public void Succeeded() => (Failures, LastError, NextAttempt) = (0, null, DateTimeOffset.MinValue);
}
