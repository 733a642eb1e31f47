using Akka.Actor;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What happens when the WAL can't be written (design §8, §12).</summary>
public sealed class WalFailureTests
{
    /// <summary>An fsync is never retried; whoever waits is told whether the fate of the commit is known.</summary>
    [Theory]
    [InlineData(nameof(FileOp.Write))]
    [InlineData(nameof(FileOp.SyncData))]
    public async Task A_failed_write_or_sync_stops_the_engine_at_once_and_a_restart_has_all_that_was_acknowledged(
        string failing)
    {
        FileOp op = Enum.Parse<FileOp>(failing);
        SimulatedDisk disk = TestEngine.NewDisk();
        PitrDatabase database = await WithTable(disk);
        for (int i = 0; i < 20; i++)
            await database.PutAsync("t", $"k{i}", "acknowledged");
        // One group stands at the gate, another commit waits in the intake; then the next write or sync fails.
        FaultGate before = op == FileOp.SyncData
            ? disk.Faults.On(FileOp.Write).Of("/wal/").Hold()
            : disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold();
        Task first = database.PutAsync("t", "first", "?");
        await before.Reached.Within();
        Task second = database.PutAsync("t", "second", "?");
        disk.Faults.On(op).Of("/wal/").Fail(Errno.EIO);
        disk.Log.Start();
        before.Release();

        RefusedException failed =
            await Assert.ThrowsAsync<RefusedException>(() => op == FileOp.SyncData ? first : second);
        Assert.Equal(ErrorCode.CommitFateUnknown, failed.Code);
        if (op == FileOp.SyncData)
            Assert.Equal(ErrorCode.CommitRefused, (await Assert.ThrowsAsync<RefusedException>(() => second)).Code);
        PitrException late = await Assert.ThrowsAnyAsync<PitrException>(() => database.PutAsync("t", "late", "never"));
        Assert.Equal(ErrorCode.CommitRefused, late.Code);
        Assert.Contains("EIO", late.Message, StringComparison.Ordinal);
        StorageFailedException why =
            await Assert.ThrowsAsync<StorageFailedException>(() => database.Completion.Within());
        Assert.Contains("EIO", why.Message, StringComparison.Ordinal);
        disk.Log.Stop();
        Assert.Equal(op == FileOp.SyncData ? 1 : 0, disk.Log.Operations.SkipWhile(operation => operation.Op != op)
            .Count(operation =>
                operation.Op == FileOp.SyncData && operation.Path.Contains("/wal/", StringComparison.Ordinal)));

        foreach (SimulatedDisk left in (SimulatedDisk[])[disk.KillCopy(), disk.CrashCopy(1), disk.CrashCopy(2)])
        {
            await using PitrDatabase after = await TestEngine.OpenAsync(left);
            for (int i = 0; i < 20; i++)
                Assert.Equal("acknowledged", after.Get("t", $"k{i}"));
            Assert.Null(after.Get("t", "late"));
            if (op == FileOp.SyncData)
                Assert.Null(after.Get("t", "second"));
            else
                Assert.Equal("?", after.Get("t", "first")); // durable, whether its caller was told so or not
        }
    }

    [Fact]
    public async Task A_request_that_the_end_of_the_engine_meets_is_told_why_it_ended()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        PitrDatabase database = await WithTable(disk);
        await database.PutAsync("t", "k", "v");
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("main.pitr").Hold();
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await gate.Reached.Within();
        disk.Faults.On(FileOp.SyncData).Of("/wal/").Fail(Errno.EIO);
        await Assert.ThrowsAnyAsync<PitrException>(() => database.PutAsync("t", "k", "w"));
        gate.Release();
        PitrException ended = await Assert.ThrowsAnyAsync<PitrException>(() => checkpoint.Within());
        Assert.Contains("EIO", ended.Message, StringComparison.Ordinal);
        await Assert.ThrowsAnyAsync<PitrException>(() => database.Completion.Within());
    }

    /// <summary>H4: every segment that a group touches is synced before it is applied.</summary>
    [Fact]
    public async Task A_commit_over_several_segments_is_there_whole_or_not_at_all_after_a_power_loss_at_any_step()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        Table table = database.GetTable("t");
        var copies = new List<(SimulatedDisk Disk, bool IsAcknowledged)>();
        bool isAcknowledged = false;
        disk.BeforeOperation = operation => copies.Add((disk.CrashCopy(operation), Volatile.Read(ref isAcknowledged)));
        var batch = new WriteBatch();
        for (int i = 0; i < 5; i++)
            batch.Put(table, [(byte)i], new byte[40_000]);
        await database.CommitAsync(batch).Within();
        Volatile.Write(ref isAcknowledged, true);
        await database.PutAsync("t", "k", "after");
        disk.BeforeOperation = null;

        Assert.Contains(copies, copy => copy.IsAcknowledged);
        using ActorSystem system = ActorSystem.Create("sweep");
        foreach ((SimulatedDisk left, bool isDone) in copies)
        {
            await using PitrDatabase after =
                await TestEngine.OpenAsync(left, options => options with { ActorSystem = system });
            Table found = after.GetTable("t");
            int there = Enumerable.Range(0, 5).Count(i => after.Get(found, [(byte)i]) is { Length: 40_000 });
            Assert.True(there == 5 || (there == 0 && !isDone), $"{there} of 5, acknowledged: {isDone}");
        }
    }

    /// <summary>H4: a full disk is met before a group's first byte.</summary>
    [Fact]
    public async Task A_full_disk_refuses_what_needs_new_segments_damages_nothing_and_commits_go_on_when_there_is_room()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        disk.CapacityBytes = disk.UsedBytes;
        int acknowledged = 0;
        StorageFailedException? full = null;
        while (full is null && acknowledged < 1000)
        {
            try
            {
                await database.PutAsync(database.GetTable("t"), BitConverter.GetBytes(acknowledged), new byte[8000])
                    .Within();
                acknowledged++;
            }
            catch (StorageFailedException refused)
            {
                full = refused;
            }
        }

        Assert.Equal(ErrorCode.DiskFull, full?.Code);
        Assert.InRange(acknowledged, 1, 100);
        await using (PitrDatabase crashed = await OpenWithRoom(disk.CrashCopy(1)))
            Assert.Equal(acknowledged, crashed.Count(crashed.GetTable("t")));

        disk.CapacityBytes = long.MaxValue;
        for (int i = 0; i < 20; i++)
            await database.PutAsync(database.GetTable("t"), BitConverter.GetBytes(acknowledged++), new byte[8000])
                .Within();
        await using PitrDatabase after = await OpenWithRoom(disk.CrashCopy(2));
        Assert.Equal(acknowledged, after.Count(after.GetTable("t")));
    }

    /// <summary>
    /// H4, H21: nothing that an opening has to write is needed as long as the old control file stands, and a crash in
    /// such an opening loses nothing.
    /// </summary>
    [Fact]
    public async Task An_engine_on_a_full_disk_closes_and_opens_again()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        disk.CapacityBytes = disk.UsedBytes;
        int acknowledged = 0;
        await Assert.ThrowsAsync<StorageFailedException>(async () =>
        {
            for (; acknowledged < 1000; acknowledged++)
                await database.PutAsync(database.GetTable("t"), BitConverter.GetBytes(acknowledged), new byte[8000])
                    .Within();
        });
        await database.ShutdownAsync().Within();
        Assert.Equal((0, 0), (disk.OpenHandleCount, disk.HeldLockCount));

        disk.CapacityBytes = disk.UsedBytes;
        var cut = new List<SimulatedDisk>();
        disk.BeforeOperation = operation => cut.Add(disk.CrashCopy(operation));
        PitrDatabase full = await TestEngine.OpenAsync(disk);
        disk.BeforeOperation = null;
        Assert.Equal(acknowledged, full.Count(full.GetTable("t")));
        StorageFailedException refused = await Assert.ThrowsAsync<StorageFailedException>(
            () => full.PutAsync(full.GetTable("t"), new byte[] { 1 }, new byte[100_000]).Within());
        Assert.Equal(ErrorCode.DiskFull, refused.Code);
        SimulatedDisk killed = disk.KillCopy();
        killed.CapacityBytes = killed.UsedBytes;
        await full.ShutdownAsync().Within();

        foreach (SimulatedDisk left in (SimulatedDisk[])[disk, killed])
        {
            await using PitrDatabase after = await TestEngine.OpenAsync(left);
            Assert.Equal(acknowledged, after.Count(after.GetTable("t")));
            left.CapacityBytes = long.MaxValue;
            await after.PutAsync("t", "k", "there is room");
        }

        using ActorSystem system = ActorSystem.Create("sweep");
        for (int i = 0; i < cut.Count; i += Math.Max(1, cut.Count / 20))
        {
            cut[i].CapacityBytes = cut[i].UsedBytes;
            await using PitrDatabase after = await TestEngine.OpenAsync(
                cut[i], options => options with { ActorSystem = system });
            Assert.Equal(acknowledged, after.Count(after.GetTable("t")));
        }
    }

    private static Task<PitrDatabase> OpenWithRoom(SimulatedDisk disk)
    {
        disk.CapacityBytes = long.MaxValue;
        return TestEngine.OpenAsync(disk);
    }

    private static async Task<PitrDatabase> WithTable(SimulatedDisk disk)
    {
        PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateTableAsync("t").Within();
        return database;
    }
}
