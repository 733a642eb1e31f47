using System.Diagnostics;
using Pitr.Recovery;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many transactions a second does a restore bring back out of an archive, over four datafiles, and does the
/// time that its plan says hold?
/// </summary>
/// <remarks>
/// 2 M rows in a backup set, then 2 M single puts of 100 bytes in the archive. "restore-plan" is the plan alone, which reads
/// and proves all WAL; "restore" the whole: plan, copy, replay, promotion, and the checkpoint of an orderly end.
/// </remarks>
internal static class RestoreBench
{
    private const int Files = 4;
    private const int Rows = 2_000_000;
    private const int Transactions = 2_000_000;
    private const int Writers = 512;

    public static void Run(BenchOptions options)
    {
        using var folder = new BenchFolder(options.Folder, "pitr");
        string archive = Directory.CreateDirectory(Path.Combine(folder.Path, "archive")).FullName;
        FillAsync(Path.Combine(folder.Path, "db"), archive).GetAwaiter().GetResult();
        for (int repetition = 0; repetition < options.Repetitions; repetition++)
            MeasureAsync(folder.Path, archive, repetition, options).GetAwaiter().GetResult();
    }

    private static async Task MeasureAsync(string folder, string archive, int repetition, BenchOptions options)
    {
        var request = new RestoreRequest
        {
            Store = archive,
            Into = Path.Combine(folder, $"restored{repetition}"),
            Target = RecoveryTarget.Latest,
            Detached = true,
        };
        var watch = Stopwatch.StartNew();
        RecoveryPlan plan = await PitrRecovery.PlanAsync(request, Options()).ConfigureAwait(false);
        Line("restore-plan", plan.Records, watch.Elapsed.TotalSeconds).Print(options.Json);
        watch.Restart();
        RestoreResult result = await PitrRecovery.RestoreAsync(request, Options()).ConfigureAwait(false);
        double seconds = watch.Elapsed.TotalSeconds;
        Line("restore", result.RecordsReplayed, seconds).Print(options.Json);
        VerdictLine.AtLeast("restore", "seconds that it took, times those of the plan", seconds / plan.EstimatedSeconds, 0.5)
            .Print(options.Json);
        VerdictLine.AtMost("restore", "seconds that it took, times those of the plan", seconds / plan.EstimatedSeconds, 2)
            .Print(options.Json);
        Directory.Delete(request.Into, recursive: true);
    }

    private static BenchLine Line(string question, long records, double seconds)
    {
        double each = Math.Round(seconds * 1e6 / records, 4);
        return new BenchLine(question, "pitr", 1, Math.Round(records / seconds), each, each, each);
    }

    private static PitrOptions Options() => new()
    {
        MemoryBudgetBytes = 2L << 30,
        CheckpointWalBytes = 16L << 30,
        CheckpointInterval = TimeSpan.FromHours(1),
        ArchiveShutdownWait = TimeSpan.FromMinutes(10),
    };

    private static async Task FillAsync(string folder, string archive)
    {
        PitrDatabase database = await PitrDatabase
            .CreateAsync(folder, Options() with { ArchiveStores = [archive] }).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            var tables = new Table[Files];
            for (int n = 0; n < Files; n++)
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
                    batch.Put(tables[random.Next(Files)], key, value);
                }

                await database.CommitAsync(batch).ConfigureAwait(false);
            }
        })));
}
