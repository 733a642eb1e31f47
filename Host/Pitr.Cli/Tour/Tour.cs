using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using Pitr.Actors;
using Pitr.Hosting;
using Pitr.Recovery;
using Pitr.Storage;
using Serilog.Core;

namespace Pitr.Cli;

/// <summary>
/// The story of Pitr on real records: load, back up while a load goes on, copy a datafile that is in use, lose a table by
/// mistake, go back to the moment before it by name and by time, and prove that everything is there.
/// </summary>
/// <remarks>
/// Each step is a method; each does what it tells through the same code as the verbs, and notes its time. A proof that fails ends
/// the tour with an error. Memory does not depend on the file's length: it is read once to count, and once to load.
/// </remarks>
internal sealed class Tour(CliConsole console, TourStory story, string scratch, string file, string? keyField)
{
    private const string TableName = "records";
    private const string LaterName = "later";
    private const string PointName = "before-the-mistake";
    private const string ReportIt = "This is a bug of pitr: report it, with the file.";
    private const int BatchRecords = 100;
    private const double RecordsPerSecond = 4000;

    private static readonly (double Least, double Most) SecondLoadSeconds = (0.2, 2);

    private readonly TourReport _report = new();

    private string Database => Path.Combine(scratch, "database");

    private string Store => Path.Combine(scratch, "archive");

    /// <summary>Tells all of it.</summary>
    public async Task<TourReport> RunAsync(CancellationToken cancellationToken)
    {
        long began = Now;
        string field = await CountAsync(cancellationToken).ConfigureAwait(false);
        LocalTarget target = await CreateAsync(cancellationToken).ConfigureAwait(false);
        byte[] before;
        CommitResult lastGood;
        RestorePoint point;
        await using (target.ConfigureAwait(false))
        {
            await LoadAllAsync(target, field, cancellationToken).ConfigureAwait(false);
            await CopyFencedAsync(target, cancellationToken).ConfigureAwait(false);
            before = await DigestAsync(target, cancellationToken).ConfigureAwait(false);
            point = await target.CreateRestorePointAsync(PointName, cancellationToken).ConfigureAwait(false);
            Tell(
                "Name the moment", $"pitr restore-point {PointName}",
                $"It is LSN {point.Lsn}. SHA-256 over every key and value of the table: {Short(before)}");
            lastGood = await MakeMistakeAsync(target, cancellationToken).ConfigureAwait(false);
        }
        byte[] byName = await GoBackAsync(
            "Go back by name", "by-name", $"--target-name {PointName}", RecoveryTarget.IncludingRestorePoint(PointName),
            isLater: false, cancellationToken).ConfigureAwait(false);
        byte[] byTime = await GoBackAsync(
            "Go back by time", "by-time", $"--target-time {TextForms.Time(lastGood.Time)}", RecoveryTarget.Including(lastGood.Time),
            isLater: true, cancellationToken).ConfigureAwait(false);
        _report.IsEqual = before.AsSpan().SequenceEqual(byName) && before.AsSpan().SequenceEqual(byTime);
        if (!_report.IsEqual)
            throw new VerbFailedException("What came back is not what was there before the mistake.", ReportIt);
        Tell(
            "Equal", null,
            $"The table's SHA-256 is {Short(before)} before the mistake, after going back by name, and by time: nothing is missing.");
        Draw(point, lastGood);
        story.Show("grey", $"    All of it took {TextShapes.Seconds(TimeProvider.System.GetElapsedTime(began).TotalSeconds)}.");
        return _report;
    }

    // ---- steps -------------------------------------------------------------------------------------

    /// <summary>Reads the whole file: a record that cannot be loaded is told before anything is made. Returns the key's field.</summary>
    private async Task<string> CountAsync(CancellationToken cancellationToken)
    {
        long began = Now;
        string format = RecordFile.FormatOf(file);
        string field = keyField
            ?? await RecordFile.FirstFieldAsync(console, file, format, cancellationToken).ConfigureAwait(false)
            ?? throw TooFew(0);
        await foreach (InputRecord _ in ReadAsync(field, cancellationToken).ConfigureAwait(false))
            _report.Records++;
        if (_report.Records < 2)
            throw TooFew(_report.Records);
        Tell("Read", null, $"{TextShapes.Number(_report.Records)} records of {Path.GetFileName(file)}; their key is '{field}'.", began);
        return field;
    }

    private VerbFailedException TooFew(long records) =>
        new($"'{file}' has {records} records.", "Name a JSON Lines or CSV file with two or more.");

    private async IAsyncEnumerable<InputRecord> ReadAsync(
        string field, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Stream stream = RecordFile.Open(console, file);
        await using (stream.ConfigureAwait(false))
        {
            await foreach (InputRecord record in RecordFile
                .ReadAsync(stream, file, RecordFile.FormatOf(file), field, cancellationToken).ConfigureAwait(false))
                yield return record;
        }
    }

    private async Task<LocalTarget> CreateAsync(CancellationToken cancellationToken)
    {
        long began = Now;
        LocalTarget target = await EngineHost.CreateAsync(
            Database, Logger.None, new PitrOptions { ArchiveStores = [Store] }, cancellationToken).ConfigureAwait(false);
        await target.CreateDatafileAsync("data", null, cancellationToken).ConfigureAwait(false);
        await target.CreateTableAsync(TableName, "data", cancellationToken).ConfigureAwait(false);
        await target.CreateTableAsync(LaterName, null, cancellationToken).ConfigureAwait(false);
        Tell(
            "Create", "pitr init database --archive archive",
            $"A database in {scratch} with a datafile 'data', the tables '{TableName}' and '{LaterName}', and an archive for its WAL.",
            began);
        return target;
    }

    private async Task LoadAllAsync(LocalTarget target, string field, CancellationToken cancellationToken)
    {
        IAsyncEnumerator<InputRecord> records = ReadAsync(field, cancellationToken).GetAsyncEnumerator(cancellationToken);
        await using (records.ConfigureAwait(false))
        {
            long began = Now;
            long half = _report.Records / 2;
            LoadResult first = await LoadAsync(target, records, half, perSecond: null, _ => { }, cancellationToken).ConfigureAwait(false);
            Tell(
                "Load", $"pitr load {TableName} FILE --key {field} --batch {BatchRecords}",
                $"The first half: {Loaded(first)}, {TextShapes.Number((long)(first.Records / first.Seconds))} records a second.",
                began);
            await BackUpDuringLoadAsync(target, records, _report.Records - half, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task BackUpDuringLoadAsync(
        LocalTarget target, IAsyncEnumerator<InputRecord> records, long count, CancellationToken cancellationToken)
    {
        long began = Now;
        long acknowledged = 0;
        double seconds = Math.Clamp(count / RecordsPerSecond, SecondLoadSeconds.Least, SecondLoadSeconds.Most);
        Task<LoadResult> load = LoadAsync(
            target, records, count, count / seconds, done => Volatile.Write(ref acknowledged, done), cancellationToken);
        long before = Volatile.Read(ref acknowledged);
        BackupResult backup = await target
            .BackupAsync(new BackupRequest { Store = Store }, cancellationToken).ConfigureAwait(false);
        long meanwhile = Volatile.Read(ref acknowledged) - before;
        LoadResult second = await load.ConfigureAwait(false);
        Tell(
            "Back up while a load goes on", "pitr backup --to archive",
            $"The second half, spread over {TextShapes.Seconds(seconds)}: {Loaded(second)}. Meanwhile set {backup.BackupId} was taken: "
            + $"{backup.Files} datafiles, {TextShapes.Bytes(backup.Bytes)} in {TextShapes.Seconds(backup.Seconds)}, during which "
            + $"{TextShapes.Number(meanwhile)} records were acknowledged.",
            began);
    }

    private async Task<LoadResult> LoadAsync(
        LocalTarget target, IAsyncEnumerator<InputRecord> records, long count, double? perSecond, Action<long> acknowledged,
        CancellationToken cancellationToken)
    {
        using var progress = new ProgressLine(console);
        var loader = new Loader(target, TimeProvider.System)
        {
            BatchRecords = BatchRecords,
            RecordsPerSecond = perSecond,
            Loaded = done =>
            {
                acknowledged(done);
                progress.Show($"    {TextShapes.Number(done)} of {TextShapes.Number(count)} records");
            },
        };
        return await loader.LoadAsync(TableName, Next(records, count), cancellationToken).ConfigureAwait(false);
    }

    private static string Loaded(LoadResult load) =>
        $"{TextShapes.Number(load.Records)} records in {TextShapes.Number(load.Transactions)} transactions, each durable when it "
        + "was acknowledged";

    private async Task CopyFencedAsync(LocalTarget target, CancellationToken cancellationToken)
    {
        long began = Now;
        FenceGrant fence = await target.FenceAsync("data", TimeSpan.FromMinutes(1), "tour", cancellationToken).ConfigureAwait(false);
        await target.PutAsync(LaterName, "while-fenced"u8.ToArray(), "commits go on"u8.ToArray(), cancellationToken).ConfigureAwait(false);
        string copy = Path.Combine(scratch, "copy-of-data.pitr");
        UnfenceResult unfenced;
        try
        {
            CopyFile(fence.Path, copy);
        }
        finally
        {
            unfenced = await target.UnfenceAsync(null, fence.FenceId, CancellationToken.None).ConfigureAwait(false);
        }
        DatafileReport report = DatafileCheck.Run(
            EngineFactory.ContextFor(Database, new PitrOptions()).Environment, copy, cancellationToken);
        if (report.Problems.Count > 0)
            throw new VerbFailedException($"The copy of the datafile is not whole: {report.Problems[0]}", ReportIt);
        Tell(
            "Fence a datafile and copy it", "pitr fence data && cp database/data.pitr copy.pitr && pitr unfence data",
            $"While it was fenced, 'data' stood still at LSN {fence.CheckpointLsn} and was copied as any file is "
            + $"({TextShapes.Bytes(fence.LengthBytes)}), and a commit went on; every page of the copy is whole. Afterwards the file was "
            + $"brought to {unfenced.FlushedLsn}.",
            began);
    }

    private async Task<CommitResult> MakeMistakeAsync(LocalTarget target, CancellationToken cancellationToken)
    {
        CommitResult lastGood = await target
            .PutAsync(LaterName, "note"u8.ToArray(), "written after the restore point"u8.ToArray(), cancellationToken)
            .ConfigureAwait(false);
        await target.DropTableAsync(TableName, cancellationToken).ConfigureAwait(false);
        Tell(
            "Make a mistake", $"pitr table drop {TableName}",
            $"One more commit, transaction {lastGood.TransactionId} at {TextForms.Time(lastGood.Time)}; and then the table is dropped "
            + "with everything in it.");
        return lastGood;
    }

    /// <summary>As cp does it. (A FileStream of .NET would ask for a lock of its own, which the engine's forbids.)</summary>
    private static void CopyFile(string from, string to)
    {
        var files = new PosixFileSystem();
        using IFileHandle original = files.Open(from, FileOpen.Read);
        using IFileHandle copy = files.Open(to, FileOpen.CreateNew);
        byte[] chunk = new byte[1 << 20];
        for (long at = 0; at < original.LengthBytes; at += chunk.Length)
            copy.Write(at, chunk.AsSpan(0, original.Read(at, chunk)));
        copy.SyncData();
    }

    private async Task<byte[]> GoBackAsync(
        string title, string folder, string option, RecoveryTarget target, bool isLater, CancellationToken cancellationToken)
    {
        long began = Now;
        string into = Path.Combine(scratch, folder);
        using var progress = new ProgressLine(console);
        var request = new RestoreRequest { Store = Store, Into = into, Target = target, Detached = true, Progress = progress };
        RestoreResult result = await EngineHost.WithSystemAsync(
            Logger.None, new PitrOptions(), options => PitrRecovery.RestoreAsync(request, options, cancellationToken)).ConfigureAwait(false);
        LocalTarget restored = await EngineHost.OpenAsync(into, Logger.None, new PitrOptions(), cancellationToken).ConfigureAwait(false);
        await using (restored.ConfigureAwait(false))
        {
            byte[] digest = await DigestAsync(restored, cancellationToken).ConfigureAwait(false);
            bool hasNote = await restored.GetAsync(LaterName, "note"u8.ToArray(), cancellationToken).ConfigureAwait(false) is not null;
            if (hasNote != isLater)
                throw new VerbFailedException("The restore does not stand at its target.", ReportIt);
            long count = await restored.CountAsync(TableName, cancellationToken).ConfigureAwait(false);
            progress.Dispose();
            Tell(
                title, $"pitr restore --from archive --into {folder} {option} --detached",
                $"Set {result.BackupId} and {TextShapes.Number(result.RecordsReplayed)} WAL records behind it, to LSN "
                + $"{result.StoppedAt.Lsn}: the table is back with {TextShapes.Number(count)} keys. The later commit is "
                + (isLater ? "there too." : "not there, as it should be."),
                began);
            return digest;
        }
    }

    /// <summary>SHA-256 over every key and value of the table, with their lengths, in key order.</summary>
    private static async Task<byte[]> DigestAsync(LocalTarget target, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] lengths = new byte[8];
        await foreach (KeyValue row in target.ScanAsync(TableName, ScanRange.All, cancellationToken).ConfigureAwait(false))
        {
            BinaryPrimitives.WriteInt32LittleEndian(lengths, row.Key.Length);
            BinaryPrimitives.WriteInt32LittleEndian(lengths.AsSpan(4), row.Value.Length);
            hash.AppendData(lengths);
            hash.AppendData(row.Key);
            hash.AppendData(row.Value);
        }
        return hash.GetHashAndReset();
    }

    // ---- telling -----------------------------------------------------------------------------------

    private static long Now => TimeProvider.System.GetTimestamp();

    private static string Short(byte[] digest) => Convert.ToHexStringLower(digest)[..16] + "…";

    private void Tell(string title, string? command, string text, long? began = null)
    {
        double? seconds = began is { } at ? TimeProvider.System.GetElapsedTime(at).TotalSeconds : null;
        if (seconds is { } took)
            _report.Took(title, took);
        story.Tell(title, command, text, seconds);
    }

    private void Draw(RestorePoint point, CommitResult lastGood)
    {
        story.Show(
            "aqua",
            "",
            "    load ──▶ backup ──▶ load ──▶ fence, copy ──▶ ● ──▶ ◆ ──▶ ✗ table dropped      timeline 1",
            "                                                 │     │",
            "                                                 │     └──▶ by-time                timeline 2",
            "                                                 └──▶ by-name                      timeline 2",
            "");
        story.Show(
            "grey",
            $"    ● {TextForms.Time(point.Time)}  LSN {point.Lsn}  restore point '{point.Name}'",
            $"    ◆ {TextForms.Time(lastGood.Time)}  LSN {lastGood.Lsn}  transaction {lastGood.TransactionId}, the last before the mistake");
    }

    private static async IAsyncEnumerable<InputRecord> Next(IAsyncEnumerator<InputRecord> records, long count)
    {
        for (; count > 0 && await records.MoveNextAsync().ConfigureAwait(false); count--)
            yield return records.Current;
    }
}
