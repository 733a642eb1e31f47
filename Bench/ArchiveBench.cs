using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// QUESTION  how many finished WAL segments of 16 MiB reach a folder store in a second, each proved, digested,
/// compressed, synced, read back and compared, beside <c>cp</c> of the same files?
/// </summary>
/// <remarks>
/// About 64 segments of WAL of single rows with values of 100 bytes are made without a store and kept. Then in each
/// repetition, without a load, in turn: the files written one after the other from memory with a sync each ("write", what
/// the disk gives), <c>cp</c> and <c>sync</c> of them, and a store added to the running engine until it lacks nothing.
/// The processor time of a segment says what the machine could reach with a disk that costs nothing, also beside others.
/// "MiB" are those of the segments; what is written to the store is compressed.
/// </remarks>
internal static class ArchiveBench
{
    private const int Rows = 7_000_000;
    private const int SegmentBytes = 16 << 20;

    public static void Run(BenchOptions options)
    {
        using var folder = new BenchFolder(options.Folder, "pitr");
        MeasureAsync(folder.Path, options).GetAwaiter().GetResult();
    }

    private static async Task MeasureAsync(string folder, BenchOptions options)
    {
        var keeping = new PitrOptions // all of the WAL stays
        {
            WalSegmentBytes = SegmentBytes,
            MemoryBudgetBytes = 6L << 30,
            WriteBufferBytesMax = 5L << 30,
            CheckpointWalBytes = 1L << 50,
            CheckpointInterval = TimeSpan.FromDays(1),
        };
        PitrDatabase database =
            await PitrDatabase.CreateAsync(Path.Combine(folder, "db"), keeping).ConfigureAwait(false);
        await using (database.ConfigureAwait(false))
        {
            Table table = await database.CreateTableAsync("bench").ConfigureAwait(false);
            await new CommitLoad(database, table, Rows).LoadAsync().ConfigureAwait(false);
            await database.SwitchWalAsync().ConfigureAwait(false);
            await CompareAsync(database, folder, options).ConfigureAwait(false);
        }
    }

    private static async Task CompareAsync(PitrDatabase database, string folder, BenchOptions options)
    {
        var rates = new List<double>();
        var ofCopy = new List<double>();
        var ofDisk = new List<double>();
        var processor = new List<double>();
        await WarmUpAsync(database, folder).ConfigureAwait(false);
        for (int i = 0; i < options.Repetitions; i++)
        {
            string store = Directory.CreateDirectory(Path.Combine(folder, "store")).FullName;
            TimeSpan used = Environment.CpuUsage.TotalTime;
            TimeSpan ours = await ArchiveAsync(database, store).ConfigureAwait(false);
            used = Environment.CpuUsage.TotalTime - used;
            string[] shipped = [.. Directory.GetFiles(Path.Combine(store, "wal"), "*.zst")
                .Select(path => Path.GetFileNameWithoutExtension(path)).Where(static name => name.Length == 24)];
            long stored = Directory.GetFiles(Path.Combine(store, "wal")).Sum(static path => new FileInfo(path).Length);
            Directory.Delete(store, recursive: true);
            string[] files = [.. shipped.Select(name => Path.Combine(folder, "db", "wal", name))];
            long bytes = (long)files.Length * SegmentBytes;
            TimeSpan copy = await CopyAsync(files, folder).ConfigureAwait(false);
            TimeSpan write = Write(files, folder);
            CopyLine.Of("archive", "write and sync", "memory", bytes, write).Print(options.Json);
            CopyLine.Of("archive", "cp and sync", "files", bytes, copy).Print(options.Json);
            CopyLine.Of("archive", "archive", $"{stored >> 20} stored", bytes, ours).Print(options.Json);
            rates.Add(files.Length / ours.TotalSeconds);
            ofCopy.Add(copy / ours);
            ofDisk.Add(write / ours);
            processor.Add(used.TotalMilliseconds / files.Length);
        }
        VerdictLine.AtLeast("archive", "segments a second (median)", VerdictLine.Median(rates), 60).Print(options.Json);
        VerdictLine.AtMost(
            "archive", "processor time of a segment, ms (median)", VerdictLine.Median(processor), Environment.ProcessorCount * 1000 / 60.0)
            .Print(options.Json);
        VerdictLine.AtLeast("archive", "rate, share of cp and sync (median)", VerdictLine.Median(ofCopy), 0)
            .Print(options.Json);
        VerdictLine.AtLeast("archive", "rate, share of write and sync (median)", VerdictLine.Median(ofDisk), 0)
            .Print(options.Json);
    }

    /// <summary>Once, so that what is measured is compiled as that of an engine which has run for a while.</summary>
    private static async Task WarmUpAsync(PitrDatabase database, string folder)
    {
        string store = Directory.CreateDirectory(Path.Combine(folder, "warm-up")).FullName;
        await ArchiveAsync(database, store).ConfigureAwait(false);
        Directory.Delete(store, recursive: true);
    }

    private static async Task<TimeSpan> ArchiveAsync(PitrDatabase database, string store)
    {
        var watch = Stopwatch.StartNew();
        await database.AddStoreAsync(store).ConfigureAwait(false);
        while ((await database.GetStatusAsync().ConfigureAwait(false)).Archive.Single() is { LagBytes: > 0 } status)
        {
            if (status.LastError is { } error)
                throw new InvalidOperationException(error);
            await Task.Delay(5).ConfigureAwait(false);
        }
        TimeSpan took = watch.Elapsed;
        await database.RemoveStoreAsync(store).ConfigureAwait(false);
        return took;
    }

    private static async Task<TimeSpan> CopyAsync(string[] files, string folder)
    {
        string to = Directory.CreateDirectory(Path.Combine(folder, "copies")).FullName;
        ToolEnd copied = await Tool.ShellAsync(
            $"cp '{string.Join("' '", files)}' '{to}' && sync '{to}'/* '{to}'").ConfigureAwait(false);
        Directory.Delete(to, recursive: true);
        return copied.Took;
    }

    private static TimeSpan Write(string[] files, string folder)
    {
        string to = Directory.CreateDirectory(Path.Combine(folder, "written")).FullName;
        byte[] content = File.ReadAllBytes(files[0]);
        var watch = Stopwatch.StartNew();
        foreach (string file in files)
        {
            using var handle = File.OpenHandle(
                Path.Combine(to, Path.GetFileName(file)), FileMode.CreateNew, FileAccess.Write);
            RandomAccess.Write(handle, content, 0);
            RandomAccess.FlushToDisk(handle);
        }
        TimeSpan took = watch.Elapsed;
        Directory.Delete(to, recursive: true);
        return took;
    }
}
