namespace Pitr.Bench;

/// <summary>
/// Counts latencies in log-linear buckets (64 to a doubling, error below 1.6 %), from 1 ns to 2 minutes. One thread.
/// </summary>
internal sealed class LatencyHistogram
{
    private const int PerDoubling = 64;
    /// <summary>What one takes.</summary>
    public const int LengthBytes = 38 * PerDoubling * sizeof(long);

    private readonly long[] _counts = new long[38 * PerDoubling];

    public long Count { get; private set; }

    public long MaxNanoseconds { get; private set; }

    /// <summary>When the longest ended: what was given with it.</summary>
    public long MaxEnded { get; private set; }

    public void Add(long nanoseconds, long ended = 0)
    {
        _counts[IndexOf(nanoseconds)]++;
        Count++;
        if (nanoseconds > MaxNanoseconds)
            (MaxNanoseconds, MaxEnded) = (nanoseconds, ended);
    }

    public void Add(LatencyHistogram other)
    {
        for (int i = 0; i < _counts.Length; i++)
            _counts[i] += other._counts[i];
        Count += other.Count;
        if (other.MaxNanoseconds > MaxNanoseconds)
            (MaxNanoseconds, MaxEnded) = (other.MaxNanoseconds, other.MaxEnded);
    }

    /// <summary>The latency that the given share (0 to 1) of all stays below, in microseconds.</summary>
    public double PercentileMicroseconds(double share)
    {
        long wanted = (long)Math.Ceiling(Count * share);
        long seen = 0;
        for (int i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= wanted && seen > 0)
                return UpperBound(i) / 1000.0;
        }

        return 0;
    }

    private static int IndexOf(long nanoseconds)
    {
        ulong value = (ulong)Math.Max(1, nanoseconds);
        int doubling = 63 - System.Numerics.BitOperations.LeadingZeroCount(value);
        int within = doubling < 6 ? (int)((value << (6 - doubling)) & 63) : (int)((value >> (doubling - 6)) & 63);
        return Math.Min((doubling * PerDoubling) + within, (38 * PerDoubling) - 1);
    }

    private static double UpperBound(int index) =>
        Math.Pow(2, index / PerDoubling) * (1 + (((index % PerDoubling) + 1) / (double)PerDoubling));
}
