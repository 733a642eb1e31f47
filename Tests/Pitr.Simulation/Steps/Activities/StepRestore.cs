using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// A restore into a new folder beside the source, to a target that the oracle knows (I11): planned, written, opened,
/// promoted, compared. Crashes come about in each of its operations; whoever opens the folder then goes on.
/// </summary>
internal sealed class StepRestore(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (Scene.IsRestoring || Scene.Databases.Count > 3 || Engine.Stores.Count == 0 || Model.Sets.Count == 0)
            yield break;
        Scene.IsRestoring = true;
        for (int i = Scene.Next(12); i > 0; i--)
            Plan(AnyTarget()); // looked at, and not carried out
        RecoveryTarget target = AnyTarget();
        yield return default;
        string folder = $"/r{Scene.Draw():x8}";
        PlannedRecovery? planned = Plan(target);
        if (planned is null)
        {
            Scene.IsRestoring = false;
            yield break;
        }

        Lsn cut = planned.Plan.StopsAt.Lsn;
        var restored = new StepDatabase(folder, Model.Fork(cut, Engine.Wal.Geometry.BoundaryAtOrAbove(cut)))
        {
            IsUnfinished = true,
            IsOfUnshippedWal = cut > Model.Shipped,
        };
        Scene.Databases.Add(restored);
        Scene.IsCritical = true;
        RestoreHold hold = RestoreHold.Of(planned.Plan, folder, [Engine.Stores[0]], Engine.Context.Clock);
        hold.Register();
        restored.IsHeld = Scene.Disk.Stat(
            $"{StepSettings.Store}/{ObjectName.Restore(planned.Plan.RecoveryId)}") is not null;
        Scene.IsCritical = false;
        yield return default;
        Scene.IsCritical = true;
        bool isWritten = StepScene.Try(() => Write(planned, folder));
        Scene.IsCritical = false;
        yield return default;
        foreach (Turn turn in Scene.AwaitReaders())
            yield return turn;
        if (!isWritten)
        {
            Scene.Databases.Remove(restored);
            hold.Remove();
            if (Scene.Disk.Stat(folder) is not null && Scene.Disk.List(folder).Count > 0)
                throw new SimulationFailure($"A restore that failed left {string.Join(", ", Scene.Disk.List(folder))} (V2).");
            Scene.IsRestoring = false;
            yield break;
        }

        Scene.Hazards.Note(15);
        Scene.Hazards.Note(30);
        StepCheck.RestoredFilesAreOwn(Scene.Disk, folder, Engine);
        using (StepEngine engine = StepEngine.Open(
            folder, Scene.Settings.OptionsFor(Scene.Disk, Scene.Seed + Scene.Next(1_000_000)), Scene.Memory))
        {
            restored.Model.CutAt(StepCheck.Run(engine, restored.Model));
            StepCheck.IncarnationsDiffer(engine, Engine);
            if (Scene.Databases.Count > 2)
                Scene.Hazards.Note(33);
        }

        restored.IsUnfinished = false;
        Scene.IsRestoring = false;
    }

    /// <summary>The plan, compared with what the oracle says of the target; null if it was refused, and rightly so.</summary>
    private PlannedRecovery? Plan(RecoveryTarget target)
    {
        IArchiveStore store = Engine.Stores[0];
        Lsn stop = Model.Sets[^1].Stop;
        ModelRecord? last = Model.LastOf(target, stop);
        try
        {
            if (ArchiveCatalog.Load(store).Histories.Count > 1)
                Scene.Hazards.Note(28);
            PlannedRecovery planned = RecoveryPlanner.Plan(new PlanRequest
            {
                Target = target,
                SetStore = store,
                Archives = [store],
                Timeline = Engine.History.Last.Timeline.ToString(),
                VerifiesFiles = Scene.Chance(30),
                LookBehindCutBytes = Scene.Chance(50) ? 64 : 4 << 20,
                Random = Engine.Context.Draw,
            });
            Scene.Hazards.Note(34);
            RequireTarget(planned, target, last);
            return planned;
        }
        catch (StorageFailedException)
        {
            return null; // the store is out
        }
        catch (RefusedException refused)
        {
            if (MustBeReached(target, last))
                throw new SimulationFailure($"The target {target} was refused: {refused.Message}", refused);
            return null;
        }
    }

    private void RequireTarget(PlannedRecovery planned, RecoveryTarget target, ModelRecord? last)
    {
        Lsn cut = planned.Plan.StopsAt.Lsn;
        if (target.Kind is RecoveryTarget.Form.Latest or RecoveryTarget.Form.Immediate)
        {
            Lsn shipped = Model.Records.LastOrDefault(record => record.End <= Model.Shipped)?.End ?? Lsn.Zero;
            if (target.Kind == RecoveryTarget.Form.Latest && cut < shipped)
                throw new SimulationFailure($"The end of the WAL was {cut}, below what was shipped, {Model.Shipped} (I11).");
            if (!Model.Records.Any(record => record.End == cut))
                throw new SimulationFailure($"The plan to {target} ends at {cut}, where no record does (I11).");
            return;
        }

        ModelRecord? effect = last is null ? null : Model.LastEffectAt(last.End);
        if (Model.LastEffectAt(cut)?.End != effect?.End)
        {
            throw new SimulationFailure(
                $"The plan to {target} ends at {cut}, and the last record of the target is {last?.End} (I11).");
        }

        if (target.Kind == RecoveryTarget.Form.Time && IsAmbiguous(target, cut, Lsn.Min(Model.Shipped, Model.Acknowledged)))
            throw new SimulationFailure($"The plan to {target} ends at {cut}, and the clock had stepped back beyond (H8).");
    }

    /// <summary>A record beyond the cut was made at or before the time, if the clock is to be believed.</summary>
    private bool IsAmbiguous(RecoveryTarget target, Lsn cut, Lsn to) => Model.Records.Any(record =>
        record.End > cut && record.End <= to && (to == Lsn.MaxValue || IsListed(record.End)) && record.RawTicks != 0 && (target.IsInclusive
            ? record.RawTicks <= target.Time.UtcTicks : record.RawTicks < target.Time.UtcTicks));

    /// <summary>Of a parent's WAL the stores may have less than up to the fork: what they lack nobody can look at.</summary>
    private bool IsListed(Lsn end) => Engine.History.Path.Count == 1 || end > Engine.History.Last.StartLsn
        || end <= StepCheck.ListedInStore(Scene.Disk, Engine.History.Path[^2].Timeline, Engine.Wal.Geometry);

    /// <summary>The archive has what it takes: a set that is whole before the target, and the WAL behind it.</summary>
    private bool MustBeReached(RecoveryTarget target, ModelRecord? last)
    {
        if (Engine.History.Path.Count > 1 && !Model.Sets.Exists(set => set.Stop >= Engine.History.Last.StartLsn))
            return false; // what the parent has not shipped yet is in the sets alone
        if (last is null || !Model.Sets.Exists(set => set.Stop < last.End))
            return false;
        if (target.Kind == RecoveryTarget.Form.Time && (IsAmbiguous(target, last.End, Lsn.MaxValue)
            || Model.Records.Any(record => record.End > last.End && record.RawTicks == 0)))
            return false; // of a timeline's first record the oracle does not know when it was made
        bool isBeyond = Model.Records.Any(record => record.End > last.End && record.End <= Model.Shipped);
        return last.End < Model.Shipped && isBeyond && target.Kind != RecoveryTarget.Form.Immediate;
    }

    private RecoveryTarget AnyTarget()
    {
        ModelRecord record = Model.Records[Scene.Next(Model.Records.Count)];
        if (Scene.Chance(70)) // mostly one that a set can reach
        {
            ModelRecord[] later = [.. Model.Records.Where(one => one.End > Model.Sets[0].Stop)];
            record = later.Length == 0 ? record : later[Scene.Next(later.Length)];
        }

        bool isInclusive = Scene.Chance(50);
        var time = new DateTimeOffset(record.CommitTicks, TimeSpan.Zero);
        return Scene.Next(8) switch
        {
            0 => RecoveryTarget.Latest,
            1 => RecoveryTarget.Immediate,
            2 or 3 or 7 when record.CommitTicks > 0 =>
                isInclusive ? RecoveryTarget.Including(time) : RecoveryTarget.Before(time),
            4 when record.Transaction.Value > 0 => isInclusive
                ? RecoveryTarget.Including(record.Transaction) : RecoveryTarget.Before(record.Transaction),
            5 when record.RestorePoint is { } name => isInclusive
                ? RecoveryTarget.IncludingRestorePoint(name) : RecoveryTarget.BeforeRestorePoint(name),
            _ => isInclusive ? RecoveryTarget.Including(record.End) : RecoveryTarget.Before(record.End),
        };
    }

    private void Write(PlannedRecovery planned, string folder)
    {
        var settings = new DatabaseSettings { Stores = [StepSettings.Store] };
        new RestoreWriter(Scene.Disk, folder, StepSettings.Process).Restore(
            planned, isPaused: false, CancellationToken.None,
            Scene.Chance(50) ? null : (DatabaseSettings.FileName, () => settings.Write(Scene.Disk, folder)));
    }
}
