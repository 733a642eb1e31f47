using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Where a promotion stands; each value can be found again after a crash.</summary>
internal enum PromotionState
{
    /// <summary>The files are not all flushed up to the cut.</summary>
    Flushing,
    /// <summary>All flushed; number and lineage of the new timeline are not noted.</summary>
    Flushed,
    /// <summary>The control file holds the intent; the number is not claimed in every store.</summary>
    Intended,
    /// <summary>Claimed everywhere; the first segment is not there.</summary>
    Claimed,
    /// <summary>The first segment is synced; the control file does not commit yet.</summary>
    Prepared,
    /// <summary>The control file is that of the new timeline.</summary>
    Committed,
}

/// <summary>What a promotion does to the rest of the world; the caller's.</summary>
internal interface IPromotionHost
{
    /// <summary>
    /// True once every datafile is flushed up to the cut, each with a new incarnation and the recovery's stamp.
    /// </summary>
    bool FilesAreFlushed { get; }

    /// <summary>The control file as it is now.</summary>
    ControlFile Control { get; }

    /// <summary>The stores in which the new timeline is claimed; none for a detached database.</summary>
    IReadOnlyList<IArchiveStore> Stores { get; }

    /// <summary>
    /// The highest timeline of which the database's own folder has WAL, also one that was left behind there: its number is
    /// not given again. 0 if there is none.
    /// </summary>
    TimelineId HighestInFolder => default;

    /// <summary>Replaces the control file, durably.</summary>
    void Replace(ControlFile control);

    /// <summary>
    /// True if the new timeline's first segment is there, with header and TimelineStart record, synced.
    /// </summary>
    bool FirstSegmentIsSynced(PromotionIntent intent);

    /// <summary>Makes it so.</summary>
    void WriteFirstSegment(PromotionIntent intent);
}

/// <summary>
/// Begins the new timeline at the end of a recovery, in the order of H32; a crash anywhere goes on from there.
/// </summary>
/// <remarks>
/// ORDER
/// <code>
///   1. all files flushed up to the cut, stamped with the recovery's id
///   2. number and lineage into the control file, as an intent
///   3. the number claimed in every store by its history, created only if absent (H27)
///        mine already: an earlier try of this promotion (lineage, parent, fork and start are equal)
///        taken:        another branch has it: a new lineage and number, back to 2
///   4. the new timeline's first segment, synced
///   5. one rename of the control file: new timeline, history, no intent, recovery listed as finished: its stamps are
///        void
/// </code>
/// INVARIANTS  M1: before 5 the database is in recovery, after it is live, nothing between. M2: a number is claimed
/// only for what the control file holds as intent, so a second try finds its own claim.
/// THREADS  one.
/// </remarks>
internal sealed class PromotionSteps(IPromotionHost host, TimeProvider clock, Func<ulong> random)
{
    /// <summary>Where it stands, read from what is durable.</summary>
    public PromotionState State { get; private set; } = PromotionState.Flushing;

    /// <summary>Goes on as far as it can; false if the files are not flushed yet.</summary>
    public bool Continue(string reason, CancellationToken cancellation = default)
    {
        if (host.Control.Recovery is not { } recovery)
        {
            State = PromotionState.Committed;
            return true;
        }
        if (!host.FilesAreFlushed)
            return false;
        State = PromotionState.Flushed;

        PromotionIntent? intent = host.Control.PromotionIntent;
        if (intent is null || intent.RecoveryId != recovery.Id)
            intent = Intend(recovery, reason);
        State = PromotionState.Intended;

        while (!ClaimEverywhere(intent))
        {
            cancellation.ThrowIfCancellationRequested();
            intent = Intend(recovery, reason); // another branch has the number
        }
        State = PromotionState.Claimed;

        if (!host.FirstSegmentIsSynced(intent))
            host.WriteFirstSegment(intent);
        State = PromotionState.Prepared;

        host.Replace(Committed(host.Control, intent));
        State = PromotionState.Committed;
        return true;
    }

    private PromotionIntent Intend(UnfinishedRecovery recovery, string reason)
    {
        ControlFile control = host.Control;
        RecoveryPlan plan = RecoveryPlan.Of(recovery);
        TimelineHistory path = TimelineHistory.Of(control.SystemId, control.History);
        Lsn fork = plan.StopsAt.Lsn;
        var geometry = new WalGeometry((int)control.WalSegmentBytes);
        ulong lineage;
        do
        {
            lineage = random();
        }
        while (lineage == 0);
        var intent = new PromotionIntent(
            recovery.Id, TimelineClaim.NextFree(host.Stores, Highest(control)), new Lineage(lineage),
            path.OwnerOf(fork + -8).Timeline, fork, geometry.BoundaryAtOrAbove(fork), reason);
        host.Replace(control with { PromotionIntent = intent });
        return intent;
    }

    /// <summary>
    /// Above what the path and the folder have, and above an earlier intent whose number another branch took.
    /// </summary>
    private TimelineId Highest(ControlFile control) => new(Math.Max(
        Math.Max(control.Timeline.Value, host.HighestInFolder.Value), control.PromotionIntent?.Timeline.Value ?? 0));

    private bool ClaimEverywhere(PromotionIntent intent)
    {
        TimelineHistory history = HistoryOf(host.Control, intent, clock.GetUtcNow());
        foreach (IArchiveStore store in host.Stores)
        {
            if (TimelineClaim.Claim(store, history) == ClaimOutcome.Taken)
                return false;
        }
        return true;
    }

    private ControlFile Committed(ControlFile control, PromotionIntent intent)
    {
        TimelineHistory history = HistoryOf(control, intent, clock.GetUtcNow());
        return control with
        {
            Timeline = intent.Timeline,
            Lineage = intent.Lineage,
            History = [.. history.Path],
            KnownEndOfWal = intent.StartLsn,
            CheckpointLsn = intent.StartLsn,
            RedoLsn = intent.StartLsn,
            Recovery = null,
            PromotionIntent = null,
            FinishedRecoveries = control.FinishedRecoveries.Add(intent.RecoveryId),
            Catalogue = control.Catalogue with
            {
                Files = [.. control.Catalogue.Files.Select(file => file with { CleanUpTo = intent.StartLsn })],
            },
        };
    }

    private static TimelineHistory HistoryOf(ControlFile control, PromotionIntent intent, DateTimeOffset now) =>
        TimelineHistory.Of(control.SystemId, control.History).Fork(
            intent.Timeline, intent.Lineage, intent.ForkLsn, intent.StartLsn, intent.Reason, now);
}
