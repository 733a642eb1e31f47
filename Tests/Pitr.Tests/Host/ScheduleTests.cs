using Microsoft.Extensions.Diagnostics.HealthChecks;
using Pitr.Hosting;
using Pitr.Simulation;
using Pitr.Storage;
using Serilog.Core;

namespace Pitr.Tests;

/// <summary>Backups, verifications and expires at times of their own.</summary>
public sealed class ScheduleTests : IAsyncDisposable
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    private readonly SimulatedDisk _disk = TestEngine.NewDisk();
    private readonly VirtualTime _time = new();
    private readonly List<PitrSchedule> _runs = [];
    private readonly Lock _gate = new(); // protects the runs
    private Func<CancellationToken, Task<string>> _work = static _ => Task.FromResult("done");

    private static PitrSchedule Nightly => new() { Run = ScheduledWork.Backup, Cron = "0 2 * * *", Store = "/sets" };

    private int Runs
    {
        get
        {
            lock (_gate)
                return _runs.Count;
        }
    }

    public ValueTask DisposeAsync() => _time.DisposeAsync();

    private Task<PitrDatabase> CreateAsync() => TestEngine.CreateAsync(_disk, _time.In);

    private Task<PitrDatabase> OpenAsync() => TestEngine.OpenAsync(_disk, _time.In);

    private ScheduleRunner Start(PitrDatabase database, params PitrSchedule[] schedules) => ScheduleRunner.Start(
        database, ScheduleTimes.Read(schedules, TestEngine.Folder, _time.Clock), Logger.None,
        (schedule, cancellation) =>
        {
            lock (_gate)
                _runs.Add(schedule);
            return _work(cancellation);
        })!;

    private static Task UntilAsync(PitrDatabase database, Func<ScheduleStatus, bool> holds, string what) =>
        TestEngine.Until(() => database.Engine.Schedules is [var first, ..] && holds(first), what);

    [Theory]
    [InlineData("61 * * * *", "/sets", null, null, "schedules[0].cron")]
    [InlineData("0 2 * *", "/sets", null, null, "schedules[0].cron")]
    [InlineData("", "/sets", null, null, "schedules[0].cron")]
    [InlineData("0 2 * * *", "ftp://elsewhere", null, null, "schedules[0].store")]
    [InlineData("0 2 * * *", "/sets", "Mars/Olympus", null, "schedules[0].timeZone")]
    [InlineData("0 2 * * *", "/sets", null, "14d", "schedules[0].window")] // no expire
    public void What_can_not_be_used_is_refused_by_its_key(string cron, string store, string? zone, string? window, string key)
    {
        PitrSchedule schedule = Nightly with
        {
            Cron = cron,
            Store = store,
            TimeZone = zone,
            Window = window is null ? null : TimeSpan.FromDays(14),
        };
        RefusedException refused = Assert.Throws<RefusedException>(
            () => ScheduleTimes.Read([schedule], "/db", _time.Clock));
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains($"'{key}'", refused.Message, StringComparison.Ordinal);
        Assert.Contains("schedules[1].window", Assert.Throws<RefusedException>(() => ScheduleTimes.Read(
            [Nightly, Nightly with { Run = ScheduledWork.Expire }], "/db", _time.Clock)).Message, StringComparison.Ordinal);
        Assert.Contains("schedules[0].incremental", Assert.Throws<RefusedException>(() => ScheduleTimes.Read(
            [Nightly with { Run = ScheduledWork.Verify, Incremental = true }], "/db", _time.Clock)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Times_are_those_of_the_zone_over_its_summer_time()
    {
        ScheduleTimes times = Assert.Single(ScheduleTimes.Read(
            [Nightly with { Cron = "30 2 * * *", TimeZone = "Europe/Berlin" }], "/db", _time.Clock));
        DateTimeOffset before = new(2026, 3, 28, 12, 0, 0, TimeSpan.Zero); // the day before clocks jump from 2 to 3
        DateTimeOffset jump = times.After(before)!.Value;
        Assert.Equal(new DateTimeOffset(2026, 3, 29, 1, 0, 0, TimeSpan.Zero), jump); // 2:30 is not there: at 3:00
        Assert.Equal(new DateTimeOffset(2026, 3, 30, 0, 30, 0, TimeSpan.Zero), times.After(jump));
    }

    [Fact]
    public async Task A_run_comes_at_its_times_and_is_told()
    {
        await using PitrDatabase database = await CreateAsync();
        await using ScheduleRunner runner = Start(database, Nightly);
        DateTimeOffset first = new(2026, 11, 24, 2, 0, 0, TimeSpan.Zero); // it is the 23rd, 9 o'clock
        await UntilAsync(database, shown => shown.NextAt == first, "the first time is known");
        _time.Advance(16 * Hour);
        Assert.Equal(0, Runs);
        _time.Advance(Hour + TimeSpan.FromSeconds(1));
        await UntilAsync(database, shown => shown.NextAt == first.AddDays(1), "it has run, and waits for the next time");
        Assert.Equal(1, Runs);
        ScheduleStatus told = Assert.Single((await database.GetStatusAsync().Within()).Schedules);
        Assert.Equal((ScheduledWork.Backup, "0 2 * * *", "/sets", null, false), (told.Run, told.Cron, told.Store, told.LastError, told.IsRunning));
        Assert.InRange(told.LastBeganAt!.Value, first, first.AddMinutes(1));
    }

    [Fact]
    public async Task What_was_missed_while_the_database_was_closed_is_made_up_for_once()
    {
        await using (PitrDatabase database = await CreateAsync())
        {
            await using ScheduleRunner runner = Start(database, Nightly);
            await UntilAsync(database, static shown => shown.NextAt is not null, "a time is known");
        }
        _time.Advance(4 * 24 * Hour);
        await using PitrDatabase again = await OpenAsync();
        await using (ScheduleRunner runner = Start(again, Nightly))
            await UntilAsync(again, shown => shown is { LastBeganAt: not null, NextAt: not null }, "it was made up for");
        Assert.Equal(1, Runs);
        await using (ScheduleRunner runner = Start(again, Nightly))
            await UntilAsync(again, static shown => shown.NextAt is not null, "nothing is missed any more");
        Assert.Equal(1, Runs);
    }

    [Fact]
    public async Task A_schedule_that_is_new_or_was_changed_has_missed_nothing()
    {
        await using PitrDatabase database = await CreateAsync();
        await using (ScheduleRunner runner = Start(database, Nightly))
            await UntilAsync(database, static shown => shown.NextAt is not null, "a time is known");
        _time.Advance(2 * 24 * Hour);
        await using (ScheduleRunner runner = Start(database, Nightly with { Cron = "0 3 * * *" }))
            await UntilAsync(database, static shown => shown is { Cron: "0 3 * * *", NextAt: not null }, "a time is known");
        Assert.Equal(0, Runs);
    }

    [Fact]
    public async Task A_run_that_the_end_cuts_off_is_cancelled_and_comes_at_the_next_start()
    {
        var isCancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _work = async cancellation =>
        {
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellation);
            }
            finally
            {
                isCancelled.SetResult();
            }
            return "";
        };
        await using PitrDatabase database = await CreateAsync();
        await using (ScheduleRunner runner = Start(database, Nightly))
        {
            await UntilAsync(database, static shown => shown.NextAt is not null, "a time is known");
            _time.Advance(18 * Hour);
            await UntilAsync(database, static shown => shown.IsRunning, "it runs");
        }
        await isCancelled.Task.Within();
        _work = static _ => Task.FromResult("done");
        await using ScheduleRunner next = Start(database, Nightly);
        await UntilAsync(database, static shown => shown.LastSeconds is not null, "it ran again");
        Assert.Equal(2, Runs);
    }

    [Fact]
    public async Task A_run_that_fails_is_told_and_the_next_time_stands()
    {
        _work = static _ => throw new StorageFailedException(ErrorCode.StoreFailed, "The store is away.", "Mount it.");
        await using PitrDatabase database = await CreateAsync();
        await using ScheduleRunner runner = Start(database, Nightly);
        await UntilAsync(database, static shown => shown.NextAt is not null, "a time is known");
        _time.Advance(18 * Hour);
        await UntilAsync(database, static shown => shown is { LastError: "The store is away.", NextAt: not null }, "it failed");
        HealthCheckResult healthy = HealthCheckResult.Healthy("Every store is up to date.");
        HealthCheckResult health = HealthOfEngine.OfSchedules(healthy, database.Engine.Schedules);
        Assert.Equal(HealthStatus.Degraded, health.Status);
        Assert.Contains("The store is away.", health.Description, StringComparison.Ordinal);
        _work = static _ => Task.FromResult("done");
        _time.Advance(24 * Hour);
        await UntilAsync(database, static shown => shown.LastError is null, "it went well");
        Assert.Equal(HealthStatus.Healthy, HealthOfEngine.OfSchedules(healthy, database.Engine.Schedules).Status);
    }

    [Fact]
    public async Task Of_one_kind_one_runs_at_a_time_and_times_that_pass_meanwhile_are_left_out()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        int running = 0, most = 0;
        _work = async _ =>
        {
            most = Math.Max(most, Interlocked.Increment(ref running));
            await gate.Task;
            Interlocked.Decrement(ref running);
            return "done";
        };
        await using PitrDatabase database = await CreateAsync();
        await using ScheduleRunner runner = Start(database, Nightly, Nightly with { Store = "/others" });
        await TestEngine.Until(
            () => database.Engine.Schedules.Count(static shown => shown.NextAt is not null) == 2, "the times are known");
        _time.Advance(18 * Hour);
        await TestEngine.Until(() => Runs == 1, "one of them runs");
        _time.Advance(3 * 24 * Hour);
        Assert.Equal(1, Runs);
        gate.SetResult();
        await TestEngine.Until(
            () => database.Engine.Schedules.All(static shown => shown is { LastSeconds: not null, NextAt: not null }), "both have run");
        Assert.Equal((2, 1), (Runs, most));
        Assert.All(
            database.Engine.Schedules, shown => Assert.Equal(new DateTimeOffset(2026, 11, 28, 2, 0, 0, TimeSpan.Zero), shown.NextAt));
    }

    [Fact]
    public async Task Notes_that_can_not_be_read_or_written_stop_nothing()
    {
        await using PitrDatabase database = await CreateAsync();
        using (IFileHandle notes = _disk.Open($"/db/{ScheduleNotes.FileName}", FileOpen.CreateNew))
            notes.Write(0, "[{\"key\":null},null, nonsense"u8);
        _disk.Faults.On(FileOp.Rename).Of(ScheduleNotes.FileName).Always().Fail(Errno.EIO);
        await using ScheduleRunner runner = Start(database, Nightly);
        await UntilAsync(database, static shown => shown.NextAt is not null, "a time is known");
        _time.Advance(18 * Hour);
        await UntilAsync(database, static shown => shown is { LastError: null, LastSeconds: not null }, "it has run");
    }

    /// <summary>The real work: a set is made, proved, and an older one expires; the window says when it was verified.</summary>
    [Fact]
    public async Task Backups_are_made_verified_and_expired()
    {
        await using var lab = new ArchiveLab();
        // Virtual time passes in great steps while the engine answers.
        PitrDatabase database = await lab.CreateAsync(
            static options => options with { RequestTimeout = TimeSpan.FromDays(30) });
        await lab.CommitAsync(database, 3);
        PitrSchedule[] schedules =
        [
            new() { Run = ScheduledWork.Backup, Cron = "0 0-22/2 * * *", Store = ArchiveLab.Archive },
            new() { Run = ScheduledWork.Verify, Cron = "0 1-23/2 * * *", Store = ArchiveLab.Archive },
            new()
            {
                Run = ScheduledWork.Expire, Cron = "30 1-23/2 * * *", Store = ArchiveLab.Archive, Window = TimeSpan.FromMinutes(1),
            },
        ];
        await using ScheduleRunner? runner = ScheduleRunner.Start(
            database, ScheduleTimes.Read(schedules, ArchiveLab.Folder, lab.Clock), Logger.None);
        for (int round = 1; round <= 2; round++)
        {
            for (int n = 0; n < schedules.Length; n++)
            {
                DateTimeOffset before = lab.Clock.GetUtcNow();
                int place = n;
                await PassAsync(() => database.Engine.Schedules is { Count: 3 } shown && shown[place].LastBeganAt > before
                    && shown[place].LastSeconds is not null && !shown[place].IsRunning, schedules[n].Run.ToString());
                string? error = database.Engine.Schedules[n].LastError;
                Assert.True(error is null, $"{schedules[n].Run}: {error}");
            }
            await lab.CommitAsync(database, 3);
        }
        Assert.Equal(1, BackupsIn(lab));
        await PassAsync(
            () => database.GetStatusAsync().Within().GetAwaiter().GetResult().RecoveryWindow?.VerifiedAt is not null,
            "the window says when it was verified");

        async Task PassAsync(Func<bool> isSo, string what)
        {
            for (int step = 0; !isSo(); step++)
            {
                Assert.True(step < 20_000, $"Never: {what}");
                lab.Advance(TimeSpan.FromSeconds(20));
                await Task.Delay(1);
            }
        }
    }

    /// <summary>Wherever the process runs: as pitr.json says it, and each work finds what the others have made.</summary>
    [Fact]
    public async Task A_relative_store_is_taken_from_the_databases_folder_by_every_work()
    {
        await using var lab = new ArchiveLab();
        PitrDatabase database = await lab.CreateAsync();
        var jobs = new ScheduledJobs(database);
        var backup = new PitrSchedule { Run = ScheduledWork.Backup, Cron = "0 2 * * *", Store = "../sets" };
        await BackedUpAsync(lab, jobs, backup);
        Assert.Single(Pitr.Recovery.BackupCatalog.Read(ArchiveTestData.Store(lab.Disk, "/sets")).Sets);
        Assert.StartsWith(
            "1 sets restore",
            await jobs.RunAsync(backup with { Run = ScheduledWork.Verify }, CancellationToken.None).Within(), StringComparison.Ordinal);
        await jobs.RunAsync(
            backup with { Run = ScheduledWork.Expire, Window = TimeSpan.FromDays(1) }, CancellationToken.None).Within();
    }

    /// <summary>As a week's schedules do: one set has all, the others build on it.</summary>
    [Fact]
    public async Task An_incremental_schedule_builds_on_the_newest_set_and_has_all_where_there_is_none()
    {
        await using var lab = new ArchiveLab();
        PitrDatabase database = await lab.CreateAsync();
        var jobs = new ScheduledJobs(database);
        var nightly = new PitrSchedule { Run = ScheduledWork.Backup, Cron = "0 2 * * *", Store = "/sets", Incremental = true };
        Assert.DoesNotContain("built on", await BackedUpAsync(lab, jobs, nightly), StringComparison.Ordinal);
        string first = Assert.Single(Pitr.Recovery.BackupCatalog.Read(ArchiveTestData.Store(lab.Disk, "/sets")).Sets).Id;
        Assert.EndsWith($", built on {first}", await BackedUpAsync(lab, jobs, nightly), StringComparison.Ordinal);
        Assert.DoesNotContain(
            "built on", await BackedUpAsync(lab, jobs, nightly with { Incremental = false }), StringComparison.Ordinal);
        Assert.StartsWith(
            "3 sets restore",
            await jobs.RunAsync(nightly with { Run = ScheduledWork.Verify, Incremental = false }, CancellationToken.None).Within(),
            StringComparison.Ordinal);
    }

    private static async Task<string> BackedUpAsync(ArchiveLab lab, ScheduledJobs jobs, PitrSchedule schedule)
    {
        Task<string> made = jobs.RunAsync(schedule, CancellationToken.None);
        while (!made.IsCompleted) // it goes on as time does
        {
            lab.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(made, Task.Delay(5));
        }
        return await made;
    }

    private static int BackupsIn(ArchiveLab lab) => Pitr.Recovery.BackupCatalog.Read(lab.Store).Sets.Count;
}
