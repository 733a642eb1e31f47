using System.Collections.Immutable;

namespace Pitr.Wal;

/// <summary>
/// How far a <see cref="StoreShipper"/> has come, as of the end of a step: immutable, so that any thread may look at it
/// while the next step runs.
/// </summary>
/// <param name="At">When that was.</param>
/// <param name="Geometry">Of the WAL.</param>
/// <param name="IsKnown">False before the store was prepared: nobody knows what it has.</param>
/// <param name="LackedFrom">The store has everything below; as far as is known. Before the first step: where the local
/// WAL begins; zero if that is not known either.</param>
/// <param name="Next">The first segment that was not read back; 0 if none was looked at.</param>
/// <param name="BehindSince">Since when the store has lacked the oldest of what it lacks; null if it lacked
/// nothing.</param>
/// <param name="LastError">Why the last step failed; null if it did not.</param>
/// <param name="Dropped">What it will never have; of ancestors, too.</param>
/// <param name="ParentsDone">Segments of ancestors that the store has, read back.</param>
internal sealed record ShipProgress(
    DateTimeOffset At, WalGeometry Geometry, bool IsKnown, Lsn LackedFrom, ulong Next, DateTimeOffset? BehindSince,
    PitrException? LastError, ImmutableArray<ArchiveGap> Dropped, ImmutableHashSet<SegmentName> ParentsDone)
{
    /// <summary>WAL of ancestors that is here and not in the store, segment by segment, the oldest first (H31).</summary>
    public ImmutableArray<ArchiveGap> ParentsLacked { get; init; } = [];

    /// <summary>The oldest WAL that the store lacks; as far as is known.</summary>
    public Lsn FirstLacked => ParentsLacked.IsEmpty ? LackedFrom : ParentsLacked[0].From;

    /// <summary>The same when what the store lacks below a segment is given up.</summary>
    public ShipProgress GivenUpBelow(ulong number, TimelineId timeline)
    {
        Lsn end = Geometry.StartOf(number);
        if (end <= FirstLacked)
            return this;
        ImmutableArray<ArchiveGap> dropped = Dropped;
        foreach (ArchiveGap parent in ParentsLacked.Where(parent => parent.From < end))
            dropped = GapNote.Joined(dropped, parent);
        if (Lsn.Zero < LackedFrom && LackedFrom < end)
            dropped = GapNote.Joined(dropped, new ArchiveGap(timeline, LackedFrom, end));
        return this with
        {
            LackedFrom = Lsn.Max(LackedFrom, end),
            ParentsLacked = [.. ParentsLacked.Where(parent => parent.From >= end)],
            Dropped = dropped,
        };
    }

    /// <summary>How far the store is behind.</summary>
    /// <param name="durable">The durable LSN.</param>
    /// <param name="now">The time, for the age.</param>
    public ArchiveLag Lag(Lsn durable, DateTimeOffset now)
    {
        Lsn from = LackedFrom > Lsn.Zero ? LackedFrom : Geometry.StartOf(Geometry.NumberOf(durable));
        if (durable <= from && ParentsLacked.IsEmpty)
            return ArchiveLag.None;
        from = Lsn.Min(from, durable);
        TimeSpan age = now - (BehindSince ?? At);
        return new ArchiveLag(
            (long)(Geometry.NumberOf(durable) - Geometry.NumberOf(from)) + ParentsLacked.Length,
            durable - from + ParentsLacked.Sum(static parent => parent.To - parent.From),
            age > TimeSpan.Zero ? age : TimeSpan.Zero);
    }
}

/// <summary>How far a store is behind.</summary>
/// <param name="Segments">Finished segments that it lacks, or of which it has a part only; those of ancestors, too.</param>
/// <param name="Bytes">Bytes up to the durable LSN that it lacks, with those of ancestors that are here.</param>
/// <param name="Age">For how long it has lacked the oldest of them.</param>
internal sealed record ArchiveLag(long Segments, long Bytes, TimeSpan Age)
{
    public static ArchiveLag None { get; } = new(0, 0, TimeSpan.Zero);
}
