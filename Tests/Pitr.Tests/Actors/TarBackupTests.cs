using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A tar that is made beside an engine meets broken fences, drops, births, ends of the engine and of itself: what passes
/// for whole restores, and nothing stays behind.
/// </summary>
public sealed class TarBackupTests
{
    private const string Tar = "/out/set.tar";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_tar_of_a_database_under_load_restores_to_its_stop_by_itself()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            Task<TarBackupResult> making = MakeAsync(lab, database);
            while (!making.IsCompleted)
                await lab.CommitAsync(database);
            TarBackupResult made = await making;
            Moment stop = lab.Moments.Last(moment => moment.Lsn <= made.Label.StopLsn);
            await lab.CommitManyAsync(database, 3);

            Assert.Equal(2, made.Label.Files.Count);
            Assert.Equal(stop.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
            await RequireNothingHeldAsync(lab, database);
        }
    }

    [Fact]
    public async Task Behind_the_stop_a_tar_restores_to_any_moment_of_the_archive()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        Moment target;
        await using (database)
        {
            await MakeAsync(lab, database).WaitAsync(Patience);
            await lab.CommitManyAsync(database, 5);
            target = await lab.CommitAsync(database);
            await lab.CommitManyAsync(database, 5);
        }

        Assert.Equal(target.Content, await RestoredAsync(lab, RecoveryTarget.Including(target.Lsn), archive: RecoveryLab.Archive));
    }

    /// <summary>The archive has the WAL before there is a manifest.</summary>
    [Fact]
    public async Task A_tar_without_WAL_restores_with_the_archive_and_not_without_it()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        TarBackupResult made;
        await using (database)
            made = await MakeAsync(lab, database, new TarBackupRequest { WithoutWal = true }).WaitAsync(Patience);

        Assert.False(made.Label.IncludesWal);
        Assert.Equal(ErrorCode.WalGap, (await Assert.ThrowsAsync<RefusedException>(
            () => RestoredAsync(lab, RecoveryTarget.Immediate))).Code);
        Assert.Equal(
            lab.Content, await RestoredAsync(lab, RecoveryTarget.Immediate, archive: RecoveryLab.Archive, into: "/again"));
    }

    [Fact]
    public async Task Without_an_archive_the_WAL_is_not_left_out()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(archives: false);
        await using (database)
        {
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
                () => MakeAsync(lab, database, new TarBackupRequest { WithoutWal = true }).WaitAsync(Patience));
            Assert.Equal(ErrorCode.WalGap, refused.Code);
            await MakeAsync(lab, database).WaitAsync(Patience);
            Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
        }
    }

    [Fact]
    public async Task On_another_machine_nothing_is_written()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => MakeAsync(
                lab, database, options: static options => options with { Process = new ThisProcess("elsewhere", 1, "boot") })
                .WaitAsync(Patience));

            Assert.Equal(ErrorCode.NeedsRunningEngine, refused.Code);
            Assert.Contains("local disk", refused.Message, StringComparison.Ordinal);
            Assert.Empty(lab.Disk.List("/out"));
            await RequireNothingHeldAsync(lab, database);
        }
    }

    /// <summary>The same name and path, another disk: that of a container, or of a copy of the machine.</summary>
    [Fact]
    public async Task Beside_another_folder_of_the_same_path_nothing_is_written()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        var other = new SimulatedDisk(2);
        other.CreateFolders("/other/and/more");
        other.CreateFolders("/db");
        other.CreateFolders("/out");
        await using (database)
        {
            Assert.Equal(ErrorCode.NeedsRunningEngine, (await Assert.ThrowsAsync<RefusedException>(() => MakeAsync(
                lab, database, options: options => options with { FileSystem = other }).WaitAsync(Patience))).Code);
        }
    }

    /// <summary>The same inode on another file system, as the roots of both have it.</summary>
    [Fact]
    public async Task Beside_a_folder_of_the_same_inode_on_another_file_system_nothing_is_written()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        ulong inode = lab.Disk.Stat("/db")!.Inode;
        var other = new SimulatedDisk(2);
        for (ulong last = other.Stat("/")!.Inode; last + 1 < inode; last = other.Stat($"/pad{last}")!.Inode)
            other.CreateFolders($"/pad{last}");
        other.Mount("/db");
        other.CreateFolders("/out");
        Assert.Equal(inode, other.Stat("/db")!.Inode);
        await using (database)
        {
            Assert.Equal(ErrorCode.NeedsRunningEngine, (await Assert.ThrowsAsync<RefusedException>(() => MakeAsync(
                lab, database, options: options => options with { FileSystem = other }).WaitAsync(Patience))).Code);
        }
    }

    /// <summary>H13, TB1: whatever was read under a fence that broke is void; the copy is made again, whole.</summary>
    [Fact]
    public async Task A_copy_whose_fence_broke_is_made_again_and_the_tar_is_whole()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        var notes = new List<string>();
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
            Task<TarBackupResult> making = MakeAsync(lab, database, new TarBackupRequest { Note = notes.Add });
            await gate.Reached.WaitAsync(Patience);
            await BreakFenceAsync(database);
            await lab.CommitManyAsync(database, 6);
            await database.CheckpointAsync().WaitAsync(Patience); // writes the file that is being read
            gate.Release();

            Assert.Equal(2, (await making.WaitAsync(Patience)).Label.Files.Count);
            Assert.Contains("main is void and is made again", Assert.Single(notes), StringComparison.Ordinal);
            await RequireNothingHeldAsync(lab, database);
        }

        Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
    }

    /// <summary>H13: the answer to a renewal is about the copy that was under way when it was sent.</summary>
    [Fact]
    public async Task A_renewal_that_is_answered_late_ends_the_copy_of_its_time_and_not_the_next_one()
    {
        await using var time = new VirtualTime();
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(options: time.In);
        await using (database)
        {
            var again = new TaskCompletionSource<FaultGate>(TaskCreationOptions.RunContinuationsAsynchronously);
            FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
            var set = new LateRenewal(await database.KeepSetAsync("test", CancellationToken.None).WaitAsync(Patience));
            var request = new TarBackupRequest
            {
                Note = _ => again.SetResult(lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold()),
            };
            Task<TarBackupResult> making = MakeAsync(lab, database, request, time.In, set);
            await gate.Reached.WaitAsync(Patience);
            await BreakFenceAsync(database);
            time.Advance(TarBackup.RenewEvery);
            await set.HasBroken.WaitAsync(Patience);
            gate.Release();
            FaultGate next = await again.Task.WaitAsync(Patience);
            await next.Reached.WaitAsync(Patience);

            await Task.Run(set.TellLate); // on a thread where whoever waits for it goes on at once
            next.Release();

            Assert.Equal(2, (await making.WaitAsync(Patience)).Label.Files.Count);
        }

        Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_copy_is_made_again_once_and_then_the_tar_is_given_up()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            Task<TarBackupResult>? making = null;
            for (int n = 0; n < 2; n++)
            {
                FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
                making ??= MakeAsync(lab, database);
                await gate.Reached.WaitAsync(Patience);
                await BreakFenceAsync(database);
                gate.Release();
            }

            Assert.Equal(
                ErrorCode.FenceBroken, (await Assert.ThrowsAsync<RefusedException>(() => making!.WaitAsync(Patience))).Code);
            Assert.Empty(lab.Disk.List("/out"));
            await RequireNothingHeldAsync(lab, database);
        }
    }

    /// <summary>H29: a file of the list that is dropped before it is copied is no part of the set.</summary>
    [Fact]
    public async Task A_datafile_that_is_dropped_before_it_is_copied_is_no_part_of_the_set()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            var held = new HeldAt(1);
            Task<TarBackupResult> making = MakeAsync(lab, database, new TarBackupRequest { Progress = held });
            await held.Reached.WaitAsync(Patience);
            await lab.DropTableAsync(database, "archived").WaitAsync(Patience);
            await database.DropDatafileAsync("early").WaitAsync(Patience);
            held.Release();

            Assert.Equal("main", Assert.Single((await making.WaitAsync(Patience)).Label.Files).Name);
        }

        Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
    }

    [Fact]
    public async Task A_datafile_is_not_dropped_while_it_is_copied()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            var held = new HeldAt(2);
            Task<TarBackupResult> making = MakeAsync(lab, database, new TarBackupRequest { Progress = held });
            await held.Reached.WaitAsync(Patience);
            await lab.DropTableAsync(database, "archived").WaitAsync(Patience);
            Assert.Equal(ErrorCode.DatafileFenced, (await Assert.ThrowsAsync<RefusedException>(
                () => database.DropDatafileAsync("early").WaitAsync(Patience))).Code);
            held.Release();

            Assert.Equal(2, (await making.WaitAsync(Patience)).Label.Files.Count);
            await database.DropDatafileAsync("early").WaitAsync(Patience);
        }

        Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
    }

    /// <summary>H29: born after the list was read: replay makes it.</summary>
    [Fact]
    public async Task A_datafile_that_is_born_meanwhile_comes_by_replay()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
            Task<TarBackupResult> making = MakeAsync(lab, database);
            await gate.Reached.WaitAsync(Patience);
            await database.CreateDatafileAsync("born").WaitAsync(Patience);
            await lab.CreateTableAsync(database, "infants", "born").WaitAsync(Patience);
            await lab.CommitManyAsync(database, 6);
            gate.Release();
            await making.WaitAsync(Patience);
        }

        Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
    }

    /// <summary>H39: checkpoints and switches, while no file is fenced, let no WAL go that the set needs.</summary>
    [Fact]
    public async Task WAL_that_the_set_needs_stays_over_checkpoints_until_it_is_made()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(archives: false);
        await using (database)
        {
            IKeptSet set = await database.KeepSetAsync("test", CancellationToken.None).WaitAsync(Patience);
            for (int n = 0; n < 4; n++)
            {
                await lab.CommitManyAsync(database, 12);
                await database.SwitchWalAsync().WaitAsync(Patience);
                await database.CheckpointAsync().WaitAsync(Patience);
            }

            await MakeAsync(lab, database, set: set).WaitAsync(Patience);
            Assert.Equal(lab.Content, await RestoredAsync(lab, RecoveryTarget.Latest));
        }
    }

    [Fact]
    public async Task Some_datafiles_only_are_a_partial_set_that_restores_nothing()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await Assert.ThrowsAsync<NotFoundException>(() => MakeAsync(
                lab, database, new TarBackupRequest { Datafiles = ["main", "nowhere"] }).WaitAsync(Patience));
            TarBackupResult made = await MakeAsync(
                lab, database, new TarBackupRequest { Datafiles = ["early"] }).WaitAsync(Patience);

            Assert.Equal("early", Assert.Single(made.Label.Files).Name);
            Assert.True(made.Label.IsPartial);
            await Assert.ThrowsAnyAsync<PitrException>(() => RestoredAsync(lab, RecoveryTarget.Latest));
        }
    }

    [Fact]
    public async Task A_tar_that_is_cancelled_while_it_copies_leaves_nothing_and_no_fence()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            using var cancel = new CancellationTokenSource();
            FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
            Task<TarBackupResult> making = MakeAsync(lab, database, cancel: cancel.Token);
            await gate.Reached.WaitAsync(Patience);
            await cancel.CancelAsync();
            gate.Release();

            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => making.WaitAsync(Patience));
            Assert.Empty(lab.Disk.List("/out"));
            await RequireNothingHeldAsync(lab, database);
            await database.ShutdownAsync().WaitAsync(Patience);
        }
    }

    [Fact]
    public async Task A_full_disk_under_the_tar_ends_it_and_the_engine_goes_on()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            lab.Disk.Faults.On(FileOp.Write).Of("/out").Nth(4).Fail(Errno.ENOSPC);
            Assert.Equal(ErrorCode.DiskFull, (await Assert.ThrowsAsync<StorageFailedException>(
                () => MakeAsync(lab, database).WaitAsync(Patience))).Code);
            Assert.Empty(lab.Disk.List("/out"));
            await RequireNothingHeldAsync(lab, database);
            await lab.CommitAsync(database);
        }
    }

    /// <summary>T2. Also a write of WAL, which a reader asks for, and asks for again when it failed.</summary>
    [Fact]
    public async Task A_full_disk_is_told_as_one_whichever_write_meets_it()
    {
        int nth = 1;
        for (bool isFull = true; isFull; nth++)
        {
            (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
            await using (database)
            {
                lab.Disk.Faults.On(FileOp.Write).Of("/out").Nth(nth).Fail(Errno.ENOSPC);
                Exception? failure = await Record.ExceptionAsync(() => MakeAsync(lab, database).WaitAsync(Patience));
                isFull = failure is not null;
                if (isFull)
                {
                    Assert.Equal(ErrorCode.DiskFull, Assert.IsType<StorageFailedException>(failure).Code);
                    Assert.Empty(lab.Disk.List("/out"));
                }
            }
        }

        Assert.True(nth > 8, $"{nth}");
    }

    /// <summary>Promise 5: a forced shutdown breaks its fence; there is no tar.</summary>
    [Fact]
    public async Task A_forced_end_of_the_engine_ends_the_tar()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
        Task<TarBackupResult> making = MakeAsync(lab, database);
        await gate.Reached.WaitAsync(Patience);
        await database.ShutdownAsync(force: true).WaitAsync(Patience);
        gate.Release();

        await Assert.ThrowsAsync<RefusedException>(() => making.WaitAsync(Patience));
        Assert.Empty(lab.Disk.List("/out"));
        Assert.Equal(0, lab.Disk.OpenHandleCount);
    }

    /// <summary>Promise 5: an orderly shutdown waits for the file that is being copied, and grants no other.</summary>
    [Fact]
    public async Task An_orderly_end_of_the_engine_waits_for_the_file_and_then_ends_the_tar()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
        Task<TarBackupResult> making = MakeAsync(lab, database);
        await gate.Reached.WaitAsync(Patience);
        Task shutdown = database.ShutdownAsync();
        await TestEngine.Until(
            () => database.FenceAsync("early", TimeSpan.FromSeconds(1)).ContinueWith(
                fence => fence.Exception?.InnerException is RefusedException { Code: ErrorCode.ShuttingDown },
                TaskScheduler.Default).GetAwaiter().GetResult(),
            "the engine grants no fences any more");
        Assert.False(shutdown.IsCompleted);
        gate.Release();

        Assert.Equal(ErrorCode.ShuttingDown, (await Assert.ThrowsAsync<RefusedException>(
            () => making.WaitAsync(Patience))).Code);
        await shutdown.WaitAsync(Patience);
        Assert.Empty(lab.Disk.List("/out"));
    }

    /// <summary>Its keeper is no more, so it can't say why: whoever ended the engine knows.</summary>
    [Fact]
    public async Task A_set_of_an_engine_that_has_ended_says_that_the_engine_was_shut_down()
    {
        (_, PitrDatabase database) = await FilledAsync();
        IKeptSet set = await database.KeepSetAsync("a tar", default).WaitAsync(Patience);
        await database.ShutdownAsync().WaitAsync(Patience);

        Assert.Equal(ErrorCode.ShuttingDown, (await Assert.ThrowsAsync<RefusedException>(
            () => set.EndAsync(default).WaitAsync(Patience))).Code);
        await set.DisposeAsync();
    }

    /// <summary>H35: expire took the intent while the set was made.</summary>
    [Fact]
    public async Task A_set_whose_intent_is_gone_gets_no_manifest()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Read).Of("/db/main.pitr").Hold();
            Task<TarBackupResult> making = MakeAsync(lab, database);
            await gate.Reached.WaitAsync(Patience);
            string intent = Assert.Single(StoreOn(lab.Disk).List(BackupSet.Folder));
            lab.Disk.Delete($"{RecoveryLab.Archive}/{intent}");
            gate.Release();

            Assert.Equal(
                ErrorCode.BackupVoid, (await Assert.ThrowsAsync<RefusedException>(() => making.WaitAsync(Patience))).Code);
            Assert.Empty(lab.Disk.List("/out"));
        }
    }

    /// <summary>A copier that stands still for longer than the lease is dead: its fence ends, its tar never counts.</summary>
    [Fact]
    public async Task A_set_that_nobody_renews_is_let_go()
    {
        await using var time = new VirtualTime();
        (RecoveryLab _, PitrDatabase database) = await FilledAsync(archives: false, time.In);
        await using (database)
        {
            IKeptSet set = await database.KeepSetAsync("test", CancellationToken.None).WaitAsync(Patience);
            Assert.NotNull(await set.FenceAsync(FileId.Main, CancellationToken.None).WaitAsync(Patience));
            time.Advance(SetKeeper.Lease / 2);
            DateTimeOffset renewed = time.Clock.GetUtcNow() + SetKeeper.Lease;
            await set.RenewAsync(CancellationToken.None).WaitAsync(Patience);
            await TestEngine.Until(() => FenceOfMain()?.Until == renewed, "the fence is renewed");
            time.Advance(SetKeeper.Lease * 0.8);
            Assert.NotNull(FenceOfMain());
            time.Advance(SetKeeper.Lease * 0.4);
            await RequireNothingHeldAsync(null, database);
            FenceStatus? FenceOfMain() => database.GetStatusAsync().GetAwaiter().GetResult().Datafiles
                .Single(file => file.Name == "main").Fences.SingleOrDefault();

            Assert.Equal(ErrorCode.BackupVoid, (await Assert.ThrowsAsync<RefusedException>(
                () => set.UnfenceAsync(CancellationToken.None).WaitAsync(Patience))).Code);
            Assert.Equal(ErrorCode.BackupVoid, (await Assert.ThrowsAsync<RefusedException>(
                () => set.EndAsync(CancellationToken.None).WaitAsync(Patience))).Code);
            await set.DisposeAsync();
        }
    }

    /// <summary>Promise 9, SK5: its copier renews it all the time, and nobody reads what it writes.</summary>
    [Fact]
    public async Task A_set_whose_destination_takes_nothing_more_is_let_go_when_too_much_WAL_is_kept_for_it()
    {
        await using var time = new VirtualTime();
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(
            archives: false, options => time.In(options) with { FencedWalBytesMax = 100_000 });
        await using (database)
        {
            IKeptSet set = await database.KeepSetAsync("a tar", CancellationToken.None).WaitAsync(Patience);
            using var pipe = new FullPipe();
            PitrOptions options = time.In(lab.Options);
            using DatafileEnvironment environment = EngineFactory.EnvironmentFor(options);
            var backup = new TarBackup(set, new TarBackupRequest(), pipe, environment, options);
            Task<TarBackupResult> making = backup.RunAsync(CancellationToken.None);
            await pipe.Reached.WaitAsync(Patience);
            string[] held = SegmentsOf(lab);
            time.Advance(TarBackup.RenewEvery);
            Assert.False(backup.Lost.IsCompleted);

            Lsn began = database.Engine.DurableLsn;
            while (database.Engine.DurableLsn - began < 120_000)
                await lab.CommitAsync(database);
            await database.CheckpointAsync().WaitAsync(Patience);
            Assert.Empty(held.Except(SegmentsOf(lab)));
            time.Advance(TarBackup.RenewEvery);

            await RequireNothingHeldAsync(null, database);
            await database.CheckpointAsync().WaitAsync(Patience); // no file is skipped
            await TestEngine.Until(() => held.Except(SegmentsOf(lab)).Any(), "its WAL is let go");
            time.Advance(TarBackup.RenewEvery);
            Exception lost = await backup.Lost.WaitAsync(Patience);
            Assert.Equal(ErrorCode.BackupVoid, Assert.IsType<RefusedException>(lost).Code);
            Assert.Contains("bytes of WAL were kept for it; at most 100000", lost.Message, StringComparison.Ordinal);
            Assert.False(making.IsCompleted);

            pipe.Release();
            Assert.Equal(ErrorCode.BackupVoid, (await Assert.ThrowsAsync<RefusedException>(
                () => making.WaitAsync(Patience))).Code);
            await set.DisposeAsync();
        }
    }

    /// <summary>SK5: who renews it, and does nothing about the fence that broke, stands still.</summary>
    [Fact]
    public async Task A_set_that_keeps_a_fence_which_has_broken_is_let_go_however_often_it_is_renewed()
    {
        await using var time = new VirtualTime();
        (RecoveryLab _, PitrDatabase database) = await FilledAsync(archives: false, time.In);
        await using (database)
        {
            IKeptSet set = await database.KeepSetAsync("test", CancellationToken.None).WaitAsync(Patience);
            Assert.NotNull(await set.FenceAsync(FileId.Main, CancellationToken.None).WaitAsync(Patience));
            await BreakFenceAsync(database);
            time.Advance(SetKeeper.Lease * 0.6);
            Assert.Equal(ErrorCode.FenceBroken, (await Assert.ThrowsAsync<RefusedException>(
                () => set.RenewAsync(CancellationToken.None).WaitAsync(Patience))).Code);
            time.Advance(SetKeeper.Lease * 0.6);

            Assert.Equal(ErrorCode.BackupVoid, (await Assert.ThrowsAsync<RefusedException>(
                () => set.RenewAsync(CancellationToken.None).WaitAsync(Patience))).Code);
            await set.DisposeAsync();
        }
    }

    /// <summary>Its checkpoint takes longer than the lease: nobody could have renewed it, so it is begun all the same.</summary>
    [Fact]
    public async Task A_set_that_is_slow_to_begin_has_its_lease_from_then_on()
    {
        await using var time = new VirtualTime();
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync(archives: false, time.In);
        await using (database)
        {
            FaultGate gate = lab.Disk.Faults.On(FileOp.Rename).Of("control").Hold();
            Task<IKeptSet> begins = database.KeepSetAsync("test", CancellationToken.None);
            await gate.Reached.WaitAsync(Patience);
            time.Advance(SetKeeper.Lease * 1.5);
            gate.Release();

            IKeptSet set = await begins.WaitAsync(Patience);
            Assert.NotNull(await set.FenceAsync(FileId.Main, CancellationToken.None).WaitAsync(Patience));
            time.Advance(SetKeeper.Lease * 1.2);
            await RequireNothingHeldAsync(null, database);
            await set.DisposeAsync();
        }
    }

    [Fact]
    public async Task Requests_out_of_order_are_refused()
    {
        (RecoveryLab lab, PitrDatabase database) = await FilledAsync();
        await using (database)
        {
            await using IKeptSet set = await database.KeepSetAsync("test", CancellationToken.None).WaitAsync(Patience);
            CancellationToken none = CancellationToken.None;
            await RequireBusyAsync(() => set.UnfenceAsync(none)); // nothing is fenced
            await RequireBusyAsync(() => set.ConfirmAsync(false, none)); // it has not ended
            Assert.Null(await set.FenceAsync(new FileId(77), none).WaitAsync(Patience)); // no such file
            Assert.NotNull(await set.FenceAsync(FileId.Main, none).WaitAsync(Patience));
            await RequireBusyAsync(() => set.FenceAsync(FileId.Main, none)); // one at a time
            await RequireBusyAsync(() => set.EndAsync(none)); // a file is fenced
            await set.UnfenceAsync(none).WaitAsync(Patience);
        }

        async Task RequireBusyAsync(Func<Task> ask) => Assert.Equal(
            ErrorCode.StillInUse,
            (await Assert.ThrowsAsync<RefusedException>(() => ask().WaitAsync(Patience))).Code);
    }

    private static string[] SegmentsOf(RecoveryLab lab) => [.. lab.Disk.List($"{RecoveryLab.Folder}/wal")];

    /// <summary>Takes a few bytes, then none until it is released, whoever waits.</summary>
    private sealed class FullPipe : MemoryStream
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Reached => _reached.Task;

        public void Release() => _released.TrySetResult();

        // That of spans comes here, too.
        public override void Write(byte[] buffer, int offset, int count)
        {
            if (Length + count > 4096)
            {
                _reached.TrySetResult();
                _released.Task.Wait(Patience);
            }

            base.Write(buffer, offset, count);
        }

        protected override void Dispose(bool disposing)
        {
            Release();
            base.Dispose(disposing);
        }
    }

    /// <summary>Holds the copying when its n-th block was read.</summary>
    private sealed class HeldAt(int block) : IProgress<JobProgress>
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _blocks;

        public Task Reached => _reached.Task;

        public void Release() => _released.TrySetResult();

        public void Report(JobProgress value)
        {
            if (++_blocks != block)
                return;
            _reached.TrySetResult();
            _released.Task.Wait(Patience);
        }
    }

    // ---- parts -------------------------------------------------------------------------------------------

    private static async Task<(RecoveryLab Lab, PitrDatabase Database)> FilledAsync(
        bool archives = true, Func<PitrOptions, PitrOptions>? options = null)
    {
        var lab = new RecoveryLab();
        lab.Disk.CreateFolders("/out");
        string[] stores = archives ? [RecoveryLab.Archive] : [];
        PitrOptions with = RecoveryLab.OptionsOn(lab.Disk, stores);
        PitrDatabase database = await PitrDatabase
            .CreateAsync(RecoveryLab.Folder, options?.Invoke(with) ?? with).WaitAsync(Patience);
        await lab.CreateTableAsync(database, "orders");
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 20);
        return (lab, database);
    }

    /// <summary>As pgtar does it: to a file that gets its name at the end.</summary>
    private static async Task<TarBackupResult> MakeAsync(
        RecoveryLab lab, PitrDatabase database, TarBackupRequest? request = null,
        Func<PitrOptions, PitrOptions>? options = null, IKeptSet? set = null, CancellationToken cancel = default)
    {
        PitrOptions with = options?.Invoke(lab.Options) ?? lab.Options;
        DatafileEnvironment environment = EngineFactory.EnvironmentFor(with);
        ulong drawn = 0;
        await using IKeptSet kept = set ?? await database.KeepSetAsync("test", cancel);
        using TarFileOutput output = TarFileOutput.Create(environment.Files, Tar, () => ++drawn, environment.Writer);
        TarBackupResult made = await new TarBackup(kept, request ?? new TarBackupRequest(), output, environment, with)
            .RunAsync(cancel);
        output.Publish();
        environment.Dispose();
        return made;
    }

    private static async Task<string> RestoredAsync(
        RecoveryLab lab, RecoveryTarget target, string? archive = null, string into = "/restored")
    {
        SimulatedDisk disk = lab.Disk.KillCopy();
        await PitrRecovery.RestoreAsync(
            new RestoreRequest { Store = Tar, Archive = archive, Into = into, Target = target, Detached = true },
            RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);
        return await RecoveryLab.ContentAtAsync(disk, into).WaitAsync(Patience);
    }

    private static async Task RequireNothingHeldAsync(RecoveryLab? lab, PitrDatabase database)
    {
        await TestEngine.Until(
            () => database.GetStatusAsync().GetAwaiter().GetResult().Datafiles.All(file => file.Fences.Count == 0),
            "no fence is left");
        if (lab?.Disk.Stat(RecoveryLab.Archive) is not null)
            Assert.Empty(StoreOn(lab.Disk).List(BackupSet.Folder));
    }

    private static async Task BreakFenceAsync(PitrDatabase database)
    {
        EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
        string fenced = Assert.Single(status.Datafiles, file => file.Fences.Count > 0).Name;
        FileId id = database.Datafiles.Single(file => file.Name == fenced).Id;
        database.Actors.Supervisor.Tell(new DatafileProtocol.BreakFencesOf(
            id, Problem.From(EngineErrors.LeaseEnded(fenced))));
        await TestEngine.Until(
            () => database.GetStatusAsync().GetAwaiter().GetResult().Datafiles.All(
                file => file.Name != fenced || file.Fences.Count == 0),
            "the fence is broken");
    }

    private static FolderStore StoreOn(SimulatedDisk disk)
    {
        ulong next = 1;
        return new FolderStore(disk, RecoveryLab.Archive, () => next++);
    }

    /// <summary>A set whose renewals hear late that a fence broke.</summary>
    private sealed class LateRenewal(IKeptSet set) : IKeptSet
    {
        private readonly TaskCompletionSource _hasBroken = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _isTold = new();

        public KeptSetStart Start => set.Start;

        public Task HasBroken => _hasBroken.Task;

        public void TellLate() => _isTold.SetResult();

        public async Task RenewAsync(CancellationToken cancellationToken)
        {
            try
            {
                await set.RenewAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (RefusedException broken) when (broken.Code == ErrorCode.FenceBroken)
            {
                _hasBroken.TrySetResult();
                await _isTold.Task.ConfigureAwait(false);
                throw;
            }
        }

        public Task<FencedFile?> FenceAsync(FileId file, CancellationToken cancellationToken) =>
            set.FenceAsync(file, cancellationToken);

        public Task UnfenceAsync(CancellationToken cancellationToken) => set.UnfenceAsync(cancellationToken);

        public Task<KeptSetEnd> EndAsync(CancellationToken cancellationToken) => set.EndAsync(cancellationToken);

        public Task<bool> ConfirmAsync(bool needsArchive, CancellationToken cancellationToken) =>
            set.ConfirmAsync(needsArchive, cancellationToken);

        public ValueTask DisposeAsync() => set.DisposeAsync();
    }
}
