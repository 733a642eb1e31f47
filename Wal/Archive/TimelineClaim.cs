namespace Pitr.Wal;

/// <summary>How a claim went.</summary>
internal enum ClaimOutcome
{
    /// <summary>The number is this branch's from now on.</summary>
    Claimed,
    /// <summary>It was already: an earlier try of the same promotion made it.</summary>
    MineAlready,
    /// <summary>Another branch has the number: draw a new lineage and take another number.</summary>
    Taken,
}

/// <summary>Takes a timeline's number in a store, by creating its history only if absent (H27, H32).</summary>
/// <remarks>
/// The object is there as a whole or not at all, so a crash leaves the number free or claimed, never stuck. It is read
/// back and compared before the claim counts: a store that ignores the condition would let two branches think they have
/// it.
/// </remarks>
internal static class TimelineClaim
{
    /// <summary>Claims the number of the history's last timeline.</summary>
    /// <exception cref="DamageException">ArchiveDamaged: what is there cannot be read.</exception>
    public static ClaimOutcome Claim(IArchiveStore store, TimelineHistory history)
    {
        string name = ObjectName.History(history.Last.Timeline);
        bool created = store.TryPutIfAbsent(name, history.Encode());
        TimelineHistory there = TimelineHistory.Decode(store.Name, name, store.Get(name).Span);
        if (!history.IsSameBranch(there))
            return ClaimOutcome.Taken;
        return created ? ClaimOutcome.Claimed : ClaimOutcome.MineAlready;
    }

    /// <summary>
    /// A number that no store that tells what it has has a history or WAL of, above all of them and above the path's last.
    /// </summary>
    public static TimelineId NextFree(IEnumerable<IArchiveStore> stores, TimelineId last)
    {
        uint highest = last.Value;
        foreach (IArchiveStore store in stores.ThatList()) // what another one has shows when the number is claimed
        {
            foreach (string name in store.List(ObjectName.HistoryPrefix))
            {
                if (ObjectName.TryParseHistory(name, out TimelineId timeline))
                    highest = Math.Max(highest, timeline.Value);
            }
            foreach (string name in store.List(ObjectName.WalPrefix)) // its history may be lost
            {
                if (ObjectName.TryParseSegment(name, out TimelineId timeline, out _)
                    || ObjectName.TryParsePart(name, out timeline, out _, out _, out _))
                    highest = Math.Max(highest, timeline.Value);
            }
        }
        return new TimelineId(highest + 1);
    }
}
