using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>The datafile of a move that ended undecided is recovered while the engine runs (H19, H20).</summary>
public sealed partial class MoveTests
{
    private static readonly DatafileRecoveryRequest OfB = new() { Datafile = "b" };

    /// <summary>
    /// H19: where the name leads is durable before the file is used, else a power loss brings the former file back, and
    /// the WAL that it lacks is gone.
    /// </summary>
    [Fact]
    public async Task A_move_that_ended_undecided_is_settled_before_its_datafile_is_recovered()
    {
        const string Outside = "/data3/b.pitr"; // its name is in no folder that a control file syncs
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk, path: Outside);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("b", "k", "buffered");
        disk.Faults.On(FileOp.SyncFolder).Of("/data3").Nth(1).Fail(Errno.EIO);
        Assert.Equal(ErrorCode.MoveUndecided, await RefusedAsync(database, To(Target)));

        disk.Faults.On(FileOp.SyncFolder).Of("/data3").Nth(1).Fail(Errno.EIO);
        await Assert.ThrowsAsync<StorageFailedException>(() => database.RecoverDatafileAsync(OfB).Within());
        Assert.Equal("offline", (await FileAsync(database, "b")).State); // refused with nothing changed
        Assert.Equal("buffered", database.Get("b", "k"));

        Assert.Equal(Target, (await database.RecoverDatafileAsync(OfB).Within()).Path);
        await RequireSurvivesAsync(disk, database, [Target, $"{Outside} -> {Target}"]);
    }

    /// <summary>H20: a switch that still runs may change what the name leads to behind the back of a recovery.</summary>
    [Fact]
    public async Task A_datafile_is_not_recovered_while_its_move_is_under_way()
    {
        SimulatedDisk disk = WithFolders();
        await using (PitrDatabase first = await StartedAsync(disk))
        {
            await first.MoveAsync(To(Target)).Within();
            await first.ShutdownAsync().Within();
        }

        await using PitrDatabase database = await OpenAsync(disk); // no page of it is cached
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Hold();
        Task<MoveResult> move = database.MoveAsync(To("/data3/b.pitr"));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        byte[] whole = disk.ReadAll(Target);
        for (int at = 2 * PageLayout.PageBytes; at < whole.Length; at += PageLayout.PageBytes)
            disk.Damage(Target, at + 100);
        Assert.Throws<DamageException>(() => database.Get("b", "k0001"));
        await UntilAsync(database, "b", file => file.State == "needsRecovery");

        RefusedException refused =
            await Assert.ThrowsAsync<RefusedException>(() => database.RecoverDatafileAsync(OfB).Within());
        Assert.Equal(ErrorCode.MoveUnderWay, refused.Code);
        held.Release();
        Assert.Equal(
            ErrorCode.MoveUndecided,
            (await Assert.ThrowsAnyAsync<PitrException>(() => move.Within())).Code);

        Assert.Equal("/data3/b.pitr", (await database.RecoverDatafileAsync(OfB).Within()).Path);
        await RequireSurvivesAsync(disk, database, ["/data3/b.pitr", "/db/b.pitr -> /data3/b.pitr"]);
    }

    /// <summary>
    /// Datafile b serves; what is committed then, and is in no WAL any more, is there after any power loss, and nothing else
    /// of it is anywhere.
    /// </summary>
    internal static async Task RequireSurvivesAsync(SimulatedDisk disk, PitrDatabase database, string[] layout)
    {
        await database.PutAsync("b", "after", "it");
        await database.CheckpointAsync().Within();
        Assert.Equal("open", (await FileAsync(database, "b")).State);
        for (int seed = 0; seed < 8; seed++)
        {
            SimulatedDisk left = disk.CrashCopy(seed);
            await using PitrDatabase after = await OpenAsync(left);
            Assert.Equal("open", (await FileAsync(after, "b")).State);
            Assert.Equal("it", after.Get("b", "after"));
            Assert.Equal(layout, LayoutOfB(left));
            Assert.Empty(new ControlFileStore(left, Folder).ReadLive().Moves);
        }
    }
}
