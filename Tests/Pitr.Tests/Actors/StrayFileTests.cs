using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Files that lie beside a database and that nothing lists, at the next opening (design §10, H23).</summary>
public sealed class StrayFileTests
{
    private const string Outside = "/elsewhere/d.pitr";

    /// <summary>H23: dropped, its name left over, inside the folder or not.</summary>
    [Theory]
    [InlineData(null, TestEngine.Folder + "/d.pitr")]
    [InlineData(Outside, Outside)]
    [MixedCase("X10")]
    public async Task A_dropped_file_that_still_lies_where_it_lay_goes_at_the_next_opening(string? path, string full)
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateDatafileAsync("d", path).Within();
        disk.Faults.On(FileOp.Delete).Of("d.pitr").Fail(Errno.EIO);
        await database.DropDatafileAsync("d").Within();
        Assert.NotNull(disk.Stat(full));

        SimulatedDisk left = disk.KillCopy();
        Assert.True(Assert.Single(Find(left)).IsToBeRemoved);
        await using PitrDatabase after = await TestEngine.OpenAsync(left);
        Assert.Null(left.Stat(full));
        await after.CreateDatafileAsync("d", path).Within();
    }

    /// <summary>H23: a copy that somebody put aside may hold the only state of a dropped file that is left.</summary>
    [Fact]
    public async Task What_is_not_provably_empty_of_meaning_is_left_and_reported()
    {
        SimulatedDisk disk = WithFolders();
        PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateDatafileAsync("d").Within();
        await database.CreateTableAsync("t", "d").Within();
        await database.PutAsync("t", "k", "v");
        await database.CheckpointAsync().Within();
        byte[] listed = disk.ReadAll(TestEngine.Folder + "/main.pitr");
        byte[] dropped = disk.ReadAll(TestEngine.Folder + "/d.pitr");
        await database.DropTableAsync("t").Within();
        await database.DropDatafileAsync("d").Within();
        SimulatedDisk left = disk.KillCopy();
        await database.ShutdownAsync().Within();
        Write(left, "copy-of-dropped.pitr", dropped);
        Write(left, "copy-of-listed.pitr", listed);
        Write(left, "zeroes.pitr", new byte[3 * PageLayout.PageBytes]);
        Write(left, "text.pitr", TestEngine.Bytes("somebody's"));
        Write(left, "d.other", []);

        string[] expected = ["copy-of-dropped.pitr C15", "copy-of-listed.pitr C15", "text.pitr C16", "zeroes.pitr C16"];
        Assert.Equal(expected, Found(left));
        await using (PitrDatabase after = await TestEngine.OpenAsync(left))
            await after.CheckpointAsync().Within();
        Assert.Equal(expected, Found(left));
        Assert.NotNull(left.Stat(TestEngine.Folder + "/d.other"));
        DatabaseReport report = DatabaseCheck.Run(
            TestEngine.Folder,
            Pitr.Actors.EngineFactory.ContextFor(TestEngine.Folder, TestEngine.OptionsFor(left)).Environment,
            ThisProcess.Real, CancellationToken.None);
        Assert.False(report.IsDamaged);
        Assert.Equal(
            expected.Select(stray => stray.Split(' ')[0]),
            report.Findings.Select(finding => Path.GetFileName(finding.Object)).Order(StringComparer.Ordinal));
    }

    /// <summary>H23: made as two pages of zeroes, or with the first of them written.</summary>
    [Fact]
    public async Task A_creation_that_was_cut_off_goes_at_the_next_opening()
    {
        SimulatedDisk disk = WithFolders();
        PitrDatabase database = await TestEngine.CreateAsync(disk);
        SimulatedDisk before = disk.KillCopy();
        await database.CreateDatafileAsync("d").Within();
        byte[] made = disk.ReadAll(TestEngine.Folder + "/d.pitr");
        await database.ShutdownAsync().Within();
        Write(before, "whole.pitr", made);
        Write(before, "first.pitr", made[..PageLayout.PageBytes]);
        Write(before, "second.pitr", [.. new byte[PageLayout.PageBytes], .. made[PageLayout.PageBytes..]]);
        Write(before, "blank.pitr", new byte[PageLayout.PageBytes]);
        Write(before, "none.pitr", []);

        Assert.Equal(
            ["blank.pitr C18", "first.pitr C14", "none.pitr C18", "second.pitr C14", "whole.pitr C14"], Found(before));
        await using PitrDatabase after = await TestEngine.OpenAsync(before);
        Assert.Empty(Find(before));
        Assert.NotNull(before.Stat(TestEngine.Folder + "/main.pitr"));
    }

    private static SimulatedDisk WithFolders()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        disk.CreateFolders("/elsewhere");
        return disk;
    }

    private static void Write(SimulatedDisk disk, string name, byte[] content)
    {
        using IFileHandle file = disk.Open(TestEngine.Folder + "/" + name, FileOpen.CreateNew);
        file.Write(0, content);
    }

    private static IReadOnlyList<StrayFile> Find(SimulatedDisk disk)
    {
        ControlFile control = new ControlFileStore(disk, TestEngine.Folder).ReadLive();
        return StrayFile.Find(disk, TestEngine.Folder, control.Catalogue, control.SystemId);
    }

    private static IEnumerable<string> Found(SimulatedDisk disk) => Find(disk)
        .Select(stray => $"{Path.GetFileName(stray.Path)} {stray.Row.Label}").Order(StringComparer.Ordinal);
}
