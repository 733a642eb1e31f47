using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many warm gets a second by one thread (and by four), and how many rows a second in a full scan?
/// </summary>
internal static class ReadBench
{
    private static readonly string[] Logs = ["raw-log", "fasterlog"];

    public static void RunGets(BenchOptions options)
    {
        foreach (string engine in options.Engines.Except(Logs))
        {
            using var folder = new BenchFolder(options.Folder, engine);
            using IBenchEngine subject = BenchEngines.Open(engine, folder.Path);
            subject.Load();
            foreach (int threads in new[] { 1, 4 })
            {
                Gets(subject, threads, TimeSpan.FromSeconds(1));
                TimeSpan duration = TimeSpan.FromSeconds(options.Seconds);
                BenchLine.Of("read", engine, threads, Gets(subject, threads, duration), duration).Print(options.Json);
            }
        }
    }

    public static void RunScans(BenchOptions options)
    {
        foreach (string engine in options.Engines.Except(Logs))
        {
            using var folder = new BenchFolder(options.Folder, engine);
            using IBenchEngine subject = BenchEngines.Open(engine, folder.Path);
            subject.Load();
            subject.Scan();
            long rows = 0;
            var watch = Stopwatch.StartNew();
            while (watch.Elapsed.TotalSeconds < options.Seconds)
                rows += subject.Scan();
            double perRow = watch.Elapsed.TotalMicroseconds / Math.Max(1, rows);
            new BenchLine("scan", engine, 1, Math.Round(rows / watch.Elapsed.TotalSeconds), Math.Round(perRow, 4),
                Math.Round(perRow, 4), Math.Round(perRow, 4))
                .Print(options.Json);
        }
    }

    private static LatencyHistogram Gets(IBenchEngine engine, int threads, TimeSpan duration)
    {
        var histograms = new LatencyHistogram[threads];
        var running = new Thread[threads];
        for (int i = 0; i < threads; i++)
        {
            int thread = i;
            histograms[i] = new LatencyHistogram();
            running[i] = new Thread(() => GetMany(engine.Reader(), thread, histograms[thread], duration));
            running[i].Start();
        }

        foreach (Thread thread in running)
            thread.Join();
        var all = new LatencyHistogram();
        foreach (LatencyHistogram histogram in histograms)
            all.Add(histogram);
        return all;
    }

    /// <summary>Times 16 gets at once: reading the clock for each would cost as much as a get.</summary>
    private static void GetMany(Func<byte[], bool> get, int seed, LatencyHistogram latencies, TimeSpan duration)
    {
        const int AtOnce = 16;
        var random = new Random(seed);
        byte[] key = new byte[Workload.KeyBytes];
        long until = Stopwatch.GetTimestamp() + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        for (long began = Stopwatch.GetTimestamp(); began < until;)
        {
            for (int i = 0; i < AtOnce; i++)
            {
                Workload.Key(random.Next(Workload.Keys), key);
                if (!get(key))
                    throw new InvalidOperationException("A key that was loaded is not there.");
            }

            long ended = Stopwatch.GetTimestamp();
            long each = (long)((ended - began) * (1e9 / Stopwatch.Frequency)) / AtOnce;
            for (int i = 0; i < AtOnce; i++)
                latencies.Add(each);
            began = ended;
        }
    }
}
