using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of sets that have only a part of what they stand for: they build on another one, or go on with one that was cut
/// off. What is restored from them is the database of that moment, and can be written to (H15, H38, H39).
/// </summary>
internal static class StepIncrementStories
{
    private const int ChainRounds = 30;

    /// <summary>
    /// The datafile changes all over again and again, each time before a set that builds on the one before, until its chain of
    /// free pages comes to a place where the base has an older page of it.
    /// </summary>
    public static void Chains(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // crashes of backups are others' matter
        IArchiveStore store = scene.Engine.Stores[0];
        StepFile main = scene.Engine.File(FileId.Main)!;
        var chains = new HashSet<uint>();
        BackupSet? set = null;
        for (int round = 0; ; round++)
        {
            Require(round < ChainRounds, "The chain of free pages never came to the same place twice.");
            Commit(life, scene, 4);
            BackupSet? older = set;
            set = StepExpireStories.Backup(life, scene, store, round % 6 == 0 ? null : set);
            if (set.Base is null)
                chains.Clear();
            if (main.File.Meta.FreeChain is not 0 and var chain && !chains.Add(chain) && older is not null)
                break;
        }

        scene.Hazards.Note(38);
        RequireWhole(scene, set);
    }

    /// <summary>
    /// A database is restored from the older of two sets, and has changed as often as it had when the newer one was made: its
    /// datafiles are others, though their numbers agree, and its next set must not build on those (H15).
    /// </summary>
    public static void OtherFiles(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // crashes of backups are others' matter
        IArchiveStore store = scene.Engine.Stores[0];
        Commit(life, scene, 30); // so many pages that most of them stay as one flush has left them
        BackupSet older = StepExpireStories.Backup(life, scene, store);
        for (int i = 0; i < 3; i++)
        {
            Commit(life, scene, 3);
            life.RunToEnd(new StepCheckpoint(scene));
        }

        BackupSet newer = StepExpireStories.Backup(life, scene, store);
        StepDatabase restored = Restore(scene, RecoveryTarget.Latest, timeline: null, set: older.Id);
        scene.Hazards.Note(15);
        GoOn(scene, restored, (lifeThere, there) =>
        {
            while (there.Engine.Files.Any(file =>
                file.File.Generation < newer.Label.Files.First(copy => copy.Id == file.Id).Generation + 2))
            {
                Commit(lifeThere, there, 1);
                lifeThere.RunToEnd(new StepCheckpoint(there));
            }

            ShipAll(there);
            BackupSet? built = BaseChoice.Of(BackupCatalog.Read(store), there.Engine.Control).Base;
            Require(built?.Id == newer.Id, $"The newest set of the path is {newer.Id}, and the next one builds on {built?.Id}.");
            RequireWhole(there, StepExpireStories.Backup(lifeThere, there, store, built));
        });
    }

    /// <summary>
    /// A backup is cut off behind its first copy; a table that the copy has is changed and dropped, and forgotten, before
    /// another backup goes on with what is left: replay from there would need what its catalogue does not know (H23, H43).
    /// </summary>
    public static void CutOff(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // crashes of backups are others' matter
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        life.RunToEnd(new StepCreateTable(scene, FileId.Main));
        Commit(life, scene, 2);
        life.RunToEnd(new StepCheckpoint(scene));
        BackupWriter cutOff = Writer(scene, scene.Disk, store, engine.Stores);
        cutOff.Begin();
        engine.Holds[cutOff.BackupId] = Lsn.Zero;
        life.RunToEnd(new StepCopyFile(scene, engine.Control.Catalogue.File(FileId.Main)!, cutOff));
        Commit(life, scene, 6);
        foreach (Table table in scene.Tables.Where(static table => table.DatafileId == FileId.Main).Skip(1).ToArray())
        {
            foreach (Turn _ in StepDropTable.Drop(scene, table))
                scene.DeliverAll();
        }

        for (int i = 0; i < 2; i++)
        {
            Commit(life, scene, 1);
            life.RunToEnd(new StepCheckpoint(scene));
        }

        scene.Hazards.Note(39);
        UnfinishedSet? left = UnfinishedSet.Find(
            store, engine.Control, older: null, engine.Context.Clock.GetUtcNow(), static _ => true);
        BackupWriter writer = Writer(scene, scene.Disk, store, engine.Stores, continues: left);
        writer.Begin();
        foreach (CatalogueFile file in engine.Control.Catalogue.Files)
            life.RunToEnd(new StepCopyFile(scene, file, writer));
        RequireWhole(scene, StepExpireStories.End(life, scene, writer));
    }

    /// <summary>What is restored from it is what it was made of, and goes on.</summary>
    private static void RequireWhole(StepScene scene, BackupSet set)
    {
        try
        {
            foreach (LabelledFile file in set.Label.Files)
                set.VerifyFile(file, CancellationToken.None);
            StepDatabase restored = Restore(
                scene, RecoveryTarget.Immediate, scene.Engine.History.Last.Timeline.ToString(), scene.Model, set.Id);
            GoOn(scene, restored, static (life, there) =>
            {
                Commit(life, there, 3);
                life.RunToEnd(new StepCheckpoint(there));
                Commit(life, there, 1);
                StepCheck.Run(there.Engine, there.Model);
            });
        }
        catch (PitrException lost)
        {
            throw new SimulationFailure($"Set {set.Id} is not what was copied (H38, H39): {lost.Message}", lost);
        }
    }
}
