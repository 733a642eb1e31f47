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
    DateTimeOffset Time);
