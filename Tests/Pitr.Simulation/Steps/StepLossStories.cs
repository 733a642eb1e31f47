using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of an archive that has lost something, by whatever hand, and whose branches are counted by what is left: none is
/// passed over silently, and none is taken for another (H28).
/// </summary>
internal static class StepLossStories
{
    /// <summary>
    /// Of a drill's branch its history goes, so that only its WAL speaks of it; then, with the history there again, the only
    /// set that leads to it.
    /// </summary>
    public static void Branches(StepLife life, StepScene scene)
    {
        StepEngine source = scene.Engine;
        IArchiveStore store = source.Stores[0];
        Commit(life, scene, 2);
        ShipAll(scene);
        BackupSet below = StepExpireStories.Backup(life, scene, store);
        Commit(life, scene, 2);
        Lsn fork = source.DurableLsn;
        Commit(life, scene, 1);
        ShipAll(scene);
        StepDatabase drill = Restore(scene, RecoveryTarget.Including(fork), timeline: null);
        TimelineId number = default;
        GoOn(scene, drill, (lifeThere, there) =>
        {
            Commit(lifeThere, there, 2);
            ShipAll(there);
            number = there.Engine.History.Last.Timeline;
        });
        Commit(life, scene, 1);
        StepExpireStories.Backup(life, scene, store); // above the fork
        scene.Hazards.Note(28);

        scene.Disk.BeforeOperation = null; // what is done to the store from here on no crash leaves
        string name = ObjectName.History(number);
        byte[] history = store.Get(name).ToArray();
        store.Delete(name);
        MustBeRefused(scene, RecoveryTarget.Latest, $"Of timeline {number} only WAL is left, and another one is followed (H28).");
        StepDatabase next = Restore(
            scene, RecoveryTarget.Including(fork), source.History.Last.Timeline.ToString(), set: below.Id);
        GoOn(scene, next, (lifeThere, there) =>
        {
            Require(
                there.Engine.History.Last.Timeline != number, $"Number {number} was taken again, and its WAL is another's (H28).");
            Commit(lifeThere, there, 1);
            ShipAll(there);
        });
        store.TryPutIfAbsent(name, history);

        foreach (string gone in store.List(below.Prefix).OrderDescending(StringComparer.Ordinal))
            store.Delete(gone);
        MustBeRefused(
            scene, RecoveryTarget.Latest, "No set leads to branches that have transactions, and another one is followed (H28).");
    }
}
