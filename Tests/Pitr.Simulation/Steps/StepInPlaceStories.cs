using Pitr.Actors;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// A database with a backup set, a datafile that was born behind it, a dropped table and WAL that no store has, ended at each
/// operation of its last commits: what is left is recovered in place (<see cref="StepInPlaceHand"/>).
/// </summary>
internal static class StepInPlaceStories
{
    /// <summary>Both by power loss and by a kill whose write-back had failed and told nobody.</summary>
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
}
