using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Stories of files that are fenced for long: moved between folders, of which each has names of its own to lose, made anew
/// there, spilled again and again under a reader, or that leave a folder for good (H19, H20, H30, H42, H45).
/// </summary>
internal static class StepMoveStories
{
    private const int DrainTriesMax = 20; // a move may fail by chance

    /// <summary>
    /// A datafile whose name lies outside of the folder goes in and out, while the other one does too, and is made anew where
    /// no other sync makes names durable.
    /// </summary>
    public static void Outside(StepLife life, StepScene scene)
    {
        life.RunToEnd(new StepCreateDatafile(scene));
        life.RunToEnd(new StepCreateDatafile(scene));
        StepFile file = scene.Engine.Files.First(
            one => Path.IsPathRooted(scene.Engine.Control.Catalogue.File(one.Id)!.Path));
        life.RunToEnd(new StepCreateTable(scene, file.Id));
        for (int i = 0; i < 2; i++)
        {
            foreach (string folder in (string[])[scene.Engine.Folder, StepSettings.Outside])
            {
                life.RunToEnd(new StepCommit(scene));
                Switch(life, scene, new StepMove(scene, file, folder));
                life.RunToEnd(new StepMove(scene, scene.Engine.File(FileId.Main)!, folder));
            }

            Switch(life, scene, new StepCompact(scene, file));
            life.RunToEnd(new StepCommit(scene));
            life.RunToEnd(new StepCheckpoint(scene));
        }
    }

    /// <summary>
    /// The process is killed when the name leads to the copy, and no power loss would know it yet; the power goes in the
    /// opening that follows, which has seen it (H19).
    /// </summary>
    private static void Switch(StepLife life, StepScene scene, StepActivity activity)
    {
        List<(SimulatedDisk Disk, StepDatabase Database)> killed = [];
        scene.Disk.DuringNext(
            () =>
            {
                if (killed.Count < 2 && scene.Disk.HasUnsynced(StepSettings.Outside, names: true))
                    killed.Add((scene.Disk.KillCopy(), scene.Database.Copy()));
            },
            () => life.RunToEnd(activity));
        foreach ((SimulatedDisk disk, StepDatabase left) in killed)
        {
            List<SimulatedDisk> ends = [];
            disk.BeforeOperation = operation =>
            {
                for (int i = 0; i < 3; i++)
                    ends.Add(disk.CrashCopy((operation * 3) + i));
            };
            Open(scene, disk, left.Copy());
            disk.BeforeOperation = null;
            foreach (SimulatedDisk end in ends)
                Open(scene, end, left.Copy());
        }
    }

    private static void Open(StepScene scene, SimulatedDisk disk, StepDatabase database)
    {
        scene.Explored++;
        using StepEngine engine = StepEngine.Open(
            database.Folder, scene.Settings.OptionsFor(disk, scene.Seed + 61), scene.Memory);
        StepCheck.Run(engine, database.Model);
        MoveCheck.NothingIsLeft(disk, engine.Folder, engine.Control);
    }

    /// <summary>
    /// Every datafile leaves a folder, in which one has its name and another one only its bytes; then the folder is taken away,
    /// and nothing of the database was in it (H19).
    /// </summary>
    public static void Drained(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        for (int i = 0; i < 2; i++)
            life.RunToEnd(new StepCreateDatafile(scene));
        foreach (StepFile file in engine.Files.Skip(1).ToArray())
            life.RunToEnd(new StepCreateTable(scene, file.Id));
        Commit(life, scene, 2);
        while (engine.File(FileId.Main)!.File.Path == Catalogue.FullPath(engine.Folder, engine.Control.Catalogue.File(FileId.Main)!.Path))
            life.RunToEnd(new StepMove(scene, engine.File(FileId.Main)!, StepSettings.Outside)); // may be undone
        Commit(life, scene, 1);
        for (int tries = 0; Steps() is { Count: > 0 } steps; tries++)
        {
            if (tries > DrainTriesMax)
                throw new SimulationFailure($"After {tries} times the folder still has {steps[0]} (H19).");
            foreach (DrainStep step in steps)
                life.RunToEnd(new StepMove(scene, engine.Files.First(file => file.Name == step.Datafile), drained: step));
        }

        Commit(life, scene, 1);
        SimulatedDisk without = scene.Disk.KillCopy();
        without.Vanish(StepSettings.Outside);
        Open(scene, without, scene.Database.Copy());

        IReadOnlyList<DrainStep> Steps() => DrainPlan.Make(
            scene.Disk, engine.Folder, engine.Control.Catalogue, StepSettings.Outside, engine.Folder);
    }

    /// <summary>Nobody lays a datafile where Pitr makes files of its own, whatever path leads there (H30).</summary>
    public static void Places(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        Commit(life, scene, 1);
        string[] stores = [.. engine.Stores.Select(static store => store.Name)];
        DatafilePlace.Require(scene.Disk, engine.Folder, stores, $"{StepSettings.Outside}/own.pitr", engine.Context.Outside);
        foreach (string reserved in (string[])[$"{engine.Folder}/{EngineCreation.WalFolderName}", .. stores])
        {
            string link = $"{StepSettings.Outside}/link";
            scene.Disk.Symlink(reserved, link);
            foreach (string path in (string[])[$"{reserved}/own.pitr", $"{link}/own.pitr"])
            {
                StepBranchStories.MustFail(
                    () => DatafilePlace.Require(scene.Disk, engine.Folder, stores, path, engine.Context.Outside),
                    $"A datafile may lie at {path}, where others make files (H30).");
            }

            scene.Disk.Delete(link);
        }
    }

    /// <summary>
    /// A reader holds the view of one spill, while others follow into the same scratch file; then the fence ends, and all is
    /// flushed (H12, H45).
    /// </summary>
    public static void Spills(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        StepFile main = engine.File(FileId.Main)!;
        Table table = scene.Tables.First(one => one.DatafileId == main.Id);
        var there = new CatalogueTable(table.Id, table.Name, table.DatafileId, Lsn.Zero);
        Commit(life, scene, 3);
        var fence = new StepFence(scene, main, lasts: 0);
        foreach (Turn _ in fence.Take())
            scene.DeliverAll();
        Commit(life, scene, 3);
        life.RunToEnd(new StepSpill(scene, main, isKept: true));
        ReadView view = main.File.View;
        if (!view.TryPin())
            throw new SimulationFailure("The present view cannot be held.");
        try
        {
            Lsn at = engine.VisibleLsn;
            SortedDictionary<byte[], byte[]> rows = scene.Model.At(at)[table.Name];
            for (int i = 0; i < 6; i++)
            {
                Commit(life, scene, 3);
                life.RunToEnd(new StepSpill(scene, main, isKept: true));
                engine.Context.Epochs.Collect();
                StepCheck.Compare(engine, view, there, rows, at, isReverse: i % 2 == 0);
                StepCheck.Compare(engine, scene.Model.At(engine.VisibleLsn), engine.VisibleLsn);
            }

            fence.Leave();
            life.RunToEnd(new StepFlush(scene, main));
            StepCheck.Compare(engine, view, there, rows, at, isReverse: false);
        }
        finally
        {
            view.Unpin();
        }

        StepCheck.Compare(engine, scene.Model.At(engine.VisibleLsn), engine.VisibleLsn);
    }

    private static void Commit(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
            life.RunToEnd(new StepCommit(scene));
    }
}
