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
}
