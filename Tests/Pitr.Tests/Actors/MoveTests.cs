using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.FenceLifeTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// A datafile moves while it is in use, or stays where it lay and nothing else is anywhere (design §6; H17 to H20).
/// </summary>
public sealed partial class MoveTests
{
    private const string Target = "/data2/b.pitr";
    private static readonly TimeSpan Lease = TimeSpan.FromHours(1);

    /// <summary>Design §6: buffers, cache and views stay as they are; commits and reads notice nothing.</summary>
    [Fact]
    public async Task Commits_and_reads_go_on_while_a_file_is_moved()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        using Snapshot before = database.OpenSnapshot();
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Hold();
        Task<MoveResult> move = database.MoveAsync(To(Target));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await database.PutAsync("b", "k0001", "while it is copied");
        await database.PutAsync("t", "k", "v");
        CheckpointResult checkpoint = await database.CheckpointAsync().Within();
        Assert.Equal(["b"], checkpoint.Skipped);
        Assert.Equal("while it is copied", database.Get("b", "k0001"));
        held.Release();

        MoveResult moved = await move.Within();
        Assert.Equal(("b", Folder + "/b.pitr", Target), (moved.Datafile, moved.From, moved.To));
        Assert.Equal(moved.Bytes, disk.Stat(Target)!.LengthBytes);
        Assert.Equal((Target, "open"), ((await FileAsync(database, "b")).Path, (await FileAsync(database, "b")).State));
        Assert.Equal("v", System.Text.Encoding.ASCII.GetString(before.Get(database.GetTable("b"), Bytes("k0001"))!));
        await database.PutAsync("b", "k0002", "in the new place");
        await database.CheckpointAsync().Within();
        Assert.Equal(["/data2/b.pitr", "/db/b.pitr -> /data2/b.pitr"], LayoutOfB(disk));

        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(5));
        Assert.Equal(
            ("while it is copied", "in the new place", 100L),
            (after.Get("b", "k0001"), after.Get("b", "k0002"), after.Count(after.GetTable("b"))));
    }

    /// <summary>Issue's bad input: refused before anything is copied; the datafile then moves elsewhere.</summary>
    [Theory]
    [InlineData("/db/b.pitr", ErrorCode.MoveRefused)] // onto itself
    [InlineData("/data2/taken", ErrorCode.MoveRefused)]
    [InlineData("/data2", ErrorCode.MoveRefused)] // a folder
    [InlineData("/nowhere/b.pitr", ErrorCode.PlaceReserved)]
    [InlineData("/db/wal/b.pitr", ErrorCode.PlaceReserved)]
    [InlineData("/to-wal/b.pitr", ErrorCode.PlaceReserved)] // the WAL's folder through a link
    [InlineData("/db/pitr.control", ErrorCode.PlaceReserved)]
    [InlineData("/data2/b.moving", ErrorCode.PlaceReserved)]
    public async Task A_move_to_where_nothing_may_lie_is_refused_and_changes_nothing(string to, ErrorCode code)
    {
        SimulatedDisk disk = WithFolders();
        using (IFileHandle taken = disk.Open("/data2/taken", FileOpen.CreateNew))
            taken.Write(0, "somebody's"u8);
        disk.Symlink("/db/wal", "/to-wal");
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = LayoutOfB(disk);
        Assert.Equal(code, (await Assert.ThrowsAsync<RefusedException>(() => database.MoveAsync(To(to)).Within())).Code);
        await RequireUntouchedAsync(disk, database, before);
        Assert.Equal("somebody's"u8, disk.ReadAll("/data2/taken"));
    }

    [Fact]
    public async Task A_move_of_a_file_that_is_not_there_offline_or_in_need_of_recovery_gets_the_typed_error()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        Assert.Equal(ErrorCode.DatafileUnknown, await RefusedAsync(database, To(Target) with { Datafile = "none" }));
        await database.PutAsync("b", "k", "v");
        disk.Faults.On(FileOp.Write).Of("/db/b.pitr").Fail(Errno.EIO);
        await database.CheckpointAsync().Within();
        Assert.Equal(ErrorCode.DatafileOffline, await RefusedAsync(database, To(Target)));
        await database.ShutdownAsync(force: true).Within();

        SimulatedDisk left = disk.CrashCopy(1);
        left.Damage("/db/b.pitr", 0, 2 * PageLayout.PageBytes);
        await using PitrDatabase damaged = await OpenAsync(left);
        Assert.Equal(ErrorCode.MetaPageDamaged, await RefusedAsync(damaged, To(Target)));
        Assert.Equal(["/db/b.pitr"], LayoutOfB(left));
    }

    /// <summary>A full disk, found before and during the copy; a folder that can't be written; a disk with errors.</summary>
    [Theory]
    [InlineData("room", ErrorCode.DiskFull)]
    [InlineData("full", ErrorCode.DiskFull)]
    [InlineData("create", ErrorCode.FileOperationFailed)]
    [InlineData("write", ErrorCode.FileOperationFailed)]
    [InlineData("sync", ErrorCode.FileOperationFailed)]
    [InlineData("folder", ErrorCode.FileOperationFailed)]
    [InlineData("read", ErrorCode.FileOperationFailed)]
    [InlineData("symlink", ErrorCode.FileOperationFailed)]
    [InlineData("rename", ErrorCode.FileOperationFailed)]
    [InlineData("stamp", ErrorCode.FileOperationFailed)]
    public async Task A_move_that_meets_a_disk_that_says_no_changes_nothing(string what, ErrorCode code)
    {
        SimulatedDisk disk = WithFolders(what == "room" ? 20_000 : long.MaxValue);
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = LayoutOfB(disk);
        switch (what)
        {
            case "full":
                disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Full();
                break;
            case "create":
                disk.Faults.On(FileOp.Create).Of(Target).Fail(Errno.EROFS);
                break;
            case "write":
                disk.Faults.On(FileOp.Write).Of(Target).Fail(Errno.EIO);
                break;
            case "sync":
                disk.Faults.On(FileOp.SyncData).Of(Target).Nth(2).Fail(Errno.EIO);
                break;
            case "folder":
                disk.Faults.On(FileOp.SyncFolder).Of("/data2").Fail(Errno.EIO);
                break;
            case "read":
                disk.Faults.On(FileOp.Read).Of("/db/b.pitr").Nth(3).Fail(Errno.EIO);
                break;
            case "symlink":
                disk.Faults.On(FileOp.Symlink).Fail(Errno.EACCES);
                break;
            case "rename":
                disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Fail(Errno.EACCES);
                break;
            case "stamp":
                disk.Faults.On(FileOp.SyncData).Of(Target).Nth(3).Fail(Errno.EIO);
                break;
            default:
                break;
        }

        PitrException error = await Assert.ThrowsAnyAsync<PitrException>(() => database.MoveAsync(To(Target)).Within());
        Assert.Equal(code, error.Code);
        disk.Faults.Clear();
        if (what == "room")
            disk.Mount("/data3");
        await RequireUntouchedAsync(disk, database, before, what == "room" ? "/data3/b.pitr" : Target);
    }

    /// <summary>Verify before the switch: a copy that reads otherwise than it was written is none.</summary>
    [Fact]
    public async Task A_copy_that_is_not_what_was_written_is_thrown_away()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = LayoutOfB(disk);
        disk.Faults.On(FileOp.Read).Of(Target).Garble();
        Assert.Equal(ErrorCode.PageChecksum, await RefusedAsync(database, To(Target)));
        await RequireUntouchedAsync(disk, database, before);
    }

    /// <summary>A page that is damaged in the file itself is not carried on as if it were sound.</summary>
    [Fact]
    public async Task A_file_with_a_damaged_page_that_counts_is_not_moved()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        long leaf = disk.Stat("/db/b.pitr")!.LengthBytes - PageLayout.PageBytes;
        for (long page = 2 * PageLayout.PageBytes; page <= leaf; page += PageLayout.PageBytes)
            disk.Damage("/db/b.pitr", page + 5000);
        Assert.Equal(ErrorCode.PageChecksum, await RefusedAsync(database, To(Target)));
        Assert.Equal(["/db/b.pitr"], LayoutOfB(disk));
    }

    /// <summary>H19: one note a file; other moves go on beside it.</summary>
    [Fact]
    public async Task A_file_is_moved_once_at_a_time_and_several_files_at_once()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.CreateDatafileAsync("c").Within();
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(Target).Hold();
        Task<MoveResult> first = database.MoveAsync(To(Target));
        using var held = new HeldSync(gate);
        await held.Reached.Within();

        Assert.Equal(ErrorCode.MoveUnderWay, await RefusedAsync(database, To("/data3/b.pitr")));
        Assert.Equal(ErrorCode.MoveRefused, await RefusedAsync(database, To(Target) with { Datafile = "c" }));
        RefusedException create = await Assert.ThrowsAsync<RefusedException>(
            () => database.CreateDatafileAsync("d", Target).Within());
        Assert.Equal(ErrorCode.PlaceReserved, create.Code);
        RefusedException drop = await Assert.ThrowsAsync<RefusedException>(() => DropTableAndFileAsync(database));
        Assert.Equal(ErrorCode.MoveUnderWay, drop.Code);
        MoveResult other = await database.MoveAsync(To("/data3/c.pitr") with { Datafile = "c" }).Within();
        Assert.Equal("/data3/c.pitr", other.To);
        held.Release();
        Assert.Equal(Target, (await first.Within()).To);
    }

    [Fact]
    public async Task A_move_that_is_cancelled_leaves_the_file_where_it_lay()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = LayoutOfB(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Hold();
        using var cancel = new CancellationTokenSource();
        Task<MoveResult> move = database.MoveAsync(To(Target), cancel.Token);
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await cancel.CancelAsync();
        held.Release();
        RefusedException error = await Assert.ThrowsAsync<RefusedException>(() => move.Within());
        Assert.Equal(ErrorCode.MoveCancelled, error.Code);
        await RequireUntouchedAsync(disk, database, before);
    }

    /// <summary>H20: a fence that broke while the file was copied makes the copy void; it never becomes the file.</summary>
    [Fact]
    public async Task A_move_whose_fence_broke_before_the_switch_leaves_the_file_where_it_lay()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        string[] before = LayoutOfB(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Hold();
        Task<MoveResult> move = database.MoveAsync(To(Target));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        await database.PutAsync("b", "k", "goes into the original");
        BreakFences(database);
        await UntilAsync(database, "b", file => file.Fences.Count == 0 && file.State == "open");
        held.Release();

        RefusedException error = await Assert.ThrowsAsync<RefusedException>(() => move.Within());
        Assert.Equal(ErrorCode.FenceBroken, error.Code);
        Assert.Equal("goes into the original", database.Get("b", "k"));
        await RequireUntouchedAsync(disk, database, before);
    }

    /// <summary>H20: neither an unfence nor a bound ends the fence while the name is changed.</summary>
    [Fact]
    public async Task What_would_break_the_fence_waits_for_the_end_of_the_switch()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Hold();
        Task<MoveResult> move = database.MoveAsync(To(Target));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        byte[] original = disk.ReadAll("/db/b.pitr");
        DatafileStatus switching = await FileAsync(database, "b");
        Assert.Equal("switching", switching.State);
        await database.PutAsync("b", "k", "while it is switched");
        BreakFences(database);
        await FileAsync(database, "b"); // asked for after it
        Task<UnfenceResult> unfence = database.UnfenceAsync(Assert.Single(switching.Fences).FenceId);
        Task<FenceGrant> waiting = database.FenceAsync("b", Lease);
        Assert.Equal(["b"], (await database.CheckpointAsync().Within()).Skipped);
        Assert.Equal("switching", (await FileAsync(database, "b")).State);
        Assert.Equal(original, disk.ReadAll("/db/b.pitr"));
        Assert.False(unfence.IsCompleted || waiting.IsCompleted);
        held.Release();

        Assert.Equal(Target, (await move.Within()).To);
        Assert.Equal(Target, (await waiting.Within()).Path);
        await database.UnfenceAsync((await waiting).FenceId).Within();
        Assert.Equal(ErrorCode.FenceBroken, (await Assert.ThrowsAsync<RefusedException>(() => unfence.Within())).Code);
        await using PitrDatabase after = await OpenAsync(disk.CrashCopy(9));
        Assert.Equal("while it is switched", after.Get("b", "k"));
    }

    /// <summary>Its fence is given back, not renewed: the end of it is the end of the flush, not the void token's.</summary>
    [Fact]
    public async Task A_move_ends_when_what_was_committed_meanwhile_is_in_the_file_in_its_new_place()
    {
        SimulatedDisk disk = WithFolders();
        await using var time = new VirtualTime();
        await using PitrDatabase database = await StartedAsync(disk, time.In);
        await using var end = new ForcedEnd(database);
        FaultGate switching = disk.Faults.On(FileOp.Rename).Of("b.pitr.moving").Hold();
        using var held = new HeldSync(switching);
        Task<MoveResult> move = database.MoveAsync(To(Target));
        await held.Reached.Within();
        CommitResult last = await database.PutAsync("b", "k", "while it is switched");
        FaultGate flushing = disk.Faults.On(FileOp.SyncData).Of(Target).Hold();
        using var flush = new HeldSync(flushing);
        held.Release();
        await flush.Reached.Within();
        for (int n = 0; n < 50; n++)
        {
            time.Advance(TimeSpan.FromMinutes(1));
            await database.GetStatusAsync().Within();
        }

        Assert.False(move.IsCompleted);
        flush.Release();
        Assert.Equal(Target, (await move.Within()).To);
        Assert.True((await FileAsync(database, "b")).CheckpointLsn >= last.Lsn);
    }

    /// <summary>H20: the switch needs the only fence; who holds another one is waited for, a newcomer waits.</summary>
    [Fact]
    public async Task A_switch_waits_for_the_other_holders_and_lets_no_new_one_in()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FenceGrant other = await database.FenceAsync("b", Lease).Within();
        var isVerified = new TaskCompletionSource();
        Task<MoveResult> move = database.MoveAsync(To(Target) with
        {
            Progress = new Told(told =>
            {
                if (told.Step == "verifying" && told.DoneBytes + 2 * PageLayout.PageBytes == told.TotalBytes)
                    isVerified.TrySetResult();
            }),
        });
        await isVerified.Task.Within();
        await UntilAsync(database, "b", file => file.Fences.Count == 2);
        Task<FenceGrant> late = await WaitingFenceAsync(database);
        Assert.Equal(["/data2/b.pitr", "/db/b.pitr"], LayoutOfB(disk));
        Assert.False(move.IsCompleted);
        await database.UnfenceAsync(other.FenceId).Within();
        Assert.Equal(Target, (await move.Within()).To);
        FenceGrant granted = await late.Within();
        Assert.Contains(granted.Path, new[] { Target, "/db/b.pitr" });
        await database.UnfenceAsync(granted.FenceId).Within();
        Assert.Equal(["/data2/b.pitr", "/db/b.pitr -> /data2/b.pitr"], LayoutOfB(disk));
    }

    /// <summary>H20: from the rename on nobody knows what a power loss brings: nothing is written to either file.</summary>
    [Fact]
    public async Task A_rename_that_fails_undecided_takes_the_file_offline_and_the_next_opening_decides()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.PutAsync("b", "k", "buffered");
        disk.Faults.On(FileOp.SyncFolder).Of("/db").Nth(2).Fail(Errno.EIO); // the first is that of the note
        Assert.Equal(ErrorCode.MoveUndecided, await RefusedAsync(database, To(Target)));
        Assert.Equal("offline", (await FileAsync(database, "b")).State);
        Assert.Equal("buffered", database.Get("b", "k"));
        byte[] copy = disk.ReadAll(Target);
        await database.CheckpointAsync().Within();
        Assert.Equal(copy, disk.ReadAll(Target));
        await database.ShutdownAsync().Within(); // no fence is left to wait for
        for (int seed = 0; seed < 8; seed++)
        {
            SimulatedDisk left = disk.CrashCopy(seed);
            await using PitrDatabase after = await OpenAsync(left);
            Assert.Equal(("buffered", 101L), (after.Get("b", "k"), after.Count(after.GetTable("b"))));
            Assert.Contains(
                string.Join(", ", LayoutOfB(left)),
                new[] { "/db/b.pitr", "/data2/b.pitr, /db/b.pitr -> /data2/b.pitr" });
        }
    }

    /// <summary>H23 of a file that was moved: its link alone would leave the file for ever.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData("/data2/b.pitr")]
    [InlineData("/db/b.pitr")]
    public async Task Dropping_a_datafile_that_was_moved_removes_the_link_and_the_file(string? failing)
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await database.MoveAsync(To(Target)).Within();
        if (failing is not null)
            disk.Faults.On(FileOp.Delete).Of(failing).Fail(Errno.EIO);
        await DropTableAndFileAsync(database);
        SimulatedDisk left = disk.KillCopy();
        if (failing is null)
            Assert.Empty(LayoutOfB(left));
        await using PitrDatabase after = await OpenAsync(left);
        Assert.Empty(LayoutOfB(left));
        await after.CreateDatafileAsync("b").Within();
    }

    /// <summary>A stopped database can be moved as a folder: what lies in it is found by a relative link.</summary>
    [Fact]
    public async Task A_link_within_the_databases_folder_is_relative()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        disk.CreateFolders("/db/sub");
        await database.MoveAsync(To("sub/b.pitr")).Within();
        Assert.Equal("sub/b.pitr", disk.ReadLink("/db/b.pitr"));
        await database.ShutdownAsync().Within();
        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal(100, after.Count(after.GetTable("b")));
    }

    [Fact]
    public async Task A_drain_moves_every_datafile_of_a_folder_and_no_other()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await database.CreateDatafileAsync("c").Within();
        await database.MoveAsync(To("/data3/b.pitr")).Within();
        IReadOnlyList<MoveResult> moved = await database.DrainAsync(new DrainRequest { Folder = "/db", To = "/data2" })
            .Within();
        Assert.Equal(["c", "main"], moved.Select(one => one.Datafile).Order());
        EngineStatus status = await database.GetStatusAsync().Within();
        Assert.Equal(
            ["/data2/c.pitr", "/data2/main.pitr", "/data3/b.pitr"], status.Datafiles.Select(file => file.Path).Order());
        await database.PutAsync("t", "k", "v");
        await database.ShutdownAsync().Within();
        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal("v", after.Get("t", "k"));
    }

    /// <summary>Nothing of the database is in it, whatever it was before: bytes, names or both; so it may go.</summary>
    [Theory]
    [InlineData("/data3")]
    [InlineData("/also-data3")] // a link to it
    public async Task A_drained_folder_is_empty_and_the_database_opens_without_it(string folder)
    {
        SimulatedDisk disk = WithFolders();
        disk.Symlink("/data3", "/also-data3");
        await using PitrDatabase database = await StartedAsync(disk);
        await database.MoveAsync(To("/data3/b.pitr")).Within(); // its bytes lie there
        await database.CreateDatafileAsync("c", "/data3/c.pitr").Within(); // bytes and name
        await database.CreateDatafileAsync("d", "/also-data3/d.pitr").Within(); // and this one's name only
        await database.MoveAsync(new MoveRequest { Datafile = "d", Path = "other-d.pitr" }).Within();
        foreach (string name in new[] { "c", "d" })
        {
            await database.CreateTableAsync(name, name).Within();
            await database.PutAsync(name, "k", "v");
        }

        Assert.NotEmpty(disk.List("/data3"));
        IReadOnlyList<MoveResult> moved = await database
            .DrainAsync(new DrainRequest { Folder = folder, To = "/data2" }).Within();

        Assert.Equal(["b", "c", "d"], moved.Select(one => one.Datafile));
        Assert.Empty(disk.List("/data3"));
        await database.ShutdownAsync().Within();
        disk.Delete("/also-data3");
        disk.DeleteFolder("/data3");
        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal((100L, "v", "v"), (after.Count(after.GetTable("b")), after.Get("c", "k"), after.Get("d", "k")));
        Assert.Equal(
            ["/data2/b.pitr", "/data2/c.pitr", "/data2/other-d.pitr", "/db/main.pitr"],
            (await after.GetStatusAsync().Within()).Datafiles.Select(file => file.Path).Order());
    }

    [Fact]
    public async Task A_drain_of_a_folder_that_is_not_there_is_refused_and_one_without_datafiles_moves_none()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        Assert.Equal(ErrorCode.FolderUnknown, (await Assert.ThrowsAsync<NotFoundException>(() => database
            .DrainAsync(new DrainRequest { Folder = "/data4", To = "/data2" }).Within())).Code);
        Assert.Equal(ErrorCode.FolderUnknown, (await Assert.ThrowsAsync<NotFoundException>(() => database
            .DrainAsync(new DrainRequest { Folder = "/db/b.pitr", To = "/data2" }).Within())).Code);
        Assert.Empty(await database.DrainAsync(new DrainRequest { Folder = "/data3", To = "/data2" }).Within());
    }

    /// <summary>There is nothing to copy, and a move makes no file to itself: it is told before another one moves.</summary>
    [Fact]
    public async Task A_drain_to_where_a_datafile_lies_whose_name_is_in_the_folder_is_refused_and_moves_none()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await database.MoveAsync(To("/data3/b.pitr")).Within();
        await database.CreateDatafileAsync("c", "/data3/c.pitr").Within();
        await database.MoveAsync(new MoveRequest { Datafile = "c", Path = "/data2/c.pitr" }).Within();
        string[] before = disk.List("/data3").ToArray();

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => database.DrainAsync(new DrainRequest { Folder = "/data3", To = "/data2" }).Within());

        Assert.Equal(ErrorCode.MoveRefused, refused.Code);
        Assert.Contains("lies at '/data2/c.pitr' already", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, disk.List("/data3"));
    }

    /// <summary>Promise 5: a forced end does not wait for a move, and the next opening finds the file where it lay.</summary>
    [Fact]
    public async Task A_forced_shutdown_ends_a_move_and_the_next_opening_removes_the_copy()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(Target).Nth(3).Hold();
        Task<MoveResult> move = database.MoveAsync(To(Target));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        Task shutdown = database.ShutdownAsync(force: true);
        // The datafile has been told by then; else the copy might be whole before.
        await Assert.ThrowsAsync<RefusedException>(() => database.FenceAsync("b", TimeSpan.FromMinutes(1)).Within());
        held.Release();
        await shutdown.Within();
        await Assert.ThrowsAnyAsync<PitrException>(() => move.Within());
        await TestDatabase.NothingIsOpenAsync(disk);
        await using PitrDatabase after = await OpenAsync(disk);
        Assert.Equal(["/db/b.pitr"], LayoutOfB(disk));
        Assert.Equal(Target, (await after.MoveAsync(To(Target)).Within()).To);
    }

    internal static SimulatedDisk WithFolders(long capacityBytes = long.MaxValue)
    {
        SimulatedDisk disk = NewDisk();
        disk.Mount("/data2", capacityBytes);
        disk.CreateFolders("/data3");
        return disk;
    }

    /// <summary>Table t in main; table b, with 100 keys that are in the file, in datafile b.</summary>
    internal static async Task<PitrDatabase> StartedAsync(
        SimulatedDisk disk, Func<PitrOptions, PitrOptions>? with = null, string? path = null)
    {
        PitrDatabase database = await CreateAsync(disk, with);
        await database.CreateTableAsync("t").Within();
        await database.CreateDatafileAsync("b", path).Within();
        await database.CreateTableAsync("b", "b").Within();
        var batch = new WriteBatch();
        for (int i = 0; i < 100; i++)
            batch.Put(database.GetTable("b"), Bytes($"k{i:D4}"), Bytes("v"));
        await database.CommitAsync(batch).Within();
        await database.CheckpointAsync().Within();
        return database;
    }

    internal static MoveRequest To(string path) => new() { Datafile = "b", Path = path };

    internal static string[] LayoutOfB(SimulatedDisk disk) =>
        [.. MoveLab.Layout(disk).Where(line => line.Contains("b.pitr", StringComparison.Ordinal)).Order()];

    private static async Task<ErrorCode> RefusedAsync(PitrDatabase database, MoveRequest request) =>
        (await Assert.ThrowsAnyAsync<PitrException>(() => database.MoveAsync(request).Within())).Code;

    private static void BreakFences(PitrDatabase database) => database.Actors.Supervisor.Tell(
        new DatafileProtocol.BreakFencesOf(
            database.Datafiles.Single(file => file.Name == "b").Id, Problem.From(EngineErrors.FenceForced("b"))),
        Akka.Actor.ActorRefs.NoSender);

    /// <summary>A fence that is not granted, because a switch waits; one that came before it is given back.</summary>
    private static async Task<Task<FenceGrant>> WaitingFenceAsync(PitrDatabase database)
    {
        while (true)
        {
            Task<FenceGrant> asked = database.FenceAsync("b", Lease);
            if ((await FileAsync(database, "b")).Fences.Count == 2) // the status was asked for after it
                return asked;
            await database.UnfenceAsync((await asked.Within()).FenceId).Within();
        }
    }

    private static async Task DropTableAndFileAsync(PitrDatabase database)
    {
        if (database.Tables.Any(table => table.Name == "b"))
            await database.DropTableAsync("b").Within();
        await database.DropDatafileAsync("b").Within();
    }

    /// <summary>Everything is as before, and works: commits, a checkpoint, and the same move in the end.</summary>
    private static async Task RequireUntouchedAsync(
        SimulatedDisk disk, PitrDatabase database, string[] before, string then = Target)
    {
        Assert.Equal(before, LayoutOfB(disk));
        Assert.Empty(new ControlFileStore(disk, Folder).ReadLive().Moves);
        await database.PutAsync("b", "after", "it");
        await database.CheckpointAsync().Within();
        await UntilAsync(database, "b", file => file.State == "open" && file.Fences.Count == 0);
        await database.MoveAsync(To(then)).Within();
        Assert.Equal("it", database.Get("b", "after"));
        await database.ShutdownAsync().Within();
        await TestDatabase.NothingIsOpenAsync(disk);
    }

    private sealed class Told(Action<JobProgress> told) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => told(value);
    }
}
