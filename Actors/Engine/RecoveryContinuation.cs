using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// What becomes of a recovery that stands at its target, or died on its way: the same plan again, or one to a later
/// target.
/// </summary>
/// <remarks>
/// <code>
///   target    promote   a paused one                                       one that died
///   none      no        goes on to the end of the archive, stays paused    goes on with its plan
///   none      yes       is promoted where it stands                        goes on with its plan
///   given     no        goes on to it, stays paused                        goes on to it, then is promoted
///   given     yes       goes on to it, then is promoted                    goes on to it, then is promoted
/// </code>
/// INVARIANTS
///   G1  A later plan's cut is at or above the present one, and the present one lies on its path: files are never taken
///       back. Its recovery id is the present one, so that the stamps of the files hold.
///   G2  The control file changes in one rename, after the new plan has been proven: a refusal leaves it as it is.
///   G3  A promotion that has begun is not taken elsewhere: its number may be claimed already (H32).
/// THREADS  one. The database's lock is held.
/// </remarks>
internal static class RecoveryContinuation
{
    /// <summary>Notes how it goes on; whoever opens the database then carries it out.</summary>
    /// <exception cref="NotFoundException">The folder is no database.</exception>
    /// <exception cref="RefusedException">NotInRecovery, Locked, and what a plan can be refused for.</exception>
    public static RecoveryPlan Note(
        string folder, RecoveryTarget? target, bool promotes, PitrOptions options, CancellationToken cancellation)
    {
        IFileSystem files = EngineFactory.FileSystemOf(options);
        var store = new ControlFileStore(files, folder);
        if (!store.Exists)
            throw EngineErrors.NotADatabase(folder);
        using DatabaseLock held = DatabaseLock.Take(files, folder, options.Process.Words(options.Clock));
        ControlFile control = store.ReadLive();
        if (control.Recovery is not { } recovery)
            throw EngineErrors.NotInRecovery(folder);
        RecoveryPlan plan = RecoveryPlan.Of(recovery);
        UnfinishedRecovery next = recovery with { IsPaused = recovery.IsPaused && !promotes };
        bool keepsPlan = target is null && (promotes || !recovery.IsPaused);
        if (keepsPlan)
        {
            if (next != recovery)
                store.Replace(control with { Recovery = next });
            return plan;
        }

        RecoveryTarget later = target ?? RecoveryTarget.Latest;
        RecoveryPlan ahead = PlanAhead(files, folder, control, plan, later, options, cancellation);
        store.Replace(control with { Recovery = next with { Plan = ahead.ToJson(), Target = later.ToString() } });
        return ahead;
    }

    /// <summary>What <see cref="Note"/> would say without a target; nothing is written.</summary>
    /// <exception cref="RefusedException">What a plan can be refused for.</exception>
    public static RecoveryPlan Look(
        IFileSystem files, string folder, ControlFile control, PitrOptions options, CancellationToken cancellation)
    {
        UnfinishedRecovery recovery = control.Recovery!;
        RecoveryPlan plan = RecoveryPlan.Of(recovery);
        return recovery.IsPaused
            ? PlanAhead(files, folder, control, plan, RecoveryTarget.Latest, options, cancellation)
            : plan;
    }

    /// <summary>G1, G3.</summary>
    private static RecoveryPlan PlanAhead(
        IFileSystem files, string folder, ControlFile control, RecoveryPlan plan, RecoveryTarget later, PitrOptions options,
        CancellationToken cancellation)
    {
        if (control.PromotionIntent is not null)
            throw RecoveryErrors.PromotionHasBegun(folder);
        PlannedRecovery planned = PlanOn(files, folder, control, plan, later, options, cancellation);
        if (planned.Plan.StopsAt.Lsn < plan.StopsAt.Lsn
            || !planned.History.PathContains(control.Lineage, plan.StopsAt.Lsn))
            throw RecoveryErrors.TargetBehind(later, plan.StopsAt.Lsn);
        return planned.Plan with { RecoveryId = plan.RecoveryId, IsInPlace = plan.IsInPlace };
    }

    /// <summary>From the same set along the same timeline, out of the places that the present plan names.</summary>
    private static PlannedRecovery PlanOn(
        IFileSystem files, string folder, ControlFile control, RecoveryPlan plan, RecoveryTarget target, PitrOptions options,
        CancellationToken cancellation)
    {
        StoreFactory stores = StoreFactory.Of(options, folder);
        WalSurvey? local = plan.IsInPlace ? RestoreSources.Survey(files, folder) : null;
        IArchiveStore[] places = [.. plan.Places.Select(name => stores.OpenToRead(StoreAddress.Parse(name, folder)))];
        IArchiveStore sets = places.FirstOrDefault(
            place => BackupCatalog.Read(place).Sets.Any(set => set.Id == plan.BackupId))
            ?? throw RecoveryErrors.BackupUnknown(string.Join(", ", plan.Places), plan.BackupId ?? "");
        PlannedRecovery planned = RecoveryPlanner.Plan(
            new PlanRequest
            {
                Target = target,
                SetStore = sets,
                Archives = places,
                BackupId = plan.BackupId,
                Timeline = plan.Timeline.ToString(),
                Map = plan.Map,
                Local = local is null ? null : new SurveyedWalSource(files, local),
                LocalHistory = local is null ? null : TimelineHistory.Of(control.SystemId, control.History),
                VerifiesFiles = false, // they were copied already
                Random = EngineFactory.DrawOf(options),
            },
            cancellation);
        return local is null ? planned : planned with
        {
            Plan = planned.Plan with
            {
                BeginsTimeline = true,
                Findings =
                [
                    .. planned.Plan.Findings,
                    .. WalBehind.Of(local, planned.History, planned.Plan.StopsAt.Lsn, places),
                ],
            },
        };
    }
}
