using System.Globalization;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Bad input of the kind that a disk is: full, or not to be written to. Each a clear error, nothing lost or changed.
/// </summary>
public sealed class DiskTroubleTests
{
    [Fact]
    public async Task A_full_disk_refuses_commits_and_they_go_on_when_there_is_room_again()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        var acknowledged = new List<string>();
        string value = new('v', 4000);
        await using (PitrDatabase database = await TestEngine.CreateAsync(disk))
        {
            await database.CreateTableAsync("t");
            disk.CapacityBytes = disk.UsedBytes + (300 << 10);
            StorageFailedException? full = null;
            for (int number = 0; number < 2000 && full is null; number++)
            {
                string key = number.ToString("D4", CultureInfo.InvariantCulture);
                try
                {
                    await database.PutAsync("t", key, value);
                    acknowledged.Add(key);
                }
                catch (StorageFailedException refused)
                {
                    full = refused;
                }
            }
            Assert.NotNull(full);
            Assert.Equal((ErrorCode.DiskFull, 1), (full.Code, full.ExitCode));
            Assert.NotEmpty(acknowledged);
            Assert.NotEmpty(full.Hint);
            Assert.All(acknowledged, key => Assert.Equal(value, database.Get("t", key)));

            disk.CapacityBytes = long.MaxValue;
            await database.PutAsync("t", "after", "room");
        }
        await using PitrDatabase again = await TestEngine.OpenAsync(disk);
        Assert.All(acknowledged, key => Assert.Equal(value, again.Get("t", key)));
        Assert.Equal("room", again.Get("t", "after"));
        Assert.Equal(acknowledged.Count + 1, again.Count(again.GetTable("t")));
    }

    [Fact]
    public async Task A_full_disk_without_room_at_closing_loses_nothing()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using (PitrDatabase database = await TestEngine.CreateAsync(disk))
        {
            await database.CreateTableAsync("t");
            await database.PutAsync("t", "k", new string('v', 30_000));
            disk.CapacityBytes = disk.UsedBytes;
        }
        await Assert.ThrowsAsync<StorageFailedException>(async () =>
        {
            disk.Faults.On(FileOp.Write).Always().Full();
            await using PitrDatabase refused = await TestEngine.OpenAsync(disk);
        });
        disk.Faults.Clear();
        disk.CapacityBytes = long.MaxValue;
        await using PitrDatabase again = await TestEngine.OpenAsync(disk);
        Assert.Equal(30_000, again.Get("t", "k")!.Length);
    }

    [Theory]
    [InlineData(Errno.EROFS)]
    [InlineData(Errno.EACCES)]
    public async Task A_folder_that_may_not_be_written_to_is_told_and_is_left_as_it_is(int errno)
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using (PitrDatabase database = await TestEngine.CreateAsync(disk))
        {
            await database.CreateTableAsync("t");
            await database.PutAsync("t", "k", "v");
        }
        foreach (FileOp op in new[] { FileOp.Write, FileOp.Create, FileOp.Rename, FileOp.CreateFolder, FileOp.Link,
            FileOp.SetLength })
            disk.Faults.On(op).Always().Fail(errno);
        var opening = await Assert.ThrowsAsync<StorageFailedException>(() => TestEngine.OpenAsync(disk));
        var creating = await Assert.ThrowsAsync<StorageFailedException>(
            () => PitrDatabase.CreateAsync("/other", TestEngine.OptionsFor(disk)).Within());
        foreach (StorageFailedException failure in new[] { opening, creating })
        {
            Assert.Equal((1, errno), (failure.ExitCode, failure.Errno));
            Assert.Contains(Errno.Text(errno), failure.Message, StringComparison.Ordinal);
        }
        Assert.Equal((0, 0), (disk.OpenHandleCount, disk.HeldLockCount));
        Assert.DoesNotContain("other", disk.List("/"));

        disk.Faults.Clear();
        await using PitrDatabase again = await TestEngine.OpenAsync(disk);
        Assert.Equal("v", again.Get("t", "k"));
    }
}
