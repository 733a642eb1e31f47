using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>How far the recovery of a datafile is, and when it may be ready: for who waits for the file.</summary>
/// <remarks>THREADS  a worker counts what it copies; the rest is its actor's.</remarks>
internal sealed class RecoveryPace(TimeProvider clock)
{
    private const double BytesPerSecondGuessed = 64e6; // before anything is known

    private readonly long _began = clock.GetTimestamp();
    private long _copied;

    /// <summary>Bytes that are copied before the replay.</summary>
    public long CopyBytes { get; init; }

    /// <summary>Where the replay begins to read.</summary>
    public Lsn From { get; init; }

    /// <summary>Where it ends.</summary>
    public Lsn To { get; set; }

    /// <summary>Where it is.</summary>
    public Lsn Through { get; set; }

    public long TotalBytes => CopyBytes + Math.Max(0, To - From);

    public long DoneBytes => Volatile.Read(ref _copied) + Math.Max(0, Through - From);

    /// <summary>Whole seconds that it may take from now on; at least one.</summary>
    public long SecondsLeft
    {
        get
        {
            double seconds = clock.GetElapsedTime(_began).TotalSeconds;
            double perSecond = DoneBytes > 0 && seconds > 0 ? DoneBytes / seconds : BytesPerSecondGuessed;
            return Math.Max(1, (long)Math.Ceiling((TotalBytes - DoneBytes) / perSecond));
        }
    }

    /// <summary>Any thread.</summary>
    public void Copied(int bytes) => Interlocked.Add(ref _copied, bytes);
}
