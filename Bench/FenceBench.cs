using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  what do commits notice of a fence on the datafile of 1 GiB that they go to, and how much memory does the
/// process take meanwhile?
/// </summary>
/// <remarks>
/// "fence-none" and "fence-held": commits without and with a fence, as long as asked for, after a second of them that
/// does not count. Memory: the peak of what is resident, without and with the fence, beside the configured budget; the
/// writers' own objects are in it.
/// </remarks>
internal static class FenceBench
{
    private const long BudgetBytes = 1L << 30;
    private const int Rows = 4_600_000;

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
        var settings = new PitrOptions { MemoryBudgetBytes = BudgetBytes };
        PitrDatabase database = await PitrDatabase.CreateAsync(folder, settings).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            var load = new CommitLoad(database, table, Rows);
            await load.LoadAsync().ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await load.CommitAsync(writers, TimeSpan.FromSeconds(1)).ConfigureAwait(false);

            var ratios = new List<(double PerSecond, double P99)>();
            (long before, long peak) = (0, 0);
            for (int i = 0; i < options.Repetitions; i++)
            {
                (BenchLine free, before) = await CommitAsync("fence-none", load, writers, options).ConfigureAwait(false);
                FenceGrant grant =
                    await database.FenceAsync("main", TimeSpan.FromHours(1)).ConfigureAwait(false);
                (BenchLine fenced, peak) = await CommitAsync("fence-held", load, writers, options).ConfigureAwait(false);
                ratios.Add((fenced.PerSecond / free.PerSecond, fenced.P99Us / free.P99Us));

                var watch = Stopwatch.StartNew();
                await database.UnfenceAsync(grant.FenceId).ConfigureAwait(false);
                CopyLine.Of("fence", "unfence and flush", "nothing", grant.LengthBytes, watch.Elapsed)
                    .Print(options.Json);
            }

            VerdictLine.AtLeast(
                "fence", "commits a second, fenced / not (median)",
                VerdictLine.Median(ratios.Select(ratio => ratio.PerSecond)), 0.9).Print(options.Json);
            VerdictLine.AtMost(
                "fence", "p99, fenced / not (median)", VerdictLine.Median(ratios.Select(ratio => ratio.P99)), 1.5)
                .Print(options.Json);
            VerdictLine.AtMost("fence", "peak memory in MiB, not fenced", before >> 20, BudgetMebibytes)
                .Print(options.Json);
            VerdictLine.AtMost("fence", "peak memory in MiB, fenced", peak >> 20, BudgetMebibytes).Print(options.Json);
        }
    }

    /// <summary>Commits for the time asked, and the peak of resident memory meanwhile.</summary>
    private static async Task<(BenchLine Line, long PeakBytes)> CommitAsync(
        string question, CommitLoad load, int writers, BenchOptions options)
    {
        TimeSpan time = TimeSpan.FromSeconds(options.Seconds);
        ResidentMemory.ResetPeak();
        LatencyHistogram latencies = await load.CommitAsync(writers, time).ConfigureAwait(false);
        BenchLine line = BenchLine.Of(question, "pitr", writers, latencies, time);
        line.Print(options.Json);
        return (line, ResidentMemory.PeakBytes);
    }

    /// <summary>The budget, and what a .NET process and the garbage of 64 writers take besides.</summary>
    private static double BudgetMebibytes => (BudgetBytes >> 20) + 200;
}
