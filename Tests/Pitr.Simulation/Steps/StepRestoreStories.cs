using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>Stories of what is found when a plan is carried out: it is there still, all of it, or nothing is copied (H48).</summary>
internal static class StepRestoreStories
{
    /// <summary>
    /// A set brings its own WAL, up to its stop, which lies in the middle of a segment: of what lies behind, the archive has
    /// lost that segment, or the next one.
    /// </summary>
    public static void WalBehindASet(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // nothing is written by it
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        Commit(life, scene, 2);
        life.RunToEnd(new StepBackup(scene));
        for (int i = 0; i < 2; i++)
        {
            Commit(life, scene, 2);
            engine.Switch(scene.Model);
        }

        ShipAll(scene);
        PlannedRecovery planned = RecoveryPlanner.Plan(new PlanRequest
        {
            Target = RecoveryTarget.Latest,
            SetStore = store,
            Archives = [store],
            Random = engine.Context.Draw,
        });
        Require(planned.Set.Label.IncludesWal, $"Set {planned.Set.Id} has no WAL of its own.");
        RestoreHold.Require(planned.Set, planned.Plan.Wal, [store], engine.Context.Clock.GetUtcNow());
        ulong own = engine.Wal.Geometry.NumberOf(planned.Set.Label.StopLsn);
        foreach (ulong number in (ulong[])[own, own + 1])
        {
            var lost = new Dictionary<string, ReadOnlyMemory<byte>>();
            foreach (string name in store.List(ObjectName.WalPrefix).Where(name => IsOf(name, number)).ToArray())
            {
                lost.Add(name, store.Get(name));
                store.Delete(name);
            }

            Require(lost.Count > 0, $"Of segment {number:X} nothing was archived.");
            scene.Explored++;
            scene.Hazards.Note(48);
            MustFail(
                () => RestoreHold.Require(planned.Set, planned.Plan.Wal, [store], engine.Context.Clock.GetUtcNow()),
                $"WAL of segment {number:X} that a restore needs has gone since its plan, and it goes on (H48).");
            foreach ((string name, ReadOnlyMemory<byte> bytes) in lost)
                store.Put(name, bytes);
        }

        static bool IsOf(string name, ulong number) =>
            (ObjectName.TryParseSegment(name, out _, out ulong of) || ObjectName.TryParsePart(name, out _, out of, out _, out _))
            && of == number;
    }
}
