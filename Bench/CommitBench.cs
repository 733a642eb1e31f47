using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many single puts a second are durable, and how long does each wait, with 1, 64 and 1024 writers: side
/// by side with the raw log (the ceiling) and with peers, all in one run on one disk.
/// </summary>
internal static class CommitBench
{
    public static void Run(BenchOptions options)
    {
        foreach (int writers in options.Writers)
        {
            for (int repetition = 0; repetition < options.Repetitions; repetition++)
            {
                foreach (string engine in options.Engines)
                {
                    using var folder = new BenchFolder(options.Folder, engine);
                    using IBenchEngine subject = BenchEngines.Open(engine, folder.Path);
                    subject.Load();
                    Measure(subject, writers, TimeSpan.FromSeconds(Math.Min(1, options.Seconds / 4.0)));
                    BenchLine.Of("commit", engine, writers, Measure(
                        subject, writers, TimeSpan.FromSeconds(options.Seconds)), TimeSpan.FromSeconds(options.Seconds))
                        .Print(options.Json);
                }
            }
        }
    }

    /// <summary>
    /// How much the process allocates for each durable put, the measuring program's own part included.
    /// </summary>
    public static void RunAllocation(BenchOptions options)
    {
        foreach (int writers in options.Writers)
        {
            using var folder = new BenchFolder(options.Folder, "pitr");
            using IBenchEngine subject = BenchEngines.Open("pitr", folder.Path);
            Measure(subject, writers, TimeSpan.FromSeconds(options.Seconds)); // until all that is pooled is there
            long before = GC.GetTotalAllocatedBytes(precise: true);
            long commits = Measure(subject, writers, TimeSpan.FromSeconds(options.Seconds)).Count;
            long bytes = GC.GetTotalAllocatedBytes(precise: true) - before;
            new AllocationLine("allocation", "pitr", writers, commits, Math.Round((double)bytes / commits, 1))
                .Print(options.Json);
        }
    }

    private static LatencyHistogram Measure(IBenchEngine engine, int writers, TimeSpan duration)
    {
        long until = Stopwatch.GetTimestamp() + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        using var histograms = new ThreadLocal<LatencyHistogram>(() => new LatencyHistogram(), trackAllValues: true);
        var tasks = new Task[writers];
        for (int i = 0; i < writers; i++)
        {
            int writer = i;
            tasks[i] = engine.IsBlocking
                ? Task.Factory.StartNew(() => WriteAsync(engine, writer, histograms, until).AsTask()
                    .Wait(), TaskCreationOptions.LongRunning)
                : Task.Run(() => WriteAsync(engine, writer, histograms, until).AsTask());
        }

        Task.WaitAll(tasks);
        var all = new LatencyHistogram();
        foreach (LatencyHistogram histogram in histograms.Values)
            all.Add(histogram);
        return all;
    }

    private static async ValueTask WriteAsync(
        IBenchEngine engine, int writer, ThreadLocal<LatencyHistogram> latencies, long until)
    {
        Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>, ValueTask> commit = engine.Writer();
        var random = new Random(writer + 17);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        Workload.Value(random, value);
        for (long began = Stopwatch.GetTimestamp(); began < until;)
        {
            Workload.Key(random.Next(Workload.Keys), key);
            BitConverter.TryWriteBytes(value, began);
            await commit(key, value).ConfigureAwait(false);
            long ended = Stopwatch.GetTimestamp();
            latencies.Value!.Add((long)((ended - began) * (1e9 / Stopwatch.Frequency)));
            began = ended;
        }
    }
}
