using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  what do commits on other datafiles notice while one that was lost is brought back?
/// </summary>
/// <remarks>
/// A datafile of 2 M rows is in a backup set, 1 M further rows of it are in the archive behind that. In each repetition the
/// engine is closed, the file deleted, and the engine opened: the file is offline, and commits go on in the other one,
/// as long as asked for ("recovery-none") and then until the file serves again ("recovery"). The WAL of these commits lies
/// between the set and the end that the recovery has to reach, so it reads that too.
/// </remarks>
internal static class OnlineRecoveryBench
{
    private const int RowsInSet = 2_000_000;
    private const int RowsBehind = 1_000_000;
    private const string Lost = "lost";

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
        string place = Path.Combine(folder, "db");
        string store = Directory.CreateDirectory(Path.Combine(folder, "store")).FullName;
        var archived = new PitrOptions { ArchiveStores = [store] };
        PitrDatabase made = await PitrDatabase.CreateAsync(place, archived).ConfigureAwait(false);
        await using (made.ConfigureAwait(false))
        {
            await made.CreateTableAsync("bench").ConfigureAwait(false);
            await made.CreateDatafileAsync(Lost).ConfigureAwait(false);
            Table table = await made.CreateTableAsync(Lost, Lost).ConfigureAwait(false);
            await new CommitLoad(made, table, RowsInSet).LoadAsync().ConfigureAwait(false);
            await made.BackupAsync(new BackupRequest { Store = store }).ConfigureAwait(false);
            await new CommitLoad(made, table, RowsBehind).LoadAsync().ConfigureAwait(false);
        }

        var rates = new List<double>();
        var tails = new List<double>();
        for (int i = 0; i < options.Repetitions; i++)
        {
            File.Delete(Path.Combine(place, Lost + ".pitr"));
            PitrDatabase database = await PitrDatabase.OpenAsync(place, archived).ConfigureAwait(false);
            await using (database.ConfigureAwait(false))
                await CompareAsync(database, writers, options, rates, tails).ConfigureAwait(false);
        }

        VerdictLine.AtLeast(
            "recovery", "commits beside a recovery, share of those without (median)", VerdictLine.Median(rates), 0.8)
            .Print(options.Json);
        VerdictLine.AtMost(
            "recovery", "p99 beside a recovery, times that without (median)", VerdictLine.Median(tails), 2)
            .Print(options.Json);
    }

    private static async Task CompareAsync(
        PitrDatabase database, int writers, BenchOptions options, List<double> rates, List<double> tails)
    {
        TimeSpan time = TimeSpan.FromSeconds(options.Seconds);
        var load = new CommitLoad(database, database.GetTable("bench"), RowsBehind);
        await load.CommitAsync(writers, TimeSpan.FromSeconds(1)).ConfigureAwait(false);
        LatencyHistogram none = await load.CommitAsync(writers, time).ConfigureAwait(false);
        BenchLine before = BenchLine.Of("recovery-none", "pitr", writers, none, time);
        before.Print(options.Json);

        var watch = Stopwatch.StartNew();
        Task<DatafileRecoveryResult> recovery =
            database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = Lost });
        LatencyHistogram during = await load.CommitAsync(writers, recovery).ConfigureAwait(false);
        BenchLine beside = BenchLine.Of("recovery", "pitr", writers, during, watch.Elapsed);
        beside.Print(options.Json);
        DatafileRecoveryResult result = await recovery.ConfigureAwait(false);
        CopyLine.Of("recovery", $"{result.RecordsReplayed} records", "copied", result.Bytes, watch.Elapsed)
            .Print(options.Json);
        rates.Add(beside.PerSecond / before.PerSecond);
        tails.Add(beside.P99Us / before.P99Us);
    }
}
