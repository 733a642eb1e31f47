using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text.Json;
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
/// Each step is a method; each tells what it does, does it through the same code as the verbs, and notes its time. A proof that
/// fails ends the tour with an error. The story goes to standard error under --json, else to standard output.
/// </remarks>
internal sealed class Tour(CliConsole console, TextWriter story, string scratch, string file, string? keyField)
{
    private const string TableName = "records";
    private const string LaterName = "later";
    private const string PointName = "before-the-mistake";

    private readonly TourReport _report = new();
    private int _step;

    private string Database => Path.Combine(scratch, "database");

    private string Store => Path.Combine(scratch, "archive");

    /// <summary>Tells all of it.</summary>
    public async Task<TourReport> RunAsync(CancellationToken cancellationToken)
    {
        List<InputRecord> records = await ReadRecordsAsync(cancellationToken).ConfigureAwait(false);
        LocalTarget target = await CreateAsync(cancellationToken).ConfigureAwait(false);
        byte[] before;
        CommitResult lastGood;
        RestorePoint point;
        await using (target.ConfigureAwait(false))
        {
            int half = records.Count / 2;
            await LoadAsync(target, records[..half], "load the first half", cancellationToken).ConfigureAwait(false);
            await BackUpDuringLoadAsync(target, records[half..], cancellationToken).ConfigureAwait(false);
            await CopyFencedAsync(target, cancellationToken).ConfigureAwait(false);
            point = await target.CreateRestorePointAsync(PointName, cancellationToken).ConfigureAwait(false);
            before = await DigestAsync(target, cancellationToken).ConfigureAwait(false);
            Tell("Name the moment", $"restore point '{PointName}' at {point.Lsn}; the table's SHA-256 is {Short(before)}");
            lastGood = await target
                .PutAsync(LaterName, "note"u8.ToArray(), "written after the restore point"u8.ToArray(), cancellationToken)
                .ConfigureAwait(false);
            await target.DropTableAsync(TableName, cancellationToken).ConfigureAwait(false);
            Tell("Make a mistake", $"one more commit at {TextForms.Time(lastGood.Time)}, then: table '{TableName}' is dropped, with everything in it");
        }
        byte[] byName = await GoBackAsync(
            "Go back by name", "by-name", RecoveryTarget.IncludingRestorePoint(PointName), isLater: false, cancellationToken).ConfigureAwait(false);
        byte[] byTime = await GoBackAsync(
            "Go back by time", "by-time", RecoveryTarget.Including(lastGood.Time), isLater: true, cancellationToken).ConfigureAwait(false);
        _report.IsEqual = before.AsSpan().SequenceEqual(byName) && before.AsSpan().SequenceEqual(byTime);
        if (!_report.IsEqual)
            throw new VerbFailedException("What came back is not what was there before the mistake.", "This is a bug of pitr: report it, with the file.");
        Tell("Equal", $"SHA-256 over every key and value: {Short(before)} before the mistake, by name, and by time");
        Draw(point, lastGood);
        return _report;
    }

    // ---- steps -------------------------------------------------------------------------------------

    private async Task<List<InputRecord>> ReadRecordsAsync(CancellationToken cancellationToken)
    {
        long began = Now;
        string format = RecordFile.FormatOf(file);
        string field = keyField ?? await FirstFieldAsync(format, cancellationToken).ConfigureAwait(false);
        var records = new List<InputRecord>();
        await using Stream stream = RecordFile.Open(console, file);
        await foreach (InputRecord record in RecordFile.ReadAsync(stream, file, format, field, cancellationToken).ConfigureAwait(false))
            records.Add(record);
        if (records.Count < 2)
            throw new VerbFailedException($"'{file}' has {records.Count} records.", "Name a file with more of them.");
        _report.Records = records.Count;
        Tell("Read", $"{TextShapes.Number(records.Count)} records of '{Path.GetFileName(file)}', key '{field}'", began);
        return records;
    }

    private async Task<string> FirstFieldAsync(string format, CancellationToken cancellationToken)
    {
        await using Stream stream = RecordFile.Open(console, file);
        using var reader = new StreamReader(stream);
        string line = await reader.ReadLineAsync(cancellationToken).ConfigureAwait(false) ?? "";
        if (format == "csv")
            return line.TrimStart('\uFEFF').Split(',')[0].Trim('"');
        try
        {
            using JsonDocument first = JsonDocument.Parse(line.TrimStart('\uFEFF'));
            return first.RootElement.EnumerateObject().First().Name;
        }
        catch (Exception wrong) when (wrong is JsonException or InvalidOperationException)
        {
            throw InputErrors.At(file, 1, "it is no JSON object with a member.", wrong);
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
        Tell("Create", $"a database in {scratch}, with a datafile 'data', two tables, and an archive for its WAL", began);
        return target;
    }

    private async Task<LoadResult> LoadAsync(
        LocalTarget target, List<InputRecord> records, string what, CancellationToken cancellationToken, double? perSecond = null)
    {
        long began = Now;
        LoadResult result = await new Loader(target, TimeProvider.System) { BatchRecords = 100, RecordsPerSecond = perSecond }
            .LoadAsync(TableName, Each(records, cancellationToken), cancellationToken).ConfigureAwait(false);
        Tell(
            "Load",
            $"{what}: {TextShapes.Number(result.Records)} records in {TextShapes.Number(result.Transactions)} transactions, each durable when it is acknowledged",
            began);
        return result;
    }

    private async Task BackUpDuringLoadAsync(LocalTarget target, List<InputRecord> records, CancellationToken cancellationToken)
    {
        long began = Now;
        Task<LoadResult> load = LoadAsync(
            target, records, "the second half, spread over two seconds so that the backup falls into it", cancellationToken, records.Count / 2.0);
        BackupResult backup = await target
            .BackupAsync(new BackupRequest { Store = Store }, cancellationToken).ConfigureAwait(false);
        await load.ConfigureAwait(false);
        Tell("Back up", $"set {backup.BackupId}: {backup.Files} datafiles, {TextShapes.Bytes(backup.Bytes)}, taken while the load went on", began);
    }

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
            throw new VerbFailedException($"The copy of the datafile is not whole: {report.Problems[0]}", "This is a bug of pitr: report it, with the file.");
        Tell(
            "Fence and copy",
            $"datafile 'data' was held still at {fence.CheckpointLsn} and copied like any file ({TextShapes.Bytes(fence.LengthBytes)}); a commit went on meanwhile; "
                + $"every page of the copy is whole; durable in the file to {unfenced.FlushedLsn}",
            began);
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
        string title, string folder, RecoveryTarget target, bool isLater, CancellationToken cancellationToken)
    {
        long began = Now;
        string into = Path.Combine(scratch, folder);
        var request = new RestoreRequest { Store = Store, Into = into, Target = target, Detached = true };
        RestoreResult result = await EngineHost.WithSystemAsync(
            Logger.None, new PitrOptions(), options => PitrRecovery.RestoreAsync(request, options, cancellationToken)).ConfigureAwait(false);
        LocalTarget restored = await EngineHost.OpenAsync(into, Logger.None, new PitrOptions(), cancellationToken).ConfigureAwait(false);
        await using (restored.ConfigureAwait(false))
        {
            byte[] digest = await DigestAsync(restored, cancellationToken).ConfigureAwait(false);
            bool hasNote = await restored.GetAsync(LaterName, "note"u8.ToArray(), cancellationToken).ConfigureAwait(false) is not null;
            if (hasNote != isLater)
                throw new VerbFailedException("The restore does not stand at its target.", "This is a bug of pitr: report it, with the file.");
            long count = await restored.CountAsync(TableName, cancellationToken).ConfigureAwait(false);
            Tell(
                title,
                $"{target}: set {result.BackupId}, {TextShapes.Number(result.RecordsReplayed)} WAL records replayed, timeline {result.Timeline}; the table is back with {TextShapes.Number(count)} keys",
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

    private void Tell(string title, string what, long? began = null)
    {
        double? seconds = began is { } at ? TimeProvider.System.GetElapsedTime(at).TotalSeconds : null;
        if (seconds is { } took)
            _report.Took(title, took);
        story.WriteLine($"{++_step,2}. {title}{(seconds is { } shown ? $"  ({TextShapes.Seconds(shown)})" : "")}");
        story.WriteLine($"    {what}");
    }

    private void Draw(RestorePoint point, CommitResult lastGood)
    {
        story.WriteLine();
        story.WriteLine("    load ──▶ backup ──▶ load ──▶ fence, copy ──▶ ● ──▶ ◆ ──▶ ✗ table dropped      timeline 1");
        story.WriteLine("                                                 │     │");
        story.WriteLine("                                                 │     └──▶ by-time                timeline 2");
        story.WriteLine("                                                 └──▶ by-name                      timeline 2");
        story.WriteLine($"    ● '{point.Name}' {point.Lsn}, {TextForms.Time(point.Time)}");
        story.WriteLine($"    ◆ transaction {lastGood.TransactionId} {lastGood.Lsn}, {TextForms.Time(lastGood.Time)}");
    }

    private static async IAsyncEnumerable<InputRecord> Each(
        List<InputRecord> records, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.Yield();
        foreach (InputRecord record in records)
        {
            cancellationToken.ThrowIfCancellationRequested();
            yield return record;
        }
    }
}
