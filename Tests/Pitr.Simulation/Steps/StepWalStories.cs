using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Stories of the WAL's files: what a group over several segments leaves when it is torn is taken away by the next opening,
/// which may end at any name that it removes (H44); and a segment that is let go becomes another one (H5).
/// </summary>
internal static class StepWalStories
{
    private const int LossesOfANameEach = 3;

    /// <summary>Groups that begin with a segment and reach two or more behind it, torn before each of their operations.</summary>
    public static void Torn(StepLife life, StepScene scene)
    {
        SimulatedDisk disk = scene.Disk;
        long seed = scene.Seed;
        for (int i = 0; i < 2; i++)
        {
            life.RunToEnd(new StepCommit(scene));
            scene.Engine.Switch(scene.Model);
            List<(SimulatedDisk Disk, StepDatabase Database)> torn = [];
            disk.DuringNext(
                () =>
                {
                    torn.Add((disk.KillCopy(), scene.Database.Copy()));
                    torn.Add((disk.CrashCopy(++seed), scene.Database.Copy()));
                },
                new StepCommit(scene).CommitLarge);
            scene.DeliverAll();
            foreach ((SimulatedDisk left, StepDatabase database) in torn)
                OpenAgainAndAgain(scene, left, database, ref seed);
        }
    }

    /// <summary>Segments are let go, and made again under other names, while no other sync makes names durable (H5).</summary>
    public static void Recycled(StepLife life, StepScene scene)
    {
        Action<long>? crash = scene.Disk.BeforeOperation;
        for (int i = 0; i < 2; i++)
        {
            scene.Disk.BeforeOperation = null; // until there is something to let go
            for (int n = 0; n < 2; n++)
            {
                life.RunToEnd(new StepCommit(scene));
                scene.Engine.Switch(scene.Model);
            }

            scene.Disk.BeforeOperation = crash;
            life.RunToEnd(new StepCheckpoint(scene));
            scene.Engine.PrepareSegments(3L * scene.Settings.WalSegmentBytes);
        }
    }

    /// <summary>Opens, and loses power whenever a name of the WAL's folder has changed and is not durable.</summary>
    private static void OpenAgainAndAgain(StepScene scene, SimulatedDisk disk, StepDatabase database, ref long seed)
    {
        List<SimulatedDisk> ends = [];
        long next = seed;
        disk.BeforeOperation = _ =>
        {
            if (!disk.HasUnsynced("/wal", names: true))
                return;
            scene.Hazards.Note(44);
            for (int i = 0; i < LossesOfANameEach; i++)
                ends.Add(disk.CrashCopy(++next));
        };
        Open(scene, disk, database);
        disk.BeforeOperation = null;
        seed = next;
        foreach (SimulatedDisk end in ends)
            Open(scene, end, database);
    }

    private static void Open(StepScene scene, SimulatedDisk disk, StepDatabase database)
    {
        scene.Explored++;
        using StepEngine engine = StepEngine.Open(
            database.Folder, scene.Settings.OptionsFor(disk, scene.Seed + 71), scene.Memory);
        StepCheck.Run(engine, database.Model);
    }
}
