using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>Stories of a store in which nothing can be claimed, since it can do less than others (H7, H27).</summary>
internal static class StepUnclaimedStories
{
    private const string Folder = "/unclaimed";

    /// <summary>
    /// One start ships, leaves the store and enters it again; others, whose log was shorter when they began, find it ahead,
    /// also when they have written the same numbers anew meanwhile (H7).
    /// </summary>
    public static void Shorter(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // what others' shippers do is none of the life's
        StepEngine engine = scene.Engine;
        Commit(life, scene, 1);
        Lsn atStart = engine.DurableLsn;
        foreach (StoreAbilities abilities in (StoreAbilities[])[StoreAbilities.None, StoreAbilities.Lists])
        {
            string folder = $"{Folder}-{abilities}";
            scene.Disk.CreateFolders(folder);
            var store = new LimitedStore(StepExpireStories.StoreOn(scene.Disk, folder, scene.Seed), abilities);
            ArchiveIdentity.SetUp(store, engine.History.System, scene.Draw, engine.Context.Clock.GetUtcNow());
            for (int i = 0; i < 2; i++)
            {
                Commit(life, scene, 1);
                engine.Switch(scene.Model);
            }

            Commit(life, scene, 1);
            StoreStanding own = NewStanding(scene, store);
            StoreShipper first = Shipper(scene, store, own, atStart);
            ShipAll(first, engine.DurableLsn);
            first.Release();
            ShipAll(Shipper(scene, store, own, atStart), engine.DurableLsn);
            foreach (Lsn durable in (Lsn[])[atStart, engine.DurableLsn])
            {
                scene.Explored++;
                scene.Hazards.Note(7);
                Require(
                    Shipper(scene, store, NewStanding(scene, store), atStart).Ship(durable) == ShipStep.Failed,
                    $"A store without claims was ahead of the log, and {durable} is shipped into it (H7).");
            }
        }
    }

    private static StoreShipper Shipper(StepScene scene, IArchiveStore store, StoreStanding standing, Lsn endAtStart)
    {
        StepEngine engine = scene.Engine;
        var start = new EngineStart(scene.Draw(), "here", "boot", engine.Folder, 8, 1);
        return new StoreShipper(store, engine.Wal, engine.History, start, engine.Context.Clock, endAtStart)
        {
            Standing = standing,
        };
    }

    private static StoreStanding NewStanding(StepScene scene, IArchiveStore store) => new StoreStandings(
        scene.Engine.Context.Clock, new OwnerNotes(scene.Disk, scene.Engine.Folder, "boot")).In(store);

    private static void ShipAll(StoreShipper shipper, Lsn durable)
    {
        ShipStep step;
        do
            step = shipper.Ship(durable);
        while (step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail);
        Require(step == ShipStep.Nothing, $"Shipping ends with {step}: {shipper.Retry.LastError?.Message}");
    }
}
