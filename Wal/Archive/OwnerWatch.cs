using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What an owner object says to the start that wants the timeline.</summary>
internal enum OwnerVerdict
{
    /// <summary>Its start is over: the timeline may be taken.</summary>
    Over,
    /// <summary>It may be over: whether it renews has not been watched for long enough.</summary>
    Watched,
    /// <summary>It is another place's.</summary>
    Elsewhere,
}

/// <summary>
/// Tells the owner that this start comes after from the one that it is a clone of: machine and inode are equal, the boot is
/// not (H26).
/// </summary>
/// <remarks>
/// After a reboot the folder of the earlier start may have another device number, and on a clone of the machine it has the
/// same inode: only time tells. An owner that runs renews its object each <see cref="TimelineOwner.RenewEvery"/>, after a
/// failure one pause later (<see cref="ShipRetry.PauseMax"/>); one that has not done so for <see cref="Wait"/>, as measured
/// here, is over.
/// INVARIANT  Once the owner was seen to change, it is elsewhere until it is released: whoever wrote it is neither this
///            start nor one of this folder in this boot, and so has a folder of its own.
/// One engine start has one watch for each store, which outlives its shippers. THREADS  any.
/// </remarks>
internal sealed class OwnerWatch(TimeProvider clock, OwnerNotes notes, string store)
{
    private readonly Lock _lock = new();

    /// <summary>How long an owner of another boot must not have renewed.</summary>
    public static TimeSpan Wait => 3 * TimelineOwner.RenewEvery;

    /// <summary>Looks at the newest owner object of a timeline.</summary>
    public OwnerVerdict Look(OwnerState owner, EngineStart start)
    {
        OwnerVerdict atOnce = AtOnce(owner, start);
        if (atOnce != OwnerVerdict.Watched)
            return atOnce;
        lock (_lock)
        {
            long now = clock.GetTimestamp();
            if (notes.Find(store, owner.Timeline) is not { } first)
            {
                notes.Add(new SeenOwner(store, owner.Timeline, owner.Start.StartId, owner.Renewed, now));
                return OwnerVerdict.Watched;
            }
            if ((owner.Start.StartId, owner.Renewed) != (first.StartId, first.Renewed))
                return OwnerVerdict.Elsewhere;
            return clock.GetElapsedTime(first.Since, now) >= Wait ? OwnerVerdict.Over : OwnerVerdict.Watched;
        }
    }

    /// <summary>What one look says.</summary>
    public static OwnerVerdict AtOnce(OwnerState owner, EngineStart start)
    {
        if (owner.Released is not null || owner.Start == start)
            return OwnerVerdict.Over;
        return owner.Start.PlaceOf(start) switch
        {
            PlaceComparison.Same => OwnerVerdict.Over,
            PlaceComparison.MayBeSame => OwnerVerdict.Watched,
            _ => OwnerVerdict.Elsewhere,
        };
    }
}
