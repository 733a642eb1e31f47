using Akka.Actor;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>What a datafile that failed still does, and that the others go on (design §4, §12).</summary>
public sealed class DatafileStateTests
{
    private const string OtherFile = Folder + "/other.pitr";
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    /// <summary>H9, H24: the checkpoint skips it, and keeps its WAL.</summary>
    [Theory]
    [InlineData(nameof(FileOp.Write), 1)]
    [InlineData(nameof(FileOp.SyncData), 1)]
    [InlineData(nameof(FileOp.SyncData), 2)] // that of the meta page: from its write on nothing is dropped (H9)
    public async Task After_a_failed_write_or_sync_a_file_is_offline_and_serves_reads_from_buffers_and_pages(
        string failing, int nth)
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("o", "paged", "1");
        CheckpointResult before = await database.CheckpointAsync().Within();
        await database.PutAsync("o", "buffered", "2");
        disk.Faults.On(Enum.Parse<FileOp>(failing)).Of("other.pitr").Nth(nth).Fail(Errno.EIO);

        CheckpointResult checkpoint = await database.CheckpointAsync().Within();
        Assert.Equal(["other"], checkpoint.Skipped);
        Assert.Equal("offline", (await FileAsync(database, "other")).State);
        Assert.Equal(("1", "2"), (database.Get("o", "paged"), database.Get("o", "buffered")));
        Assert.Equal(ErrorCode.DatafileOffline, await CommitRefusedAsync(database, "o"));
        Assert.Equal(ErrorCode.DatafileOffline, await RefusedAsync(database, "other", Lease));
        await database.PutAsync("t", "k", "goes on");
        Assert.Equal("goes on", database.Get("t", "k"));
        Assert.True((await database.CheckpointAsync().Within()).RedoLsn <= before.CheckpointLsn,
            "WAL that the file needs may go.");

        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(3));
        Assert.Equal(("1", "2", "goes on"), (after.Get("o", "paged"), after.Get("o", "buffered"), after.Get("t", "k")));
    }

    /// <summary>H9: no room is met before the meta page: the old root stands, and it is tried again.</summary>
    [Fact]
    public async Task A_flush_without_room_is_dropped_and_tried_again()
    {
        await using var time = new VirtualTime();
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk, time.In);
        CommitResult last = await database.PutAsync("o", "k", "v");
        disk.Faults.On(FileOp.Write).Of("other.pitr").Full();

        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);
        Assert.Equal("open", (await FileAsync(database, "other")).State);
        await database.PutAsync("o", "k2", "goes on");
        time.Advance(TimeSpan.FromSeconds(5));
        await UntilAsync(database, "other", file => file.CheckpointLsn >= last.Lsn && file.State == "open");
    }

    /// <summary>H16: a copy that was put back with cp.</summary>
    [Fact]
    public async Task An_older_copy_needs_recovery_and_the_other_files_serve()
    {
        SimulatedDisk disk = NewDisk();
        await using (PitrDatabase before = await TwoFilesAsync(disk))
        {
            byte[] old = disk.ReadAll(OtherFile);
            await before.PutAsync("o", "k", "v");
            await before.ShutdownAsync().Within();
            disk.Delete(OtherFile);
            using IFileHandle handle = disk.Open(OtherFile, FileOpen.CreateNew);
            handle.Write(0, old);
        }

        await using PitrDatabase database = await OpenAsync(disk);
        await NeedsRecoveryAsync(database);
    }

    /// <summary>Design §12: the read names file and page; from then on the file needs recovery.</summary>
    [Fact]
    public async Task A_damaged_page_fails_its_read_and_the_file_needs_recovery()
    {
        SimulatedDisk disk = NewDisk();
        await DamagedAsync(disk);
        await using PitrDatabase database = await OpenAsync(disk);
        FenceGrant grant = await database.FenceAsync("other", Lease).Within();
        using Snapshot snapshot = database.OpenSnapshot();

        DamageException damage = Assert.Throws<DamageException>(() => database.Get("o", "k0001"));
        Assert.Equal(ErrorCode.PageChecksum, damage.Code);
        Assert.Equal(OtherFile, damage.Path);
        Assert.Contains("Page ", damage.Message, StringComparison.Ordinal);
        Assert.NotEmpty(damage.Hint);
        await UntilAsync(database, "other", file => file.State == "needsRecovery" && file.Fences.Count == 0);
        await NeedsRecoveryAsync(database);
        Assert.ThrowsAny<PitrException>(() => snapshot.Get(database.GetTable("o"), Bytes("k0001")));
        RefusedException broken =
            await Assert.ThrowsAsync<RefusedException>(() => database.UnfenceAsync(grant.FenceId).Within());
        Assert.Equal(ErrorCode.DatafileNeedsRecovery, broken.Code);
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);
    }

    /// <summary>The same, met by the merge of a flush: the checkpoint ends without the file.</summary>
    [Fact]
    public async Task A_damaged_page_that_a_flush_meets_makes_the_file_need_recovery()
    {
        SimulatedDisk disk = NewDisk();
        await DamagedAsync(disk);
        await using PitrDatabase database = await OpenAsync(disk);
        await database.PutAsync("o", "k0001", "new");

        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);
        await NeedsRecoveryAsync(database);
    }

    /// <summary>Its buffers are lost: the WAL has them.</summary>
    [Fact]
    public async Task A_file_whose_actor_dies_needs_recovery_and_the_others_go_on()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await database.PutAsync("o", "k", "v");
        IActorRef owner = await database.System
            .ActorSelection(database.Actors.Supervisor.Path + "/datafile-other*").ResolveOne(TimeSpan.FromSeconds(30));
        owner.Tell(Kill.Instance);

        await Until(
            () => database.Engine.Slots.All.Any(slot => slot.State == DatafileState.NeedsRecovery),
            "the file needs recovery");
        await NeedsRecoveryAsync(database);
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(4));
        Assert.Equal("v", after.Get("o", "k"));
    }

    /// <summary>Neither commits nor reads nor fences of file other, each with the typed error; main serves.</summary>
    private static async Task NeedsRecoveryAsync(PitrDatabase database)
    {
        Assert.Equal("needsRecovery", (await FileAsync(database, "other")).State);
        Assert.Equal(
            ErrorCode.DatafileNeedsRecovery, Assert.ThrowsAny<PitrException>(() => database.Get("o", "k")).Code);
        Assert.Equal(ErrorCode.DatafileNeedsRecovery, await CommitRefusedAsync(database, "o"));
        Assert.Equal(ErrorCode.DatafileNeedsRecovery, await RefusedAsync(database, "other", Lease));
        await database.PutAsync("t", "k", "goes on");
        Assert.Equal("goes on", database.Get("t", "k"));
    }

    private static async Task<ErrorCode> CommitRefusedAsync(PitrDatabase database, string table) =>
        (await Assert.ThrowsAnyAsync<PitrException>(() => database.PutAsync(table, "refused", "v"))).Code;

    /// <summary>Table t in main, table o in other.</summary>
    private static async Task<PitrDatabase> TwoFilesAsync(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        return database;
    }

    /// <summary>Every page of other but its meta pages is damaged, on a database that was closed in order.</summary>
    private static async Task DamagedAsync(SimulatedDisk disk)
    {
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await FencePromiseTests.PutManyAsync(database, "o", 1000);
        await database.ShutdownAsync().Within();
        for (long at = 2 * PageLayout.PageBytes; at < disk.ReadAll(OtherFile).Length; at += PageLayout.PageBytes)
            disk.Damage(OtherFile, at + 100);
    }
}
