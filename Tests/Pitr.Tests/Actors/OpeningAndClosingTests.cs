using Akka.Actor;
using Pitr.Actors;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>Who owns a database, in which actor system, and what is left when nobody does (design §2, §12).</summary>
public sealed class OpeningAndClosingTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_cancelled_opening_leaves_no_handle_and_no_lock(bool isSystemGiven)
    {
        SimulatedDisk disk = await DiskWithDatabase();
        using ActorSystem? system = isSystemGiven ? ActorSystem.Create("host") : null;
        FaultGate gate = disk.Faults.On(FileOp.Read).Of("main.pitr").Hold();
        using var cancel = new CancellationTokenSource();
        Task<PitrDatabase> opening = PitrDatabase.OpenAsync(
            TestEngine.Folder, TestEngine.OptionsFor(disk) with { ActorSystem = system }, cancel.Token);
        await gate.Reached.Within();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => opening.Within());

        gate.Release();
        await TestEngine.Until(() => disk.OpenHandleCount == 0 && disk.HeldLockCount == 0, "everything is let go");
        await using PitrDatabase after =
            await TestEngine.OpenAsync(disk, options => options with { ActorSystem = system });
        Assert.Equal("v", after.Get("t", "k"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_second_engine_on_a_database_is_refused_and_disturbs_nothing(bool isSystemShared)
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        using ActorSystem? system = isSystemShared ? ActorSystem.Create("host") : null;
        await using PitrDatabase first =
            await TestEngine.CreateAsync(disk, options => options with { ActorSystem = system });
        await first.CreateTableAsync("t").Within();
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => TestEngine.OpenAsync(disk, options => options with { ActorSystem = system }));
        Assert.Equal(ErrorCode.DatabaseLocked, refused.Code);
        await first.PutAsync("t", "k", "v");
        Assert.Equal("v", first.Get("t", "k"));
    }

    [Fact]
    public async Task Several_databases_live_in_one_given_actor_system_and_leave_it_running()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        using ActorSystem system = ActorSystem.Create("host");
        var databases = new List<PitrDatabase>();
        foreach (string folder in (string[])["/a/db", "/b/db", "/c/db"])
        {
            disk.CreateFolders(Path.GetDirectoryName(folder)!);
            PitrDatabase database = await PitrDatabase.CreateAsync(
                folder, TestEngine.OptionsFor(disk) with { ActorSystem = system }).Within();
            databases.Add(database);
            await database.CreateTableAsync("t").Within();
            await database.PutAsync("t", "k", folder);
        }

        await databases[0].DisposeAsync();
        Assert.Equal("/b/db", databases[1].Get("t", "k"));
        await databases[1].PutAsync("t", "k", "still");
        foreach (PitrDatabase database in databases)
            await database.DisposeAsync();
        Assert.False(system.WhenTerminated.IsCompleted);
        Assert.Equal((0, 0), (disk.OpenHandleCount, disk.HeldLockCount));
    }

    [Fact]
    public async Task A_database_is_opened_again_in_the_same_actor_system_as_soon_as_it_is_closed()
    {
        SimulatedDisk disk = await DiskWithDatabase();
        using ActorSystem system = ActorSystem.Create("host");
        for (int i = 0; i < 10; i++)
        {
            PitrDatabase database = await TestEngine.OpenAsync(disk, options => options with { ActorSystem = system });
            Assert.Equal("v", database.Get("t", "k"));
            await database.ShutdownAsync().Within();
        }
    }

    [Fact]
    public async Task An_opening_that_failed_has_let_everything_go_when_it_says_so()
    {
        SimulatedDisk disk = await DiskWithDatabase();
        disk.Faults.On(FileOp.Read).Of("/wal/").Always().Fail(Storage.Errno.EIO);
        await Assert.ThrowsAnyAsync<PitrException>(() => TestEngine.OpenAsync(disk));
        Assert.Equal((0, 0), (disk.OpenHandleCount, disk.HeldLockCount));
        disk.Faults.Clear();
        await using PitrDatabase after = await TestEngine.OpenAsync(disk);
        Assert.Equal("v", after.Get("t", "k"));
    }

    [Fact]
    public void What_nobody_took_is_let_go_at_the_end_and_what_was_taken_is_not()
    {
        var handOver = new HandOver();
        var letGo = new List<string>();
        string taken = handOver.Give("taken", letGo.Add);
        handOver.Give("left", letGo.Add);
        Assert.True(handOver.Take(taken));
        handOver.Close();
        handOver.Give("late", letGo.Add);
        Assert.Equal(["left", "late"], letGo);
        Assert.False(handOver.Take("left"));
    }

    private static async Task<SimulatedDisk> DiskWithDatabase()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateTableAsync("t").Within();
        await database.PutAsync("t", "k", "v");
        await database.ShutdownAsync().Within();
        return disk;
    }
}
