using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using static Pitr.Tests.MoveTests;
using static Pitr.Tests.TestEngine;

namespace Pitr.Tests;

/// <summary>A move keeps to its rate, a drain to one for all of its files, and neither makes who ends it wait.</summary>
public sealed class MoveRateTests
{
    private const int BytesPerSecond = 64 << 10;
    private const int BlockBytes = 1 << 20;

    private readonly FakeTimeProvider _clock = new();
    private TimeSpan _waited;
    private Action _whenWaited = static () => { };

    [Fact]
    public async Task A_move_takes_as_long_as_its_rate_asks_and_says_how_far_it_is()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await FilledAsync(disk);
        var told = new List<JobProgress>();
        MoveResult moved = await database.MoveAsync(To("/data2/b.pitr") with
        {
            BytesPerSecondMax = BytesPerSecond,
            Progress = new Reports(told),
        }).Within();

        RequireWaited(moved.Bytes - 2 * PageLayout.PageBytes);
        Assert.InRange(moved.FencedSeconds, _waited.TotalSeconds, moved.Seconds);
        foreach (string step in new[] { "copying", "verifying" })
        {
            JobProgress[] of = [.. told.Where(one => one.Step == step)];
            Assert.True(of.Length > 2);
            Assert.Equal(of.Select(one => one.DoneBytes).Order(), of.Select(one => one.DoneBytes));
            Assert.All(of, one => Assert.Equal(moved.Bytes, one.TotalBytes));
            Assert.Equal(moved.Bytes - 2 * PageLayout.PageBytes, of[^1].DoneBytes); // all but the meta pages
        }
    }

    [Fact]
    public async Task A_drain_moves_all_files_under_one_rate()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await FilledAsync(disk);
        IReadOnlyList<MoveResult> moved = await database.DrainAsync(
            new DrainRequest { Folder = "/db", To = "/data2", BytesPerSecondMax = BytesPerSecond }).Within();
        Assert.Equal(2, moved.Count);
        RequireWaited(moved.Sum(one => one.Bytes - 2 * PageLayout.PageBytes));
    }

    [Fact]
    public async Task A_slow_move_that_is_cancelled_ends_at_once()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await FilledAsync(disk);
        using var cancel = new CancellationTokenSource();
        _whenWaited = cancel.Cancel;
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => database.MoveAsync(
            To("/data2/b.pitr") with { BytesPerSecondMax = 1 }, cancel.Token).Within());
        Assert.Equal(ErrorCode.MoveCancelled, refused.Code);
        Assert.InRange(_waited, TimeSpan.FromTicks(1), TimeSpan.FromDays(20)); // of the 46 that it would have taken
        Assert.Equal(["/db/b.pitr"], LayoutOfB(disk));
    }

    [Fact]
    public async Task A_slow_backup_that_is_cancelled_ends_at_once()
    {
        SimulatedDisk disk = WithFolders();
        await using PitrDatabase database = await FilledAsync(disk);
        using var cancel = new CancellationTokenSource();
        var cancelled = new TaskCompletionSource();
        _whenWaited = () =>
        {
            cancel.Cancel();
            cancelled.TrySetResult();
        };
        Task<BackupResult> backup = database.BackupAsync(
            new BackupRequest { Store = "/backups", BytesPerSecondMax = 1 }, cancel.Token);
        await cancelled.Task.Within();
        await Assert.ThrowsAnyAsync<Exception>(() => backup.Within());
        await database.ShutdownAsync().Within(); // it waits for the backup's end
        Assert.InRange(_waited, TimeSpan.FromTicks(1), TimeSpan.FromDays(20)); // of the 46 that it would have taken
    }

    /// <summary>The first block goes at once, whatever its length.</summary>
    private void RequireWaited(long bytes)
    {
        double most = (double)bytes / BytesPerSecond;
        double least = (double)(bytes - BlockBytes) / BytesPerSecond;
        Assert.InRange(_waited.TotalSeconds, least - 0.1, most);
    }

    /// <summary>Several blocks of pages in b, and time that only the pauses move.</summary>
    private async Task<PitrDatabase> FilledAsync(SimulatedDisk disk)
    {
        PitrDatabase database = await StartedAsync(disk, options => options with
        {
            Clock = _clock,
            Delay = pause =>
            {
                _waited += pause;
                _clock.Advance(pause);
                _whenWaited();
            },
        });
        for (int n = 0; n < 40; n++)
            await database.PutAsync("b", $"large{n:D2}", new string('x', 100_000));
        await database.CheckpointAsync().Within();
        _waited = TimeSpan.Zero;
        return database;
    }

    private sealed class Reports(List<JobProgress> reported) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => reported.Add(value);
    }
}
