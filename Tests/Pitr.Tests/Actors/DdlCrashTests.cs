using Akka.Actor;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Datafiles and tables are created and dropped whole, whatever a crash meets (H23, H43).</summary>
public sealed class DdlCrashTests
{
    /// <summary>H23, H43: at every operation of the disk, by power loss and by kill in turn.</summary>
    [Fact]
    public async Task A_crash_at_any_step_of_creating_and_dropping_leaves_the_state_before_or_after_and_names_that_are_free()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateTableAsync("t").Within();
        await database.PutAsync("t", "k", "stays");
        var states = new List<string> { StateOf(database) };
        var copies = new List<(SimulatedDisk Disk, int Acknowledged)>();
        disk.BeforeOperation = operation => copies.Add(
            (operation % 2 == 0 ? disk.CrashCopy(operation) : disk.KillCopy(), Volatile.Read(ref states).Count - 1));
        foreach (Func<Task> step in Steps(database))
        {
            await step().Within();
            Volatile.Write(ref states, [.. states, StateOf(database)]);
        }

        disk.BeforeOperation = null;
        Assert.InRange(copies.Count, 30, 200);
        using ActorSystem system = ActorSystem.Create("sweep");
        foreach ((SimulatedDisk left, int acknowledged) in copies)
        {
            await using PitrDatabase after =
                await TestEngine.OpenAsync(left, options => options with { ActorSystem = system });
            string[] expected = [.. states.Skip(acknowledged).Take(2)];
            Assert.Contains(StateOf(after), expected);
            string[] listed = [.. after.Datafiles.Select(file => file.Name + ".pitr").Order(StringComparer.Ordinal)];
            Assert.Equal(listed, FilesOf(left)); // no stray, and nothing is lost
            await MakeAnew(after);
            Assert.Equal("stays", after.Get("t", "k"));
        }
    }

    [Fact]
    public async Task A_file_that_is_not_a_stray_of_ours_keeps_its_name()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await TestEngine.CreateAsync(disk);
        using (IFileHandle file = disk.Open(TestEngine.Folder + "/d.pitr", FileOpen.CreateNew))
            file.Write(0, TestEngine.Bytes("somebody's"));
        StorageFailedException taken = await Assert.ThrowsAsync<StorageFailedException>(
            () => database.CreateDatafileAsync("d").Within());
        Assert.Contains("d.pitr", taken.Message, StringComparison.Ordinal);
        Assert.Equal("somebody's", System.Text.Encoding.ASCII.GetString(disk.ReadAll(TestEngine.Folder + "/d.pitr")));
    }

    [Fact]
    public async Task A_datafile_for_which_there_is_no_room_leaves_nothing_behind()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await TestEngine.CreateAsync(disk);
        disk.Faults.On(FileOp.Write).Of("d.pitr").Full();
        StorageFailedException full = await Assert.ThrowsAsync<StorageFailedException>(
            () => database.CreateDatafileAsync("d").Within());
        Assert.Equal(ErrorCode.DiskFull, full.Code);
        Assert.Null(disk.Stat(TestEngine.Folder + "/d.pitr"));
        await database.CreateDatafileAsync("d").Within();
    }

    private static IEnumerable<Func<Task>> Steps(PitrDatabase database)
    {
        yield return () => database.CreateDatafileAsync("d");
        yield return () => database.CreateTableAsync("u", "d");
        yield return () => database.PutAsync("u", "k", "v");
        yield return () => database.DropTableAsync("u");
        yield return () => database.DropDatafileAsync("d");
        yield return () => database.CreateDatafileAsync("d");
        yield return () => database.CreateTableAsync("u", "d");
        yield return () => database.PutAsync("u", "k", "w");
    }

    /// <summary>Whatever was there of it: the datafile and its table can be made and filled.</summary>
    private static async Task MakeAnew(PitrDatabase database)
    {
        if (database.TryGetTable("u", out _))
            await database.DropTableAsync("u").Within();
        if (database.Datafiles.Any(file => file.Name == "d"))
            await database.DropDatafileAsync("d").Within();
        await database.CreateDatafileAsync("d").Within();
        await database.CreateTableAsync("u", "d").Within();
        Assert.Null(database.Get("u", "k"));
        await database.PutAsync("u", "k", "anew");
        Assert.Equal("anew", database.Get("u", "k"));
    }

    private static string[] FilesOf(SimulatedDisk disk) => [.. disk.List(TestEngine.Folder)
        .Where(name => name.EndsWith(".pitr", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    private static string StateOf(PitrDatabase database) =>
        $"{string.Join(',', database.Datafiles.Select(file => file.Name))}\n{RecoveryLab.ContentOf(database)}";
}
