using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how much memory does the process take when the data is many times its budget: loaded, read at random, and
/// scanned? It should stay within the budget and 200 MiB.
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
            var watch = Stopwatch.StartNew();
            await LoadAsync(database, table).ConfigureAwait(false);
            double loadSeconds = watch.Elapsed.TotalSeconds;
            long afterLoad = PeakBytes();
            watch.Restart();
            long gets = GetMany(database, table, TimeSpan.FromSeconds(options.Seconds));
            double getsPerSecond = gets / watch.Elapsed.TotalSeconds;
            long afterGets = PeakBytes();
            watch.Restart();
            long rows = database.Scan(table, ScanRange.All).LongCount();
            double scanSeconds = watch.Elapsed.TotalSeconds;
            if (rows != Rows)
                throw new InvalidOperationException($"{rows} rows are there of {Rows}.");
            new MemoryLine(
                "memory", "pitr", BudgetBytes, (long)Rows * (Workload.KeyBytes + Workload.ValueBytes), PeakBytes(), afterLoad, afterGets,
                Math.Round(Rows / loadSeconds), Math.Round(getsPerSecond), Math.Round(rows / scanSeconds)).Print(options.Json);
        }
    }

    private static Task LoadAsync(PitrDatabase database, Table table)
    {
        const int Writers = 4;
        return Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(async () =>
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
        })));
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

    /// <summary>The most memory that the process ever had resident, as the kernel counts it.</summary>
    private static long PeakBytes()
    {
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) << 10;
    }

    private sealed record MemoryLine(
        string Question, string Engine, long BudgetBytes, long DataBytes, long PeakRssBytes, long PeakAfterLoadBytes,
        long PeakAfterGetsBytes, double LoadRowsPerSecond, double GetsPerSecond, double ScanRowsPerSecond)
    {
        public void Print(bool json) => Console.WriteLine(json
            ? JsonSerializer.Serialize(this, Json)
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{Question,-8} {Engine,-16} budget {BudgetBytes >> 20} MiB, data {DataBytes >> 20} MiB: peak {PeakRssBytes >> 20} MiB " +
                $"(after load {PeakAfterLoadBytes >> 20}, after gets {PeakAfterGetsBytes >> 20}); load {LoadRowsPerSecond:N0} rows/s, " +
                $"gets {GetsPerSecond:N0}/s, scan {ScanRowsPerSecond:N0} rows/s"));
    }
}
