using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What the owner of the control file does when it can't be written.</summary>
public sealed class ControlFileOwnerTests
{
    private const string Unfinished = "pitr.control.new";

    [Theory]
    [InlineData(nameof(FileOp.Create))]
    [InlineData(nameof(FileOp.Write))]
    [InlineData(nameof(FileOp.SyncData))]
    public async Task A_full_disk_at_a_checkpoint_drops_it_and_the_engine_goes_on(string op)
    {
        FileOp at = Enum.Parse<FileOp>(op);
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        Lsn redo = (await database.GetStatusAsync().Within()).RedoLsn;
        disk.Faults.On(at).Of(Unfinished).Full();
        StorageFailedException full =
            await Assert.ThrowsAsync<StorageFailedException>(() => database.CheckpointAsync().Within());
        Assert.Equal(ErrorCode.DiskFull, full.Code);
        Assert.Equal(redo, new ControlFileStore(disk, TestEngine.Folder).ReadAny().RedoLsn);

        await database.PutAsync("t", "k", "goes on");
        await using (PitrDatabase crashed = await TestEngine.OpenAsync(disk.CrashCopy(3)))
            Assert.Equal("goes on", crashed.Get("t", "k"));
        CheckpointResult result = await database.CheckpointAsync().Within();
        Assert.Equal(result.RedoLsn, new ControlFileStore(disk, TestEngine.Folder).ReadAny().RedoLsn);
    }

    /// <summary>
    /// After a failure that a crash may turn either way, the owner writes no more: the next engine reads first.
    /// </summary>
    [Theory]
    [InlineData(nameof(FileOp.SyncData))]
    [InlineData(nameof(FileOp.Rename))]
    [InlineData(nameof(FileOp.SyncFolder))]
    public async Task Any_other_failure_stops_the_engine_and_nothing_is_written_over_it(string op)
    {
        FileOp at = Enum.Parse<FileOp>(op);
        SimulatedDisk disk = TestEngine.NewDisk();
        PitrDatabase database = await WithTable(disk);
        await database.PutAsync("t", "k", "acknowledged");
        FenceGrant fence = await database.FenceAsync("main", TimeSpan.FromMinutes(5), "no flush syncs the folder")
            .Within();
        Assert.Equal("main", fence.Datafile);
        if (at == FileOp.SyncFolder)
            disk.Faults.On(at).Of(TestEngine.Folder).Fail(Errno.EIO);
        else
            disk.Faults.On(at).Of(Unfinished).Fail(Errno.EIO);
        disk.Log.Start();
        await Assert.ThrowsAnyAsync<PitrException>(() => database.CheckpointAsync().Within());
        await Assert.ThrowsAnyAsync<PitrException>(() => database.Completion.Within());
        disk.Log.Stop();
        Assert.Equal(1, disk.Log.Operations.Count(operation =>
            operation.Op == FileOp.Create && operation.Path.EndsWith(Unfinished, StringComparison.Ordinal)));

        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(5));
        Assert.Equal("acknowledged", after.Get("t", "k"));
    }

    [Fact]
    public async Task A_table_created_while_the_control_file_had_no_room_is_there_after_a_crash()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        disk.Faults.On(FileOp.Write).Of(Unfinished).Full();
        await database.CreateTableAsync("u").Within();
        await database.PutAsync("u", "k", "v");
        await using PitrDatabase after = await TestEngine.OpenAsync(disk.CrashCopy(3));
        Assert.Equal("v", after.Get("u", "k"));
    }

    /// <summary>H23</summary>
    [Fact]
    public async Task A_dropped_datafile_is_unlinked_only_after_the_control_file_has_forgotten_it()
    {
        const string path = TestEngine.Folder + "/other.pitr";
        SimulatedDisk disk = TestEngine.NewDisk();
        await using PitrDatabase database = await WithTable(disk);
        await database.CreateDatafileAsync("other").Within();
        disk.Faults.On(FileOp.Write).Of(Unfinished).Full();
        await database.DropDatafileAsync("other").Within();
        Assert.NotNull(disk.Stat(path));
        SimulatedDisk crashed = disk.CrashCopy(3);

        await database.CheckpointAsync().Within();
        Assert.Null(disk.Stat(path));

        await using PitrDatabase after = await TestEngine.OpenAsync(crashed);
        Assert.Equal(["main"], after.Datafiles.Select(file => file.Name));
        Assert.Null(crashed.Stat(path));
    }

    private static async Task<PitrDatabase> WithTable(SimulatedDisk disk)
    {
        PitrDatabase database = await TestEngine.CreateAsync(disk);
        await database.CreateTableAsync("t").Within();
        await database.PutAsync("t", "k", "v");
        return database;
    }
}
