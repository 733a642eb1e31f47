using System.Diagnostics;
using Pitr.Recovery;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many transactions a second does a restore bring back out of an archive, over one, two and four datafiles,
/// and does the time that its plan says hold?
/// </summary>
/// <remarks>
/// 2 M rows in a backup set, then 2 M single puts of 100 bytes in the archive. "restore-plan" is the plan alone, which reads
/// and proves all WAL; "restore-replay" what comes behind the copies, until the database serves: fetch, replay, promotion;
/// "restore" the whole: plan, copy, replay, promotion, and the checkpoint of an orderly end. "writers" are the datafiles.
/// </remarks>
internal static class RestoreBench
{
    private static readonly int[] FilesOfRuns = [1, 2, 4];

    private const int Rows = 2_000_000;
    private const int Transactions = 2_000_000;
    private const int Writers = 512;

    public static void Run(BenchOptions options)
    {
        var rates = new Dictionary<int, double>();
        foreach (int files in FilesOfRuns)
        {
            using var folder = new BenchFolder(options.Folder, "pitr");
            string archive = Directory.CreateDirectory(Path.Combine(folder.Path, "archive")).FullName;
            FillAsync(Path.Combine(folder.Path, "db"), archive, files).GetAwaiter().GetResult();
            rates[files] = VerdictLine.Median(Enumerable.Range(0, options.Repetitions).Select(
                n => MeasureAsync(folder.Path, archive, files, n, options).GetAwaiter().GetResult()).ToArray());
        }

        VerdictLine.AtLeast("restore", "transactions replayed a second, 4 datafiles (median)", rates[4], 1e6).Print(options.Json);
        VerdictLine.AtLeast("restore", "2 datafiles, times the rate of 1 (medians)", rates[2] / rates[1], 1.5).Print(options.Json);
    }

    private static async Task<double> MeasureAsync(
        string folder, string archive, int files, int repetition, BenchOptions options)
    {
        var watch = new Stopwatch();
        var copied = new LastReport(watch);
        var request = new RestoreRequest
        {
            Store = archive,
            Into = Path.Combine(folder, $"restored{repetition}"),
            Target = RecoveryTarget.Latest,
            Detached = true,
            Progress = copied,
        };
        watch.Start();
        RecoveryPlan plan = await PitrRecovery.PlanAsync(request, Options()).ConfigureAwait(false);
        Line("restore-plan", files, plan.Records, watch.Elapsed.TotalSeconds).Print(options.Json);
        watch.Restart();
        RestoreResult result = await PitrRecovery.RestoreAsync(request, Options()).ConfigureAwait(false);
        double seconds = watch.Elapsed.TotalSeconds;
        double replaySeconds = result.Seconds - copied.At.TotalSeconds;
        Line("restore-replay", files, result.RecordsReplayed, replaySeconds).Print(options.Json);
        Line("restore", files, result.RecordsReplayed, seconds).Print(options.Json);
        VerdictLine.AtLeast("restore", "seconds that it took, times those of the plan", seconds / plan.EstimatedSeconds, 0.5)
            .Print(options.Json);
        VerdictLine.AtMost("restore", "seconds that it took, times those of the plan", seconds / plan.EstimatedSeconds, 2)
            .Print(options.Json);
        Directory.Delete(request.Into, recursive: true);
        return result.RecordsReplayed / replaySeconds;
    }

    private static BenchLine Line(string question, int files, long records, double seconds)
    {
        double each = Math.Round(seconds * 1e6 / records, 4);
        return new BenchLine(question, "pitr", files, Math.Round(records / seconds), each, each, each);
    }

    private static PitrOptions Options() => new()
    {
        MemoryBudgetBytes = 2L << 30,
        CheckpointWalBytes = 16L << 30,
        CheckpointInterval = TimeSpan.FromHours(1),
        ArchiveShutdownWait = TimeSpan.FromMinutes(10),
    };

    private static async Task FillAsync(string folder, string archive, int files)
    {
        PitrDatabase database = await PitrDatabase
            .CreateAsync(folder, Options() with { ArchiveStores = [archive] }).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            var tables = new Table[files];
            for (int n = 0; n < files; n++)
            {
                await database.CreateDatafileAsync($"file{n}").ConfigureAwait(false);
                tables[n] = await database.CreateTableAsync($"bench{n}", $"file{n}").ConfigureAwait(false);
            }

            await PutAsync(database, tables, Rows, perBatch: 100).ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await database.BackupAsync(new BackupRequest { Store = archive }).ConfigureAwait(false);
            await PutAsync(database, tables, Transactions, perBatch: 1).ConfigureAwait(false);
            await database.ShutdownAsync().ConfigureAwait(false);
        }
    }

    private static Task PutAsync(PitrDatabase database, Table[] tables, int rows, int perBatch) =>
        Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(async () =>
        {
            var batch = new WriteBatch();
            byte[] key = new byte[Workload.KeyBytes];
            byte[] value = new byte[Workload.ValueBytes];
            var random = new Random(writer);
            Workload.Value(random, value);
            for (int i = writer * perBatch; i < rows; i += Writers * perBatch)
            {
                batch.Clear();
                for (int n = 0; n < perBatch; n++)
                {
                    Workload.Key(random.Next(Workload.Keys), key);
                    batch.Put(tables[random.Next(tables.Length)], key, value);
                }

                await database.CommitAsync(batch).ConfigureAwait(false);
            }
        })));

    /// <summary>When the last piece of a copy was reported.</summary>
    private sealed class LastReport(Stopwatch watch) : IProgress<JobProgress>
    {
        public TimeSpan At { get; private set; }

        public void Report(JobProgress value) => At = watch.Elapsed;
    }
}
