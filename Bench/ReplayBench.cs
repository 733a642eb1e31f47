using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many transactions a second does recovery replay after a kill: WAL of single puts, opened until the
/// database takes commits again?
/// </summary>
internal static class ReplayBench
{
    private const int Transactions = 3_000_000;

    public static void Run(BenchOptions options)
    {
        using var folder = new BenchFolder(options.Folder, "pitr");
        string database = Path.Combine(folder.Path, "db");
        string crashed = Path.Combine(folder.Path, "crashed");
        FillAndCopy(database, crashed).GetAwaiter().GetResult();
        for (int repetition = 0; repetition < options.Repetitions; repetition++)
        {
            string copy = crashed + repetition;
            CopyFolder(crashed, copy);
            var watch = Stopwatch.StartNew();
            PitrDatabase opened = PitrDatabase.OpenAsync(copy, Options()).GetAwaiter().GetResult();
            double seconds = watch.Elapsed.TotalSeconds;
            opened.DisposeAsync().AsTask().GetAwaiter().GetResult();
            double each = seconds * 1e6 / Transactions;
            new BenchLine("replay", "pitr", 1, Math.Round(Transactions / seconds), Math.Round(each, 4),
                Math.Round(each, 4), Math.Round(each, 4))
                .Print(options.Json);
            Directory.Delete(copy, recursive: true);
        }
    }

    private static PitrOptions Options() => new()
    {
        MemoryBudgetBytes = 4L << 30,
        WriteBufferBytesMax = 2L << 30,
        CheckpointWalBytes = 16L << 30,
        CheckpointInterval = TimeSpan.FromHours(1),
    };

    /// <summary>Commits without a checkpoint, then copies the folder while it is open: as after a kill.</summary>
    private static async Task FillAndCopy(string folder, string copy)
    {
        PitrDatabase database = await PitrDatabase.CreateAsync(folder, Options()).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            const int Writers = 512;
            await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(async () =>
            {
                var batch = new WriteBatch();
                byte[] key = new byte[Workload.KeyBytes];
                byte[] value = new byte[Workload.ValueBytes];
                var random = new Random(writer);
                Workload.Value(random, value);
                for (int i = writer; i < Transactions; i += Writers)
                {
                    Workload.Key(random.Next(Workload.Keys), key);
                    batch.Clear();
                    batch.Put(table, key, value);
                    await database.CommitAsync(batch).ConfigureAwait(false);
                }
            }))).ConfigureAwait(false);
            CopyFolder(folder, copy);
        }
    }

    /// <summary>
    /// By a tool that looks at no locks: the database is open. Synced, as the WAL of a crash is, every commit of which
    /// was durable: else the time to write the copy would be counted as that of its replay.
    /// </summary>
    private static void CopyFolder(string from, string to)
    {
        Run("cp", "-a", from, to);
        Run("sync", "-f", to);
    }

    private static void Run(string tool, params string[] args)
    {
        using Process process = Process.Start(tool, args);
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new IOException($"{tool} {string.Join(' ', args)} ended with {process.ExitCode}.");
    }
}
