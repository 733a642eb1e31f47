using System.Diagnostics;
using System.Globalization;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  what do commits notice of a fence on, and of a move of, the datafile of 1 GiB that they go to?
/// </summary>
/// <remarks>
/// "fence-none" and "fence-held": commits without and with a fence, as long as asked for; and the memory that the process
/// took meanwhile. "move-none" and "move": commits before, and while the datafile moves; judge by maxUs. Then the rate of
/// the move's copy beside that of <c>cp</c>, both without a load.
/// </remarks>
internal static class FenceBench
{
    private const int Rows = 8_000_000;
    private const int RowsPerBatch = 10_000;

    public static void RunFence(BenchOptions options) => Run(options, FenceAsync);

    public static void RunMove(BenchOptions options) => Run(options, MoveAsync);

    private static void Run(BenchOptions options, Func<PitrDatabase, Table, string, int, BenchOptions, Task> measure)
    {
        foreach (int writers in options.Writers)
        {
            using var folder = new BenchFolder(options.Folder, "pitr");
            LoadedAsync(folder.Path, (database, table) => measure(database, table, folder.Path, writers, options))
                .GetAwaiter().GetResult();
        }
    }

    private static async Task LoadedAsync(string folder, Func<PitrDatabase, Table, Task> measure)
    {
        PitrDatabase database = await PitrDatabase.CreateAsync(Path.Combine(folder, "db")).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            await LoadAsync(database, table).ConfigureAwait(false);
            await database.CheckpointAsync().ConfigureAwait(false);
            await measure(database, table).ConfigureAwait(false);
        }
    }

    private static async Task FenceAsync(
        PitrDatabase database, Table table, string folder, int writers, BenchOptions options)
    {
        TimeSpan time = TimeSpan.FromSeconds(options.Seconds);
        await CommitAsync(database, table, writers, Task.Delay(TimeSpan.FromSeconds(1))).ConfigureAwait(false);
        LatencyHistogram none =
            await CommitAsync(database, table, writers, Task.Delay(time)).ConfigureAwait(false);
        BenchLine.Of("fence-none", "pitr", writers, none, time).Print(options.Json);
        long before = Environment.WorkingSet;
        FenceGrant grant = await database.FenceAsync("main", TimeSpan.FromHours(1)).ConfigureAwait(false);
        var memory = new PeakMemory();
        LatencyHistogram held = await CommitAsync(
            database, table, writers, Task.WhenAll(Task.Delay(time), memory.WatchAsync(time))).ConfigureAwait(false);
        BenchLine.Of("fence-held", "pitr", writers, held, time).Print(options.Json);
        var watch = Stopwatch.StartNew();
        await database.UnfenceAsync(grant.FenceId).ConfigureAwait(false);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"fence-memory: {before >> 20} MiB before, at most {memory.Bytes >> 20} MiB while fenced; "
            + $"datafile {grant.LengthBytes >> 20} MiB; unfenced and flushed within {watch.Elapsed.TotalSeconds:F1} s"));
    }

    private static async Task MoveAsync(
        PitrDatabase database, Table table, string folder, int writers, BenchOptions options)
    {
        TimeSpan time = TimeSpan.FromSeconds(options.Seconds);
        await CommitAsync(database, table, writers, Task.Delay(TimeSpan.FromSeconds(1))).ConfigureAwait(false);
        await database.CheckpointAsync().ConfigureAwait(false);
        LatencyHistogram none = await CommitAsync(database, table, writers, Task.Delay(time)).ConfigureAwait(false);
        BenchLine.Of("move-none", "pitr", writers, none, time).Print(options.Json);
        var watch = Stopwatch.StartNew();
        Task<MoveResult> move = MoveTimedAsync(database, Path.Combine(folder, "loaded.pitr"), "under load");
        LatencyHistogram moving = await CommitAsync(database, table, writers, move).ConfigureAwait(false);
        BenchLine.Of("move", "pitr", writers, moving, watch.Elapsed).Print(options.Json);
        await database.CheckpointAsync().ConfigureAwait(false);
        for (int i = 0; i < 2; i++)
        {
            await Copy(Path.Combine(folder, "loaded.pitr"), Path.Combine(folder, "cp.pitr")).ConfigureAwait(false);
            string to = Path.Combine(folder, $"idle-{i}.pitr");
            await MoveTimedAsync(database, to, "idle").ConfigureAwait(false);
            await MoveTimedAsync(database, Path.Combine(folder, "loaded.pitr"), "idle").ConfigureAwait(false);
        }
    }

    private static async Task<MoveResult> MoveTimedAsync(PitrDatabase database, string to, string what)
    {
        var watch = Stopwatch.StartNew();
        var copied = new LastOf("copying", watch);
        MoveResult moved = await database.MoveAsync(
            new MoveRequest { Datafile = "main", Path = to, Progress = copied }).ConfigureAwait(false);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"move-rate {what}: {moved.Bytes >> 20} MiB, copied at {(moved.Bytes >> 20) / copied.Seconds:F0} MiB/s in "
            + $"{copied.Seconds:F2} s, fenced {moved.FencedSeconds:F2} s, all of it {moved.Seconds:F2} s"));
        return moved;
    }

    /// <summary>The file's pages are in memory by then, as for the move that follows.</summary>
    private static async Task Copy(string from, string to)
    {
        long bytes = new FileInfo(from).Length;
        var watch = Stopwatch.StartNew();
        using Process cp = Process.Start("cp", [from, to]);
        await cp.WaitForExitAsync().ConfigureAwait(false);
        double copied = watch.Elapsed.TotalSeconds;
        using Process sync = Process.Start("sync", [to]);
        await sync.WaitForExitAsync().ConfigureAwait(false);
        double synced = watch.Elapsed.TotalSeconds;
        File.Delete(to);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"cp: {bytes >> 20} MiB at {(bytes >> 20) / copied:F0} MiB/s, with sync at {(bytes >> 20) / synced:F0} MiB/s"));
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
        await until.ConfigureAwait(false);
        var all = new LatencyHistogram();
        foreach (LatencyHistogram histogram in histograms)
            all.Add(histogram);
        return all;
    }

    /// <summary>When the last report of a step came.</summary>
    private sealed class LastOf(string step, Stopwatch watch) : IProgress<JobProgress>
    {
        public double Seconds { get; private set; }

        public void Report(JobProgress value)
        {
            if (value.Step == step)
                Seconds = watch.Elapsed.TotalSeconds;
        }
    }

    /// <summary>The process's resident memory, looked at ten times a second.</summary>
    private sealed class PeakMemory
    {
        public long Bytes { get; private set; }

        public async Task WatchAsync(TimeSpan time)
        {
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < time;)
            {
                Bytes = Math.Max(Bytes, Environment.WorkingSet);
                await Task.Delay(100).ConfigureAwait(false);
            }
        }
    }
}
