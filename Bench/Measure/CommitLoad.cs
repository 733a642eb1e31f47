using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>
/// The rows and the writers of the questions that ask what commits notice of something: single puts of random loaded
/// keys, each durable before its writer goes on, until that something has ended.
/// </summary>
internal sealed class CommitLoad(PitrDatabase database, Table table, int rows)
{
    private const int RowsPerBatch = 10_000;

    /// <summary>All rows, in the order of their numbers, which is none of their keys.</summary>
    public async Task LoadAsync()
    {
        var random = new Random(1);
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        var batch = new WriteBatch();
        for (int from = 0; from < rows; from += RowsPerBatch)
        {
            for (int i = from; i < Math.Min(rows, from + RowsPerBatch); i++)
            {
                Workload.Key(i, key);
                Workload.Value(random, value);
                batch.Put(table, key, value);
            }

            await database.CommitAsync(batch).ConfigureAwait(false);
            batch.Clear();
        }
    }

    /// <summary>Commits for so long.</summary>
    public Task<LatencyHistogram> CommitAsync(int writers, TimeSpan time) => CommitAsync(writers, Task.Delay(time));

    /// <summary>Commits until the task has ended; throws what that throws.</summary>
    public async Task<LatencyHistogram> CommitAsync(int writers, Task until)
    {
        var histograms = new LatencyHistogram[writers];
        await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(
            () => WriteAsync(writer, histograms[writer] = new LatencyHistogram(), until)))).ConfigureAwait(false);
        await until.ConfigureAwait(false);
        var all = new LatencyHistogram();
        foreach (LatencyHistogram histogram in histograms)
            all.Add(histogram);
        return all;
    }

    private async Task WriteAsync(int writer, LatencyHistogram latencies, Task until)
    {
        var random = new Random(writer);
        var batch = new WriteBatch();
        byte[] key = new byte[Workload.KeyBytes];
        byte[] value = new byte[Workload.ValueBytes];
        Workload.Value(random, value);
        for (long began = Stopwatch.GetTimestamp(); !until.IsCompleted;)
        {
            Workload.Key(random.Next(rows), key);
            batch.Clear();
            batch.Put(table, key, value);
            await database.CommitAsync(batch).ConfigureAwait(false);
            long ended = Stopwatch.GetTimestamp();
            latencies.Add((long)((ended - began) * (1e9 / Stopwatch.Frequency)), ended);
            began = ended;
        }
    }
}
