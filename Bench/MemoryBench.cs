using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how much memory does the process take when the data is many times its budget, in each phase: loaded, read
/// at random, scanned, overwritten with and without a snapshot open, given a value of 64 MiB, checkpointed, opened
/// again and scanned? It should stay within the budget and 200 MiB; of the phases from the large value on, the process
/// holds that value and the batch with it too.
/// </summary>
internal static class MemoryBench
{
    private const long BudgetBytes = 64L << 20;
    private const int Rows = 9_300_000; // of 116 bytes: 1 GiB
    private const int RowsPerBatch = 1000;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public static void Run(BenchOptions options)
    {
        using var folder = new BenchFolder(options.Folder, "pitr");
        MeasureAsync(folder.Path, options).GetAwaiter().GetResult();
    }

    private static async Task MeasureAsync(string folder, BenchOptions options)
    {
        var settings = new PitrOptions { MemoryBudgetBytes = BudgetBytes };
        PitrDatabase database = await PitrDatabase.CreateAsync(folder, settings).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            await PhaseAsync("load", options, () => LoadAsync(database, table)).ConfigureAwait(false);
            var duration = TimeSpan.FromSeconds(options.Seconds);
            await PhaseAsync("gets", options, () => Task.FromResult(GetMany(database, table, duration)))
                .ConfigureAwait(false);
            await PhaseAsync("scan", options, () => Task.FromResult(ScanAll(database, table))).ConfigureAwait(false);
            await PhaseAsync("snapshot", options, () => OverwriteAsync(database, table, underSnapshot: true))
                .ConfigureAwait(false);
            await PhaseAsync("overwrite", options, () => OverwriteAsync(database, table, underSnapshot: false))
                .ConfigureAwait(false);
            await PhaseAsync("bigvalue", options, () => PutBigAsync(database, table)).ConfigureAwait(false);
            await PhaseAsync("checkpoint", options, async () =>
            {
                await database.CheckpointAsync().ConfigureAwait(false);
                return 1;
            }).ConfigureAwait(false);
        }

        database = null!;
        await PhaseAsync("reopen", options, async () =>
        {
            database = await PitrDatabase.OpenAsync(folder, settings).ConfigureAwait(false);
            return 1;
        }).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
            await PhaseAsync("rescan", options, () => Task.FromResult(ScanAll(database, database.GetTable("bench"))))
                .ConfigureAwait(false);
    }

    private static async Task PhaseAsync(string phase, BenchOptions options, Func<Task<long>> run)
    {
        ResidentMemory.ResetPeak();
        var watch = Stopwatch.StartNew();
        long rows = await run().ConfigureAwait(false);
        GCMemoryInfo collector = GC.GetGCMemoryInfo();
        new MemoryLine(
            "memory", "pitr", phase, BudgetBytes, (long)Rows * (Workload.KeyBytes + Workload.ValueBytes),
            ResidentMemory.PeakBytes, collector.TotalCommittedBytes, Math.Round(rows / watch.Elapsed.TotalSeconds)).Print(options.Json);
    }

    private static long ScanAll(PitrDatabase database, Table table)
    {
        long rows = database.Scan(table, ScanRange.All).LongCount();
        return rows >= Rows ? rows : throw new InvalidOperationException($"{rows} rows are there of {Rows}.");
    }

    private static async Task<long> OverwriteAsync(PitrDatabase database, Table table, bool underSnapshot)
    {
        using Snapshot? snapshot = underSnapshot ? database.OpenSnapshot() : null;
        var random = new Random(99);
        var batch = new WriteBatch();
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        for (int i = 0; i < 1000; i++)
        {
            batch.Clear();
            for (int n = 0; n < 1000; n++)
            {
                Workload.Key(random.Next(Rows), key);
                Workload.Value(random, value);
                batch.Put(table, key, value);
            }

            await database.CommitAsync(batch).ConfigureAwait(false);
        }

        return 1_000_000;
    }

    private static async Task<long> PutBigAsync(PitrDatabase database, Table table)
    {
        var batch = new WriteBatch();
        batch.Put(table, "big"u8, new byte[64 << 20]);
        await database.CommitAsync(batch).ConfigureAwait(false);
        return 1;
    }

    private static async Task<long> LoadAsync(PitrDatabase database, Table table)
    {
        const int Writers = 4;
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(async () =>
        {
            var batch = new WriteBatch();
            byte[] key = new byte[Workload.KeyBytes];
            byte[] value = new byte[Workload.ValueBytes];
            var random = new Random(writer);
            for (int from = writer * RowsPerBatch; from < Rows; from += Writers * RowsPerBatch)
            {
                batch.Clear();
                for (int i = from; i < Math.Min(Rows, from + RowsPerBatch); i++)
                {
                    Workload.Key(i, key);
                    Workload.Value(random, value);
                    batch.Put(table, key, value);
                }

                await database.CommitAsync(batch).ConfigureAwait(false);
            }
        }))).ConfigureAwait(false);
        return Rows;
    }

    private static long GetMany(PitrDatabase database, Table table, TimeSpan duration)
    {
        var random = new Random(7);
        byte[] key = new byte[Workload.KeyBytes];
        var watch = Stopwatch.StartNew();
        long gets = 0;
        for (; watch.Elapsed < duration; gets++)
        {
            Workload.Key(random.Next(Rows), key);
            if (database.Get(table, key) is null)
                throw new InvalidOperationException("A key that was loaded is not there.");
        }

        return gets;
    }

    private sealed record MemoryLine(
        string Question, string Engine, string Phase, long BudgetBytes, long DataBytes, long PeakRssBytes,
        long CollectorBytes,
        double RowsPerSecond)
    {
        public void Print(bool json) => Console.WriteLine(json
            ? JsonSerializer.Serialize(this, Json)
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{Question,-8} {Engine,-16} {Phase,-10} budget {BudgetBytes >> 20} MiB, data {DataBytes >> 20} MiB: peak {PeakRssBytes >> 20} MiB, " +
                $"of it committed by the collector {CollectorBytes >> 20}; {RowsPerSecond:N0} rows/s"));
    }
}
