using System.Text;
using Pitr.Actors;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>What an engine goes on with after a crash: files, read views, numbers, and everybody who waits.</summary>
public sealed class EngineReopeningTests
{
    private const string Folder = "/db";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_crash_recovery_that_checkpoints_on_its_way_opens()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase before = await PitrDatabase.CreateAsync(Folder, OptionsFor(disk)).WaitAsync(Patience);
        Table table = await before.CreateTableAsync("t").WaitAsync(Patience);
        byte[] value = new byte[4000];
        for (int i = 0; i < 800; i++)
            await before.PutAsync(table, Key($"k{i:D4}"), value).AsTask().WaitAsync(Patience);
        SimulatedDisk left = disk.KillCopy();

        // A barrier each MiB of WAL: each of them notes files and redo point.
        await using PitrDatabase after = await PitrDatabase
            .OpenAsync(Folder, OptionsFor(left) with { WriteBufferBytesMax = 4 << 20 }).WaitAsync(Patience);
        Assert.Equal(800, after.Count(after.GetTable("t")));
    }

    [Fact]
    public async Task A_snapshot_taken_after_a_recovery_keeps_what_was_replayed()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase before = await PitrDatabase.CreateAsync(Folder, OptionsFor(disk)).WaitAsync(Patience);
        Table table = await before.CreateTableAsync("t").WaitAsync(Patience);
        await before.PutAsync(table, Key("k"), Key("old")).AsTask().WaitAsync(Patience);

        await using PitrDatabase after = await PitrDatabase.OpenAsync(Folder, OptionsFor(disk.KillCopy()))
            .WaitAsync(Patience);
        table = after.GetTable("t");
        using Snapshot snapshot = after.OpenSnapshot();
        await after.PutAsync(table, Key("k"), Key("new")).AsTask().WaitAsync(Patience);
        Assert.Equal("old", Encoding.ASCII.GetString(snapshot.Get(table, Key("k"))!));
    }

    [Fact]
    public async Task A_checkpoint_after_a_segment_switch_waits_for_no_heartbeat()
    {
        await using PitrDatabase database = await PitrDatabase.CreateAsync(Folder, OptionsFor(NewDisk()))
            .WaitAsync(Patience);
        Table table = await database.CreateTableAsync("t").WaitAsync(Patience);
        await database.PutAsync(table, Key("k"), Key("v")).AsTask().WaitAsync(Patience);
        Lsn switched = await database.SwitchWalAsync().WaitAsync(Patience);
        CheckpointResult result = await database.CheckpointAsync().WaitAsync(Patience);
        Assert.Equal(switched, result.CheckpointLsn);
    }

    [Fact]
    public async Task A_missing_datafile_does_not_keep_the_others_from_serving()
    {
        SimulatedDisk disk = NewDisk();
        await using (PitrDatabase before = await PitrDatabase.CreateAsync(Folder, OptionsFor(disk)).WaitAsync(Patience))
        {
            await before.CreateTableAsync("t").WaitAsync(Patience);
            await before.CreateDatafileAsync("other").WaitAsync(Patience);
            await before.CreateTableAsync("u", "other").WaitAsync(Patience);
            await before.PutAsync(before.GetTable("t"), Key("k"), Key("v")).AsTask().WaitAsync(Patience);
            await before.ShutdownAsync().WaitAsync(Patience);
        }

        disk.Delete(Folder + "/other.pitr");
        await using PitrDatabase after = await PitrDatabase.OpenAsync(Folder, OptionsFor(disk)).WaitAsync(Patience);
        Assert.NotNull(after.Get(after.GetTable("t"), Key("k")));
        Assert.ThrowsAny<PitrException>(() => after.Get(after.GetTable("u"), Key("k")));
    }

    [Fact]
    public async Task Transaction_ids_are_never_given_twice_over_a_clean_restart()
    {
        SimulatedDisk disk = NewDisk();
        CommitResult last;
        await using (PitrDatabase before = await PitrDatabase.CreateAsync(Folder, OptionsFor(disk)).WaitAsync(Patience))
        {
            Table table = await before.CreateTableAsync("t").WaitAsync(Patience);
            last = await before.PutAsync(table, Key("k"), Key("v")).AsTask().WaitAsync(Patience);
            await before.ShutdownAsync().WaitAsync(Patience);
        }

        await using PitrDatabase after = await PitrDatabase.OpenAsync(Folder, OptionsFor(disk)).WaitAsync(Patience);
        CommitResult next = await after.PutAsync(after.GetTable("t"), Key("k"), Key("w")).AsTask().WaitAsync(Patience);
        Assert.Equal(last.TransactionId.Value + 1, next.TransactionId.Value);
    }

    private static byte[] Key(string text) => Encoding.ASCII.GetBytes(text);

    private static SimulatedDisk NewDisk()
    {
        var disk = new SimulatedDisk(1);
        disk.CreateFolders("/");
        return disk;
    }

    private static PitrOptions OptionsFor(SimulatedDisk disk) => new()
    {
        FileSystem = disk,
        WalSegmentBytes = 64 << 10,
        MemoryBudgetBytes = 64 << 20,
        HeartbeatInterval = TimeSpan.FromHours(1),
        Delay = static _ => { },
    };
}
