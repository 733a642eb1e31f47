using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Where a datafile may lie (H30; design §6).</summary>
public sealed class DatafilePlaceTests
{
    [Theory]
    [InlineData("wal/000000010000000000000003")]
    [InlineData("/db/wal/x.pitr")]
    [InlineData("/archive/wal/x.pitr")]
    [InlineData("pitr.control")]
    [InlineData("pitr.control.new")]
    [InlineData("pitr.json")]
    [InlineData("pitr.lock")]
    [InlineData("nowhere/x.pitr")]
    public async Task A_datafile_is_not_made_where_files_of_Pitr_lie_or_will(string path)
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        disk.CreateFolders("/archive");
        await using TestDatabase test = await TestDatabase.CreateAsync(
            disk: disk, with: static options => options with { ArchiveStores = ["/archive"] });
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => test.Database.CreateDatafileAsync("x", path).WaitAsync(TestDatabase.Patience));
        Assert.Equal(ErrorCode.PlaceReserved, refused.Code);
        Assert.Equal(["main"], test.Database.Datafiles.Select(file => file.Name));

        disk.CreateFolders("/elsewhere");
        await test.Database.CreateDatafileAsync("x", "/elsewhere/x.pitr").WaitAsync(TestDatabase.Patience);
    }

    [Theory]
    [InlineData("/to-db/wal/x.pitr")]
    [InlineData("/to-db/wal/sub/x.pitr")]
    [InlineData("/to-wal/x.pitr")]
    [InlineData("/to-archive/x.pitr")]
    [InlineData("/to-archive/sub/x.pitr")]
    public async Task Nor_by_another_path_to_them(string path)
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        disk.CreateFolders("/archive/sub");
        disk.Symlink("/db", "/to-db");
        disk.Symlink("/db/wal", "/to-wal");
        disk.Symlink("/archive", "/to-archive");
        await using TestDatabase test = await TestDatabase.CreateAsync(
            disk: disk, with: static options => options with { ArchiveStores = ["/archive"] });
        disk.CreateFolders("/db/wal/sub");
        await RequireReservedAsync(test.Database, path);
        await test.Database.CreateDatafileAsync("x", "/to-db/x.pitr").WaitAsync(TestDatabase.Patience);
        disk.DeleteFolder("/db/wal/sub");
    }

    [Theory]
    [InlineData("/real/wal/x.pitr")]
    [InlineData("/db/wal/x.pitr")]
    public async Task Nor_by_the_real_path_when_the_database_was_opened_through_a_link(string path)
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        disk.CreateFolders("/real");
        disk.Symlink("/real", "/db");
        await using PitrDatabase database = await TestEngine.CreateAsync(disk).WaitAsync(TestDatabase.Patience);
        await RequireReservedAsync(database, path);
    }

    [Theory]
    [InlineData("/fast/wal/x.pitr")]
    [InlineData("/db/wal/x.pitr")]
    public async Task Nor_in_the_real_folder_when_that_of_the_WAL_is_a_link(string path)
    {
        SimulatedDisk disk = TestDatabase.NewDisk();
        disk.CreateFolders("/fast");
        await using (PitrDatabase made = await TestEngine.CreateAsync(disk).WaitAsync(TestDatabase.Patience))
            await made.ShutdownAsync().WaitAsync(TestDatabase.Patience);
        disk.Rename("/db/wal", "/fast/wal");
        disk.Symlink("/fast/wal", "/db/wal");
        await using PitrDatabase database = await TestEngine.OpenAsync(disk).WaitAsync(TestDatabase.Patience);
        await RequireReservedAsync(database, path);
        await database.CreateDatafileAsync("x", "/fast/x.pitr").WaitAsync(TestDatabase.Patience);
    }

    private static async Task RequireReservedAsync(PitrDatabase database, string path)
    {
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(
            () => database.CreateDatafileAsync("x", path).WaitAsync(TestDatabase.Patience));
        Assert.Equal(ErrorCode.PlaceReserved, refused.Code);
        Assert.DoesNotContain("not there", refused.Message, StringComparison.Ordinal);
    }
}
