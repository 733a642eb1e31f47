using System.Text;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>One datafile is brought back while the others serve (design §10; H40, H41).</summary>
public sealed class DatafileRecoveryTests
{
    private const string Early = "/db/early.pitr";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly DatafileRecoveryRequest OfEarly = new() { Datafile = "early" };

    private static DatafileRecoveryRequest FromArchive => OfEarly with { Store = RecoveryLab.Archive };

    // ---- what it is brought back from ------------------------------------------------------------

    /// <summary>
    /// H40: with every commit that was acknowledged; and so it is after a power loss. H15: as another incarnation.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [MixedCase("X1")]
    public async Task A_lost_file_comes_back_from_the_newest_set_while_the_others_serve(bool isNamed)
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        Incarnation before = Datafile.Inspect(lab.Disk, Early).Incarnation;
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "1"u8.ToArray());
        string[] others = Others(database);

        DatafileRecoveryResult result = await database
            .RecoverDatafileAsync(isNamed ? FromArchive : OfEarly).WaitAsync(Patience);

        Assert.NotNull(result.BackupId);
        Assert.True(result.Bytes > 0 && result.RecordsReplayed > 0);
        Assert.Equal(others, Others(database));
        Assert.NotEqual(before, Datafile.Inspect(lab.Disk, Early).Incarnation);
        await RequireServesAsync(lab, database, result);
    }

    /// <summary>A store that hangs keeps the database locked no longer than its archive may.</summary>
    [Fact]
    public async Task An_engine_that_ends_waits_no_longer_for_a_recovery_than_for_its_archive()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using var time = new VirtualTime();
        PitrDatabase database =
            await PitrDatabase.OpenAsync(RecoveryLab.Folder, time.In(lab.Options)).WaitAsync(Patience);
        using var held = new HeldSync(lab.Disk.Faults.On(FileOp.Read).Of($"{RecoveryLab.Archive}/backups").Hold());
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
        await held.Reached.WaitAsync(Patience);
        Task shutdown = database.ShutdownAsync();
        while (!shutdown.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(30));
            await Task.Delay(1);
        }
        await Assert.ThrowsAnyAsync<PitrException>(() => recovery.WaitAsync(Patience));
        held.Release();
    }

    /// <summary>H24: a store that hangs does not fill the disk with WAL that its recovery would read.</summary>
    [Fact]
    public async Task A_recovery_that_stands_still_keeps_WAL_up_to_the_bound_and_fails_when_its_store_answers()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using var time = new VirtualTime();
        await using PitrDatabase database = await PitrDatabase.OpenAsync(
            RecoveryLab.Folder,
            time.In(lab.Options) with { FencedWalBytesMax = 100_000, KeptWalChoice = KeptWalChoice.GiveFileUp })
            .WaitAsync(Patience);
        await using var end = new ForcedEnd(database);
        using var held = new HeldSync(lab.Disk.Faults.On(FileOp.Read).Of($"{RecoveryLab.Archive}/backups").Hold());
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
        await held.Reached.WaitAsync(Patience);
        Table orders = database.GetTable("orders");
        string first = FirstSegment();
        for (int n = 0; n < 5; n++) // the bound is passed, and the redo point far behind it
        {
            await database.PutAsync(orders, "k"u8.ToArray(), new byte[60_000]).AsTask().WaitAsync(Patience);
            await database.CheckpointAsync().WaitAsync(Patience);
            time.Advance(TimeSpan.FromSeconds(10));
        }
        Assert.Equal(first, FirstSegment()); // it may go on yet

        using var bound = new CancellationTokenSource(Patience);
        while (FirstSegment() == first)
        {
            Assert.False(bound.IsCancellationRequested, "WAL is held for ever.");
            time.Advance(TimeSpan.FromSeconds(30));
            await database.CheckpointAsync().WaitAsync(Patience);
        }

        Assert.False(recovery.IsCompleted); // its worker is inside
        held.Release();
        RefusedException failed = await Assert.ThrowsAsync<RefusedException>(() => recovery.WaitAsync(Patience));
        Assert.Equal(ErrorCode.FileRecoveryCancelled, failed.Code);
        Assert.Contains("stood still", failed.Message, StringComparison.Ordinal);
        await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);

        string FirstSegment() => lab.Disk.List($"{RecoveryLab.Folder}/wal")
            .Where(static name => SegmentName.TryParse(name, out _)).Min(StringComparer.Ordinal)!;
    }

    /// <summary>H15, H16: an older copy that was put back is brought up from itself, as another incarnation.</summary>
    [Fact]
    [MixedCase("X2")]
    public async Task An_older_copy_that_was_put_back_is_brought_up_from_itself()
    {
        (RecoveryLab lab, byte[] older) = await StoppedAsync();
        Put(lab.Disk, Early, older);
        Incarnation before = Datafile.Inspect(lab.Disk, Early).Incarnation;
        await using PitrDatabase database = await OpenAsync(lab.Disk);

        DatafileRecoveryResult result = await database.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);

        Assert.Null(result.BackupId);
        Assert.Equal(0, result.Bytes);
        Assert.NotEqual(before, Datafile.Inspect(lab.Disk, Early).Incarnation);
        await RequireServesAsync(lab, database, result);
    }

    /// <summary>A file that no backup set has, since it is younger than all of them, is made by its WAL.</summary>
    [Fact]
    [MixedCase("X8")]
    public async Task A_lost_file_that_is_younger_than_every_set_is_made_again_by_the_WAL()
    {
        var lab = new RecoveryLab(22);
        await using (PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience))
        {
            await lab.CreateTableAsync(database, "orders");
            await lab.CommitManyAsync(database, 3);
            await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
            await FillEarlyAsync(lab, database);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete(Early);
        await using PitrDatabase opened = await OpenAsync(lab.Disk);
        RecoveryPlan plan = await opened.PlanDatafileRecoveryAsync(OfEarly).WaitAsync(Patience);
        Assert.Equal(["early"], plan.MadeByReplay);

        DatafileRecoveryResult result = await opened.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);

        Assert.Null(result.BackupId);
        await RequireServesAsync(lab, opened, result);
    }

    /// <summary>An offline file is opened again when its disk is mended; until the take-over it serves reads.</summary>
    [Fact]
    public async Task An_offline_file_serves_again_without_a_restart()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await database.PutAsync("o", "paged", "1");
        await database.CheckpointAsync().Within();
        await database.PutAsync("o", "buffered", "2");
        Incarnation before = Datafile.Inspect(disk, Other).Incarnation;
        disk.Faults.On(FileOp.SyncData).Of("other.pitr").Fail(Errno.EIO);
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);
        await database.PutAsync("t", "k", "goes on");

        await database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "other" }).Within();

        Assert.Equal(("1", "2"), (database.Get("o", "paged"), database.Get("o", "buffered")));
        Assert.Equal(before, Datafile.Inspect(disk, Other).Incarnation);
        await database.PutAsync("o", "later", "3");
        Assert.Empty((await database.CheckpointAsync().Within()).Skipped);
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(5));
        Assert.Equal(("1", "2", "3"), (after.Get("o", "paged"), after.Get("o", "buffered"), after.Get("o", "later")));
    }

    /// <summary>
    /// A checkpoint waits for no owner that closes its file, as one does whose file is recovered, while readers keep it from
    /// ending.
    /// </summary>
    [Fact]
    public async Task An_owner_that_closes_its_file_lets_a_checkpoint_pass_over_it()
    {
        await using PitrDatabase database = await TwoFilesAsync(NewDisk());
        IActorRef owner = await OwnerAsync(database);
        var asker = Inbox.Create(database.System);
        using (database.Engine.Environment.Epochs.Hold())
        {
            owner.Tell(new DatafileProtocol.CloseDatafile(), asker.Receiver);
            owner.Tell(new DatafileProtocol.Seal(database.Engine.DurableLsn, asker.Receiver));

            Assert.IsType<DatafileProtocol.SealSkipped>(await asker.ReceiveAsync(Patience));
        }

        Assert.IsType<DatafileProtocol.DatafileClosed>(await asker.ReceiveAsync(Patience));
    }

    /// <summary>H14: the newest set in the store is of the branch that was left; the one before it is on the path.</summary>
    [Fact]
    public async Task A_set_of_the_branch_that_was_left_is_not_used()
    {
        var lab = new RecoveryLab(25);
        Lsn target;
        string first;
        await using (PitrDatabase left = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience))
        {
            await FillEarlyAsync(lab, left);
            first = (await BackUpAsync(left)).BackupId;
            await left.SwitchWalAsync().WaitAsync(Patience); // the second set lies before the new timeline's first segment
            target = (await lab.CommitAsync(left)).Lsn;
            await left.PutAsync(left.GetTable("archived"), "left"u8.ToArray(), "1"u8.ToArray());
            await BackUpAsync(left);
            await left.ShutdownAsync().WaitAsync(Patience);
        }

        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/again",
                Target = RecoveryTarget.Including(target),
            },
            lab.Options).WaitAsync(Patience);
        string content;
        await using (PitrDatabase database = await OpenAgainAsync())
        {
            for (byte n = 0; n < 40; n++)
                await database.PutAsync(database.GetTable("archived"), new[] { n }, new byte[1000]).AsTask().WaitAsync(Patience);
            content = RecoveryLab.ContentOf(database);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete("/again/early.pitr");
        await using PitrDatabase opened = await OpenAgainAsync();
        DatafileRecoveryResult result = await opened.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);
        Assert.Equal(first, result.BackupId);
        Assert.Equal(content, RecoveryLab.ContentOf(opened));

        Task<PitrDatabase> OpenAgainAsync() => PitrDatabase.OpenAsync("/again", lab.Options).WaitAsync(Patience);
        static Task<BackupResult> BackUpAsync(PitrDatabase database) =>
            database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
    }

    /// <summary>A damaged page is found when all of the file is read: it is not brought up, but replaced.</summary>
    [Fact]
    [MixedCase("X5")]
    public async Task A_file_with_a_damaged_page_is_replaced_and_not_brought_up()
    {
        (RecoveryLab lab, byte[] older) = await StoppedAsync();
        Put(lab.Disk, Early, older);
        lab.Disk.Damage(Early, RootOffset(lab.Disk, Early) + 100);
        await using PitrDatabase database = await OpenAsync(lab.Disk);

        DatafileRecoveryResult result = await database.RecoverDatafileAsync(OfEarly).WaitAsync(Patience);

        Assert.NotNull(result.BackupId);
        Assert.Contains(result.Findings, finding => finding.Contains("not used", StringComparison.Ordinal));
        Assert.Contains(result.Findings, finding => finding.Contains("replaced", StringComparison.Ordinal));
        await RequireServesAsync(lab, database, result);
    }

    /// <summary>What is not known to be this datafile is somebody's: it is kept under another name.</summary>
    [Fact]
    [MixedCase("X7")]
    public async Task What_is_not_known_to_be_the_datafile_is_kept_under_another_name()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        byte[] foreign = Encoding.ASCII.GetBytes(new string('x', 40_000));
        Put(lab.Disk, Early, foreign);
        await using PitrDatabase database = await OpenAsync(lab.Disk);

        DatafileRecoveryResult result = await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);

        Assert.Equal(foreign, lab.Disk.ReadAll(Early + RecoveredFile.AsideSuffix));
        await RequireServesAsync(lab, database, result);
    }

    /// <summary>The disk of a file that was moved is gone: it comes back into the database's folder.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_file_whose_disk_is_gone_comes_back_into_the_databases_folder(bool isLinked)
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.CreateFolders("/data2");
        await using (PitrDatabase moving = await OpenAsync(lab.Disk))
        {
            await moving.MoveAsync(new MoveRequest
            {
                Datafile = "early",
                Path = "/data2/early.pitr",
                WithoutLink = !isLinked,
            }).WaitAsync(Patience);
            await lab.CommitManyAsync(moving, 3);
            await moving.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete("/data2/early.pitr");
        lab.Disk.DeleteFolder("/data2");
        await using PitrDatabase database = await OpenAsync(lab.Disk);

        DatafileRecoveryResult result = await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);

        Assert.Equal(Early, result.Path);
        Assert.Equal(Early, database.Datafiles.Single(file => file.Name == "early").Path);
        await RequireServesAsync(lab, database, result);
    }

    // ---- while it is recovered -------------------------------------------------------------------

    /// <summary>Callers are told when it may be ready; the others commit; a second recovery is refused.</summary>
    [Fact]
    public async Task Callers_of_a_file_that_is_being_recovered_are_told_when_it_may_be_ready()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        using var held = new HeldSync(lab.Disk.Faults.On(FileOp.SyncData).Of("early.pitr.recovering").Hold());
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
        await held.Reached.WaitAsync(Patience);

        Table table = database.GetTable("archived");
        RefusedException read = Assert.Throws<RefusedException>(() => database.Get(table, "k01"u8.ToArray()));
        RefusedException write = await Assert.ThrowsAsync<RefusedException>(
            async () => await database.PutAsync(table, "k"u8.ToArray(), "v"u8.ToArray()));
        RefusedException again = await Assert.ThrowsAsync<RefusedException>(
            () => database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience));
        RefusedException drop = await Assert.ThrowsAsync<RefusedException>(
            async () =>
            {
                await database.DropTableAsync("archived").WaitAsync(Patience);
                await database.DropDatafileAsync("early").WaitAsync(Patience);
            });
        Assert.All(
            new[] { read, write, again, drop },
            refused => Assert.Equal(ErrorCode.DatafileRecovering, refused.Code));
        Assert.Contains("ready in about", write.Message, StringComparison.Ordinal);
        EngineStatus status = await database.GetStatusAsync().WaitAsync(Patience);
        Assert.Equal("recovering", status.Datafiles.Single(file => file.Name == "early").State);
        await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "goes on"u8.ToArray());
        Assert.Equal(["early"], (await database.CheckpointAsync().WaitAsync(Patience)).Skipped);

        held.Release();
        await recovery.WaitAsync(Patience);
        Assert.Equal("open", (await database.GetStatusAsync().WaitAsync(Patience)).Datafiles
            .Single(file => file.Name == "early").State);
    }

    /// <summary>
    /// H40: the actor dies while a group that changes its file is being synced. The group is acknowledged, and what is
    /// recovered has it; also if the recovery was planned while it was not durable yet.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_commit_that_was_being_synced_when_the_owner_died_is_in_the_recovered_file(bool isPlannedBefore)
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await database.CheckpointAsync().Within();
        using var held = new HeldSync(disk.Faults.On(FileOp.SyncData).Of("/wal/").Hold());
        Task<CommitResult> commit = database.PutAsync("o", "k", "acknowledged");
        await held.Reached.Within();
        await KillOwnerAsync(database);
        if (!isPlannedBefore)
            held.Release();
        Task<DatafileRecoveryResult> recovery = database
            .RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "other" });
        if (isPlannedBefore)
        {
            await Until(
                () => database.Engine.Slots.All.Any(slot => slot.State == DatafileState.Recovering), "it is taken over");
            held.Release();
        }

        CommitResult acknowledged = await commit.Within();
        DatafileRecoveryResult result = await recovery.Within();

        Assert.True(result.Lsn >= acknowledged.Lsn);
        Assert.Equal("acknowledged", database.Get("o", "k"));
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(1));
        Assert.Equal("acknowledged", after.Get("o", "k"));
    }

    /// <summary>H41: what was pinned of the former owner is not read by; new snapshots read the file.</summary>
    [Fact]
    public async Task A_snapshot_of_before_the_recovery_gets_the_typed_error_and_a_new_one_reads_the_file()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await database.PutAsync("o", "k", "old");
        using Snapshot before = database.OpenSnapshot();
        await database.PutAsync("o", "k", "new");
        await KillOwnerAsync(database);
        using Snapshot meanwhile = database.OpenSnapshot();

        await database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "other" }).Within();

        Table table = database.GetTable("o");
        foreach (Snapshot snapshot in (Snapshot[])[before, meanwhile])
            Assert.Equal(
                ErrorCode.SnapshotTooOld, Assert.Throws<RefusedException>(() => snapshot.Get(table, Bytes("k"))).Code);
        using Snapshot after = database.OpenSnapshot();
        Assert.Equal("new", Encoding.ASCII.GetString(after.Get(table, Bytes("k"))!));
    }

    /// <summary>H13, H41: a worker of the dead owner is still writing: nobody opens the file before it has ended.</summary>
    [Fact]
    public async Task A_recovery_waits_for_the_workers_of_an_owner_that_died()
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await TwoFilesAsync(disk);
        await database.PutAsync("o", "k", "1");
        using var held = new HeldSync(disk.Faults.On(FileOp.SyncData).Of("other.pitr").Hold());
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        await held.Reached.Within();
        await KillOwnerAsync(database);
        var planned = new TaskCompletionSource();
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(new DatafileRecoveryRequest
        {
            Datafile = "other",
            Progress = new Told(told =>
            {
                if (told.Step == "copying")
                    planned.TrySetResult(); // the first is told when it has been closed to commits
            }),
        });
        await Task.WhenAny(planned.Task, recovery).Within();
        held.Release();

        await recovery.Within();
        await TestDatabase.Ended(checkpoint).Within();
        Assert.Equal("1", database.Get("o", "k"));
        await database.PutAsync("o", "k", "2");
        await database.CheckpointAsync().Within();
        Assert.Null(disk.WrittenWithoutLock);
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(1));
        Assert.Equal("2", after.Get("o", "k"));
    }

    /// <summary>
    /// H24, H40: while a recovery is planned the file is given up and the redo point passes it; the WAL that the plan will
    /// need, and that no archive has, is still there.
    /// </summary>
    [Fact]
    public Task The_WAL_is_kept_from_before_a_recovery_is_planned() => RecoverOvertakenAsync(alsoAtItsEnd: false);

    /// <summary>H40: the redo point passes the file once more while what was replayed is being made durable.</summary>
    [Fact]
    public Task A_file_that_the_redo_point_overtakes_at_the_end_of_its_recovery_is_brought_up_once_more() =>
        RecoverOvertakenAsync(alsoAtItsEnd: true);

    private static async Task RecoverOvertakenAsync(bool alsoAtItsEnd)
    {
        SimulatedDisk disk = NewDisk();
        await using PitrDatabase database = await GivenUpSoonAsync(disk);
        using var planned = new HeldSync(disk.Faults.On(FileOp.Read).Of("other.pitr").Hold());
        Task<DatafileRecoveryResult> recovery =
            database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "other" });
        await planned.Reached.Within();
        await PassItAsync(database);
        using HeldSync? flushed = alsoAtItsEnd ? new(disk.Faults.On(FileOp.SyncData).Of("other.pitr").Hold()) : null;
        planned.Release();
        if (flushed is not null)
        {
            await flushed.Reached.Within();
            await PassItAsync(database);
            flushed.Release();
        }

        await recovery.Within();
        Assert.Equal("1", database.Get("o", "k"));
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(1));
        Assert.Equal("1", after.Get("o", "k"));
    }

    /// <summary>The datafile "other" needs recovery, and is given up by the checkpoints to come.</summary>
    private static async Task<PitrDatabase> GivenUpSoonAsync(SimulatedDisk disk)
    {
        PitrDatabase database = await TwoFilesAsync(
            disk, options => options with
            {
                WalSegmentBytes = 16 << 10,
                FencedWalBytesMax = 1,
                KeptWalChoice = KeptWalChoice.GiveFileUp,
            });
        await database.PutAsync("o", "k", "1");
        disk.Faults.On(FileOp.SyncData).Of("other.pitr").Fail(Errno.EIO);
        Assert.Equal(["other"], (await database.CheckpointAsync().Within()).Skipped);
        await database.PutAsync("t", "k", new string('v', 100_000)); // what it needs lies segments back
        return database;
    }

    /// <summary>The redo point passes it, several segments further on each time.</summary>
    private static async Task PassItAsync(PitrDatabase database)
    {
        using var bound = new CancellationTokenSource(Patience);
        for (int passed = 0; passed < 4;)
        {
            Assert.False(bound.IsCancellationRequested, "Never: it is given up.");
            await database.PutAsync("t", "k", new string('v', 40_000));
            await database.CheckpointAsync().Within();
            passed += database.Engine.Catalogue.Catalogue.File("other")!.NeedsRecovery is null ? 0 : 1;
        }
    }

    /// <summary>H43: rows of a table that the set has, and that was dropped since, are passed over in the WAL.</summary>
    [Fact]
    public async Task A_table_of_the_set_that_was_dropped_since_is_known_in_the_replay_and_is_gone_after_it()
    {
        var lab = new RecoveryLab(24);
        await using (PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience))
        {
            await FillEarlyAsync(lab, database);
            await lab.CreateTableAsync(database, "old", "early");
            await lab.CommitManyAsync(database, 5);
            await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
            await lab.CommitManyAsync(database, 5);
            await lab.DropTableAsync(database, "old");
            await lab.CommitManyAsync(database, 5);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete(Early);
        await using PitrDatabase opened = await OpenAsync(lab.Disk);
        DatafileRecoveryResult result = await opened.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);
        Assert.NotNull(result.BackupId);
        await RequireServesAsync(lab, opened, result);
    }

    /// <summary>H43: a table that is dropped while its file has no owner is cut out of the file when it has one.</summary>
    [Fact]
    public async Task A_table_that_is_dropped_while_its_file_is_recovered_is_cut_out_of_it()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        using var held = new HeldSync(lab.Disk.Faults.On(FileOp.SyncData).Of("early.pitr.recovering").Hold());
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
        await held.Reached.WaitAsync(Patience);
        await lab.DropTableAsync(database, "archived");
        held.Release();
        await recovery.WaitAsync(Patience);

        await database.CheckpointAsync().WaitAsync(Patience);
        await database.CheckpointAsync().WaitAsync(Patience);
        Assert.Equal(0UL, Datafile.Inspect(lab.Disk, Early).Root.Keys);
        Assert.Equal(lab.Content, RecoveryLab.ContentOf(database));
    }

    /// <summary>A file whose WAL was given up is overtaken by the redo point; it comes back all the same.</summary>
    [Fact]
    public async Task A_file_that_was_given_up_comes_back_though_the_redo_point_has_passed_it()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await PitrDatabase.OpenAsync(
            RecoveryLab.Folder, RecoveryLab.OptionsOn(lab.Disk) with
            {
                FencedWalBytesMax = 1,
                KeptWalChoice = KeptWalChoice.GiveFileUp,
                CheckpointInterval = TimeSpan.FromSeconds(1),
            }).WaitAsync(Patience);
        Table orders = database.GetTable("orders");
        await Until(
            () =>
            {
                database.PutAsync(orders, "other"u8.ToArray(), "1"u8.ToArray()).AsTask().Wait(Patience);
                database.CheckpointAsync().Wait(Patience);
                return database.Engine.Catalogue.Catalogue.File("early")!.NeedsRecovery is not null;
            },
            "it is given up");
        await database.PutAsync(orders, "other"u8.ToArray(), "2"u8.ToArray());
        await database.CheckpointAsync().WaitAsync(Patience);

        DatafileRecoveryResult result = await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);

        Assert.Null(database.Engine.Catalogue.Catalogue.File("early")!.NeedsRecovery);
        await RequireServesAsync(lab, database, result);
    }

    // ---- refusals --------------------------------------------------------------------------------

    [Fact]
    public async Task A_file_that_serves_or_is_unknown_is_not_recovered()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        Assert.Equal(ErrorCode.DatafileServes, await RefusedAsync<RefusedException>(database, OfEarly));
        Assert.Equal(
            ErrorCode.DatafileUnknown,
            await RefusedAsync<NotFoundException>(database, OfEarly with { Datafile = "nope" }));
    }

    /// <summary>Refused before a byte is written: the disk is as it was.</summary>
    [Fact]
    public async Task A_recovery_that_leads_nowhere_is_refused_and_changes_nothing()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Damage(Early, RootOffset(lab.Disk, Early) + 100);
        lab.Disk.CreateFolders("/empty");
        foreach (string path in FilesUnder(lab.Disk, RecoveryLab.Archive).Concat(FilesUnder(lab.Disk, "/db/wal")).ToArray())
        {
            if (path.EndsWith("/manifest.json", StringComparison.Ordinal)
                || Path.GetFileName(path).StartsWith("000000010000000000000001", StringComparison.Ordinal))
                lab.Disk.Delete(path);
        }

        await using PitrDatabase database = await OpenAsync(lab.Disk);
        Assert.ThrowsAny<PitrException>(() => database.Count(database.GetTable("archived")));
        await UntilAsync(database, "early", "needsRecovery");
        byte[] control = lab.Disk.ReadAll("/db/pitr.control");
        byte[] file = lab.Disk.ReadAll(Early);

        Assert.Equal(ErrorCode.DatafileNeedsRecovery, await RefusedAsync<RefusedException>(database, OfEarly));
        Assert.Equal(
            ErrorCode.DatafileNeedsRecovery,
            await RefusedAsync<RefusedException>(database, OfEarly with { Store = "/empty" }));

        Assert.Equal(control, lab.Disk.ReadAll("/db/pitr.control"));
        Assert.Equal(file, lab.Disk.ReadAll(Early));
        Assert.Equal(ErrorCode.DatafileNeedsRecovery, Assert.ThrowsAny<PitrException>(
            () => database.Count(database.GetTable("archived"))).Code);
    }

    /// <summary>WAL between set and end that nobody has is named, with its LSNs.</summary>
    [Fact]
    public async Task A_gap_in_the_WAL_is_named_before_anything_is_touched()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        Lsn gone;
        await using (PitrDatabase database = await OpenAsync(lab.Disk))
        {
            await database.SwitchWalAsync().WaitAsync(Patience);
            await lab.CommitAsync(database);
            gone = await database.SwitchWalAsync().WaitAsync(Patience);
            await lab.CommitAsync(database);
            await database.SwitchWalAsync().WaitAsync(Patience);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        lab.Disk.Delete(Early);
        string segment = $"00000001{new WalGeometry(16 << 10).NumberOf(gone):X16}";
        string[] found = [.. FilesUnder(lab.Disk, RecoveryLab.Archive).Concat(FilesUnder(lab.Disk, "/db/wal"))
            .Where(path => Path.GetFileName(path).StartsWith(segment, StringComparison.Ordinal))];
        Assert.NotEmpty(found);
        foreach (string path in found)
            lab.Disk.Delete(path);

        await using PitrDatabase opened = await OpenAsync(lab.Disk);
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => opened.RecoverDatafileAsync(FromArchive).WaitAsync(Patience));
        Assert.Equal(ErrorCode.WalGap, refused.Code);
        Assert.Contains(gone.ToString(), refused.Message, StringComparison.Ordinal);
        Assert.Null(lab.Disk.Stat(Early));
    }

    /// <summary>A plan is a value, and writes nothing.</summary>
    [Fact]
    public async Task A_plan_says_what_would_be_done_and_does_nothing()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);

        RecoveryPlan plan = await database.PlanDatafileRecoveryAsync(FromArchive).WaitAsync(Patience);

        Assert.Equal("early", plan.Datafile);
        Assert.Equal([Early], plan.Files.Select(file => file.Path));
        Assert.False(plan.BeginsTimeline);
        Assert.NotEmpty(plan.Wal);
        Assert.Contains("early, alone", plan.ToText(), StringComparison.Ordinal);
        Assert.Equal(plan.ToJson(), RecoveryPlan.Parse(plan.ToJson()).ToJson());
        Assert.Null(lab.Disk.Stat(Early));
        Assert.Equal("needsRecovery", (await database.GetStatusAsync().WaitAsync(Patience)).Datafiles
            .Single(file => file.Name == "early").State);
    }

    /// <summary>H48: an expire that could not know of it has taken its set: nothing is touched, no note is left.</summary>
    [Fact]
    public async Task What_an_expire_took_while_a_recovery_was_planned_refuses_it_with_nothing_touched()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        FolderStore store = ArchiveTestData.Store(lab.Disk, RecoveryLab.Archive);
        string manifest = store.List(BackupSet.Folder).Single(
            name => name.EndsWith(BackupSet.ManifestName, StringComparison.Ordinal));
        ReadOnlyMemory<byte> content = store.Get(manifest);
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        using (var noted = new HeldSync(lab.Disk.Faults.On(FileOp.Create).Of($"{RecoveryLab.Archive}/restores/").Hold()))
        {
            Task<ErrorCode> refused = RefusedAsync<NotFoundException>(database, FromArchive);
            await noted.Reached.WaitAsync(Patience); // it is planned, and is being noted
            store.Delete(manifest);
            noted.Release();
            Assert.Equal(ErrorCode.BackupUnknown, await refused);
        }

        Assert.Empty(store.List(ObjectName.RestorePrefix));
        Assert.Null(lab.Disk.Stat(Early));
        Assert.DoesNotContain(
            FilesUnder(lab.Disk, RecoveryLab.Folder), path => path.Contains(".recovering", StringComparison.Ordinal));
        await UntilAsync(database, "early", "needsRecovery");
        store.Put(manifest, content);
        await RequireServesAsync(lab, database, await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience));
    }

    /// <summary>H48: what copies for hours says so, since an expire heeds it for a day at most.</summary>
    [Fact]
    public async Task A_recovery_that_copies_for_long_says_that_it_goes_on()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        FolderStore store = ArchiveTestData.Store(lab.Disk, RecoveryLab.Archive);
        lab.Disk.Delete(Early);
        await using var time = new VirtualTime();
        await using PitrDatabase database =
            await PitrDatabase.OpenAsync(RecoveryLab.Folder, time.In(lab.Options)).WaitAsync(Patience);
        using var copying = new HeldSync(lab.Disk.Faults.On(FileOp.Write).Of("early.pitr.recovering").Hold());
        using var copied = new HeldSync(
            lab.Disk.Faults.On(FileOp.SyncData).Of("early.pitr.recovering").Nth(2).Hold()); // behind its pages
        Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
        await copying.Reached.WaitAsync(Patience);
        Assert.Equal(time.Clock.GetUtcNow(), Assert.Single(RestoreHold.All(store)).BeganAt);
        time.Clock.Advance(RestoreHold.RenewEvery + RestoreHold.RenewEvery);
        copying.Release();
        await copied.Reached.WaitAsync(Patience);
        Assert.Equal(time.Clock.GetUtcNow(), Assert.Single(RestoreHold.All(store)).BeganAt);
        copied.Release();
        await recovery.WaitAsync(Patience);
    }

    /// <summary>A shutdown does not wait for a recovery: it is given up, and can be begun again.</summary>
    [Fact]
    public async Task A_shutdown_gives_a_recovery_up_and_the_next_opening_can_begin_it_again()
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using (PitrDatabase database = await OpenAsync(lab.Disk))
        {
            using var held = new HeldSync(lab.Disk.Faults.On(FileOp.SyncData).Of("early.pitr.recovering").Hold());
            Task<DatafileRecoveryResult> recovery = database.RecoverDatafileAsync(FromArchive);
            await held.Reached.WaitAsync(Patience);
            Task end = database.ShutdownAsync();
            held.Release();
            await end.WaitAsync(Patience);
            await Assert.ThrowsAnyAsync<PitrException>(() => recovery.WaitAsync(Patience));
        }

        await TestDatabase.NothingIsOpenAsync(lab.Disk);
        await using PitrDatabase again = await OpenAsync(lab.Disk);
        await RequireServesAsync(lab, again, await again.RecoverDatafileAsync(FromArchive).WaitAsync(Patience));
    }

    /// <summary>A disk that fails in the middle leaves it in need of recovery, and the others untouched.</summary>
    [Theory]
    [InlineData(nameof(FileOp.Write), ".recovering", 3)]
    [InlineData(nameof(FileOp.SyncData), ".recovering", 2)]
    [InlineData(nameof(FileOp.Rename), ".recovering", 1)]
    [InlineData(nameof(FileOp.SyncData), "early.pitr", 6)]
    public async Task A_recovery_whose_disk_fails_can_be_begun_again(string failing, string of, int nth)
    {
        (RecoveryLab lab, _) = await StoppedAsync();
        lab.Disk.Delete(Early);
        await using PitrDatabase database = await OpenAsync(lab.Disk);
        lab.Disk.Faults.On(Enum.Parse<FileOp>(failing)).Of(of).Nth(nth).Fail(Errno.EIO);

        try
        {
            await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);
        }
        catch (PitrException)
        {
            await UntilAsync(database, "early", "needsRecovery");
            await database.PutAsync(database.GetTable("orders"), "other"u8.ToArray(), "goes on"u8.ToArray());
            await database.RecoverDatafileAsync(FromArchive).WaitAsync(Patience);
        }

        Assert.Equal(lab.Content.Split('\n').Where(line => line.StartsWith("archived/", StringComparison.Ordinal)),
            RecoveryLab.ContentOf(database).Split('\n')
                .Where(line => line.StartsWith("archived/", StringComparison.Ordinal)));
    }

    // ---- parts -----------------------------------------------------------------------------------

    private const string Other = Folder + "/other.pitr";

    private static async Task<PitrDatabase> TwoFilesAsync(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await TestEngine.CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("other").Within();
        await database.CreateTableAsync("o", "other").Within();
        return database;
    }

    private static Task<IActorRef> OwnerAsync(PitrDatabase database) => database.System
        .ActorSelection(database.Actors.Supervisor.Path + "/datafile-other*").ResolveOne(TimeSpan.FromSeconds(30));

    private static async Task KillOwnerAsync(PitrDatabase database)
    {
        IActorRef owner = await OwnerAsync(database);
        owner.Tell(Kill.Instance);
        await Until(
            () => database.Engine.Slots.All.Any(slot => slot.State == DatafileState.NeedsRecovery), "it needs recovery");
    }

    private static async Task FillEarlyAsync(RecoveryLab lab, PitrDatabase database)
    {
        await database.CreateDatafileAsync("early");
        await lab.CreateTableAsync(database, "archived", "early");
        await lab.CommitManyAsync(database, 10);
    }

    /// <summary>
    /// A database that was shut down, with a set in its archive, and an earlier copy of its datafile "early".
    /// </summary>
    internal static async Task<(RecoveryLab Lab, byte[] Older)> StoppedAsync()
    {
        var lab = new RecoveryLab(20);
        byte[] older;
        await using (PitrDatabase database = await lab.CreateAsync(RecoveryLab.Archive).WaitAsync(Patience))
        {
            await lab.CreateTableAsync(database, "orders");
            await FillEarlyAsync(lab, database);
            await database.BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(Patience);
            await database.CheckpointAsync().WaitAsync(Patience);
            older = lab.Disk.ReadAll(Early);
            await lab.CommitManyAsync(database, 5);
            await lab.CreateTableAsync(database, "more", "early");
            await database.CheckpointAsync().WaitAsync(Patience);
            await lab.CommitManyAsync(database, 5);
            await lab.DropTableAsync(database, "more");
            await lab.CommitManyAsync(database, 5);
            await database.ShutdownAsync().WaitAsync(Patience);
        }

        return (lab, older);
    }

    internal static Task<PitrDatabase> OpenAsync(SimulatedDisk disk) =>
        PitrDatabase.OpenAsync(RecoveryLab.Folder, RecoveryLab.OptionsOn(disk)).WaitAsync(Patience);

    internal static void Put(SimulatedDisk disk, string path, byte[] content)
    {
        if (disk.Stat(path) is not null)
            disk.Delete(path);
        using IFileHandle handle = disk.Open(path, FileOpen.CreateNew);
        handle.Write(0, content);
    }

    private static long RootOffset(SimulatedDisk disk, string path) =>
        (long)Datafile.Inspect(disk, path).Root.Page * PageLayout.PageBytes;

    private static IEnumerable<string> FilesUnder(SimulatedDisk disk, string folder) =>
        disk.List(folder).Select(name => $"{folder}/{name}").SelectMany(path =>
            disk.Stat(path)!.IsFolder ? FilesUnder(disk, path) : [path]);

    private static async Task<ErrorCode> RefusedAsync<T>(PitrDatabase database, DatafileRecoveryRequest request)
        where T : PitrException =>
        (await Assert.ThrowsAsync<T>(() => database.RecoverDatafileAsync(request).WaitAsync(Patience))).Code;

    private static string[] Others(PitrDatabase database) =>
        [.. database.Scan(database.GetTable("orders"), ScanRange.All).Select(row => Encoding.UTF8.GetString(row.Key))];

    private static Task UntilAsync(PitrDatabase database, string datafile, string state) => Until(
        () => database.Engine.Slots.All.Any(slot =>
            slot.Name == datafile && DatafileActor.StateName(slot.State) == state),
        $"datafile {datafile} is {state}");

    /// <summary>Content, commits and checkpoints are right; also after a power loss, and after a restart.</summary>
    private static async Task RequireServesAsync(RecoveryLab lab, PitrDatabase database, DatafileRecoveryResult result)
    {
        RequireEarly(lab, database);
        Assert.Equal("early", result.Datafile);
        MetaPage meta = Datafile.Inspect(lab.Disk, result.Path);
        CatalogueFile noted = new ControlFileStore(lab.Disk, RecoveryLab.Folder).ReadLive().Catalogue.File("early")!;
        Assert.Equal((meta.Incarnation, meta.Generation, meta.CheckpointLsn),
            (noted.Incarnation, noted.Generation, noted.CheckpointLsn));
        Assert.Null(noted.NeedsRecovery);
        Assert.True(noted.CleanUpTo >= result.Lsn);
        await lab.CommitManyAsync(database, 3);
        SimulatedDisk left = lab.Disk.CrashCopy(9);
        string contentLeft = OfFile(lab.Content);
        Assert.Empty((await database.CheckpointAsync().WaitAsync(Patience)).Skipped);
        await lab.CommitManyAsync(database, 1);
        RequireEarly(lab, database);
        await database.ShutdownAsync().WaitAsync(Patience);
        await TestDatabase.NothingIsOpenAsync(lab.Disk);
        Assert.Null(lab.Disk.WrittenWithoutLock);
        TestDatabase.CheckDatafiles(lab.Disk, database.Datafiles);

        await using (PitrDatabase again = await OpenAsync(lab.Disk))
            RequireEarly(lab, again);
        await using PitrDatabase crashed = await OpenAsync(left);
        Assert.All(
            (await crashed.GetStatusAsync().WaitAsync(Patience)).Datafiles, file => Assert.Equal("open", file.State));
        Assert.Equal(contentLeft, OfFile(RecoveryLab.ContentOf(crashed)));
    }

    private static void RequireEarly(RecoveryLab lab, PitrDatabase database) => Assert.Equal(
        OfFile(lab.Content), OfFile(RecoveryLab.ContentOf(database)));

    private static string OfFile(string content) => string.Join('\n', content.Split('\n')
        .Where(line => line.StartsWith("archived", StringComparison.Ordinal)));

    private sealed class Told(Action<JobProgress> told) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => told(value);
    }
}
