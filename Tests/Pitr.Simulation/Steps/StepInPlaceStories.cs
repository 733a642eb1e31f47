using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of databases that are recovered where they lie (<see cref="StepInPlaceHand"/>), or whose control file is made anew
/// there: in their last commits, with a last group that is only seen, without a datafile (H3, H10, H16, H19).
/// </summary>
internal static class StepInPlaceStories
{
    private const int LossesEach = 4;

    /// <summary>
    /// With a set, a datafile that was born behind it, a dropped table and WAL that no store has, ended at each operation of its
    /// last commits, both by power loss and by a kill whose write-back had failed and told nobody.
    /// </summary>
    public static void LastCommits(StepLife life, StepScene scene)
    {
        Commit(life, scene, 2);
        life.RunToEnd(new StepBackup(scene));
        life.RunToEnd(new StepCreateDatafile(scene));
        life.RunToEnd(new StepCreateTable(scene, scene.Engine.Files.Last().Id));
        Commit(life, scene, 2);
        life.RunToEnd(new StepDropTable(scene));
        life.RunToEnd(new StepCheckpoint(scene));
        Commit(life, scene, 2);
        for (int i = 0; i < 4; i++)
            life.RunToEnd(new StepShip(scene));

        StepDatabase database = scene.Databases[0];
        List<(SimulatedDisk Disk, StepDatabase Database)> left = [];
        scene.Disk.DuringNext(
            () => left.Add((scene.Disk.KillCopy(), database.Copy())),
            () =>
            {
                Commit(life, scene, 2);
                scene.Engine.Switch(scene.Model);
                Commit(life, scene, 2);
            });
        var random = SeededRandom.For(scene.Seed, 12);
        long before = scene.Explored;
        foreach ((SimulatedDisk killed, StepDatabase ended) in left)
        {
            SimulatedDisk disk = random.Chance(40) ? killed.CrashCopy((long)(random.NextBits() >> 8)) : killed.KillCopy();
            for (int i = random.Next(4); i > 0; i--)
                disk.LoseWriteback(ref random);
            var hand = new StepInPlaceHand(
                disk, ended, scene.Settings, scene.Memory, scene.Hazards, (long)(random.NextBits() >> 8));
            hand.Touch();
            scene.Explored += hand.States;
        }

        if (scene.Explored - before < left.Count)
            throw new SimulationFailure($"Of {left.Count} databases too few were recovered in place.");
    }

    /// <summary>
    /// The process is killed before the sync of a group, and the kernel could write back only some of it and told nobody:
    /// whoever reads the log sees it whole. So does a recovery in place, and whoever makes the control file anew out of it:
    /// what they have believed is there behind a power loss (H3).
    /// </summary>
    public static void UnwrittenGroups(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // the story has crashes of its own
        Commit(life, scene, 2);
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 1);
        List<(SimulatedDisk Disk, StepDatabase Database)> left = [];
        var random = SeededRandom.For(scene.Seed, 14);
        scene.Disk.DuringNext(
            () =>
            {
                bool isUnderWay = scene.Model.Records[^1].End > scene.Model.Acknowledged;
                if (isUnderWay && scene.Disk.HasUnsynced("/wal/", names: false))
                    left.Add((scene.Disk.KillCopy(), scene.Database.Copy()));
            },
            () =>
            {
                Commit(life, scene, 1);
                life.RunToEnd(new StepCreateTable(scene, FileId.Main));
                Commit(life, scene, 1);
            });
        foreach ((SimulatedDisk killed, StepDatabase database) in left)
        {
            for (int i = 0; i < LossesEach; i++)
                MakeAnew(scene, StepInPlaceHand.Unwritten(killed, ref random), database, ref random);
            Recover(scene, StepInPlaceHand.Unwritten(killed, ref random), database, ref random, loses: null);
        }
    }

    /// <summary>A datafile, in the folder or outside of it, is not there any more, and comes from the set (H18, H19).</summary>
    public static void LostDatafiles(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // the story has crashes of its own
        Commit(life, scene, 2);
        life.RunToEnd(new StepCreateDatafile(scene));
        life.RunToEnd(new StepCreateTable(scene, scene.Engine.Files.Last().Id));
        Commit(life, scene, 30); // so many pages that what is replayed leaves most of them as they are
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 1);
        var random = SeededRandom.For(scene.Seed, 15);
        foreach (CatalogueFile file in scene.Engine.Control.Catalogue.Files)
            Recover(scene, scene.Disk.KillCopy(), scene.Database.Copy(), ref random, file.Id);
    }

    private static void Recover(
        StepScene scene, SimulatedDisk disk, StepDatabase database, ref SeededRandom random, FileId? loses)
    {
        var hand = new StepInPlaceHand(
            disk, database, scene.Settings, scene.Memory, scene.Hazards, (long)(random.NextBits() >> 8))
        {
            IsThorough = true,
            Loses = loses,
        };
        hand.Touch();
        if (hand.States == 0)
            throw new SimulationFailure("What a kill has left can't be recovered in place.");
        scene.Explored += hand.States;
    }

    private static void MakeAnew(StepScene scene, SimulatedDisk disk, StepDatabase database, ref SeededRandom random)
    {
        var store = new ControlFileStore(disk, database.Folder);
        disk.Delete(store.FilePath);
        disk.SyncFolder(database.Folder);
        PlannedRebuild planned = RebuildPlanner.Plan(
            disk, database.Folder, WalSurvey.Of(disk, $"{database.Folder}/{EngineCreation.WalFolderName}"), timeline: null,
            StepSettings.Process,
            new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));
        RebuildWriter.Run(disk, planned);
        SimulatedDisk left = disk.CrashCopy((long)(random.NextBits() >> 8));
        using StepEngine engine = StepEngine.Open(
            database.Folder, scene.Settings.OptionsFor(left, scene.Seed + 81), scene.Memory);
        StepCheck.Run(engine, database.Model);
        scene.Explored++;
    }
}
