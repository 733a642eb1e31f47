namespace Pitr.Storage;

/// <summary>
/// How fast bulk writing may go beside commits. It is told when chunks are written and how long each sync of the WAL
/// took, and says at which rate the next chunk may come.
/// </summary>
/// <remarks>
/// What commits wait for is bounded by what is in flight at once, a chunk; the rate keeps their mean within bounds too.
/// POLICY
/// <code>
///   usual           the mean of the WAL's syncs during which no chunk was in flight: those since the last decision, so
///                   that what slows down all of them for a moment slows down nothing here; if they are fewer than
///                   eight, about the last 64. At a limited rate there are always some
///   present         the mean of all syncs since the last decision, the eight last ones at least
///   slow            the present mean is above 2 × the usual one, and 2 ms more than it. One sync counts as at most four
///                   times that bound: alone it changes nothing
///   decision        at most each 50 ms: if they are slow the rate halves, and what was seen is forgotten; else, and
///                   if no sync came, it grows by a quarter
///   bulk begins     or commits do, after none for 1 s: 512 MiB/s, so that no burst comes before the first look
///   floor           4 MiB/s while less than a quarter of the write buffers is full, then twice as much each
///                   fortieth; none is left at half full, where commits begin to be held back: waiting for
///                   the flush costs them more than its writing beside them
///   no limit        from 4 GiB/s; and when no sync of the WAL came for 1 s
/// </code>
/// All syncs count as present, not those beside chunks alone: how long one waits that meets a chunk the rate does not
/// change, but how many meet one.
/// So from the floor to no limit it takes at most 2 s after the last slow sync, and 1 s after the last commit.
/// THREADS  any; the lock is held for some nanoseconds. <see cref="ReportWalSync"/> is called once a group.
/// </remarks>
internal sealed class BulkRate
{
    public const double BytesPerSecondMin = 4.0 * (1 << 20);
    public const double BytesPerSecondMax = 4.0 * (1L << 30);
    public const double BytesPerSecondAtFirst = 512.0 * (1 << 20);

    private const double Growth = 1.25;
    private const double OneSyncMax = 4; // bounds
    private const double AddedSecondsMax = 0.002;
    private const int UsualSyncsMax = 64;
    private const int PresentSyncsMin = 8;

    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan NoneAfter = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock;
    private readonly Func<double> _fillOfBuffers;
    private readonly RateLimit _limit;
    private readonly Lock _lock = new();
    private int _usualSyncs; // at most 64
    private double _usual; // seconds
    private double _present; // seconds, at the last decision
    private int _stepSyncs;
    private double _stepSeconds; // of these
    private int _stepUsualSyncs;
    private double _stepUsualSeconds; // of these
    private long _lastWalSync;
    private bool _hasWalSync;
    private int _inFlight;
    private long _lastChunk; // its end
    private bool _hasChunk;
    private long _lastStep;
    private long _writtenInStep;
    private bool _isBeyondMax; // no limit, since it has grown to it beside commits

    /// <param name="clock">The time.</param>
    /// <param name="fillOfBuffers">How full the write buffers are, 1 being full.</param>
    public BulkRate(TimeProvider clock, Func<double> fillOfBuffers)
    {
        (_clock, _fillOfBuffers) = (clock, fillOfBuffers);
        _limit = new RateLimit(clock, double.PositiveInfinity);
        _lastStep = clock.GetTimestamp();
    }

    /// <summary>The present limit in bytes per second; infinity is none.</summary>
    public double BytesPerSecond => _limit.BytesPerSecond;

    /// <summary>No sync of the WAL came for 1 s, when it was last decided.</summary>
    public bool IsAlone { get; private set; } = true;

    /// <summary>A sync of the WAL came within the last second.</summary>
    public bool CommitsGoOn
    {
        get
        {
            lock (_lock)
                return CommitsGoOnAt(_clock.GetTimestamp());
        }
    }

    /// <summary>Decides the rate if it is time to; called before each chunk.</summary>
    /// <returns>The present limit in bytes per second.</returns>
    public double Decide()
    {
        lock (_lock)
        {
            long now = _clock.GetTimestamp();
            IsAlone = !CommitsGoOnAt(now);
            if (IsAlone)
            {
                (_limit.BytesPerSecond, _isBeyondMax) = (double.PositiveInfinity, false);
            }
            else if (HasBegun(now))
            {
                _present = _usual;
                Set(Math.Max(BytesPerSecondAtFirst, Floor()), now);
            }
            else if (_clock.GetElapsedTime(_lastStep, now) is var passed && passed >= Step)
            {
                Set(Next(passed), now);
            }

            return _limit.BytesPerSecond;
        }
    }

    /// <summary>Books a chunk; returns how long to wait before it is written.</summary>
    public TimeSpan Book(int bytes) => _limit.Book(bytes);

    /// <summary>A chunk, or a sync of what was written, begins.</summary>
    public void Begin()
    {
        lock (_lock)
            _inFlight++;
    }

    /// <summary>It has ended, well or not.</summary>
    /// <param name="bytes">What it has written.</param>
    public void End(int bytes)
    {
        lock (_lock)
        {
            _inFlight--;
            _lastChunk = _clock.GetTimestamp();
            _hasChunk = true;
            _writtenInStep += bytes;
        }
    }

    /// <summary>How long a sync of the WAL took that has ended just now.</summary>
    public void ReportWalSync(TimeSpan took)
    {
        double seconds = took.TotalSeconds;
        lock (_lock)
        {
            long now = _clock.GetTimestamp();
            _lastWalSync = now;
            _hasWalSync = true;
            if (_usualSyncs >= PresentSyncsMin)
                seconds = Math.Min(seconds, OneSyncMax * BoundOf(_usual));
            _stepSyncs++;
            _stepSeconds += seconds;
            if (_inFlight == 0 && (!_hasChunk || _clock.GetElapsedTime(_lastChunk, now) >= took))
            {
                _usualSyncs = Math.Min(_usualSyncs + 1, UsualSyncsMax);
                _usual += (seconds - _usual) / _usualSyncs;
                _stepUsualSyncs++;
                _stepUsualSeconds += seconds;
            }
        }
    }

    private static double BoundOf(double usual) => Math.Max(2 * usual, usual + AddedSecondsMax);

    private bool CommitsGoOnAt(long now) => _hasWalSync && _clock.GetElapsedTime(_lastWalSync, now) <= NoneAfter;

    private bool HasBegun(long now) =>
        (double.IsPositiveInfinity(_limit.BytesPerSecond) && !_isBeyondMax)
        || (_inFlight == 0 && _hasChunk && _clock.GetElapsedTime(_lastChunk, now) > NoneAfter);

    private void Set(double rate, long now)
    {
        _isBeyondMax = double.IsPositiveInfinity(rate);
        _limit.BytesPerSecond = rate;
        _lastStep = now;
        _writtenInStep = 0;
        (_stepSyncs, _stepSeconds, _stepUsualSyncs, _stepUsualSeconds) = (0, 0, 0, 0);
    }

    private double Next(TimeSpan passed)
    {
        double rate = _limit.BytesPerSecond;
        if (IsSlow())
        {
            // Without a limit yet: half of what went through just now.
            double from = double.IsPositiveInfinity(rate)
                ? Math.Min(BytesPerSecondMax, _writtenInStep / passed.TotalSeconds)
                : rate;
            _present = _usual;
            return Math.Max(Floor(), from / 2);
        }

        double grown = Math.Max(Floor(), rate * Growth);
        return grown > BytesPerSecondMax ? double.PositiveInfinity : grown;
    }

    private bool IsSlow()
    {
        if (_stepSyncs == 0 || _usualSyncs < PresentSyncsMin)
            return false;
        double share = Math.Min(1, (double)_stepSyncs / PresentSyncsMin);
        _present += ((_stepSeconds / _stepSyncs) - _present) * share;
        double usual = _stepUsualSyncs < PresentSyncsMin ? _usual : _stepUsualSeconds / _stepUsualSyncs;
        return _present > BoundOf(usual);
    }

    private double Floor() => BytesPerSecondMin * Math.Pow(2, 40 * Math.Clamp(_fillOfBuffers() - 0.25, 0, 0.25));
}
