using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.MoveTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>
/// H26, H30: a folder that was copied or moved, with links and paths that lead out of it. `b` was moved outside and has a
/// link, `c` was born there, `main` lies in the folder.
/// </summary>
public sealed class MovedFolderTests
{
    private const string Copy = "/copy";
    private const string B = "/data2/b.pitr";
    private const string C = "/data3/c.pitr";
    private static readonly string[] Outside = [B, C];

    [Fact]
    [MixedCase("X45")]
    public async Task A_copy_opens_without_what_lies_outside_and_touches_none_of_it()
    {
        SimulatedDisk disk = await CopiedAsync();
        string[] before = Fingerprints(disk);
        for (int opening = 0; opening < 2; opening++)
        {
            await using PitrDatabase copy = await OpenCopyAsync(disk);
            foreach (string table in (string[])["b", "c"])
                Assert.Equal(
                    ErrorCode.DatafileElsewhere,
                    (await Assert.ThrowsAsync<RefusedException>(() => copy.PutAsync(table, "k", "of the copy"))).Code);
            await copy.PutAsync("t", "k", "of the copy");
            await copy.CheckpointAsync().Within();
            Assert.Equal("of the copy", copy.Get("t", "k"));
            await RequireRefusedAsync(ErrorCode.DatafileElsewhere, () => copy.RecoverDatafileAsync(
                new DatafileRecoveryRequest { Datafile = "b" }));
            await RequireRefusedAsync(ErrorCode.PlaceReserved, () => copy.CreateDatafileAsync("d", "/data2/d.pitr"));
            await RequireRefusedAsync(ErrorCode.PlaceReserved, () => copy.MoveAsync(
                new MoveRequest { Datafile = "main", Path = "/data2/main.pitr" }));
            await copy.ShutdownAsync().Within();
        }

        Assert.Equal(before, Fingerprints(disk));
        await RequireWholeAsync(disk, Folder);
    }

    /// <summary>What the copy drops are its own notes, and the link in its own folder.</summary>
    [Fact]
    public async Task What_a_copy_drops_stays_where_its_source_has_it()
    {
        SimulatedDisk disk = await CopiedAsync();
        string[] before = Fingerprints(disk);
        await using (PitrDatabase copy = await OpenCopyAsync(disk))
        {
            foreach (string name in (string[])["b", "c"])
            {
                await copy.DropTableAsync(name).Within();
                await copy.DropDatafileAsync(name).Within();
            }

            Assert.Null(disk.Stat($"{Copy}/b.pitr"));
            await copy.ShutdownAsync(force: true).Within();
        }

        Assert.Equal(before, Fingerprints(disk));
        for (int opening = 0; opening < 2; opening++) // the drops lie behind the redo point after the first
        {
            await using PitrDatabase copy = await OpenCopyAsync(disk);
            await copy.PutAsync("t", "k", "of the copy");
            await copy.CheckpointAsync().Within();
            await copy.ShutdownAsync().Within();
            Assert.Equal(before, Fingerprints(disk));
        }

        await using (PitrDatabase copy = await OpenCopyAsync(disk)) // nothing is left outside: the place is its own
            await copy.CreateDatafileAsync("d", "/data2/d.pitr").Within();
        await RequireWholeAsync(disk, Folder);
    }

    /// <summary>
    /// The source dropped `b` and died before it was unlinked: the copy has the note of it, or replays it.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_drop_that_its_source_did_not_end_removes_nothing_outside(bool isNoted)
    {
        SimulatedDisk disk = await CopiedAsync(
            async database =>
            {
                await database.DropTableAsync("b").Within();
                await database.DropDatafileAsync("b").Within();
            },
            disk => isNoted
                ? disk.Faults.On(FileOp.Delete).Of(B).Hold()
                : disk.Faults.On(FileOp.Rename).Of("pitr.control.new").Nth(2).Hold()); // the first is of the table
        string[] before = Fingerprints(disk);
        await using (PitrDatabase copy = await OpenCopyAsync(disk))
            await copy.ShutdownAsync(force: true).Within();
        Assert.Equal(before, Fingerprints(disk));
    }

    /// <summary>The WAL has the birth of a datafile outside that the control file does not list yet.</summary>
    [Fact]
    public async Task A_birth_outside_that_only_the_WAL_knows_keeps_a_copy_from_opening()
    {
        SimulatedDisk disk = await CopiedAsync(
            database => database.CreateDatafileAsync("d", "/data2/d.pitr").Within(),
            static disk => disk.Faults.On(FileOp.Rename).Of("pitr.control.new").Hold(), hasOutside: false);
        byte[] born = disk.ReadAll("/data2/d.pitr");
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => OpenCopyAsync(disk));
        Assert.Equal(ErrorCode.DatafileElsewhere, refused.Code);
        Assert.Equal(born, disk.ReadAll("/data2/d.pitr"));
        await using PitrDatabase source = await OpenAsync(disk);
        Assert.Contains(source.Datafiles, file => file.Name == "d");
    }

    [Fact]
    public async Task A_folder_on_the_way_that_is_a_link_leads_outside_too()
    {
        SimulatedDisk disk = await CopiedAsync(path: "sub/c.pitr");
        byte[] there = disk.ReadAll("/data2/c.pitr");
        await using (PitrDatabase copy = await OpenCopyAsync(disk))
        {
            Assert.Equal(
                ErrorCode.DatafileElsewhere,
                (await Assert.ThrowsAsync<RefusedException>(() => copy.PutAsync("c", "k", "v"))).Code);
            await copy.ShutdownAsync().Within();
        }

        Assert.Equal(there, disk.ReadAll("/data2/c.pitr"));
    }

    // ---- moved ---------------------------------------------------------------------------------------

    [Fact]
    public async Task A_folder_that_was_renamed_is_where_it_was()
    {
        SimulatedDisk disk = await CopiedAsync();
        disk.Rename(Folder, "/renamed");
        await RequireWholeAsync(disk, "/renamed");
    }

    /// <summary>Another boot proves nothing, and another device number in it neither (as of timeline owners).</summary>
    [Fact]
    public async Task After_a_boot_the_files_outside_are_still_its_own()
    {
        SimulatedDisk disk = await CopiedAsync();
        var process = new ThisProcess(ThisProcess.Real.Machine, 1, "the next boot");
        await RequireWholeAsync(disk, Folder, process);
        Assert.Equal("the next boot", new ControlFileStore(disk, Folder).ReadLive().Place!.BootId);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_folder_that_was_moved_has_its_files_again_when_that_is_said(bool opensBefore)
    {
        SimulatedDisk disk = await CopiedAsync();
        disk.Vanish(Folder);
        if (opensBefore)
        {
            await using PitrDatabase early = await OpenCopyAsync(disk);
            await early.PutAsync("t", "early", "1");
            await early.CheckpointAsync().Within();
            await early.ShutdownAsync().Within();
        }

        IReadOnlyList<OutsideDatafile> planned = await PitrRecovery.PlanMovedAsync(Copy, OptionsFor(disk)).Within();
        IReadOnlyList<OutsideDatafile> noted = await PitrRecovery.NoteMovedAsync(Copy, OptionsFor(disk)).Within();
        Assert.Equal([new OutsideDatafile("b", B, true), new OutsideDatafile("c", C, true)], noted);
        Assert.Equal(planned, noted);
        await RequireWholeAsync(disk, Copy);
    }

    /// <summary>Its source runs: then it is a copy, whatever is said.</summary>
    [Fact]
    public async Task A_copy_is_not_said_to_be_moved_while_its_source_runs()
    {
        SimulatedDisk disk = await CopiedAsync();
        byte[] control = disk.ReadAll($"{Copy}/pitr.control");
        await using PitrDatabase source = await OpenAsync(disk);
        await RequireRefusedAsync(ErrorCode.DatabaseLocked, () => PitrRecovery.NoteMovedAsync(Copy, OptionsFor(disk)));
        await RequireRefusedAsync(ErrorCode.DatabaseLocked, () => PitrRecovery.PlanMovedAsync(Copy, OptionsFor(disk)));
        Assert.Equal(control, disk.ReadAll($"{Copy}/pitr.control"));
        await source.PutAsync("b", "k0001", "goes on");
        await source.CheckpointAsync().Within();
    }

    [Fact]
    public async Task What_is_only_planned_writes_nothing_and_what_crashes_leaves_the_former_or_the_new_place()
    {
        SimulatedDisk disk = await CopiedAsync();
        disk.SyncAll();
        byte[] before = disk.ReadAll($"{Copy}/pitr.control");
        await PitrRecovery.PlanMovedAsync(Copy, OptionsFor(disk)).Within();
        Assert.Equal(before, disk.ReadAll($"{Copy}/pitr.control"));
        var crashed = new List<SimulatedDisk>();
        disk.BeforeOperation = _ => crashed.Add(disk.CrashCopy(crashed.Count));
        await PitrRecovery.NoteMovedAsync(Copy, OptionsFor(disk)).Within();
        disk.BeforeOperation = null;
        byte[] after = disk.ReadAll($"{Copy}/pitr.control");
        Assert.NotEqual(before, after);
        Assert.All(crashed, left => Assert.True(
            left.ReadAll($"{Copy}/pitr.control") is var found && (found.SequenceEqual(before) || found.SequenceEqual(after))));
        Assert.Equal(after, disk.CrashCopy(7).ReadAll($"{Copy}/pitr.control"));
    }

    /// <summary>
    /// OF2: nothing lies outside, so the new place is noted by itself; a file is made outside only after that is durable, or
    /// the next opening would take it for another's.
    /// </summary>
    [Fact]
    public async Task A_database_with_all_its_files_inside_opens_anywhere_whatever_crashes()
    {
        SimulatedDisk disk = WithFolders();
        await using (PitrDatabase database = await StartedAsync(disk))
            await database.ShutdownAsync().Within();
        var crashed = new List<SimulatedDisk>();
        disk.BeforeOperation = _ => crashed.Add(disk.CrashCopy(crashed.Count));
        await using (PitrDatabase moved = await OpenAsync(disk, Elsewhere))
        {
            await moved.CreateDatafileAsync("c", C).Within();
            await moved.ShutdownAsync(force: true).Within();
        }

        disk.BeforeOperation = null;
        Assert.NotEmpty(crashed);
        foreach (SimulatedDisk left in crashed.Append(disk))
        {
            await using PitrDatabase again = await OpenAsync(left, Elsewhere);
            Assert.Equal(100, again.Count(again.GetTable("b")));
            Assert.All((await again.GetStatusAsync().Within()).Datafiles, file => Assert.Equal("open", file.State));
        }
    }

    /// <summary>A control file of before places were noted: what lies outside is believed once more, and then noted.</summary>
    [Fact]
    public async Task Without_a_place_the_first_opening_notes_it()
    {
        SimulatedDisk disk = await CopiedAsync();
        var store = new ControlFileStore(disk, Folder);
        FolderPlace place = store.ReadLive().Place!;
        store.Replace(store.ReadLive() with { Place = null });
        await RequireWholeAsync(disk, Folder);
        Assert.Equal(place, store.ReadLive().Place);
    }

    // ---- a control file that is made anew --------------------------------------------------------------

    [Fact]
    [MixedCase("X47")]
    public async Task A_control_file_that_is_made_anew_in_a_copy_takes_nothing_outside()
    {
        SimulatedDisk disk = await CopiedAsync();
        string[] before = Fingerprints(disk);
        disk.Delete($"{Copy}/pitr.control");
        RebuildPlan plan = await PitrRecovery.RebuildControlFileAsync(Copy, options: OptionsFor(disk)).Within();
        Assert.Equal(["b", "c"], plan.Files.Where(file => file.NeedsRecovery is not null).Select(file => file.Name));
        Assert.All(
            plan.Files.Where(file => file.NeedsRecovery is not null),
            file => Assert.Contains("--moved", file.NeedsRecovery, StringComparison.Ordinal));
        await using (PitrDatabase copy = await OpenCopyAsync(disk))
        {
            Assert.Equal(
                ErrorCode.DatafileElsewhere,
                (await Assert.ThrowsAsync<RefusedException>(() => copy.PutAsync("b", "k", "v"))).Code);
            await copy.ShutdownAsync().Within();
        }

        Assert.Equal(before, Fingerprints(disk));
        await RequireWholeAsync(disk, Folder);
        disk.Vanish(Folder);
        await PitrRecovery.NoteMovedAsync(Copy, OptionsFor(disk)).Within();
        await using PitrDatabase moved = await OpenCopyAsync(disk);
        Assert.All((await moved.GetStatusAsync().Within()).Datafiles, file => Assert.Equal("open", file.State));
    }

    // ---- the ground ------------------------------------------------------------------------------------

    private static PitrOptions Elsewhere(PitrOptions options) =>
        options with { Process = new ThisProcess("elsewhere", 1, "boot") };

    private static Task<PitrDatabase> OpenCopyAsync(SimulatedDisk disk) =>
        PitrDatabase.OpenAsync(Copy, OptionsFor(disk)).Within();

    /// <summary>The database, closed or as a kill left it while the gate held, and a `cp -a` of its folder beside it.</summary>
    private static async Task<SimulatedDisk> CopiedAsync(
        Func<PitrDatabase, Task>? last = null, Func<SimulatedDisk, FaultGate>? gateOf = null, bool hasOutside = true,
        string path = C)
    {
        SimulatedDisk disk = WithFolders();
        SimulatedDisk left = disk;
        await using (PitrDatabase database = await StartedAsync(disk))
        {
            if (hasOutside)
            {
                disk.Symlink("/data2", "/db/sub");
                await database.MoveAsync(To(B)).Within();
                await database.CreateDatafileAsync("c", path).Within();
                await database.CreateTableAsync("c", "c").Within();
                await database.PutAsync("c", "k", "v");
            }

            await database.CheckpointAsync().Within();
            if (gateOf is not null)
            {
                FaultGate gate = gateOf(disk);
                Task held = last!(database);
                await gate.Reached.Within();
                left = disk.KillCopy();
                gate.Release();
                await held;
            }

            await database.ShutdownAsync().Within();
        }

        StepCheck.CopyFolder(left, Folder, Copy, keepsLinks: true);
        return left;
    }

    private static async Task RequireWholeAsync(SimulatedDisk disk, string folder, ThisProcess? process = null)
    {
        PitrOptions options = OptionsFor(disk);
        await using PitrDatabase database = await PitrDatabase.OpenAsync(
            folder, options with { Process = process ?? options.Process }).Within();
        Assert.All((await database.GetStatusAsync().Within()).Datafiles, file => Assert.Equal("open", file.State));
        Assert.Equal((100L, "v"), (database.Count(database.GetTable("b")), database.Get("c", "k")));
        await database.PutAsync("b", "k0001", "goes on");
        await database.CheckpointAsync().Within();
        await database.ShutdownAsync().Within();
    }

    private static async Task RequireRefusedAsync(ErrorCode code, Func<Task> ask) =>
        Assert.Equal(code, (await Assert.ThrowsAsync<RefusedException>(() => ask().Within())).Code);

    private static string[] Fingerprints(SimulatedDisk disk) =>
        [.. Outside.Select(path => $"{path} {disk.Fingerprint(path):X16}")];
}
