using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// An engine that ends while a backup, a set or a move is under way lets it remove what it began, and then ends.
/// </summary>
public sealed class EngineJobsTests
{
    private const string Store = "/sets";

    /// <summary>An orderly end waits for a fence; what has none is given up, and so is everything at a forced one.</summary>
    [Theory]
    [InlineData(false, Store + "/backups")] // the intent is being written
    [InlineData(true, Store + "/backups")]
    [InlineData(true, "/datafiles/.tmp")]
    public async Task A_backup_under_way_when_the_engine_ends_leaves_neither_an_intent_nor_a_copy(
        bool isForced, string writing)
    {
        SimulatedDisk disk = NewDisk();
        PitrDatabase database = await FencePromiseTests.StartedAsync(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(writing).Hold();
        using var held = new HeldSync(gate);
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = Store });
        await held.Reached.Within();

        Task shutdown = database.ShutdownAsync(isForced);
        await Until(() => StateOf(disk) == EngineState.CleanShutdown, "everything but the backup has ended");
        Assert.False(shutdown.IsCompleted);
        held.Release();

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => backup.Within());
        await shutdown.Within();
        Assert.Equal(ErrorCode.ShuttingDown, refused.Code);
        Assert.Empty(StoreOn(disk, Store).List(""));
        Assert.DoesNotContain(".tmp", string.Join(' ', Files(disk, Store)), StringComparison.Ordinal);
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>pgtar: its intents lie in the archives, where they hold back what expire would remove.</summary>
    [Fact]
    public async Task A_set_that_is_open_when_the_engine_ends_leaves_no_intent_in_the_archive()
    {
        SimulatedDisk disk = NewDisk();
        PitrDatabase database = await FencePromiseTests.StartedAsync(disk, WithArchive);
        IKeptSet set = await database.KeepSetAsync("a tar", CancellationToken.None).Within();
        Assert.Single(StoreOn(disk, RecoveryLab.Archive).List("backups/"));

        await database.ShutdownAsync().Within();

        Assert.Empty(StoreOn(disk, RecoveryLab.Archive).List("backups/"));
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => set.RenewAsync(CancellationToken.None).Within());
        Assert.Equal(ErrorCode.ShuttingDown, refused.Code);
        await set.DisposeAsync();
    }

    /// <summary>A store that hangs does not keep the database locked for ever.</summary>
    [Fact]
    public async Task An_engine_waits_no_longer_for_a_backup_than_for_its_archive()
    {
        SimulatedDisk disk = NewDisk();
        await using var time = new VirtualTime();
        PitrDatabase database = await FencePromiseTests.StartedAsync(disk, time.In);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of("/wal/.tmp").Hold();
        using var held = new HeldSync(gate);
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = Store });
        await held.Reached.Within();
        Task shutdown = database.ShutdownAsync();
        await Until(() => StateOf(disk) == EngineState.CleanShutdown, "everything but the backup has ended");
        while (!shutdown.IsCompleted)
        {
            time.Advance(new PitrOptions().ArchiveShutdownWait);
            await Task.Delay(1);
        }

        await Assert.ThrowsAnyAsync<PitrException>(() => backup.Within());
        await using (PitrDatabase again = await OpenAsync(disk.KillCopy()))
            Assert.Equal(100, again.Count(again.GetTable("t")));
        held.Release();
    }

    private static PitrOptions WithArchive(PitrOptions options) =>
        options with { ArchiveStores = [RecoveryLab.Archive] };

    private static IEnumerable<string> Files(SimulatedDisk disk, string folder) => disk.List(folder)
        .Select(name => $"{folder}/{name}")
        .SelectMany(path => disk.Stat(path)!.IsFolder ? Files(disk, path) : [path]);

    private static EngineState StateOf(SimulatedDisk disk) => new ControlFileStore(disk, Folder).ReadLive().State;

    private static FolderStore StoreOn(SimulatedDisk disk, string folder)
    {
        ulong next = 1;
        return new FolderStore(disk, folder, () => next++);
    }
}
