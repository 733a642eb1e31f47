using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A backup that copies several datafiles at a time: each under a fence of its own, and nothing of it counts if one fails.
/// </summary>
public sealed class ParallelBackupTests
{
    private const string CopiesFolder = "/datafiles/";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task As_many_datafiles_as_asked_for_are_copied_beside_each_other_each_under_its_own_fence()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate first = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            FaultGate second = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Nth(2).Hold();
            Task<BackupResult> backup = Backup(database, jobs: 2);
            await first.Reached.WaitAsync(Patience);
            await second.Reached.WaitAsync(Patience);
            EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
            Assert.Equal(2, status.Datafiles.Count(file => file.Fences.Count == 1)); // of three: no more than asked for
            await lab.CommitManyAsync(database, 3);
            second.Release();
            first.Release();

            Assert.Equal(3, (await backup.WaitAsync(Patience)).Files);
            Assert.All((await database.GetStatusAsync()).Datafiles, file => Assert.Empty(file.Fences));
            await lab.CommitManyAsync(database, 2);
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task More_jobs_than_datafiles_are_as_many_as_there_are_datafiles()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
            Assert.Equal(3, (await Backup(database, jobs: 64).WaitAsync(Patience)).Files);
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_copy_that_fails_ends_those_beside_it_and_leaves_no_set_and_no_fence()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate other = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            FaultGate failing = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Nth(2).Hold();
            Task<BackupResult> backup = Backup(database, jobs: 3);
            await other.Reached.WaitAsync(Patience);
            await failing.Reached.WaitAsync(Patience);
            lab.Disk.Faults.On(FileOp.SyncData).Of(CopiesFolder).Fail(Storage.Errno.EIO);
            failing.Release();
            other.Release();

            await Assert.ThrowsAnyAsync<PitrException>(() => backup.WaitAsync(Patience));
            Assert.Empty(BackupCatalog.Read(new FolderStore(lab.Disk, RecoveryLab.Archive, () => 1)).Sets);
            Assert.All((await database.GetStatusAsync()).Datafiles, file => Assert.Empty(file.Fences));
            Assert.Equal(3, (await Backup(database, jobs: 3).WaitAsync(Patience)).Files);
        }
    }

    [Fact]
    public async Task A_backup_that_is_cancelled_while_it_copies_several_leaves_nothing_and_no_fence()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            using var cancel = new CancellationTokenSource();
            FaultGate first = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            FaultGate second = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Nth(2).Hold();
            Task<BackupResult> backup = Backup(database, jobs: 2, cancel.Token);
            await first.Reached.WaitAsync(Patience);
            await second.Reached.WaitAsync(Patience);
            await cancel.CancelAsync();
            second.Release();
            first.Release();

            await Assert.ThrowsAnyAsync<Exception>(() => backup.WaitAsync(Patience));
            await TestEngine.Until(
                () => new FolderStore(lab.Disk, RecoveryLab.Archive, () => 1).List(BackupSet.Folder).Count == 0,
                "the unfinished set is gone");
            await database.ShutdownAsync().WaitAsync(Patience); // no fence is left that it would wait for
        }
    }

    private static Task<BackupResult> Backup(PitrDatabase database, int jobs, CancellationToken cancel = default) =>
        database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive, Jobs = jobs }, cancel);

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
}
