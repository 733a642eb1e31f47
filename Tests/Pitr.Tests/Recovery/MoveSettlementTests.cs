using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.MoveTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>What an opening does with a move that was cut off, beside the crash sweep (H19, H26).</summary>
public sealed class MoveSettlementTests
{
    private const string First = "/data2/b.pitr";
    private const string Second = "/data3/b.pitr";

    /// <summary>H19: the link leads to the new place, so the former one goes; before that the other way round.</summary>
    [Fact]
    [MixedCase("X11")]
    public async Task What_the_name_leads_to_wins()
    {
        SimulatedDisk switched = await CutOffBeforeRemovalAsync();
        await using (PitrDatabase database = await OpenAsync(switched))
            Assert.Equal(100, database.Count(database.GetTable("b")));
        Assert.Equal([Second, "/db/b.pitr -> /data3/b.pitr"], LayoutOfB(switched));

        SimulatedDisk copying = await CutOffWhileCopyingAsync();
        await using (PitrDatabase database = await OpenAsync(copying))
            Assert.Equal(100, database.Count(database.GetTable("b")));
        Assert.Equal(["/db/b.pitr"], LayoutOfB(copying));
        Assert.Empty(new ControlFileStore(copying, Folder).ReadLive().Moves);
    }

    /// <summary>H19: the former file may be the better one; nothing is removed until the winner has opened.</summary>
    [Fact]
    public async Task A_move_whose_datafile_did_not_open_stays_as_it_is()
    {
        SimulatedDisk left = await CutOffBeforeRemovalAsync();
        byte[] sound = left.ReadAll(Second);
        left.Damage(Second, 0, 2 * PageLayout.PageBytes);
        await using (PitrDatabase database = await OpenAsync(left))
            Assert.Contains(
                (await database.GetStatusAsync().Within()).Datafiles,
                file => file is { Name: "b", State: "needsRecovery" });
        Assert.Equal([First, Second, "/db/b.pitr -> /data3/b.pitr"], LayoutOfB(left));

        left.Delete(Second);
        using (IFileHandle mended = left.Open(Second, FileOpen.CreateNew))
            mended.Write(0, sound);
        await using (PitrDatabase database = await OpenAsync(left))
            Assert.Equal(100, database.Count(database.GetTable("b")));
        Assert.Equal([Second, "/db/b.pitr -> /data3/b.pitr"], LayoutOfB(left));
    }

    /// <summary>H17: not even if somebody makes it the datafile by hand.</summary>
    [Fact]
    public async Task An_unfinished_copy_never_opens_as_the_datafile()
    {
        SimulatedDisk left = await CutOffWhileCopyingAsync();
        Assert.Equal(DatafileKind.UnfinishedCopy, Datafile.Inspect(left, First).Kind);
        left.Rename("/db/b.pitr", "/db/aside");
        left.Symlink(First, "/db/b.pitr");
        await using (PitrDatabase database = await OpenAsync(left))
            Assert.Contains(
                (await database.GetStatusAsync().Within()).Datafiles,
                file => file is { Name: "b", State: "needsRecovery" });
        left.Rename("/db/aside", "/db/b.pitr");
        await using (PitrDatabase database = await OpenAsync(left))
            Assert.Equal(100, database.Count(database.GetTable("b")));
        Assert.Equal(["/db/b.pitr"], LayoutOfB(left));
    }

    /// <summary>H19: without a durable note of the winner nothing is removed; the next opening makes up for it.</summary>
    [Fact]
    public async Task A_control_file_without_room_leaves_the_former_file_to_the_next_opening()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.MoveAsync(To(First)).Within();
        disk.Faults.On(FileOp.Write).Of("pitr.control.new").Nth(2).Full(); // the first notes the move
        Assert.Equal(Second, (await database.MoveAsync(To(Second)).Within()).To);
        Assert.Equal([First, Second, "/db/b.pitr -> /data3/b.pitr"], LayoutOfB(disk));
        await database.PutAsync("b", "k0001", "goes on");
        await database.CheckpointAsync().Within();
        SimulatedDisk left = disk.CrashCopy(4);
        await using PitrDatabase after = await OpenAsync(left);
        Assert.Equal("goes on", after.Get("b", "k0001"));
        Assert.Equal([Second, "/db/b.pitr -> /data3/b.pitr"], LayoutOfB(left));
    }

    /// <summary>H26: a copy of the folder, opened elsewhere, has the note of a move that is its source's.</summary>
    [Fact]
    public async Task A_copy_of_the_folder_elsewhere_removes_nothing_outside_of_it()
    {
        SimulatedDisk left = await CutOffWhileCopyingAsync();
        Assert.NotNull(left.Stat(First));
        await using PitrDatabase database = await OpenAsync(
            left, options => options with { Process = new ThisProcess("elsewhere", 1, "boot") });
        Assert.NotNull(left.Stat(First));
        Assert.Empty(new ControlFileStore(left, Folder).ReadLive().Moves);
        Assert.Equal(100, database.Count(database.GetTable("b")));
    }

    /// <summary>
    /// H26: the roots of two file systems have one inode, so the folder of a copy there differs by its device alone. Outside is
    /// also what a link of a folder leads to, whose path looks as if it were inside.
    /// </summary>
    [Theory]
    [InlineData(First)]
    [InlineData("sub/b.pitr")]
    public async Task A_copy_on_another_file_system_removes_nothing_outside_of_it(string to)
    {
        SimulatedDisk left = await CutOffWhileCopyingAsync();
        left.Symlink("/data2", $"{Folder}/sub");
        var store = new ControlFileStore(left, Folder);
        ControlFile control = store.ReadLive();
        FolderPlace source = control.Place! with { Device = control.Place.Device + 1 };
        store.Replace(control with { Place = source, Moves = [control.Moves[0] with { Place = source, To = to }] });
        await using PitrDatabase database = await OpenAsync(left);
        Assert.NotNull(left.Stat(First));
        Assert.Empty(store.ReadLive().Moves);
        Assert.Equal(100, database.Count(database.GetTable("b")));
    }

    /// <summary>What somebody has put there since is his.</summary>
    [Fact]
    public async Task What_the_move_did_not_put_there_is_left()
    {
        SimulatedDisk left = await CutOffWhileCopyingAsync();
        left.Delete(First);
        using (IFileHandle other = left.Open(First, FileOpen.CreateNew))
            other.Write(0, "somebody's"u8);
        await using PitrDatabase database = await OpenAsync(left);
        Assert.Equal("somebody's"u8, left.ReadAll(First));
        Assert.Empty(new ControlFileStore(left, Folder).ReadLive().Moves);
    }

    /// <summary>A backup's control file knows of no move: a restore removes nothing by what was true then (H30).</summary>
    [Fact]
    public async Task A_checkpoint_record_names_no_move()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(First).Nth(3).Hold();
        Task<MoveResult> move = database.MoveAsync(To(First));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        ControlFile control = new ControlFileStore(disk, Folder).ReadLive();
        Assert.Single(control.Moves);
        string record = Pitr.Actors.ControlFileChanges.AsCheckpointRecord(control).ControlFile;
        Assert.Empty(ControlFileStore.DecodePayload("", System.Text.Encoding.UTF8.GetBytes(record)).Moves);
        held.Release();
        await move.Within();
    }

    /// <summary>As a kill leaves it in the middle of copying from the name to <see cref="First"/>.</summary>
    private static async Task<SimulatedDisk> CutOffWhileCopyingAsync()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        FaultGate gate = disk.Faults.On(FileOp.Write).Of(First).Nth(3).Hold();
        Task<MoveResult> move = database.MoveAsync(To(First));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        SimulatedDisk left = disk.KillCopy();
        held.Release();
        await move.Within();
        return left;
    }

    /// <summary>As a kill leaves it when the link leads to <see cref="Second"/>, and <see cref="First"/> is to go.</summary>
    private static async Task<SimulatedDisk> CutOffBeforeRemovalAsync()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await StartedAsync(disk);
        await using var end = new ForcedEnd(database);
        await database.MoveAsync(To(First)).Within();
        FaultGate gate = disk.Faults.On(FileOp.Delete).Of(First).Hold();
        Task<MoveResult> move = database.MoveAsync(To(Second));
        using var held = new HeldSync(gate);
        await held.Reached.Within();
        SimulatedDisk left = disk.KillCopy();
        held.Release();
        await move.Within();
        return left;
    }
}
