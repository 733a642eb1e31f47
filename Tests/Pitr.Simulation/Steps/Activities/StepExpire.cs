using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// An expire by a window that the seed draws, planned, then carried out in a turn of its own: what could be planned of
/// the promised moments can be planned afterwards (H35). Crashes come about between any two of its deletions.
/// </summary>
internal sealed class StepExpire(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (!MayRun || Model.Records.Count == 0)
            yield break;
        RetentionRequest request = Request();
        RetentionPlan? plan = null;
        if (!StepScene.Try(() => plan = RetentionPlanner.Plan(request)) || plan!.RemovesNothing)
            yield break;
        Scene.Hazards.Note(35);
        if (IsRestoring)
            Scene.Hazards.Note(48);
        yield return default;
        if (!MayRun)
            yield break;
        RecoveryTarget[] promised = [.. PromisedBy(plan).Where(CanBeReached)];
        Forget(plan);
        Scene.HasExpired = true;
        if (!StepScene.Try(() => CarryOut(plan, request)) || plan.Unpromised.Contains(Engine.History.Last.Timeline))
            yield break;
        foreach (RecoveryTarget target in promised)
        {
            if (!CanBeReached(target))
                throw new SimulationFailure($"Before an expire by {plan.From:O} {target} could be reached (H35).");
        }
    }

    /// <summary>A restore that is under way needs what its plan named, and the store knows it (H48).</summary>
    private bool MayRun => Engine.Stores.Count > 0 && Model.Sets.Count > 0 && (!Scene.IsRestoring || IsRestoring)
        && Scene.Databases.TrueForAll(static one => !one.IsUnfinished || one.IsHeld);

    private bool IsRestoring => Scene.Databases.Exists(static one => one.IsUnfinished);

    private RetentionRequest Request()
    {
        IReadOnlyList<ModelRecord> records = Model.Records;
        long ticks = records[^1].CommitTicks - records[Scene.Next(records.Count)].CommitTicks;
        return new RetentionRequest
        {
            SetStore = Engine.Stores[0],
            Archives = [Engine.Stores[0]],
            Window = TimeSpan.FromTicks(Math.Max(1, ticks)),
            // What a crash left of backups is dead by then; one that is being made must not be.
            Now = Engine.Context.Clock.GetUtcNow()
                + TimeSpan.FromDays(Scene.Chance(30) && !Scene.IsBackingUp && !IsRestoring ? 3000 : 0),
            OpenStore = static _ => null,
        };
    }

    /// <summary>Some moments of the window that this database has shipped.</summary>
    private IEnumerable<RecoveryTarget> PromisedBy(RetentionPlan plan)
    {
        ModelRecord[] inWindow =
            [.. Model.Records.Where(record => record.CommitTicks >= plan.From.UtcTicks && record.End <= Model.Shipped)];
        for (int n = 0; n < Math.Min(3, inWindow.Length); n++)
            yield return RecoveryTarget.Including(inWindow[Scene.Next(inWindow.Length)].End);
    }

    private bool CanBeReached(RecoveryTarget target)
    {
        IArchiveStore store = Engine.Stores[0];
        try
        {
            RecoveryPlanner.Plan(new PlanRequest
            {
                Target = target,
                SetStore = store,
                Archives = [store],
                Timeline = Engine.History.Last.Timeline.ToString(),
                VerifiesFiles = false,
                LookBehindCutBytes = 64,
                Random = Engine.Context.Draw,
            });
            return true;
        }
        catch (RefusedException)
        {
            return false;
        }
        catch (StorageFailedException)
        {
            return true; // the store is out
        }
    }

    /// <summary>From before the first deletion on, nothing more than the promise is asked of any database.</summary>
    private void Forget(RetentionPlan plan)
    {
        HashSet<string> gone = [.. plan.Sets.Where(static set => set.IsRemoved).Select(static set => set.BackupId)];
        foreach (StepDatabase database in Scene.Databases.Append(Scene.Database))
        {
            var control = new ControlFileStore(Scene.Disk, database.Folder);
            if (!control.Exists)
                continue;
            TimelineId timeline = control.ReadAny().Timeline;
            database.Model.Sets.RemoveAll(set => gone.Contains(set.Id));
            if (plan.Unpromised.Contains(timeline))
                database.Model.Sets.Clear();
            foreach (RemovedWal wal in plan.Wal.Where(wal => wal.Timeline == timeline))
            {
                database.Model.ArchiveFrom =
                    Lsn.Max(database.Model.ArchiveFrom, Engine.Wal.Geometry.StartOf(wal.To + 1));
            }
        }
    }

    private static void CarryOut(RetentionPlan plan, RetentionRequest request)
    {
        try
        {
            RetentionRun.CarryOut(plan, request, CancellationToken.None);
        }
        catch (RefusedException outdated) when (outdated.Code == ErrorCode.RetentionOutdated)
        {
            // A backup was begun since.
        }
    }
}
