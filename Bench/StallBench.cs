using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how long does the slowest commit wait while a flush of more than 256 MiB runs? Two lines: "stall-idle"
/// without a flush, "stall" during one; judge by maxUs.
/// </summary>
internal static class StallBench
{
    private const int Rows = 3_000_000;
    private const int RowsPerBatch = 10_000;

    public static void Run(BenchOptions options)
    {
        foreach (int writers in options.Writers)
        {
            for (int repetition = 0; repetition < options.Repetitions; repetition++)
            {
                using var folder = new BenchFolder(options.Folder, "pitr");
                MeasureAsync(folder.Path, writers, options).GetAwaiter().GetResult();
            }
        }
    }

    private static async Task MeasureAsync(string folder, int writers, BenchOptions options)
    {
        var settings = new PitrOptions
        {
            MemoryBudgetBytes = 6L << 30,
            WriteBufferBytesMax =
            4L << 30,
            CheckpointWalBytes = 16L << 30
        };
        PitrDatabase database = await PitrDatabase.CreateAsync(folder, settings).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            await LoadAsync(database, table).ConfigureAwait(false);
            // warm
            await CommitAsync(database, table, writers, Task.Delay(TimeSpan.FromSeconds(1))).ConfigureAwait(false);
            var watch = Stopwatch.StartNew();
            LatencyHistogram idle = await CommitAsync(
                database, table, writers, Task.Delay(TimeSpan.FromSeconds(options.Seconds))).ConfigureAwait(false);
            BenchLine.Of("stall-idle", "pitr", writers, idle, watch.Elapsed).Print(options.Json);
            watch.Restart();
            Task<CheckpointResult> flush = database.CheckpointAsync();
            LatencyHistogram flushing = await CommitAsync(database, table, writers, flush).ConfigureAwait(false);
            BenchLine.Of("stall", "pitr", writers, flushing, watch.Elapsed).Print(options.Json);
        }
    }

    private static async Task LoadAsync(PitrDatabase database, Table table)
    {
        var random = new Random(1);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        var batch = new WriteBatch();
        for (int from = 0; from < Rows; from += RowsPerBatch)
        {
            for (int i = from; i < from + RowsPerBatch; i++)
            {
                Workload.Key(i, key);
                Workload.Value(random, value);
                batch.Put(table, key, value);
            }

            await database.CommitAsync(batch).ConfigureAwait(false);
            batch.Clear();
        }
    }

    private static async Task<LatencyHistogram> CommitAsync(PitrDatabase database, Table table, int writers, Task until)
    {
        var histograms = new LatencyHistogram[writers];
        await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            LatencyHistogram latencies = histograms[writer] = new LatencyHistogram();
            var random = new Random(writer);
            var batch = new WriteBatch();
            byte[] key = new byte[Workload.KeyBytes];
            byte[] value = new byte[Workload.ValueBytes];
            Workload.Value(random, value);
            for (long began = Stopwatch.GetTimestamp(); !until.IsCompleted;)
            {
                Workload.Key(random.Next(Rows), key);
                batch.Clear();
                batch.Put(table, key, value);
                await database.CommitAsync(batch).ConfigureAwait(false);
                long ended = Stopwatch.GetTimestamp();
                latencies.Add((long)((ended - began) * (1e9 / Stopwatch.Frequency)));
                began = ended;
            }
        }))).ConfigureAwait(false);
        var all = new LatencyHistogram();
        foreach (LatencyHistogram histogram in histograms)
            all.Add(histogram);
        return all;
    }
}
