using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of a folder that has less than its control file knew, or several branches: what of it a recovery in place, or whoever
/// makes the control file anew, may use, and what has to be refused (H6, H7, H10, H14, H16, H26, H27, H28, H30).
/// </summary>
internal static class StepFolderStories
{
    private const int LossesEach = 3;
    private const int CompactTriesMax = 20; // it may be undone by chance

    /// <summary>
    /// A database goes back where it lies, and again, so that its folder has three branches; and what it was before is given to
    /// others: a file ahead, a file of another branch, WAL with damage, a copy whose source lives on.
    /// </summary>
    public static void InPlace(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // the story has crashes of its own
        StepEngine engine = scene.Engine;
        life.RunToEnd(new StepCreateDatafile(scene));
        life.RunToEnd(new StepCreateTable(scene, engine.Files.Last().Id)); // it lies outside
        Put(scene, 2);
        life.RunToEnd(new StepBackup(scene));
        Put(scene, 2);
        Lsn middle = engine.DurableLsn;
        StepDatabase atMiddle = scene.Database.Copy();
        var early = new StepLeftFolder(scene, scene.Disk.KillCopy());
        Put(scene, 2);
        life.RunToEnd(new StepCheckpoint(scene));
        for (int i = 0; i < 2; i++) // beyond what another branch will have
        {
            engine.Switch(scene.Model);
            Put(scene, 2);
        }

        StepDatabase all = scene.Database.Copy();
        var left = new StepLeftFolder(scene, scene.Disk.KillCopy());
        string[] paths = [.. engine.Files.Select(static file => file.File.Path)];
        string main = paths[0], outside = paths[^1];

        StepLeftFolder back = Back(scene, left.Copy(), middle, atMiddle.Model);
        MustBeRefused(
            () => back.Copy().WithoutControlFile().Plan(RecoveryTarget.Latest), ErrorCode.BranchAmbiguous,
            "The folder has a branch that the set does not lead to, and it was left out (H28).");
        StepLeftFolder again = BackAgain(scene, back.Copy(), middle, atMiddle.Model);
        MustBeRefused(
            () => again.WithoutControlFile().PlanRebuild(), ErrorCode.BranchAmbiguous,
            "Two branches of the folder may have been in use, and one was taken (H28).");

        StepLeftFolder other = Back(scene, left.Copy(), middle, atMiddle.Model, isFlushed: true);
        StepLeftFolder mixed = left.Copy().With(main, other.Disk.ReadAll(main)).WithoutControlFile();
        RecoverToTheEnd(scene, mixed, all.Model, timeline: "1");
        scene.Hazards.Note(14);

        StepLeftFolder ahead = early.Copy().With(main, left.Disk.ReadAll(main)).WithoutControlFile();
        MustBeRefused(
            () => ahead.Plan(RecoveryTarget.Latest), ErrorCode.WalTooShort,
            "A datafile is ahead of all WAL, and nobody was told that its end is lost (H7).");
        scene.Hazards.Note(7);

        StepLeftFolder damaged = left.Copy().WithoutControlFile().Without(paths);
        WalGeometry geometry = engine.Wal.Geometry;
        damaged.Disk.Damage(
            $"{left.WalFolder}/{new SegmentName(engine.History.Last.Timeline, geometry.NumberOf(middle))}", geometry.OffsetOf(middle) + 8);
        MustBeRefused(
            () => damaged.Plan(RecoveryTarget.Latest), ErrorCode.WalGap,
            "WAL of the folder is damaged, and that was taken for its end (H6).");
        scene.Hazards.Note(6);

        StepLeftFolder copied = left.Copy().WithoutControlFile();
        ulong before = copied.Disk.Fingerprint(outside);
        RecoverToTheEnd(scene, copied, all.Model, isCopy: true);
        Require(copied.Disk.Fingerprint(outside) == before, $"{outside} may be another database's, and was written to (H26, H30).");

        (StepLeftFolder killed, StepModel model) = Killed(life, scene, main);
        PlannedInPlace planned = killed.Plan(RecoveryTarget.Latest);
        Lsn cut = planned.Plan.StopsAt.Lsn;
        killed.Recover(planned);
        LosePower(scene, killed, model.Fork(cut, geometry.BoundaryAtOrAbove(cut)));
    }

    /// <summary>
    /// What the WAL does not vouch for keeps a control file from being made anew, or its datafile from serving; what serves is
    /// durable before.
    /// </summary>
    public static void Rebuilt(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // the story has crashes of its own
        StepFile main = scene.Engine.File(FileId.Main)!;
        Put(scene, 2);
        life.RunToEnd(new StepCheckpoint(scene));
        byte[] older = scene.Disk.ReadAll(main.File.Path);
        Put(scene, 2);
        var early = new StepLeftFolder(scene, scene.Disk.KillCopy());
        Put(scene, 1);
        life.RunToEnd(new StepCheckpoint(scene));
        Put(scene, 1);
        var left = new StepLeftFolder(scene, scene.Disk.KillCopy());
        MustBeRefused(
            () => early.With(main.File.Path, scene.Disk.ReadAll(main.File.Path)).WithoutControlFile().PlanRebuild(),
            ErrorCode.WalTooShort, "A datafile is ahead of the WAL, and a control file was made that rests on both (H7).");
        scene.Hazards.Note(7);
        MustNeedRecovery(left.With(main.File.Path, older).WithoutControlFile(), "an older copy");

        (StepLeftFolder killed, StepModel model) = Killed(life, scene, main.File.Path);
        killed.Rebuild();
        LosePower(scene, killed, model);

        Incarnation before = main.File.Incarnation;
        for (int tries = 0; main.File.Incarnation == before; tries++)
        {
            Require(tries < CompactTriesMax, "The datafile is never compacted.");
            life.RunToEnd(new StepCompact(scene, main));
        }

        MustNeedRecovery(
            new StepLeftFolder(scene, scene.Disk.KillCopy()).WithoutControlFile(), "of an incarnation that no checkpoint names");
        scene.Hazards.Note(16);
    }

    // ---- branches --------------------------------------------------------------------------------

    /// <summary>To an earlier moment; what lay there is beside it (H30). Goes on there, as the second timeline.</summary>
    private static StepLeftFolder Back(
        StepScene scene, StepLeftFolder left, Lsn middle, StepModel model, bool isFlushed = false)
    {
        PlannedInPlace planned = left.Plan(RecoveryTarget.Including(middle));
        (string Path, ulong Content)[] former = [.. planned.Files
            .Where(file => file.Base is not FileBase.InPlace && left.Disk.Stat(file.Path) is { IsSymlink: false })
            .Select(file => (file.Path, left.Disk.Fingerprint(file.Path)))];
        Require(former.Length > 0, "No datafile lies beyond the target.");
        left.Recover(planned);
        foreach ((string path, ulong content) in former)
        {
            string aside = path + RecoveredFile.AsideSuffix;
            Require(
                left.Disk.Stat(aside) is not null && left.Disk.Fingerprint(aside) == content,
                $"What lay at {path} was beyond the target, and is gone (H30).");
        }

        GoOn(scene, left, middle, model, timeline: 2, isFlushed);
        return left;
    }

    /// <summary>From the first timeline once more: the second one stays as it is (H27).</summary>
    private static StepLeftFolder BackAgain(StepScene scene, StepLeftFolder back, Lsn middle, StepModel model)
    {
        string[] second = Segments();
        back.Recover(back.Plan(RecoveryTarget.Including(middle), timeline: "1"));
        GoOn(scene, back, middle, model, timeline: 3);
        Require(second.SequenceEqual(Segments()), "The branch that was left is not what it was (H27).");
        scene.Hazards.Note(27);
        return back;

        string[] Segments() => [.. back.Disk.List(back.WalFolder)
            .Where(static name => SegmentName.TryParse(name, out SegmentName segment) && segment.Timeline.Value == 2)
            .Select(name => $"{name} {back.Disk.Fingerprint($"{back.WalFolder}/{name}")}")];
    }

    /// <summary>A checkpoint lets the WAL of the branch that was left go.</summary>
    private static void GoOn(
        StepScene scene, StepLeftFolder folder, Lsn cut, StepModel model, uint timeline, bool isFlushed = false) => folder.Open(
        model.Fork(cut, scene.Engine.Wal.Geometry.BoundaryAtOrAbove(cut)),
        (life, there) =>
        {
            uint begun = there.Engine.History.Last.Timeline.Value;
            Require(begun == timeline, $"The branch has number {begun}, and {timeline} is the first that nobody has (H27).");
            Put(there, 2);
            if (isFlushed)
                life.RunToEnd(new StepCheckpoint(there));
        });

    private static void RecoverToTheEnd(
        StepScene scene, StepLeftFolder folder, StepModel model, string? timeline = null, bool isCopy = false)
    {
        PlannedInPlace planned = folder.Plan(RecoveryTarget.Latest, timeline, isCopy);
        Lsn cut = planned.Plan.StopsAt.Lsn;
        Require(cut == model.Acknowledged, $"The plan ends at {cut}, and acknowledged was {model.Acknowledged} (H7).");
        folder.Recover(planned);
        folder.Open(model.Fork(cut, scene.Engine.Wal.Geometry.BoundaryAtOrAbove(cut)));
    }

    // ---- meta pages ------------------------------------------------------------------------------

    /// <summary>
    /// The process was killed between a meta page and its sync, in a checkpoint, and the control file is lost (H10).
    /// </summary>
    private static (StepLeftFolder Folder, StepModel Model) Killed(StepLife life, StepScene scene, string path)
    {
        Put(scene, 1);
        (SimulatedDisk Disk, StepModel Model)? last = null;
        scene.Disk.DuringNext(
            () =>
            {
                if (scene.Disk.HasUnsynced(path, names: false))
                    last = (scene.Disk.KillCopy(), scene.Model.Copy());
            },
            () => life.RunToEnd(new StepCheckpoint(scene)));
        Require(last is not null, $"{path} was not flushed.");
        scene.Hazards.Note(10);
        return (new StepLeftFolder(scene, last!.Value.Disk).WithoutControlFile(), last.Value.Model);
    }

    /// <summary>Right behind the name of a control file, in several ways.</summary>
    private static void LosePower(StepScene scene, StepLeftFolder folder, StepModel model)
    {
        for (int i = 0; i < LossesEach; i++)
            new StepLeftFolder(scene, folder.Disk.CrashCopy((long)(scene.Draw() >> 8))).Open(model.Copy());
    }

    // ---- parts -----------------------------------------------------------------------------------

    private static void MustNeedRecovery(StepLeftFolder folder, string which)
    {
        RebuiltFile main = folder.PlanRebuild().Plan.Files.Single(static file => file.Name == "main");
        Require(main.NeedsRecovery is not null, $"Datafile main is {which}, and the control file that is made anew takes it (H16).");
    }

    private static void MustBeRefused(Action wrong, ErrorCode code, string otherwise)
    {
        try
        {
            wrong();
        }
        catch (PitrException refused) when (refused.Code == code)
        {
            return;
        }

        throw new SimulationFailure(otherwise);
    }

    /// <summary>Transactions over every table, so that each datafile changes.</summary>
    private static void Put(StepScene scene, int count)
    {
        for (; count > 0; count--)
        {
            var batch = new WriteBatch();
            var steps = new List<ModelStep>();
            foreach (Table table in scene.Tables)
            {
                byte[] key = scene.AnyKey(), value = scene.NewValue();
                batch.Put(table, key, value);
                steps.Add(new ModelStep.Change(table.Id, key, value));
            }

            scene.Engine.Commit([(batch, steps)], scene.Model);
            scene.DeliverAll();
        }
    }
}
