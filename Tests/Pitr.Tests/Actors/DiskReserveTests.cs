using System.Globalization;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Always enough room is left on the disks to stop and start again cleanly: commits are refused before.</summary>
public sealed class DiskReserveTests
{
    private const long Reserve = 256 << 10;

    [Theory]
    [InlineData(0, 5_000_000, 0, 0)] // nothing is buffered
    [InlineData(1280, 5_000_000, 0, 2560 + (10 * 8192))] // ten small changes may lie in ten pages
    [InlineData(1 << 20, 65536, 0, (2 << 20) + 65536)] // there are no more pages than these
    [InlineData(1280, 5_000_000, 8192, 2560 + (9 * 8192))] // free pages are taken first
    [InlineData(1280, 5_000_000, 1 << 20, 0)]
    public void A_flush_may_need_its_changes_twice_and_the_pages_that_it_rewrites(
        long buffered, long live, long free, long needed) =>
        Assert.Equal(needed, DiskReserve.FlushBytes(buffered, live, free));

    [Fact]
    public async Task A_disk_that_is_nearly_full_refuses_commits_and_the_engine_stops_starts_and_goes_on_with_room()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        await using var time = new VirtualTime();
        Task<PitrDatabase> OpenAsync() => TestEngine.OpenAsync(
            disk, options => time.In(options) with { DiskReserveBytes = Reserve });
        await using (PitrDatabase database = await TestEngine.CreateAsync(
            disk, options => time.In(options) with { DiskReserveBytes = Reserve }))
        {
            await database.CreateTableAsync("t");
            for (int number = 0; number < 20; number++)
                await database.PutAsync("t", number.ToString(CultureInfo.InvariantCulture), new string('v', 4000));
            disk.CapacityBytes = disk.UsedBytes + (1 << 20);
            DiskStatus low = await UntilAsync(time, database, static disk => disk.RefusesCommits);
            Assert.InRange(low.FreeBytes, 0, low.ReserveBytes);

            StorageFailedException refused = await Assert.ThrowsAsync<StorageFailedException>(
                () => database.PutAsync("t", "more", "v"));
            Assert.Equal((ErrorCode.DiskFull, true, 1), (refused.Code, refused.IsDiskFull, refused.ExitCode));
            Assert.Matches("^Commits are refused: [0-9]+ bytes are free on the disk of .*, and [0-9]+ are kept ", refused.Message);
            Assert.Equal(20, database.Count(database.GetTable("t")));
            disk.CapacityBytes = disk.UsedBytes + (1 << 20); // whatever was freed meanwhile
            await database.ShutdownAsync().Within();
        }
        Assert.Equal(
            EngineState.CleanShutdown, ControlFileStore.Decode("control", disk.ReadAll("/db/pitr.control")).State);

        disk.CapacityBytes = disk.UsedBytes + (1 << 20);
        await using PitrDatabase again = await OpenAsync();
        Assert.Equal(20, again.Count(again.GetTable("t")));
        await UntilAsync(time, again, static disk => disk.RefusesCommits);
        await Assert.ThrowsAsync<StorageFailedException>(() => again.PutAsync("t", "more", "v"));

        disk.CapacityBytes = long.MaxValue;
        await UntilAsync(time, again, static disk => !disk.RefusesCommits);
        await again.PutAsync("t", "more", "v");
        Assert.Equal(21, again.Count(again.GetTable("t")));
    }

    /// <summary>However a stop or a start on a disk that is nearly full ends, the next start has everything.</summary>
    [Fact]
    public async Task A_crash_at_any_step_of_a_stop_or_start_with_the_reserve_alone_loses_nothing()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        var cut = new List<SimulatedDisk>();
        await using (PitrDatabase database = await TestEngine.CreateAsync(disk))
        {
            await database.CreateTableAsync("t");
            for (int number = 0; number < 20; number++)
                await database.PutAsync("t", number.ToString(CultureInfo.InvariantCulture), new string('v', 4000));
            disk.CapacityBytes = disk.UsedBytes + Reserve;
            disk.BeforeOperation = operation => cut.Add(disk.CrashCopy(operation));
        }
        await using (PitrDatabase again = await TestEngine.OpenAsync(disk))
            disk.BeforeOperation = null;
        using ActorSystem system = ActorSystem.Create("sweep");
        for (int i = 0; i < cut.Count; i += Math.Max(1, cut.Count / 40))
        {
            await using PitrDatabase after = await TestEngine.OpenAsync(
                cut[i], options => options with { ActorSystem = system });
            Assert.Equal(20, after.Count(after.GetTable("t")));
        }
    }

    [Fact]
    public async Task Each_disk_is_told_and_that_of_one_datafile_refuses_commits_too()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        SimulatedVolume second = disk.Mount("/data2");
        await using var time = new VirtualTime();
        await using PitrDatabase database = await TestEngine.CreateAsync(
            disk, options => time.In(options) with { DiskReserveBytes = Reserve });
        await database.CreateDatafileAsync("other", "/data2/other.pitr").Within();
        await database.CreateTableAsync("t", "other").Within();
        await UntilAsync(time, database, static disk => disk is { Path: "/data2", RefusesCommits: false });
        await database.PutAsync("t", "k", new string('v', 30_000));
        second.CapacityBytes = second.UsedBytes + 1000;
        DiskStatus low = await UntilAsync(time, database, static disk => disk.RefusesCommits);
        Assert.Equal(("/data2", 1000L), (low.Path, low.FreeBytes));
        Assert.DoesNotContain((await database.GetStatusAsync().Within()).Disks, static disk =>
            disk.Path != "/data2" && disk.RefusesCommits);
        second.CapacityBytes = long.MaxValue;
        await UntilAsync(time, database, static disk => disk is { Path: "/data2", RefusesCommits: false });
        await database.PutAsync("t", "k", "v");
    }

    [Fact]
    public async Task A_disk_that_does_not_tell_its_room_refuses_nothing()
    {
        SimulatedDisk disk = TestEngine.NewDisk();
        disk.Faults.On(FileOp.FreeBytes).Always().Fail(Errno.EIO);
        await using var time = new VirtualTime();
        await using PitrDatabase database = await TestEngine.CreateAsync(
            disk, options => time.In(options) with { DiskReserveBytes = Reserve });
        await database.CreateTableAsync("t");
        time.Advance(TimeSpan.FromSeconds(2));
        await database.PutAsync("t", "k", "v");
        Assert.Empty((await database.GetStatusAsync().Within()).Disks);
    }

    private static async Task<DiskStatus> UntilAsync(
        VirtualTime time, PitrDatabase database, Func<DiskStatus, bool> holds)
    {
        using var bound = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            EngineStatus status = await database.GetStatusAsync().Within();
            if (status.Disks.FirstOrDefault(holds) is { } found)
                return found;
            bound.Token.ThrowIfCancellationRequested();
            await Task.Delay(1, bound.Token);
        }
    }
}
