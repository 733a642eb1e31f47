namespace Pitr;

/// <summary>One timeline on the path from the first to the present one.</summary>
/// <remarks>
/// A notion of the WAL (<c>TimelineHistory</c>); it lives in Storage because the control file lists them.
/// </remarks>
/// <param name="Timeline">Its number.</param>
/// <param name="Lineage">What makes it unique.</param>
/// <param name="Parent">The timeline that it forked from; null for a first one.</param>
/// <param name="ForkLsn">The parent's history counts up to here; zero for a first one.</param>
/// <param name="StartLsn">Where its own records begin: a segment boundary at or above the fork.</param>
/// <param name="Reason">Why it was begun, for people.</param>
/// <param name="Time">When.</param>
internal sealed record TimelineEntry(
    TimelineId Timeline, Lineage Lineage, TimelineId? Parent, Lsn ForkLsn, Lsn StartLsn, string Reason,
    DateTimeOffset Time)
{
    /// <summary>What of T1 and T3 of <c>TimelineHistory</c> does not hold for a path; null if both do.</summary>
    public static string? Fault(ReadOnlySpan<TimelineEntry> path)
    {
        if (path.Length == 0)
            return "a history has at least one timeline";
        if (path[0].Parent is not null)
            return "the first timeline of a path has no parent";
        var lineages = new HashSet<Lineage>();
        for (int at = 0; at < path.Length; at++)
        {
            TimelineEntry entry = path[at];
            if (entry.Lineage.Value == 0 || !lineages.Add(entry.Lineage))
                return $"lineage {entry.Lineage} is none, or is there twice";
            if (entry.StartLsn < entry.ForkLsn)
                return $"timeline {entry.Timeline} starts at {entry.StartLsn}, below its fork {entry.ForkLsn}";
            if (at == 0)
                continue;
            if (entry.Parent != path[at - 1].Timeline || entry.Timeline.Value <= path[at - 1].Timeline.Value)
                return $"timeline {entry.Timeline} does not follow timeline {path[at - 1].Timeline}";
            if (at > 1 && entry.ForkLsn < path[at - 1].StartLsn)
                return $"timeline {entry.Timeline} forks at {entry.ForkLsn}, below its parent's start {path[at - 1].StartLsn}";
        }
        return null;
    }
}
