namespace Pitr.Storage;

/// <summary>
/// Bytes per second for one caller, such as a backup with a limit: says how long to wait before the next bytes.
/// </summary>
/// <remarks>
/// STATE  the instant from which the next bytes may go. Time that passed unused is not saved up, so there are no
/// bursts.
/// THREADS  any.
/// </remarks>
internal sealed class RateLimit
{
    private readonly TimeProvider _clock;
    private readonly Lock _lock = new();
    private double _bytesPerSecond;
    private long _next;

    public RateLimit(TimeProvider clock, double bytesPerSecond) => (_clock, _bytesPerSecond) = (clock, bytesPerSecond);

    /// <summary>Infinity is "no limit".</summary>
    public double BytesPerSecond
    {
        get => Volatile.Read(ref _bytesPerSecond);
        set => Volatile.Write(ref _bytesPerSecond, value);
    }

    /// <summary>Books bytes; returns how long the caller has to wait before it writes them.</summary>
    public TimeSpan Book(int bytes)
    {
        double rate = BytesPerSecond;
        lock (_lock)
        {
            long now = _clock.GetTimestamp();
            long start = Math.Max(now, _next);
            _next = double.IsPositiveInfinity(rate) ? now : start + (long)(bytes / rate * _clock.TimestampFrequency);
            return double.IsPositiveInfinity(rate) ? TimeSpan.Zero : _clock.GetElapsedTime(now, start);
        }
    }
}
