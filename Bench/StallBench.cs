using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how long does the slowest commit wait while a flush of more than 256 MiB runs? Two lines: "stall-idle"
/// without a flush, "stall" during one; judge by maxUs.
/// </summary>
internal static class StallBench
{
    private const int Rows = 3_000_000;

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
            WriteBufferBytesMax = 4L << 30,
            CheckpointWalBytes = 16L << 30,
        };
        PitrDatabase database = await PitrDatabase.CreateAsync(folder, settings).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            var load = new CommitLoad(database, table, Rows);
            await load.LoadAsync().ConfigureAwait(false);
            await load.CommitAsync(writers, TimeSpan.FromSeconds(1)).ConfigureAwait(false); // warm
            var watch = Stopwatch.StartNew();
            LatencyHistogram idle =
                await load.CommitAsync(writers, TimeSpan.FromSeconds(options.Seconds)).ConfigureAwait(false);
            BenchLine.Of("stall-idle", "pitr", writers, idle, watch.Elapsed).Print(options.Json);
            watch.Restart();
            Task<CheckpointResult> flush = database.CheckpointAsync();
            LatencyHistogram flushing = await load.CommitAsync(writers, flush).ConfigureAwait(false);
            BenchLine.Of("stall", "pitr", writers, flushing, watch.Elapsed).Print(options.Json);
        }
    }
}
