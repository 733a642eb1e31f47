using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A backup leaves the processors to commits, as long as it can wait.</summary>
public sealed class BackupPaceTests
{
    [Fact]
    public async Task Beside_commits_a_copy_pauses_where_processors_are_few_and_its_fence_has_WAL_to_spare()
    {
        TimeSpan without = await PausedAsync(processors: 1000, fencedWalBytesMax: 16L << 30);
        TimeSpan held = await PausedAsync(processors: 1, fencedWalBytesMax: 16L << 30);
        TimeSpan urgent = await PausedAsync(processors: 1, fencedWalBytesMax: 0);

        // Writes pause as well, now and then for some milliseconds.
        Assert.True(held > TimeSpan.FromMilliseconds(100), $"{held}");
        Assert.True(without < held / 4 && urgent < held / 4, $"{held}, {without} and {urgent}");
    }

    /// <summary>How long a backup pauses, if each operation on the disk takes a millisecond.</summary>
    private static async Task<TimeSpan> PausedAsync(int processors, long fencedWalBytesMax)
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        disk.CreateFolders("/sets");
        var clock = new FakeTimeProvider();
        long paused = 0;
        await using PitrDatabase database = await TestEngine.CreateAsync(disk, options => options with
        {
            Clock = clock,
            Delay = pause => Interlocked.Add(ref paused, pause.Ticks),
            Processors = processors,
            FencedWalBytesMax = fencedWalBytesMax,
        });
        await database.CreateTableAsync("t").Within();
        for (int n = 0; n < 40; n++)
            await database.PutAsync("t", $"k{n}", new string('v', 50_000));
        await database.CheckpointAsync().Within();
        disk.BeforeOperation = _ => clock.Advance(TimeSpan.FromMilliseconds(1));
        await database.PutAsync("t", "k", "a commit");
        Interlocked.Exchange(ref paused, 0);
        await database.BackupAsync(new BackupRequest { Store = "/sets" }).Within();
        disk.BeforeOperation = null;
        return TimeSpan.FromTicks(Interlocked.Read(ref paused));
    }
}
