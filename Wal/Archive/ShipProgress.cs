using System.Collections.Immutable;

namespace Pitr.Wal;

/// <summary>
/// How far a <see cref="StoreShipper"/> has come, as of the end of a step: immutable, so that any thread may look at it
/// while the next step runs.
/// </summary>
/// <param name="At">When that was.</param>
/// <param name="Geometry">Of the WAL.</param>
/// <param name="IsKnown">False before the first step: only the unfinished segment is known to be lacked.</param>
/// <param name="LackedFrom">The store has everything below; as far as is known.</param>
/// <param name="Next">The first segment that was not read back; 0 if none was looked at.</param>
/// <param name="BehindSince">Since when the store has lacked the oldest of what it lacks; null if it lacked
/// nothing.</param>
/// <param name="LastError">Why the last step failed; null if it did not.</param>
/// <param name="Dropped">What was given up by choice.</param>
/// <param name="ParentsDone">Segments of ancestors that the store has, read back.</param>
internal sealed record ShipProgress(
    DateTimeOffset At, WalGeometry Geometry, bool IsKnown, Lsn LackedFrom, ulong Next, DateTimeOffset? BehindSince,
    PitrException? LastError, ImmutableArray<ArchiveGap> Dropped, ImmutableHashSet<SegmentName> ParentsDone)
{
    /// <summary>How far the store is behind.</summary>
    /// <param name="durable">The durable LSN.</param>
    /// <param name="now">The time, for the age.</param>
    public ArchiveLag Lag(Lsn durable, DateTimeOffset now)
    {
        Lsn from = IsKnown ? LackedFrom : Geometry.StartOf(Geometry.NumberOf(durable));
        if (durable <= from)
            return ArchiveLag.None;
        TimeSpan age = now - (BehindSince ?? At);
        return new ArchiveLag(
            (long)(Geometry.NumberOf(durable) - Geometry.NumberOf(from)), durable - from,
            age > TimeSpan.Zero ? age : TimeSpan.Zero);
    }
}

/// <summary>How far a store is behind.</summary>
/// <param name="Segments">Finished segments that it lacks, or of which it has a part only.</param>
/// <param name="Bytes">Bytes up to the durable LSN that it lacks.</param>
/// <param name="Age">For how long it has lacked the oldest of them.</param>
internal sealed record ArchiveLag(long Segments, long Bytes, TimeSpan Age)
{
    public static ArchiveLag None { get; } = new(0, 0, TimeSpan.Zero);
}
