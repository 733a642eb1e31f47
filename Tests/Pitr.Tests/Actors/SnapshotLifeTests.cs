using Akka.Actor;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>A snapshot when a file that it shows, or its own time, has come to an end (design §4; H12, H41).</summary>
public sealed class SnapshotLifeTests
{
    private static readonly byte[] Key = Bytes("k");

    /// <summary>H41: its owner died; the views that were pinned before show buffers that are nobody's.</summary>
    [Fact]
    public async Task A_snapshot_of_before_a_file_needs_recovery_gets_the_typed_error_and_shows_the_others()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        using Snapshot snapshot = database.OpenSnapshot();
        Table lost = database.GetTable("o");
        IActorRef owner = await database.System
            .ActorSelection(database.Actors.Supervisor.Path + "/datafile-other*").ResolveOne(TimeSpan.FromSeconds(30));
        owner.Tell(Kill.Instance);
        await Until(
            () =>
                database.Engine.Slots.All.Any(slot => slot.State == DatafileState.NeedsRecovery), "it needs recovery");

        Assert.Equal(
            ErrorCode.DatafileNeedsRecovery, Assert.Throws<RefusedException>(() => snapshot.Get(lost, Key)).Code);
        Assert.Equal(
            ErrorCode.DatafileNeedsRecovery, Assert.Throws<RefusedException>(() => snapshot.Count(lost)).Code);
        Assert.Equal("main", Encode(snapshot.Get(database.GetTable("t"), Key)));
        using Snapshot later = database.OpenSnapshot();
        Assert.Equal(
            ErrorCode.DatafileNeedsRecovery, Assert.Throws<RefusedException>(() => later.Get(lost, Key)).Code);
    }

    /// <summary>Its reads go on: buffers and pages are there.</summary>
    [Fact]
    public async Task A_snapshot_of_before_a_file_went_offline_goes_on_reading_it()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        using Snapshot snapshot = database.OpenSnapshot();
        disk.Faults.On(FileOp.Write).Of("other.pitr").Fail(Errno.EIO);
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);

        Assert.Equal("other", Encode(snapshot.Get(database.GetTable("o"), Key)));
        Assert.Equal(1, snapshot.Count(database.GetTable("o")));
    }

    /// <summary>H12, H41: the pages of a dropped file are no longer there to be read.</summary>
    [Fact]
    public async Task A_snapshot_of_before_a_file_was_dropped_gets_a_typed_error()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        Table gone = database.GetTable("o");
        using Snapshot snapshot = database.OpenSnapshot();
        await database.DropTableAsync("o").Within();
        Assert.Equal("other", Encode(snapshot.Get(gone, Key))); // as of the snapshot it is there
        await database.DropDatafileAsync("other").Within();

        Assert.Equal(
            ErrorCode.DatafileUnknown, Assert.Throws<NotFoundException>(() => snapshot.Get(gone, Key)).Code);
        Assert.Equal("main", Encode(snapshot.Get(database.GetTable("t"), Key)));
    }

    /// <summary>H12: one that is forgotten does not keep old pages for ever.</summary>
    [Fact]
    public async Task A_snapshot_past_its_age_is_ended_and_says_so()
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = NewDisk();
        TimeSpan age = TimeSpan.FromMinutes(10);
        await using PitrDatabase database = await TwoFilesAsync(
            disk, options => time.In(options) with { SnapshotAgeMax = age });
        using Snapshot old = database.OpenSnapshot();
        time.Advance(age);
        Assert.Equal("main", Encode(old.Get(database.GetTable("t"), Key)));
        using Snapshot young = database.OpenSnapshot();
        time.Advance(TimeSpan.FromSeconds(2));

        await Until(() => database.Engine.Snapshots.Count == 1, "the old one, which nobody reads, is ended");
        RefusedException ended = Assert.Throws<RefusedException>(() => old.Get(database.GetTable("t"), Key));
        Assert.Equal(ErrorCode.SnapshotTooOld, ended.Code);
        Assert.Equal("main", Encode(young.Get(database.GetTable("t"), Key)));
    }

    /// <summary>Design §4: memory does not grow with what snapshots keep.</summary>
    [Fact]
    public async Task The_oldest_snapshots_are_ended_when_together_they_keep_too_much_memory()
    {
        await using var time = new VirtualTime();
        await using PitrDatabase database = await TwoFilesAsync(
            NewDisk(), options => time.In(options) with { SnapshotBytesMax = 3 << 20 });
        Table table = database.GetTable("t");
        var open = new List<Snapshot>();
        for (int i = 0; i < 4; i++)
        {
            await database.PutAsync(table, Key, new byte[1 << 20]).Within();
            open.Add(database.OpenSnapshot());
            await database.CheckpointAsync().Within();
            time.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.True(database.Engine.Slots.BytesKeptForSnapshots > 4 << 20);
        await Until(
            () =>
            {
                time.Advance(TimeSpan.FromSeconds(1));
                return database.Engine.Slots.BytesKeptForSnapshots <= 3 << 20;
            },
            "the oldest ones are ended");
        RefusedException ended = Assert.Throws<RefusedException>(() => open[0].Get(table, Key));
        Assert.Equal(ErrorCode.SnapshotTooOld, ended.Code);
        Assert.Contains("memory", ended.Message, StringComparison.Ordinal);
        Assert.Equal(1 << 20, open[^1].Get(table, Key)!.Length);
        open.ForEach(static snapshot => snapshot.Dispose());
        Assert.Equal(0, database.Engine.Slots.BytesKeptForSnapshots);
    }

    private static string? Encode(byte[]? value) => value is null ? null : System.Text.Encoding.ASCII.GetString(value);

    /// <summary>Table t in main, table o in other, key k in both.</summary>
    private static async Task<PitrDatabase> TwoFilesAsync(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        await database.PutAsync("t", "k", "main");
        await database.PutAsync("o", "k", "other");
        return database;
    }
}
