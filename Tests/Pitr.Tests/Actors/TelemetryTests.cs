using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>
/// What a program's telemetry sees of an engine: instruments of the meter, activities of the source, under the names that
/// docs/reference/metrics.md has.
/// </summary>
public sealed partial class TelemetryTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-telemetry-").FullName;
    private readonly ConcurrentQueue<Seen> _seen = new();
    private readonly ConcurrentQueue<Activity> _ended = new();

    private string Folder => Path.Combine(_home, "db");

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Commits_groups_and_bytes_are_counted_and_the_durations_of_groups_recorded()
    {
        using MeterListener listener = Listen();
        await using PitrDatabase database = await OpenAsync();
        Table table = await database.CreateTableAsync("t");
        for (int i = 0; i < 10; i++)
            await database.PutAsync(table, BitConverter.GetBytes(i), new byte[100]);
        listener.RecordObservableInstruments();

        Assert.Equal(10, Last("pitr.commits"));
        Assert.InRange(Last("pitr.wal.groups"), 1, 10);
        Assert.True(Last("pitr.wal.written") > 1000);
        Assert.Equal(1, Last("pitr.commits.taken"));
        Assert.InRange(Of("pitr.commit.duration").Count(), 1, 10); // of each group its first
        Assert.True(Of("pitr.wal.sync.duration").Count() >= Last("pitr.wal.groups"));
        Assert.True(Last("pitr.datafile.buffered", ("pitr.datafile", "main")) > 0);
        Assert.Equal(1, Last("pitr.datafile.state", ("pitr.datafile", "main"), ("pitr.state", "open")));
    }

    [Fact]
    public async Task Flushes_checkpoints_backups_and_shipping_are_timed_with_their_outcome()
    {
        using MeterListener listener = Listen();
        await using PitrDatabase database = await OpenAsync();
        await database.PutAsync(await database.CreateTableAsync("t"), "k"u8.ToArray(), "v"u8.ToArray());
        await database.CheckpointAsync();
        await database.BackupAsync(new BackupRequest { Store = Path.Combine(_home, "archive") });
        await database.MoveAsync(new MoveRequest { Datafile = "main", Path = Path.Combine(_home, "moved.pitr") });
        await Assert.ThrowsAnyAsync<PitrException>(() => database.MoveAsync(
            new MoveRequest { Datafile = "main", Path = Path.Combine(_home, "moved.pitr") }));
        await database.CompactAsync(new CompactRequest { Datafile = "main" });
        listener.RecordObservableInstruments();

        Assert.NotEmpty(Of("pitr.flush.duration", ("pitr.datafile", "main"), ("pitr.outcome", "ended")));
        Assert.NotEmpty(Of("pitr.checkpoint.duration", ("pitr.outcome", "ended")));
        Assert.NotEmpty(Of("pitr.backup.duration", ("pitr.outcome", "ended")));
        Assert.Single(Of("pitr.move.duration", ("pitr.datafile", "main"), ("pitr.outcome", "ended")));
        Assert.Single(Of("pitr.move.duration", ("pitr.datafile", "main"), ("pitr.outcome", "failed")));
        Assert.Single(Of("pitr.compact.duration", ("pitr.datafile", "main"), ("pitr.outcome", "ended")));
        Assert.Contains(_seen, seen => seen.Name == "pitr.archive.lag" && seen.Has("pitr.store", Path.Combine(_home, "archive")));
        Assert.Equal(0, Last("pitr.archive.failing"));
        await database.ShutdownAsync(); // ships to the last record
        Assert.NotEmpty(Of("pitr.archive.ship.duration"));
    }

    [Fact]
    public async Task A_refused_commit_and_a_broken_fence_are_counted_by_their_reason()
    {
        using MeterListener listener = Listen();
        await using PitrDatabase database = await OpenAsync();
        Table table = await database.CreateTableAsync("t");
        using (Transaction transaction = await database.BeginTransactionAsync())
        {
            transaction.Get(table, "k"u8);
            transaction.Put(table, "k"u8, "mine"u8);
            await database.PutAsync(table, "k"u8.ToArray(), "theirs"u8.ToArray());
            await Assert.ThrowsAsync<ConflictException>(async () => await transaction.CommitAsync());
        }

        await database.FenceAsync("main", TimeSpan.FromHours(1));
        await database.ShutdownAsync(force: true);
        Assert.Equal(1, Sum("pitr.commits.refused", ("error.type", nameof(ErrorCode.Conflict))));
        Assert.Equal(1, Sum("pitr.fences.broken", ("pitr.datafile", "main")));
    }

    [Fact]
    public async Task An_engine_that_has_ended_is_observed_no_more()
    {
        using MeterListener listener = Listen();
        await using (PitrDatabase database = await OpenAsync())
            listener.RecordObservableInstruments();
        Assert.NotEmpty(Of("pitr.commits"));
        _seen.Clear();
        listener.RecordObservableInstruments();
        Assert.DoesNotContain(_seen, seen => seen.Has("pitr.database", Folder));
    }

    [Fact]
    public async Task What_a_caller_asks_for_is_a_child_of_the_callers_activity_and_a_failure_is_its_status()
    {
        using ActivityListener listener = ListenToActivities();
        using var callers = new ActivitySource("Pitr.Tests.Caller");
        using ActivityListener own = ListenToActivities("Pitr.Tests.Caller");
        await using PitrDatabase database = await OpenAsync();
        Table table = await database.CreateTableAsync("t");
        ActivityTraceId trace;
        CommitResult commit;
        using (Activity? request = callers.StartActivity("request"))
        {
            trace = request!.TraceId;
            commit = await database.PutAsync(table, "k"u8.ToArray(), "v"u8.ToArray());
            await database.CheckpointAsync();
            FenceGrant fence = await database.FenceAsync("main", TimeSpan.FromMinutes(1));
            await database.UnfenceAsync(fence.FenceId);
            await database.BackupAsync(new BackupRequest { Store = Path.Combine(_home, "archive") });
            await Assert.ThrowsAsync<NotFoundException>(() => database.FenceAsync("nope", TimeSpan.FromMinutes(1)));
            Assert.Same(request, Activity.Current);
        }

        await database.ShutdownAsync();
        Activity[] ours = [.. _ended.Where(activity => activity.TraceId == trace && activity.Source.Name == "Pitr")];
        Assert.Equal(
            ["pitr.backup", "pitr.checkpoint", "pitr.commit", "pitr.fence", "pitr.fence", "pitr.unfence"],
            ours.Select(activity => activity.OperationName).Order());
        Activity put = ours.Single(activity => activity.OperationName == "pitr.commit");
        Assert.Equal(commit.Lsn.ToString(), put.GetTagItem("pitr.lsn"));
        Activity refused = ours.Single(activity => activity.Status == ActivityStatusCode.Error);
        Assert.Equal(nameof(ErrorCode.DatafileUnknown), refused.GetTagItem("error.type"));
    }

    [Fact]
    public async Task What_the_engine_does_by_itself_begins_a_trace_of_its_own()
    {
        using ActivityListener listener = ListenToActivities();
        await using (PitrDatabase database = await OpenAsync())
        {
            await database.PutAsync(await database.CreateTableAsync("t"), "k"u8.ToArray(), "v"u8.ToArray());
            await database.CheckpointAsync();
        }

        Activity flush = _ended.First(activity => activity.OperationName == "pitr.flush" && IsOurs(activity));
        Assert.Equal(default, flush.ParentSpanId);
        Assert.Equal("main", flush.GetTagItem("pitr.datafile"));
        Assert.Contains(_ended, activity => activity.OperationName == "pitr.ship" && IsOurs(activity));
        Assert.Contains(_ended, activity => activity.OperationName == "pitr.open" && IsOurs(activity));
        Assert.Contains(_ended, activity => activity.OperationName == "pitr.shutdown" && IsOurs(activity));
    }

    [Fact]
    public async Task The_reference_has_a_row_for_each_instrument_and_each_activity()
    {
        string reference = SourceTree.Text("docs/reference/metrics.md");
        var instruments = new ConcurrentDictionary<string, string>();
        using (var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) =>
            {
                if (instrument.Meter.Name == PitrTelemetry.MeterName)
                    instruments[instrument.Name] = instrument.Unit ?? "";
            },
        })
        {
            listener.Start();
            await using PitrDatabase database = await OpenAsync();
        }

        Dictionary<string, string> rows = InstrumentRow().Matches(reference)
            .ToDictionary(row => row.Groups["name"].Value, row => row.Groups["unit"].Value.Trim(), StringComparer.Ordinal);
        Assert.Equal(
            instruments.OrderBy(one => one.Key).Select(one => $"{one.Key} {one.Value}"),
            rows.OrderBy(one => one.Key).Select(one => $"{one.Key} {one.Value}"));

        IEnumerable<string> activities = SourceTree.Sources("Actors")
            .SelectMany(file => ActivityName().Matches(SourceTree.Text(file)).Select(name => name.Groups["name"].Value))
            .Distinct();
        Assert.Equal(
            activities.Order(), ActivityRow().Matches(reference).Select(row => row.Groups["name"].Value).Order());
    }

    private Task<PitrDatabase> OpenAsync() => PitrDatabase.OpenOrCreateAsync(
        Folder, new PitrOptions { MemoryBudgetBytes = 64 << 20, ArchiveStores = [Path.Combine(_home, "archive")] }).Within();

    private bool IsOurs(Activity activity) => (string?)activity.GetTagItem("pitr.database") == Folder;

    // ---- what was seen -----------------------------------------------------------------------------

    private MeterListener Listen()
    {
        var listener = new MeterListener
        {
            InstrumentPublished = static (instrument, listener) =>
            {
                if (instrument.Meter.Name == PitrTelemetry.MeterName)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.Start();
        return listener;
    }

    private void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        _seen.Enqueue(new Seen(instrument.Name, value, tags.ToArray()));

    private ActivityListener ListenToActivities(string source = PitrTelemetry.SourceName)
    {
        var listener = new ActivityListener
        {
            ShouldListenTo = one => one.Name == source,
            Sample = static (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        return listener;
    }

    private IEnumerable<Seen> Of(string name, params (string Tag, string Value)[] tags) => _seen.Where(seen =>
        seen.Name == name && seen.Has("pitr.database", Folder) && tags.All(tag => seen.Has(tag.Tag, tag.Value)));

    private double Last(string name, params (string Tag, string Value)[] tags) => Of(name, tags).Last().Value;

    private double Sum(string name, params (string Tag, string Value)[] tags) => Of(name, tags).Sum(seen => seen.Value);

    private sealed record Seen(string Name, double Value, KeyValuePair<string, object?>[] Tags)
    {
        public bool Has(string tag, string value) => Tags.Any(one => one.Key == tag && (string?)one.Value == value);
    }

    [GeneratedRegex(@"^\| `(?<name>pitr\.[a-z.]+)` \| (?<unit>[^|]*) \| (?:counter|gauge|histogram) ", RegexOptions.Multiline)]
    private static partial Regex InstrumentRow();

    [GeneratedRegex(@"^\| `(?<name>pitr\.[a-z]+)` \| (?:caller|engine) ", RegexOptions.Multiline)]
    private static partial Regex ActivityRow();

    [GeneratedRegex("(?:Start|RunAsync|Note)\\(\\s*\"(?<name>pitr\\.[a-z]+)\"")]
    private static partial Regex ActivityName();
}
