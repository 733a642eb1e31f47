using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A backup meets broken fences, drops, births, files that can't be used and its own end: no wrong copy counts.
/// </summary>
public sealed class BackupRunnerTests
{
    private const string CopiesFolder = "/datafiles/";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>
    /// H13: a copy whose fence broke is void, and nothing else begins before its worker has ended; the one that counts
    /// was made under a fence from its first byte to its last.
    /// </summary>
    [Fact]
    public async Task A_copy_whose_fence_broke_is_made_again_after_its_worker_has_ended()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await gate.Reached.WaitAsync(Patience);
            await BreakFenceAsync(database);
            for (int n = 0; n < 10; n++)
            {
                await lab.CommitManyAsync(database, 2);
                await database.CheckpointAsync().WaitAsync(Patience); // writes to the file that is still being read
                EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
                Assert.All(status.Datafiles, file => Assert.Empty(file.Fences));
            }
            Assert.False(backup.IsCompleted);

            gate.Release();
            BackupResult result = await backup.WaitAsync(Patience);

            Assert.Equal(2, result.Files);
            await lab.CommitAsync(database);
        }

        RequireWhole(lab.Disk);
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    /// <summary>A page that can't be read is not among those that are reached; it counts all the same.</summary>
    [Fact]
    public async Task A_backup_of_a_datafile_with_a_damaged_page_fails()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await MoveTests.StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        for (long page = 2; page < disk.Stat("/db/b.pitr")!.LengthBytes / PageLayout.PageBytes; page++)
            disk.Damage("/db/b.pitr", page * PageLayout.PageBytes + 5000);
        PitrException error = await Assert.ThrowsAnyAsync<PitrException>(
            () => database.BackupAsync(new BackupRequest { Store = "/backups" }).WaitAsync(Patience));
        Assert.Equal(ErrorCode.PageChecksum, error.Code);
        Assert.Empty(disk.List("/backups/backups")); // neither the copy nor an intent, nor a folder
    }

    /// <summary>K4: what it says of the fence's token while the flush runs would void a copy that is good.</summary>
    [Fact]
    public async Task A_fence_that_a_backup_gives_back_is_not_renewed_and_its_copy_counts()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using var time = new VirtualTime();
        await using PitrDatabase database = await FencePromiseTests.StartedAsync(disk, time.In);
        await using var end = new ForcedEnd(database);
        FaultGate copying = disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
        disk.Log.Start();
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = "/backups" });
        await copying.Reached.WaitAsync(Patience);
        await database.PutAsync("t", "k", "what is flushed when it is unfenced");
        using HeldSync flushing = FencePromiseTests.HoldSync(disk);
        copying.Release();
        await flushing.Reached.WaitAsync(Patience);
        for (int n = 0; n < 50; n++)
        {
            time.Advance(TimeSpan.FromMinutes(1));
            await database.GetStatusAsync().WaitAsync(Patience);
        }

        flushing.Release();
        Assert.Equal(1, (await backup.WaitAsync(Patience)).Files);
        Assert.Single(disk.Log.Operations, operation =>
            operation.Op == FileOp.Create && operation.Path.Contains(CopiesFolder, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_copy_is_made_again_once_and_then_the_backup_fails_and_leaves_nothing()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            Task<BackupResult> backup = Task.FromException<BackupResult>(new InvalidOperationException());
            for (int n = 0; n < 3; n++)
            {
                FaultGate gate = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
                if (n == 0)
                    backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
                await gate.Reached.WaitAsync(Patience);
                if (n != 1) // the file between is copied in peace: the first one comes again after it
                    await BreakFenceAsync(database);
                gate.Release();
            }

            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => backup.WaitAsync(Patience));

            Assert.Equal(ErrorCode.FenceBroken, refused.Code);
            Assert.Empty(StoreOn(lab.Disk).List(BackupSet.Folder));
            Assert.All((await database.GetStatusAsync()).Datafiles, file => Assert.Empty(file.Fences));
        }
    }

    [Fact]
    public async Task A_backup_that_is_cancelled_while_it_copies_leaves_nothing_and_no_fence()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            using var cancel = new CancellationTokenSource();
            FaultGate gate = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            Task<BackupResult> backup = database.BackupAsync(
                new BackupRequest { Store = RecoveryLab.Archive }, cancel.Token);
            await gate.Reached.WaitAsync(Patience);

            await cancel.CancelAsync();
            gate.Release();

            await Assert.ThrowsAnyAsync<Exception>(() => backup.WaitAsync(Patience));
            await WaitForAsync(() => StoreOn(lab.Disk).List(BackupSet.Folder).Count == 0, "the unfinished set is gone");
            await database.ShutdownAsync().WaitAsync(Patience);
        }
        Assert.DoesNotContain(
            lab.Disk.List(RecoveryLab.Archive), name => name.StartsWith(".tmp", StringComparison.Ordinal));
    }

    /// <summary>
    /// H29: a set that lacks a file alive at its stop does not count, so it is not made, and the backup says so.
    /// </summary>
    [Fact]
    public async Task A_backup_of_a_database_with_a_datafile_that_needs_recovery_is_refused()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
            await database.ShutdownAsync().WaitAsync(Patience);
        lab.Disk.Delete("/db/early.pitr");
        await using PitrDatabase reopened = await PitrDatabase
            .OpenAsync("/db", RecoveryLab.OptionsOn(lab.Disk, RecoveryLab.Archive)).WaitAsync(Patience);

        PitrException refused = await Assert.ThrowsAnyAsync<PitrException>(
            () => reopened.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience));

        Assert.Contains("early", refused.Message, StringComparison.Ordinal);
        Assert.Empty(StoreOn(lab.Disk).List(BackupSet.Folder));
    }

    /// <summary>H29: born after the backup began, and before it read the list of files.</summary>
    [Fact]
    public async Task A_datafile_that_is_born_while_a_backup_begins_is_in_the_set()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate checkpoint = lab.Disk.Faults.On(FileOp.SyncData).Of("/db/main.pitr").Hold();
            await lab.CommitManyAsync(database, 4);
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await checkpoint.Reached.WaitAsync(Patience);
            await database.CreateDatafileAsync("born").WaitAsync(Patience);
            await lab.CreateTableAsync(database, "infants", "born").WaitAsync(Patience);
            await lab.CommitManyAsync(database, 4);
            checkpoint.Release();

            Assert.Equal(3, (await backup.WaitAsync(Patience)).Files);
            await lab.CommitManyAsync(database, 2);
        }

        RequireWhole(lab.Disk);
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    /// <summary>H29: a file of the list that is dropped before it is copied is passed over, up to its drop.</summary>
    [Fact]
    public async Task A_datafile_that_is_dropped_before_it_is_copied_is_no_part_of_the_set()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        string atStop;
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await gate.Reached.WaitAsync(Patience);
            await lab.CommitManyAsync(database, 3);
            await lab.DropTableAsync(database, "archived").WaitAsync(Patience);
            await database.DropDatafileAsync("early").WaitAsync(Patience);
            await lab.CommitManyAsync(database, 2);
            gate.Release();

            Assert.Equal(1, (await backup.WaitAsync(Patience)).Files);
            atStop = lab.Content;
            await lab.CommitManyAsync(database, 2);
        }

        Assert.Equal(atStop, await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Immediate));
        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk.KillCopy(), RecoveryTarget.Latest));
    }

    /// <summary>
    /// H29: the same if it is dropped while its fence is waited for. Found by the simulation: such a backup failed, and
    /// said that the engine was shutting down.
    /// </summary>
    [Fact]
    public async Task A_datafile_that_is_dropped_while_a_backup_waits_for_its_fence_is_no_part_of_the_set()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate copying = lab.Disk.Faults.On(FileOp.Write).Of(CopiesFolder).Hold();
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive });
            await copying.Reached.WaitAsync(Patience);
            await lab.CommitManyAsync(database, 3);
            await lab.DropTableAsync(database, "archived").WaitAsync(Patience);
            FaultGate fencing = lab.Disk.Faults.On(FileOp.Write).Of("/db/early.pitr").Hold();
            copying.Release();
            await fencing.Reached.WaitAsync(Patience); // the fence waits for the meta page that it has asked for
            Task dropping = database.DropDatafileAsync("early");
            await TestEngine.Until(
                () => database.Datafiles.All(file => file.Name != "early"), "the drop is in the catalogue");
            fencing.Release();

            Assert.Equal(1, (await backup.WaitAsync(Patience)).Files);
            await dropping.WaitAsync(Patience);
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_file_that_was_put_in_the_place_of_a_fenced_one_is_not_copied_for_it()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            byte[] before = lab.Disk.ReadAll("/db/main.pitr");
            await lab.CommitManyAsync(database, 3);
            await database.CheckpointAsync().WaitAsync(Patience);
            using (IFileHandle other = lab.Disk.Open("/db/old", FileOpen.CreateNew))
            {
                other.Write(0, before);
                other.SetLength(1 << 20);
            }
            lab.Disk.Rename("/db/old", "/db/main.pitr");

            DamageException damage = await Assert.ThrowsAsync<DamageException>(
                () => database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience));

            Assert.Equal(ErrorCode.BackupDamaged, damage.Code);
            Assert.Contains("as it was fenced", damage.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>
    /// K4: the store takes nothing more before any file is fenced. What the archive has goes, and is read there at last.
    /// </summary>
    [Fact]
    public async Task WAL_goes_that_a_backup_which_stands_still_keeps_too_much_of_and_the_archive_has_it()
    {
        await using var time = new VirtualTime();
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(
            options => time.In(options) with { FencedWalBytesMax = 100_000 });
        await using (database)
        {
            using var gate = new HeldSync(lab.Disk.Faults.On(FileOp.Write).Of("/sets/").Hold());
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = "/sets" });
            await gate.Reached.WaitAsync(Patience);
            await KeepTooMuchAsync(lab, database, time);
            gate.Release();

            BackupResult result = await backup.WaitAsync(Patience);

            Assert.Equal(2, result.Files);
        }

        Assert.Equal(lab.Content, await RecoveryLab.RestoredAsync(lab.Disk, RecoveryTarget.Latest, store: "/sets"));
    }

    /// <summary>K4: nothing else has that WAL, so there can be no set.</summary>
    [Fact]
    public async Task Without_an_archive_a_backup_that_keeps_too_much_WAL_fails_and_lets_it_go_while_its_store_hangs()
    {
        await using var time = new VirtualTime();
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(
            options => time.In(options) with { FencedWalBytesMax = 100_000, ArchiveStores = [] });
        await using (database)
        {
            using var gate = new HeldSync(lab.Disk.Faults.On(FileOp.Write).Of("/sets/").Hold());
            Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = "/sets" });
            await gate.Reached.WaitAsync(Patience);
            await KeepTooMuchAsync(lab, database, time);
            gate.Release();

            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => backup.WaitAsync(Patience));

            Assert.Equal(ErrorCode.BackupVoid, refused.Code);
            Assert.Contains("bytes of WAL were kept for it", refused.Message, StringComparison.Ordinal);
            Assert.Empty(lab.Disk.List("/sets/backups"));
        }
    }

    /// <summary>Commits past the bound; returns when WAL goes that was there before.</summary>
    private static async Task KeepTooMuchAsync(RecoveryLab lab, PitrDatabase database, VirtualTime time)
    {
        string[] held = Segments();
        Lsn began = database.Engine.DurableLsn;
        while (database.Engine.DurableLsn - began < 120_000)
            await lab.CommitAsync(database);
        await database.CheckpointAsync().WaitAsync(Patience);
        Assert.Empty(held.Except(Segments()));
        await WaitForAsync(
            () =>
            {
                time.Advance(WalAllowance.LookInterval);
                return held.Except(Segments()).Any();
            },
            "its WAL is let go");
        string[] Segments() => [.. lab.Disk.List($"{RecoveryLab.Folder}/wal")];
    }

    private static async Task<(RecoveryLab Lab, PitrDatabase Database)> FilledAsync(
        Func<PitrOptions, PitrOptions>? options = null)
    {
        var lab = new RecoveryLab();
        PitrOptions with = RecoveryLab.OptionsOn(lab.Disk, RecoveryLab.Archive);
        PitrDatabase database = await PitrDatabase
            .CreateAsync(RecoveryLab.Folder, options?.Invoke(with) ?? with).WaitAsync(Patience);
        await lab.CreateTableAsync(database, "orders");
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 10);
        await database.CheckpointAsync().WaitAsync(Patience);
        return (lab, database);
    }

    /// <summary>
    /// Breaks the fence of the file that is being copied, and returns when no file is fenced any more.
    /// </summary>
    private static async Task BreakFenceAsync(PitrDatabase database)
    {
        EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
        string fenced = Assert.Single(status.Datafiles, file => file.Fences.Count > 0).Name;
        FileId id = database.Datafiles.Single(file => file.Name == fenced).Id;
        database.Actors.Supervisor.Tell(new DatafileProtocol.BreakFencesOf(
            id, Problem.From(EngineErrors.LeaseEnded(fenced))));
        await WaitForAsync(
            () => database.GetStatusAsync().GetAwaiter().GetResult().Datafiles.All(
                file => file.Name != fenced || file.Fences.Count == 0),
            "the fence is broken");
    }

    private static void RequireWhole(SimulatedDisk disk)
    {
        FolderStore store = StoreOn(disk);
        VerifyReport report = Assert.Single(
            BackupVerifier.Verify(store, [store], null, () => 1, CancellationToken.None));
        Assert.Empty(report.Problems);
    }

    private static FolderStore StoreOn(SimulatedDisk disk)
    {
        ulong next = 1;
        return new FolderStore(disk, RecoveryLab.Archive, () => next++);
    }

    private static async Task WaitForAsync(Func<bool> isSo, string what)
    {
        long began = TimeProvider.System.GetTimestamp();
        while (!await Task.Run(isSo))
        {
            Assert.True(TimeProvider.System.GetElapsedTime(began) < Patience, $"It did not come to this: {what}.");
            await Task.Delay(5);
        }
    }

    /// <summary>
    /// However a store is written it is the same one; and the folder of a disk that is not mounted is none.
    /// </summary>
    [Fact]
    public async Task A_backup_into_the_archive_goes_by_its_folder_and_has_to_find_the_archive_there()
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        disk.CreateFolders("/archive");
        await using TestDatabase test = await TestDatabase.CreateAsync(
            disk: disk, with: static options => options with { ArchiveStores = ["/archive"] });
        foreach (string store in (string[])["/archive", "/archive/", "file:///archive", "/archive/../archive"])
            await test.Database.BackupAsync(new BackupRequest { Store = store }).WaitAsync(Patience);
        Assert.Equal(4, disk.List("/archive/backups").Count);

        disk.Rename("/archive", "/away");
        disk.CreateFolder("/archive");
        await Assert.ThrowsAnyAsync<PitrException>(
            () => test.Database.BackupAsync(new BackupRequest { Store = "/archive" }).WaitAsync(Patience));
        Assert.Empty(disk.List("/archive"));
        disk.DeleteFolder("/archive");
        disk.Rename("/away", "/archive");
    }
}
