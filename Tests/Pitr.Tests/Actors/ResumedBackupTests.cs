using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>H39: backups of a running engine that are cut off by their store, or by its death, are gone on with.</summary>
public sealed class ResumedBackupTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(1, true)]
    public async Task A_backup_whose_store_fails_is_gone_on_with_by_the_next_one(int jobs, bool isIncremental)
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            if (isIncremental)
                await BackupAsync(database);
            PitrException failed = await CutOffAsync(lab, database, jobs, isIncremental);
            Assert.Contains("goes on with what is whole", failed.Hint, StringComparison.Ordinal);
            Assert.All((await database.GetStatusAsync()).Datafiles, file => Assert.Empty(file.Fences));
            await lab.CommitManyAsync(database, 6);
            await database.CheckpointAsync().WaitAsync(Patience);
            string unfinished = Assert.Single(Unfinished(lab.Disk));

            BackupResult done = await BackupAsync(database, jobs, isIncremental);

            Assert.Equal((unfinished, 3), (done.BackupId, done.Files));
            Assert.InRange(done.FilesResumed, 1, jobs);
            Assert.Equal(isIncremental, done.BaseId is not null);
            Assert.Empty(Unfinished(lab.Disk));
            await lab.CommitManyAsync(database, 2);
        }

        RequireWhole(lab.Disk);
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_backup_whose_engine_is_killed_is_gone_on_with_by_the_next_engine()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        SimulatedDisk left;
        await using (database)
        {
            FaultGate third = await ThirdCopyAsync(lab, database);
            left = lab.Disk.KillCopy();
            third.Release();
        }

        lab.Disk = left;
        BackupResult done;
        await using (PitrDatabase next = await OpenAsync(left))
        {
            await lab.CommitManyAsync(next, 4);
            done = await BackupAsync(next);
            await lab.CommitManyAsync(next, 2);
        }

        Assert.Equal(2, done.FilesResumed);
        RequireWhole(left);
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(left, RecoveryTarget.Latest));
    }

    /// <summary>H23, H43: what was dropped since is not in the catalogue that replay would begin with.</summary>
    [Fact]
    public async Task After_a_table_was_dropped_all_is_copied_anew()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await CutOffAsync(lab, database, jobs: 1, isIncremental: false);
            await lab.CommitManyAsync(database, 3);
            await lab.DropTableAsync(database, "orders");
            await database.CheckpointAsync().WaitAsync(Patience);
            await lab.CommitManyAsync(database, 3);
            Assert.Equal(0, (await BackupAsync(database)).FilesResumed);
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_full_backup_does_not_go_on_with_an_incremental_one_nor_one_that_runs_beside_another()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await BackupAsync(database);
            await CutOffAsync(lab, database, jobs: 1, isIncremental: true);
            Assert.Equal(0, (await BackupAsync(database)).FilesResumed);

            FaultGate third = await ThirdCopyAsync(lab, database);
            Assert.Equal(0, (await BackupAsync(database)).FilesResumed); // what it finds is being made
            third.Release();
        }
    }

    private static async Task<PitrException> CutOffAsync(
        RecoveryLab lab, PitrDatabase database, int jobs, bool isIncremental)
    {
        lab.Disk.Faults.On(FileOp.SyncData).Of("/datafiles/").Nth(jobs + 1).Fail(Errno.EIO);
        return await Assert.ThrowsAnyAsync<PitrException>(() => BackupAsync(database, jobs, isIncremental));
    }

    /// <summary>A backup that stands before its third copy; two are whole.</summary>
    private static async Task<FaultGate> ThirdCopyAsync(RecoveryLab lab, PitrDatabase database)
    {
        FaultGate third = lab.Disk.Faults.On(FileOp.Create).Of("/datafiles/").Nth(3).Hold();
        _ = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
        await third.Reached.WaitAsync(Patience);
        return third;
    }

    private static Task<BackupResult> BackupAsync(PitrDatabase database, int jobs = 1, bool isIncremental = false) =>
        database.BackupAsync(
            new BackupRequest { Store = RecoveryLab.Archive, Incremental = isIncremental, Jobs = jobs }).WaitAsync(Patience);

    private static async Task<(RecoveryLab Lab, PitrDatabase Database)> FilledAsync()
    {
        var lab = new RecoveryLab();
        PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience);
        await lab.CreateTableAsync(database, "orders");
        foreach (string name in (string[])["early", "late"])
        {
            await database.CreateDatafileAsync(name);
            await lab.CreateTableAsync(database, $"of-{name}", name);
        }

        await lab.CommitManyAsync(database, 10);
        return (lab, database);
    }

    private static Task<PitrDatabase> OpenAsync(SimulatedDisk disk) =>
        PitrDatabase.OpenAsync("/db", RecoveryLab.OptionsOn(disk, RecoveryLab.Archive)).WaitAsync(Patience);

    private static IEnumerable<string> Unfinished(SimulatedDisk disk) =>
        BackupCatalog.Read(StoreOn(disk)).Others.Select(other => other.BackupId);

    private static void RequireWhole(SimulatedDisk disk) => Assert.All(
        BackupVerifier.Verify(StoreOn(disk), [StoreOn(disk)], null, static () => 1, CancellationToken.None),
        report => Assert.Empty(report.Problems));

    private static FolderStore StoreOn(SimulatedDisk disk)
    {
        ulong next = 1;
        return new FolderStore(disk, RecoveryLab.Archive, () => next++);
    }
}
