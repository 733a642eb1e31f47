using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// A datafile is made anew while it is in use, in the place where it lies, or it is as it was and nothing else is
/// anywhere (design §6; H42, H12, H15 to H20).
/// </summary>
public sealed class CompactTests
{
    private const string Name = "/db/b.pitr";
    private const string Beside = "/db/b.pitr.compacting";
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    /// <summary>H42: it enters like a flush; commits, reads and snapshots notice nothing.</summary>
    [Fact]
    public async Task Commits_and_reads_go_on_while_a_file_is_compacted()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        Snapshot before = database.OpenSnapshot();
        string[] seen = RowsOf(before, database);
        DatafileStatus was = await FileAsync(database, "b");
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold();
        Task<CompactResult> compact = database.CompactAsync(Request);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await database.PutAsync("b", "k0010", "while it is compacted");
        await database.PutAsync("t", "k", "v");
        Assert.Equal(["b"], (await database.CheckpointAsync().Within()).Skipped);
        Assert.Equal("while it is compacted", database.Get("b", "k0010"));
        Assert.Contains((await FileAsync(database, "b")).Fences, fence => fence.Reason == "compacting");
        held.Release();

        CompactResult done = await compact.Within();
        Assert.Equal(("b", Name, was.Bytes), (done.Datafile, done.Path, done.BytesBefore));
        Assert.InRange(done.BytesAfter, 1, done.BytesBefore / 3);
        Assert.Equal([Name], MoveTests.LayoutOfB(disk));
        DatafileStatus now = await FileAsync(database, "b");
        Assert.Equal((Name, "open", 0L), (now.Path, now.State, now.FreeBytes));
        Assert.True(now.PinnedBytes >= was.Bytes); // the former file, for the snapshot
        await database.PutAsync("b", "k0030", "in the new file");
        await database.CheckpointAsync().Within();
        Assert.Equal(seen, RowsOf(before, database));
        before.Dispose();
        await UntilAsync(database, "b", file => file.PinnedBytes < was.Bytes);

        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(5));
        Assert.Equal(
            ("while it is compacted", "in the new file", 100L),
            (after.Get("b", "k0010"), after.Get("b", "k0030"), after.Count(after.GetTable("b"))));
    }

    /// <summary>H41, H42: what a snapshot of before reads is not cut under it; then nobody waits for the disk.</summary>
    [Fact]
    public async Task The_former_file_is_cut_in_steps_when_its_last_snapshot_has_ended()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        Snapshot before = database.OpenSnapshot();
        string[] seen = RowsOf(before, database);
        using (var held = new HeldSync(disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold()))
        {
            Task<CompactResult> compact = database.CompactAsync(Request);
            await held.Reached.Within();
            MoveTests.MakeLarge(disk, Name);
            held.Release();
            await compact.Within();
        }

        Assert.Equal(seen, RowsOf(before, database));
        Assert.Empty(MoveTests.CutsOf(disk, Name));
        before.Dispose();
        await Until(() => MoveTests.CutsOf(disk, Name).Length == 2, "its room is given back");
        Assert.Equal([24L << 20, 8L << 20], MoveTests.CutsOf(disk, Name));
        await database.ShutdownAsync().Within();
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    /// <summary>H42: the snapshot reads on in the former file while the new one is flushed over and over.</summary>
    [Fact]
    public async Task A_snapshot_of_before_reads_the_same_values_after_many_flushes()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        using Snapshot before = database.OpenSnapshot();
        string[] seen = RowsOf(before, database);
        await database.CompactAsync(Request).Within();
        for (int round = 0; round < 6; round++)
        {
            await PutManyAsync(database, 0, 900, fill: (char)('A' + round));
            await database.CheckpointAsync().Within();
            Assert.Equal(seen, RowsOf(before, database));
        }
    }

    /// <summary>H15: an incremental backup goes by incarnation and generation.</summary>
    [Fact]
    public async Task A_compacted_file_is_another_incarnation_and_the_control_file_says_so()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CompactAsync(Request).Within();
        MetaPage first = Datafile.Inspect(disk, Name);
        await database.CompactAsync(Request).Within();
        MetaPage second = Datafile.Inspect(disk, Name);
        Assert.NotEqual(first.Incarnation, second.Incarnation);
        Assert.True(second.Generation > first.Generation);
        ControlFile control = new ControlFileStore(disk, Folder).ReadLive();
        Assert.Empty(control.Moves);
        CatalogueFile noted = control.Catalogue.File("b")!;
        Assert.Equal((second.Incarnation, second.Generation), (noted.Incarnation, noted.Generation));
    }

    /// <summary>A moved file is compacted where its bytes lie; the link stays as it is.</summary>
    [Fact]
    public async Task A_file_that_was_moved_is_compacted_at_its_real_place()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.MoveAsync(MoveTests.To("/data2/b.pitr")).Within();
        CompactResult done = await database.CompactAsync(Request).Within();
        Assert.Equal("/data2/b.pitr", done.Path);
        Assert.Equal(["/data2/b.pitr", "/db/b.pitr -> /data2/b.pitr"], MoveTests.LayoutOfB(disk));
        await database.MoveAsync(MoveTests.To("/data3/b.pitr")).Within();
        await database.PutAsync("b", "k0010", "moved on");
        await database.CheckpointAsync().Within();
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(3));
        Assert.Equal(("moved on", 100L), (after.Get("b", "k0010"), after.Count(after.GetTable("b"))));
        Assert.Equal(["/data3/b.pitr", "/db/b.pitr -> /data3/b.pitr"], MoveTests.LayoutOfB(disk));
    }

    [Fact]
    public async Task Compacting_a_file_that_is_not_there_offline_or_in_need_of_recovery_gets_the_typed_error()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        Assert.Equal(ErrorCode.DatafileUnknown, await RefusedAsync(database, Request with { Datafile = "none" }));
        await Assert.ThrowsAsync<ArgumentException>(() => database.CompactAsync(Request with { BytesPerSecondMax = 0 }));
        await database.PutAsync("b", "k", "v");
        disk.Faults.On(FileOp.Write).Of(Name).Fail(Errno.EIO);
        await database.CheckpointAsync().Within();
        Assert.Equal(ErrorCode.DatafileOffline, await RefusedAsync(database, Request));
        await database.ShutdownAsync(force: true).Within();

        SimulatedDisk left = disk.CrashCopy(1);
        left.Damage(Name, 0, 2 * PageLayout.PageBytes);
        await using PitrDatabase damaged = await OpenAsync(left);
        Assert.Equal(ErrorCode.MetaPageDamaged, await RefusedAsync(damaged, Request));
        Assert.Equal([Name], MoveTests.LayoutOfB(left));
    }

    /// <summary>A full disk, found before and during it; a disk with errors, at each kind of step before the rename.</summary>
    [Theory]
    [InlineData("room", ErrorCode.DiskFull)]
    [InlineData("taken", ErrorCode.CompactRefused)]
    [InlineData("full", ErrorCode.DiskFull)]
    [InlineData("create", ErrorCode.FileOperationFailed)]
    [InlineData("write", ErrorCode.FileOperationFailed)]
    [InlineData("sync", ErrorCode.FileOperationFailed)]
    [InlineData("folder", ErrorCode.FileOperationFailed)]
    [InlineData("read", ErrorCode.FileOperationFailed)]
    [InlineData("garbled", ErrorCode.PageChecksum)]
    [InlineData("stamp", ErrorCode.FileOperationFailed)]
    [InlineData("rename", ErrorCode.FileOperationFailed)]
    public async Task Compacting_on_a_disk_that_says_no_changes_nothing(string what, ErrorCode code)
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        disk.Mount("/small", 400_000);
        string file = what is "room" or "folder" ? "/small/b.pitr" : Name;
        await using PitrDatabase database = await StartedAsync(disk, file);
        string[] before = MoveTests.LayoutOfB(disk);
        switch (what)
        {
            case "room":
                FillUp(disk, "/small");
                break;
            case "taken":
                using (IFileHandle other = disk.Open(Beside, FileOpen.CreateNew))
                    other.Write(0, "somebody's"u8);
                break;
            case "full":
                disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Full();
                break;
            case "create":
                disk.Faults.On(FileOp.Create).Of(".compacting").Fail(Errno.EROFS);
                break;
            case "write":
                disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Fail(Errno.EIO);
                break;
            case "sync":
                disk.Faults.On(FileOp.SyncData).Of(".compacting").Nth(2).Fail(Errno.EIO);
                break;
            case "folder":
                disk.Faults.On(FileOp.SyncFolder).Of("/small").Fail(Errno.EIO);
                break;
            case "read":
                disk.Faults.On(FileOp.Read).Of(Name).Nth(3).Fail(Errno.EIO);
                break;
            case "garbled":
                disk.Faults.On(FileOp.Read).Of(".compacting").Garble();
                break;
            case "stamp":
                disk.Faults.On(FileOp.SyncData).Of(".compacting").Nth(4).Fail(Errno.EIO);
                break;
            case "rename":
                disk.Faults.On(FileOp.Rename).Of(".compacting").Fail(Errno.EACCES);
                break;
            default:
                break;
        }

        Assert.Equal(code, await RefusedAsync(database, Request));
        disk.Faults.Clear();
        if (what == "room")
            disk.Delete("/small/fill");
        if (what == "taken")
        {
            Assert.Equal("somebody's"u8, disk.ReadAll(Beside));
            disk.Delete(Beside);
        }

        await RequireUntouchedAsync(disk, database, before, file);
    }

    /// <summary>H42, H20: from the rename on nobody knows what a power loss brings: nothing is written to either file.</summary>
    [Theory]
    [InlineData("folder")]
    [InlineData("open")]
    public async Task A_switch_that_fails_undecided_takes_the_file_offline_and_the_next_opening_decides(string what)
    {
        const string There = "/data2/b.pitr";
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk, There);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("b", "k0010", "buffered");
        if (what == "folder")
            disk.Faults.On(FileOp.SyncFolder).Of("/data2").Nth(2).Fail(Errno.EIO); // the first is the new file's
        else
            disk.Faults.On(FileOp.Open).Of("b.pitr").Nth(4).Fail(Errno.EIO);
        ErrorCode code = await RefusedAsync(database, Request);
        Assert.Equal(ErrorCode.CompactUndecided, code);
        Assert.Equal("offline", (await FileAsync(database, "b")).State);
        Assert.Equal("buffered", database.Get("b", "k0010"));
        byte[] file = disk.ReadAll(There);
        await database.CheckpointAsync().Within();
        Assert.Equal(file, disk.ReadAll(There));
        await database.ShutdownAsync().Within(); // no fence is left to wait for
        for (int seed = 0; seed < 8; seed++)
        {
            SimulatedDisk left = disk.CrashCopy(seed);
            await using PitrDatabase after = await OpenAsync(left);
            Assert.Equal(("buffered", 100L), (after.Get("b", "k0010"), after.Count(after.GetTable("b"))));
            Assert.Equal("open", (await FileAsync(after, "b")).State);
            Assert.Equal([There], MoveTests.LayoutOfB(left));
            Assert.Empty(new ControlFileStore(left, Folder).ReadLive().Moves);
        }
    }

    /// <summary>H19: the same while the engine runs: what has the name is durable before it is used.</summary>
    [Theory]
    [InlineData("folder")]
    [InlineData("open")]
    public async Task A_switch_that_failed_undecided_is_settled_before_the_datafile_is_recovered(string what)
    {
        const string There = "/data2/b.pitr";
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk, There);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("b", "k0010", "buffered");
        if (what == "folder")
            disk.Faults.On(FileOp.SyncFolder).Of("/data2").Nth(2).Fail(Errno.EIO);
        else
            disk.Faults.On(FileOp.Open).Of("b.pitr").Nth(4).Fail(Errno.EIO);
        Assert.Equal(ErrorCode.CompactUndecided, await RefusedAsync(database, Request));

        Assert.Equal(
            There,
            (await database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = "b" }).Within()).Path);
        Assert.Equal("buffered", database.Get("b", "k0010"));
        await MoveTests.RequireSurvivesAsync(disk, database, [There]);
    }

    /// <summary>H16: a control file without room names the former incarnation; the note says the rest, here and later.</summary>
    [Fact]
    public async Task A_control_file_without_room_is_made_up_for()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        disk.Faults.On(FileOp.Write).Of("pitr.control.new").Nth(2).Full(); // the first notes it
        await database.CompactAsync(Request).Within();
        Assert.Empty(new ControlFileStore(disk, Folder).ReadLive().Moves); // the second try
        disk.Faults.Clear();

        disk.Faults.On(FileOp.Write).Of("pitr.control.new").Nth(2).Full();
        disk.Faults.On(FileOp.Write).Of("pitr.control.new").Nth(3).Full();
        await database.CompactAsync(Request).Within();
        SimulatedDisk early = disk.CrashCopy(3);
        Assert.Equal(
            Datafile.Inspect(disk, Name).Incarnation, Assert.Single(new ControlFileStore(disk, Folder).ReadLive().Moves).Incarnation);
        await database.PutAsync("b", "k0010", "goes on");
        await database.CheckpointAsync().Within(); // names the new incarnation
        foreach (SimulatedDisk left in (SimulatedDisk[])[early, disk.CrashCopy(4)])
        {
            await using PitrDatabase after = await OpenAsync(left);
            Assert.Equal(100L, after.Count(after.GetTable("b")));
            Assert.Equal("open", (await FileAsync(after, "b")).State);
            ControlFile control = new ControlFileStore(left, Folder).ReadLive();
            Assert.Empty(control.Moves);
            Assert.Equal(Datafile.Inspect(left, Name).Incarnation, control.Catalogue.File("b")!.Incarnation);
            await after.CompactAsync(Request).Within();
        }
    }

    /// <summary>One of both at a time for a file; other files beside it.</summary>
    [Fact]
    public async Task A_file_is_compacted_or_moved_once_at_a_time()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Hold();
        Task<CompactResult> first = database.CompactAsync(Request);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        Assert.Equal(ErrorCode.CompactUnderWay, await RefusedAsync(database, Request));
        Assert.Equal(ErrorCode.CompactUnderWay, (await Assert.ThrowsAsync<RefusedException>(
            () => database.MoveAsync(MoveTests.To("/data2/b.pitr")).Within())).Code);
        Assert.Equal(ErrorCode.PlaceReserved, (await Assert.ThrowsAsync<RefusedException>(
            () => database.CreateDatafileAsync("d", Beside).Within())).Code);
        await database.CompactAsync(Request with { Datafile = "main" }).Within();
        held.Release();
        await first.Within();

        gate = disk.Faults.On(FileOp.Write).Of("/data2/b.pitr").Hold();
        Task<MoveResult> move = database.MoveAsync(MoveTests.To("/data2/b.pitr"));
        using var heldMove = new HeldSync(gate);
        await heldMove.Reached.Within();
        Assert.Equal(ErrorCode.MoveUnderWay, await RefusedAsync(database, Request));
        heldMove.Release();
        await move.Within();
        await database.CompactAsync(Request).Within();
    }

    [Fact]
    public async Task Compacting_that_is_cancelled_leaves_the_file_as_it_was()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = MoveTests.LayoutOfB(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold();
        using var cancel = new CancellationTokenSource();
        Task<CompactResult> compact = database.CompactAsync(Request, cancel.Token);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await cancel.CancelAsync();
        held.Release();
        RefusedException error = await Assert.ThrowsAsync<RefusedException>(() => compact.Within());
        Assert.Equal(ErrorCode.CompactCancelled, error.Code);
        await RequireUntouchedAsync(disk, database, before, Name);
    }

    /// <summary>H20: what was flushed into the datafile after its fence broke is not in the copy, which is void.</summary>
    [Fact]
    public async Task Compacting_whose_fence_broke_before_the_switch_leaves_the_file_as_it_was()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = MoveTests.LayoutOfB(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold();
        Task<CompactResult> compact = database.CompactAsync(Request);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await database.PutAsync("b", "k", "goes into the datafile");
        BreakFences(database);
        await UntilAsync(database, "b", file => file.Fences.Count == 0 && file.State == "open");
        held.Release();
        RefusedException error = await Assert.ThrowsAsync<RefusedException>(() => compact.Within());
        Assert.Equal(ErrorCode.FenceBroken, error.Code);
        Assert.Equal("goes into the datafile", database.Get("b", "k"));
        await RequireUntouchedAsync(disk, database, before, Name);
    }

    /// <summary>H20: from the switch on nothing ends the fence; who holds another one was waited for.</summary>
    [Fact]
    public async Task A_fenced_file_is_compacted_when_its_other_holders_have_left()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant other = await database.FenceAsync("b", Lease).Within();
        byte[] still = disk.ReadAll(Name);
        var isVerified = new TaskCompletionSource();
        Task<CompactResult> compact = database.CompactAsync(Request with
        {
            Progress = new Told(told =>
            {
                if (told.Step == "verifying" && told.DoneBytes == told.TotalBytes)
                    isVerified.TrySetResult();
            }),
        });
        await isVerified.Task.Within();
        await UntilAsync(database, "b", file => file.Fences.Count == 2);
        Assert.Equal(still, disk.ReadAll(Name)); // promise 1
        FaultGate gate = disk.Faults.On(FileOp.Rename).Of(".compacting").Hold();
        using var held = new HeldSync(gate);
        await database.UnfenceAsync(other.FenceId).Within();
        await held.Reached.Within();
        BreakFences(database);
        Assert.Equal("switching", (await FileAsync(database, "b")).State);
        await database.PutAsync("b", "k0010", "while it is switched");
        Assert.Equal(["b"], (await database.CheckpointAsync().Within()).Skipped);
        held.Release();
        await compact.Within();
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(9));
        Assert.Equal("while it is switched", after.Get("b", "k0010"));
    }

    /// <summary>H16, H42: a file's report of before, which a checkpoint has kept meanwhile, names the former incarnation.</summary>
    [Fact]
    public async Task A_checkpoint_that_began_before_does_not_bring_the_former_incarnation_back()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("t", "k", "v");
        await database.PutAsync("b", "k0010", "flushed by it");
        FaultGate gate = disk.Faults.On(FileOp.SyncData).Of("main.pitr").Hold();
        Task<CheckpointResult> checkpoint = database.CheckpointAsync();
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await UntilAsync(database, "b", file => file.BufferedBytes == 0 && file.State == "open"); // it has reported
        await database.CompactAsync(Request).Within();
        held.Release();
        await checkpoint.Within();
        ControlFile control = new ControlFileStore(disk, Folder).ReadLive();
        Assert.Equal(Datafile.Inspect(disk, Name).Incarnation, control.Catalogue.File("b")!.Incarnation);
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(2));
        Assert.Equal("flushed by it", after.Get("b", "k0010"));
    }

    /// <summary>Promise 8: what was spilled beside the fenced file is read above the new one, and flushed into it.</summary>
    [Fact]
    public async Task What_was_spilled_while_it_was_compacted_is_flushed_into_the_new_file()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk, with: options => options with { SpillBytesMin = 1 });
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold();
        Task<CompactResult> compact = database.CompactAsync(Request);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await PutManyAsync(database, 0, 400, fill: 's');
        await Until(() => disk.OpenHandlePaths.Any(path => path.EndsWith(".spill", StringComparison.Ordinal)), "a spill");
        held.Release();
        await compact.Within();
        Assert.Equal(new string('s', 100), database.Get("b", "k0399"));
        await database.CheckpointAsync().Within();
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(2));
        Assert.Equal(new string('s', 100), after.Get("b", "k0399"));
        Assert.Equal([Name], MoveTests.LayoutOfB(disk));
    }

    /// <summary>Promise 5: a forced end does not wait for it, and the next opening removes the copy.</summary>
    [Fact]
    [MixedCase("X11")]
    public async Task A_forced_shutdown_ends_compacting_and_the_next_opening_removes_the_copy()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(".compacting").Nth(3).Hold();
        Task<CompactResult> compact = database.CompactAsync(Request);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        Task shutdown = database.ShutdownAsync(force: true);
        held.Release();
        await shutdown.Within();
        await Assert.ThrowsAnyAsync<PitrException>(() => compact.Within());
        await TestDatabase.NothingIsOpenAsync(disk);
        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal([Name], MoveTests.LayoutOfB(disk));
        await after.CompactAsync(Request).Within();
    }

    /// <summary>H29: the set's list was read before, the file is copied after; its copy is what the label says.</summary>
    [Fact]
    public async Task A_backup_around_it_restores()
    {
        SimulatedDisk disk = MoveTests.WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Read).Of("main.pitr").Hold();
        Task<BackupResult> backup = database.BackupAsync(new BackupRequest { Store = "/data2/sets" });
        using var held = new HeldSync(gate);
        await held.Reached.Within(); // b comes after main
        await database.CompactAsync(Request).Within();
        await database.PutAsync("b", "k0010", "after it");
        held.Release();
        await backup.Within();
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = "/data2/sets",
                Into = "/data3/db",
                Target = RecoveryTarget.Immediate,
                Detached = true,
            },
            OptionsFor(disk)).Within();
        await using PitrDatabase restored = await PitrDatabase.OpenAsync("/data3/db", OptionsFor(disk)).Within();
        Assert.Equal(("after it", 100L), (restored.Get("b", "k0010"), restored.Count(restored.GetTable("b"))));
    }

    private static CompactRequest Request => new() { Datafile = "b" };

    /// <summary>
    /// Table t in main; table b in datafile b, most of whose keys were deleted when they were in the file: 100 are left of
    /// 2000, all over it.
    /// </summary>
    internal static async Task<PitrDatabase> StartedAsync(
        SimulatedDisk disk, string? path = null, Func<PitrOptions, PitrOptions>? with = null)
    {
        PitrDatabase database = await CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("b", path).Within();
        await database.CreateTableAsync("b", "b").Within();
        await PutManyAsync(database, 0, 1000);
        await PutManyAsync(database, 1000, 1000);
        await database.CheckpointAsync().Within();
        var batch = new WriteBatch();
        for (int i = 0; i < 2000; i++)
        {
            if (i % 20 != 10)
                batch.Delete(database.GetTable("b"), Bytes($"k{i:D4}"));
        }

        await database.CommitAsync(batch).Within();
        await database.CheckpointAsync().Within();
        return database;
    }

    private static async Task PutManyAsync(PitrDatabase database, int from, int count, char fill = 'v')
    {
        var batch = new WriteBatch();
        for (int i = from; i < from + count; i++)
            batch.Put(database.GetTable("b"), Bytes($"k{i:D4}"), Bytes(new string(fill, 100)));
        await database.CommitAsync(batch).Within();
    }

    private static string[] RowsOf(Snapshot snapshot, PitrDatabase database) =>
        [.. snapshot.Scan(database.GetTable("b"), ScanRange.All)
            .Select(row => $"{Convert.ToHexString(row.Key)}={Convert.ToHexString(row.Value)}")];

    private static async Task<ErrorCode> RefusedAsync(PitrDatabase database, CompactRequest request) =>
        (await Assert.ThrowsAnyAsync<PitrException>(() => database.CompactAsync(request).Within())).Code;

    private static void BreakFences(PitrDatabase database) => database.Actors.Supervisor.Tell(
        new DatafileProtocol.BreakFencesOf(
            database.Datafiles.Single(file => file.Name == "b").Id, Problem.From(EngineErrors.FenceForced("b"))),
        Akka.Actor.ActorRefs.NoSender);

    private static void FillUp(SimulatedDisk disk, string folder)
    {
        using IFileHandle fill = disk.Open($"{folder}/fill", FileOpen.CreateNew);
        fill.Write(0, new byte[disk.FreeBytes(folder) - PageLayout.PageBytes]);
    }

    /// <summary>Everything is as before, and works: commits, a checkpoint, and the same in the end.</summary>
    private static async Task RequireUntouchedAsync(
        SimulatedDisk disk, PitrDatabase database, string[] before, string file)
    {
        Assert.Equal(before, MoveTests.LayoutOfB(disk));
        Assert.Empty(new ControlFileStore(disk, Folder).ReadLive().Moves);
        await database.PutAsync("b", "after", "it");
        await database.CheckpointAsync().Within();
        await UntilAsync(database, "b", one => one.State == "open" && one.Fences.Count == 0);
        long bytes = disk.Stat(file)!.LengthBytes;
        long rows = database.Count(database.GetTable("b"));
        await database.CompactAsync(Request).Within();
        Assert.True(disk.Stat(file)!.LengthBytes < bytes);
        Assert.Equal(("it", rows), (database.Get("b", "after"), database.Count(database.GetTable("b"))));
        await database.ShutdownAsync().Within();
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    private sealed class Told(Action<JobProgress> told) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => told(value);
    }
}
