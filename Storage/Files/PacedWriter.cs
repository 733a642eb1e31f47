using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// The one way in which a database writes in bulk (flush, move, backup, spill, new segments), so that the WAL's syncs
/// stay fast beside it.
/// </summary>
/// <remarks>
/// POLICY
/// <code>
///   chunk                   at most 1 MiB (256 KiB below 64 MiB/s), each followed by StartWriteback
///   dirty before a sync     at most 8 MiB per file
///   rate                    halves, at most each 50 ms, when the WAL's recent sync time is above 2 × its idle median;
///                           else grows by 5 % each 50 ms; above 4 GiB/s it is no limit; never below the floor
///   one slow sync           counts as at most 8 medians: alone it does not halve the rate
///   commits begin           64 MiB/s, so that no burst comes before the first look at the WAL's syncs
///   floor                   4 MiB/s while less than a quarter of the write buffers is full, then twice as much each
///                           fortieth; none is left at half full, where commits begin to be held back: waiting for
///                           the flush costs them more than its writing beside them
///   no commits              no sync of the WAL for 1 s: no limit
///   urgent                  new WAL segments: counted, but never held back, since commits wait for them
/// </code>
/// "Idle" are WAL syncs while nothing was written here for 200 ms; their median is taken over the last 64.
///
/// INVARIANTS
///   W1  After a write-back or a sync of a handle failed, nothing is written to it or synced any more (H11): Linux may
///       have dropped the dirty pages and would report success the second time.
///
/// THREADS  any; one handle is written by one thread at a time. The lock protects the rate and
/// is not held during I/O. <see cref="ReportWalSync"/> is called once a group and takes the lock for some nanoseconds.
/// FAILURE  as the handle's; no room on the disk (DiskFull) in a write leaves the handle usable.
/// </remarks>
internal sealed class PacedWriter
{
    public const int ChunkBytesMax = 1 << 20;
    public const int ChunkBytesSlow = 256 << 10;
    public const long DirtyBytesMax = 8L << 20;
    public const double BytesPerSecondMin = 4.0 * (1 << 20);
    public const double BytesPerSecondMax = 4.0 * (1L << 30);
    public const double BytesPerSecondAtFirst = 64.0 * (1 << 20);

    private const double SlowBelow = 64.0 * (1 << 20);
    private const double OneSyncMax = 8; // idle medians
    private const int IdleSamples = 64;
    private const int IdleSamplesMin = 8;

    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan BusyFor = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan NoCommitsAfter = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock;
    private readonly Action<TimeSpan> _delay;
    private readonly Func<double> _fillOfBuffers;
    private readonly RateLimit _limit;
    private readonly Lock _lock = new();
    // as long as anybody holds the handle
    private readonly ConditionalWeakTable<IFileHandle, HandleState> _handles = [];
    private readonly double[] _idle = new double[IdleSamples];
    private int _idleCount;
    private double _idleMedian;
    private double _recent;
    private long _lastWalSync;
    private long _lastWrite;
    private long _lastStep;
    private long _writtenInStep;
    private bool _hasWalSync;
    private bool _isBeyondMax;
    private bool _hasWrite;

    /// <param name="clock">The time.</param>
    /// <param name="delay">Waits; called without locks.</param>
    /// <param name="fillOfBuffers">How full the write buffers are, 1 being full; null: empty.</param>
    public PacedWriter(TimeProvider clock, Action<TimeSpan> delay, Func<double>? fillOfBuffers = null)
    {
        _clock = clock;
        _delay = delay;
        _fillOfBuffers = fillOfBuffers ?? (static () => 0);
        _limit = new RateLimit(clock, double.PositiveInfinity);
        _lastStep = clock.GetTimestamp();
    }

    /// <summary>The present limit in bytes per second; infinity is none.</summary>
    public double BytesPerSecond => _limit.BytesPerSecond;

    /// <summary>Writes bytes in chunks, at the pace that the WAL allows.</summary>
    public void Write(IFileHandle handle, long offset, ReadOnlySpan<byte> bytes) =>
        Write(handle, offset, bytes, isUrgent: false);

    /// <summary>
    /// Writes what commits will wait for: in chunks, but before all that is paced, which waits for it.
    /// </summary>
    public void WriteUrgent(IFileHandle handle, long offset, ReadOnlySpan<byte> bytes) =>
        Write(handle, offset, bytes, isUrgent: true);

    private void Write(IFileHandle handle, long offset, ReadOnlySpan<byte> bytes, bool isUrgent)
    {
        HandleState state = StateOf(handle);
        while (!bytes.IsEmpty)
        {
            int length = Math.Min(bytes.Length, BeginChunk());
            TimeSpan wait = _limit.Book(length);
            if (!isUrgent)
                Wait(wait);
            RequireUsable(handle, state);
            handle.Write(offset, bytes[..length]);
            RunSync(state, () => handle.StartWriteback(offset, length));
            state.DirtyBytes += length;
            if (state.DirtyBytes >= DirtyBytesMax)
                Sync(handle, state);
            EndChunk(length);
            offset += length;
            bytes = bytes[length..];
        }
    }

    /// <summary>Makes all that was written to the handle durable.</summary>
    public void Sync(IFileHandle handle) => Sync(handle, StateOf(handle));

    /// <summary>True if a write-back or sync of the handle failed.</summary>
    public bool HasFailed(IFileHandle handle) => StateOf(handle).Failed;

    /// <summary>Forgets a handle that is about to be closed.</summary>
    public void Forget(IFileHandle handle) => _handles.Remove(handle);

    /// <summary>How long a sync of the WAL took. Called by the WAL's owner after each.</summary>
    public void ReportWalSync(TimeSpan took)
    {
        double seconds = took.TotalSeconds;
        lock (_lock)
        {
            long now = _clock.GetTimestamp();
            _lastWalSync = now;
            _hasWalSync = true;
            bool busy = _hasWrite && _clock.GetElapsedTime(_lastWrite, now) < BusyFor;
            if (!busy)
            {
                NoteIdle(seconds);
                _recent = 0;
                return;
            }
            if (_idleMedian > 0)
                seconds = Math.Min(seconds, OneSyncMax * _idleMedian);
            _recent += (seconds - _recent) / 8;
        }
    }

    private void NoteIdle(double seconds)
    {
        _idle[_idleCount++ % IdleSamples] = seconds;
        if (_idleCount % IdleSamplesMin != 0)
            return;
        Span<double> sorted = stackalloc double[IdleSamples];
        sorted = sorted[..Math.Min(_idleCount, IdleSamples)];
        _idle.AsSpan(0, sorted.Length).CopyTo(sorted);
        sorted.Sort();
        _idleMedian = sorted[sorted.Length / 2];
    }

    // Decides the rate at most once a step; returns how long a chunk may be.
    private int BeginChunk()
    {
        lock (_lock)
        {
            long now = _clock.GetTimestamp();
            _lastWrite = now;
            _hasWrite = true;
            TimeSpan passed = _clock.GetElapsedTime(_lastStep, now);
            if (!_hasWalSync || _clock.GetElapsedTime(_lastWalSync, now) > NoCommitsAfter)
                (_limit.BytesPerSecond, _isBeyondMax) = (double.PositiveInfinity, false);
            else if (double.IsPositiveInfinity(_limit.BytesPerSecond) && !_isBeyondMax)
                SetRate(Math.Max(BytesPerSecondAtFirst, Floor()), now);
            else if (passed >= Step)
                SetRate(NextRate(passed), now);
            return _limit.BytesPerSecond < SlowBelow ? ChunkBytesSlow : ChunkBytesMax;
        }
    }

    private void SetRate(double rate, long now)
    {
        _isBeyondMax = double.IsPositiveInfinity(rate); // it has grown to it, beside commits
        _limit.BytesPerSecond = rate;
        _lastStep = now;
        _writtenInStep = 0;
    }

    private double Floor() => BytesPerSecondMin * Math.Pow(2, 40 * Math.Clamp(_fillOfBuffers() - 0.25, 0, 0.25));

    private double NextRate(TimeSpan passed)
    {
        double rate = _limit.BytesPerSecond;
        if (_idleMedian > 0 && _recent > 2 * _idleMedian)
        {
            // Without a limit yet: half of what went through just now.
            double from = double.IsPositiveInfinity(rate)
                ? Math.Min(BytesPerSecondMax, _writtenInStep / passed.TotalSeconds)
                : rate;
            return Math.Max(Floor(), from / 2);
        }
        double grown = Math.Max(Floor(), rate * 1.05);
        return grown > BytesPerSecondMax ? double.PositiveInfinity : grown;
    }

    private void EndChunk(int length)
    {
        lock (_lock)
        {
            _lastWrite = _clock.GetTimestamp();
            _writtenInStep += length;
        }
    }

    private void Wait(TimeSpan delay)
    {
        if (delay > TimeSpan.Zero)
            _delay(delay);
    }

    private HandleState StateOf(IFileHandle handle) => _handles.GetValue(handle, static _ => new HandleState());

    private static void Sync(IFileHandle handle, HandleState state)
    {
        RequireUsable(handle, state);
        RunSync(state, handle.SyncData);
        state.DirtyBytes = 0;
    }

    private static void RunSync(HandleState state, Action sync)
    {
        try
        {
            sync();
        }
        catch
        {
            state.Failed = true;
            throw;
        }
    }

    private static void RequireUsable(IFileHandle handle, HandleState state)
    {
        if (state.Failed)
            throw PacedWriterErrors.SyncFailedBefore(handle.Path);
    }

    private sealed class HandleState
    {
        public long DirtyBytes;
        public volatile bool Failed;
    }
}

/// <summary>The failures that bulk writing adds to those of the disk.</summary>
internal static class PacedWriterErrors
{
    public static StorageFailedException SyncFailedBefore(string path) =>
        new(ErrorCode.FileOperationFailed,
            $"'{path}' is not written any more, because an earlier sync of it failed.",
            "Look at the disk, then open the file again or write a new one.")
        { Path = path };
}
