namespace Pitr.Storage;

/// <summary>
/// Bytes per second for one caller, such as a backup with a limit: says how long to wait before the next bytes.
/// </summary>
/// <remarks>
/// STATE  the instant from which the next bytes may go. Time that passed unused is not saved up, so there are no
/// bursts. A long wait is made of short ones, so that whoever ends the work does not wait for the rate.
/// THREADS  any.
/// </remarks>
internal sealed class RateLimit
{
    /// <summary>The longest piece of a wait.</summary>
    public static readonly TimeSpan PieceMax = TimeSpan.FromMilliseconds(100);

    private readonly TimeProvider _clock;
    private readonly Lock _lock = new();
    private double _bytesPerSecond;
    private long _next;

    /// <exception cref="ArgumentException">The rate is not more than 0: nothing would go, and no wait end.</exception>
    public RateLimit(TimeProvider clock, double bytesPerSecond) => (_clock, _bytesPerSecond) = (
        clock, bytesPerSecond > 0 ? bytesPerSecond : throw new ArgumentException("A rate is more than 0 bytes a second."));

    /// <summary>Infinity is "no limit".</summary>
    public double BytesPerSecond
    {
        get => Volatile.Read(ref _bytesPerSecond);
        set => Volatile.Write(ref _bytesPerSecond, value);
    }

    /// <summary>Books bytes and waits until they may go, or until it is over.</summary>
    /// <param name="bytes">How many.</param>
    /// <param name="pause">Waits; called without locks, for <see cref="PieceMax"/> at most.</param>
    /// <param name="isOver">True if nobody wants the bytes any more.</param>
    public void Wait(int bytes, Action<TimeSpan> pause, Func<bool> isOver)
    {
        for (TimeSpan left = Book(bytes); left > TimeSpan.Zero && !isOver(); left -= PieceMax)
            pause(left < PieceMax ? left : PieceMax);
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
