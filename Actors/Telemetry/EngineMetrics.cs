using System.Diagnostics.Metrics;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// What an engine counts and times: one meter named <c>Pitr</c> for each open database, which is there from "takes
/// commits" to the end. docs/reference/metrics.md lists the instruments.
/// </summary>
/// <remarks>
/// COST  the path of a commit pays for no instrument: WalWriter adds to two of its own fields once a group, which are
/// read when somebody collects; the two durations are recorded once a group, and their clock is read only while
/// somebody listens. Reads are not counted at all: a counter that all readers write would be the dearest part of a get.
/// THREADS  the counts have one writer, WalWriter; anybody may record durations; observers read published values.
/// Every measurement carries the database's folder as <c>pitr.database</c>, so that several in one process are told
/// apart by exporters that drop a meter's own tags.
/// </remarks>
internal sealed class EngineMetrics : IDisposable
{
    private const string DatabaseTag = "pitr.database";
    private const string DatafileTag = "pitr.datafile";
    private const string StateTag = "pitr.state";
    private const string StoreTag = "pitr.store";
    private const string OutcomeTag = "pitr.outcome";
    private const string ErrorTag = "error.type";

    private KeyValuePair<string, object?> _database;
    private Meter? _meter;
    private Histogram<double>? _commitSeconds;
    private Histogram<double>? _syncSeconds;
    private Histogram<double>? _flushSeconds;
    private Histogram<double>? _checkpointSeconds;
    private Histogram<double>? _backupSeconds;
    private Histogram<double>? _scheduleSeconds;
    private Histogram<double>? _moveSeconds;
    private Histogram<double>? _compactSeconds;
    private Histogram<double>? _shipSeconds;
    private Counter<long>? _refused;
    private Counter<long>? _fencesBroken;
    private long _commits;
    private long _groups;
    private IReadOnlyList<StoreShipper> _shippers = [];

    /// <summary>True while somebody wants to know how long commits take.</summary>
    public bool TimesCommits => _commitSeconds is { Enabled: true };

    /// <summary>The engine takes commits: its instruments are there from now on.</summary>
    /// <param name="engine">Whose published values are observed.</param>
    /// <param name="opened">What the opening found.</param>
    public void Begin(EngineContext engine, EngineOpenedNote opened)
    {
        _database = new KeyValuePair<string, object?>(DatabaseTag, engine.Folder);
        var meter = new Meter(
            PitrTelemetry.MeterName, typeof(EngineMetrics).Assembly.GetName().Version?.ToString(), [_database]);
        _commitSeconds = Seconds(meter, "pitr.commit.duration",
            "From the call to durable and visible, of the commit that opens each group.");
        _syncSeconds = Seconds(meter, "pitr.wal.sync.duration", "Write and sync of one group of commits.");
        _flushSeconds = Seconds(meter, "pitr.flush.duration", "Flush of a datafile.");
        _checkpointSeconds = Seconds(meter, "pitr.checkpoint.duration", "Checkpoint, from its barrier to the control file.");
        _backupSeconds = Seconds(meter, "pitr.backup.duration", "Backup set.");
        _scheduleSeconds = Seconds(meter, "pitr.schedule.duration", "Run of a schedule.");
        _moveSeconds = Seconds(meter, "pitr.move.duration", "Move of a datafile.");
        _compactSeconds = Seconds(meter, "pitr.compact.duration", "Compacting of a datafile.");
        _shipSeconds = Seconds(meter, "pitr.archive.ship.duration", "Shipping of a segment, or of a tail, to a store.");
        _refused = meter.CreateCounter<long>(
            "pitr.commits.refused", "{commit}", "Commits that ended with an error; they are not in the WAL.");
        _fencesBroken = meter.CreateCounter<long>("pitr.fences.broken", "{fence}", "Fences that ended against their holder's will.");
        Observe(meter, engine, opened);
        Volatile.Write(ref _meter, meter);
    }

    /// <summary>The stores that are shipped to; their lag is observed.</summary>
    public void UseStores(IReadOnlyList<StoreShipper> shippers) => Volatile.Write(ref _shippers, shippers);

    // ---- what happened -----------------------------------------------------------------------------

    /// <summary>WalWriter: a group of so many commits is durable.</summary>
    public void NoteGroup(int commits)
    {
        Volatile.Write(ref _commits, _commits + commits);
        Volatile.Write(ref _groups, _groups + 1);
    }

    /// <summary>A write and sync of the WAL took so long.</summary>
    public void NoteSync(TimeSpan elapsed) => _syncSeconds?.Record(elapsed.TotalSeconds, _database);

    /// <summary>The commit that opened a group is durable and visible.</summary>
    public void NoteVisible(TimeSpan elapsed) => _commitSeconds?.Record(elapsed.TotalSeconds, _database);

    /// <summary>A commit was refused.</summary>
    public void NoteRefused(PitrException why, int commits = 1)
    {
        if (commits > 0)
            _refused?.Add(commits, _database, new(ErrorTag, why.Code.ToString()));
    }

    /// <summary>Fences were broken.</summary>
    public void NoteFencesBroken(string datafile, int fences) =>
        _fencesBroken?.Add(fences, _database, new(DatafileTag, datafile));

    /// <summary>A flush came to its end.</summary>
    public void NoteFlush(string datafile, TimeSpan elapsed, string outcome) =>
        _flushSeconds?.Record(elapsed.TotalSeconds, _database, new(DatafileTag, datafile), new(OutcomeTag, outcome));

    /// <summary>A checkpoint came to its end.</summary>
    public void NoteCheckpoint(TimeSpan elapsed, string outcome) =>
        _checkpointSeconds?.Record(elapsed.TotalSeconds, _database, new(OutcomeTag, outcome));

    /// <summary>A backup came to its end.</summary>
    public void NoteBackup(TimeSpan elapsed, string outcome) =>
        _backupSeconds?.Record(elapsed.TotalSeconds, _database, new(OutcomeTag, outcome));

    /// <summary>A run of a schedule came to its end.</summary>
    public void NoteSchedule(ScheduledWork work, TimeSpan elapsed, string outcome) =>
        _scheduleSeconds?.Record(
            elapsed.TotalSeconds, _database, new("pitr.work", work.ToString().ToLowerInvariant()), new(OutcomeTag, outcome));

    /// <summary>A move came to its end.</summary>
    public void NoteMove(string datafile, TimeSpan elapsed, string outcome) =>
        _moveSeconds?.Record(elapsed.TotalSeconds, _database, new(DatafileTag, datafile), new(OutcomeTag, outcome));

    /// <summary>Compacting came to its end.</summary>
    public void NoteCompact(string datafile, TimeSpan elapsed, string outcome) =>
        _compactSeconds?.Record(elapsed.TotalSeconds, _database, new(DatafileTag, datafile), new(OutcomeTag, outcome));

    /// <summary>A step of shipping to a store came to its end.</summary>
    public void NoteShip(string store, TimeSpan elapsed, string outcome) =>
        _shipSeconds?.Record(elapsed.TotalSeconds, _database, new(StoreTag, store), new(OutcomeTag, outcome));

    /// <summary>The engine has ended: nothing observes it any more.</summary>
    public void Dispose() => Volatile.Read(ref _meter)?.Dispose();

    // ---- what is observed --------------------------------------------------------------------------

    private void Observe(Meter meter, EngineContext engine, EngineOpenedNote opened)
    {
        meter.CreateObservableCounter(
            "pitr.commits", () => Of(Volatile.Read(ref _commits)), "{commit}", "Transactions that are durable.");
        meter.CreateObservableCounter(
            "pitr.wal.groups", () => Of(Volatile.Read(ref _groups)), "{group}", "Groups of commits: each is one sync.");
        meter.CreateObservableCounter(
            "pitr.wal.written", () => Of(engine.DurableLsn - opened.End), "By", "WAL since the opening.");
        meter.CreateObservableGauge(
            "pitr.wal.kept", () => Of(engine.DurableLsn - engine.RedoLsn), "By", "WAL from the redo point on.");
        meter.CreateObservableGauge(
            "pitr.commits.taken", () => Of(engine.WhyCommitsAreRefused is null ? 1 : 0), null,
            "1 while commits are taken, 0 while they are refused.");
        meter.CreateObservableGauge(
            "pitr.buffer.fill", () => new Measurement<double>(engine.Fill, _database), "1",
            "How full the write buffers are: from 0.5 commits are delayed, at 1 they wait.");
        meter.CreateObservableGauge(
            "pitr.buffer.limit", () => Of(engine.WriteBufferBytesMax), "By", "Bytes of changes at which commits wait.");
        meter.CreateObservableGauge(
            "pitr.cache.used", () => Of(engine.Environment.Cache.HeldBytes), "By", "Memory of cached pages.");
        meter.CreateObservableGauge(
            "pitr.snapshots", () => Of(engine.Snapshots.Count), "{snapshot}", "Snapshots that are open.");
        meter.CreateObservableGauge(
            "pitr.recovery.duration", () => new Measurement<double>(opened.Elapsed.TotalSeconds, _database), "s",
            "How long the opening took, with its replay.");
        meter.CreateObservableGauge(
            "pitr.recovery.records", () => Of(opened.Records), "{record}", "Records that the opening replayed.");
        meter.CreateObservableGauge(
            "pitr.datafile.size", () => Files(engine, static file => file.LengthBytes), "By", "Length of a datafile.");
        meter.CreateObservableGauge(
            "pitr.datafile.live", () => Files(engine, static file => file.LiveBytes), "By", "Pages that its root reaches.");
        meter.CreateObservableGauge(
            "pitr.datafile.buffered", () => Files(engine, static file => file.BufferedBytes), "By",
            "Changes that are not in the file.");
        meter.CreateObservableGauge(
            "pitr.datafile.state", () => States(engine), null, "1 for the state that a datafile is in.");
        meter.CreateObservableGauge(
            "pitr.archive.lag", () => Lags(engine, static lag => lag.Bytes), "By", "WAL that a store lacks.");
        meter.CreateObservableGauge(
            "pitr.archive.lag.duration", () => Lags(engine, static lag => lag.Age.TotalSeconds), "s",
            "How old the oldest of it is.");
        meter.CreateObservableGauge(
            "pitr.archive.failing", () => Failing(), null, "1 if the last try to ship to a store failed.");
    }

    private Measurement<long> Of(long value) => new(value, _database);

    private IEnumerable<Measurement<long>> Files(EngineContext engine, Func<Storage.Datafile, long> value) =>
        from slot in engine.Slots.All
        let file = slot.File
        where file is not null
        select new Measurement<long>(value(file), _database, new(DatafileTag, slot.Name));

    private IEnumerable<Measurement<int>> States(EngineContext engine) =>
        from slot in engine.Slots.All
        select new Measurement<int>(
            1, _database, new(DatafileTag, slot.Name), new(StateTag, DatafileActor.StateName(slot.State)));

    private IEnumerable<Measurement<T>> Lags<T>(EngineContext engine, Func<ArchiveLag, T> value) where T : struct =>
        from shipper in Volatile.Read(ref _shippers)
        select new Measurement<T>(
            value(shipper.Lag(engine.DurableLsn)), _database, new(StoreTag, shipper.StoreName));

    private IEnumerable<Measurement<int>> Failing() =>
        from shipper in Volatile.Read(ref _shippers)
        select new Measurement<int>(
            shipper.Progress.LastError is null ? 0 : 1, _database, new(StoreTag, shipper.StoreName));

    private static Histogram<double> Seconds(Meter meter, string name, string description) =>
        meter.CreateHistogram(
            name, "s", description,
            advice: new InstrumentAdvice<double>
            {
                HistogramBucketBoundaries =
                    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120],
            });
}

/// <summary>What an opening came to, for those who ask later.</summary>
/// <param name="End">The end of the WAL that was replayed.</param>
/// <param name="Records">Records that were replayed.</param>
/// <param name="Elapsed">How long it took until the engine took commits.</param>
internal readonly record struct EngineOpenedNote(Lsn End, long Records, TimeSpan Elapsed);
