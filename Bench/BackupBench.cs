using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  what do commits notice of full backups of a datafile of 1 GiB, how fast is one beside <c>tar</c>, and what
/// does an incremental one take when a hundredth of the rows has changed?
/// </summary>
/// <remarks>
/// "backup-none" and "backup": commits before, and while backups to a folder run one after the other, as long as asked
/// for. Then, in each repetition, without a load, in turn: <c>tar -cf FILE</c> and <c>sync FILE</c> of the same file, and a
/// backup. All that a backup does besides copying is in its time: a checkpoint, a fence, each page's checksum, SHA-256,
/// the WAL and its proof, syncs. Last, a full set, a hundredth of the rows changed, all in one place, and an incremental
/// set that builds on it: "incremental", by the bytes of the datafile, and of its set.
/// </remarks>
internal static class BackupBench
{
    private const int Rows = 8_000_000;

    public static void Run(BenchOptions options)
    {
        foreach (int writers in options.Writers)
        {
            using var folder = new BenchFolder(options.Folder, "pitr");
            MeasureAsync(folder.Path, writers, options).GetAwaiter().GetResult();
        }
    }

    private static async Task MeasureAsync(string folder, int writers, BenchOptions options)
    {
        string file = Path.Combine(folder, "db", "main.pitr");
        PitrDatabase database = await PitrDatabase.CreateAsync(Path.Combine(folder, "db")).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            var load = new CommitLoad(database, table, Rows);
            await load.LoadAsync().ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await NoticeAsync(database, load, folder, writers, options).ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await CompareAsync(database, file, folder, options).ConfigureAwait(false);
            await IncrementAsync(database, table, file, folder, options).ConfigureAwait(false);
        }
    }

    private static async Task NoticeAsync(
        PitrDatabase database, CommitLoad load, string folder, int writers, BenchOptions options)
    {
        TimeSpan time = TimeSpan.FromSeconds(options.Seconds);
        await load.CommitAsync(writers, TimeSpan.FromSeconds(1)).ConfigureAwait(false);
        LatencyHistogram none = await load.CommitAsync(writers, time).ConfigureAwait(false);
        BenchLine before = BenchLine.Of("backup-none", "pitr", writers, none, time);
        before.Print(options.Json);
        var watch = Stopwatch.StartNew();
        LatencyHistogram during =
            await load.CommitAsync(writers, BackUpForAsync(database, folder, watch, time)).ConfigureAwait(false);
        BenchLine beside = BenchLine.Of("backup", "pitr", writers, during, watch.Elapsed);
        beside.Print(options.Json);
        VerdictLine.AtLeast("backup", "commits beside backups, share of those without",
            beside.PerSecond / before.PerSecond, 0.8).Print(options.Json);
        VerdictLine.AtMost("backup", "p99 beside backups, times that without",
            beside.P99Us / before.P99Us, 2).Print(options.Json);
    }

    private static async Task BackUpForAsync(PitrDatabase database, string folder, Stopwatch watch, TimeSpan time)
    {
        do
            await BackUpAsync(database, folder).ConfigureAwait(false);
        while (watch.Elapsed < time);
    }

    private static async Task CompareAsync(PitrDatabase database, string file, string folder, BenchOptions options)
    {
        string to = Path.Combine(folder, "copy.tar");
        string tar = $"tar -C '{Path.GetDirectoryName(file)}' -cf '{to}' '{Path.GetFileName(file)}' && sync '{to}'";
        long bytes = new FileInfo(file).Length;
        var ratios = new List<double>();
        for (int i = 0; i < options.Repetitions; i++)
        {
            ToolEnd other = await Tool.ShellAsync(tar).ConfigureAwait(false);
            File.Delete(to);
            TimeSpan ours = await BackUpAsync(database, folder).ConfigureAwait(false);
            CopyLine.Of("backup", "tar", "file", bytes, other.Took).Print(options.Json);
            CopyLine.Of("backup", "backup", "folder", bytes, ours).Print(options.Json);
            ratios.Add(other.Took / ours);
        }

        VerdictLine.AtLeast("backup", "rate to a folder, share of tar (median)", VerdictLine.Median(ratios), 0.9)
            .Print(options.Json);
    }

    private static async Task IncrementAsync(
        PitrDatabase database, Table table, string file, string folder, BenchOptions options)
    {
        string store = Directory.CreateDirectory(Path.Combine(folder, "chain")).FullName;
        await database.BackupAsync(new BackupRequest { Store = store }).ConfigureAwait(false);
        byte[][] keys = FirstKeys(database, table);
        var random = new Random(2);
        byte[] value = new byte[Workload.ValueBytes];
        for (int i = 0; i < options.Repetitions; i++)
        {
            var batch = new WriteBatch();
            foreach (byte[] key in keys)
            {
                Workload.Value(random, value);
                batch.Put(table, key, value);
            }

            await database.CommitAsync(batch).ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            long bytes = new FileInfo(file).Length;
            var watch = Stopwatch.StartNew();
            BackupResult made = await database
                .BackupAsync(new BackupRequest { Store = store, Incremental = true }).ConfigureAwait(false);
            TimeSpan took = watch.Elapsed;
            CopyLine.Of("backup", "incremental", "datafile", bytes, took).Print(options.Json);
            CopyLine.Of("backup", "incremental", "set", made.Bytes, took).Print(options.Json);
        }
    }

    private static byte[][] FirstKeys(PitrDatabase database, Table table)
    {
        using Snapshot snapshot = database.OpenSnapshot();
        return [.. snapshot.Scan(table, ScanRange.All).Take(Rows / 100).Select(static row => row.Key.ToArray())];
    }

    /// <summary>A set in a store of its own, which goes again, so that the disk does not fill.</summary>
    private static async Task<TimeSpan> BackUpAsync(PitrDatabase database, string folder)
    {
        string store = Directory.CreateDirectory(Path.Combine(folder, "sets")).FullName;
        var watch = Stopwatch.StartNew();
        await database.BackupAsync(new BackupRequest { Store = store }).ConfigureAwait(false);
        TimeSpan took = watch.Elapsed;
        Directory.Delete(store, recursive: true);
        return took;
    }
}
