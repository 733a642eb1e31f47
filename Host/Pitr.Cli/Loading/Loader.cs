using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Pitr.Actors;

namespace Pitr.Cli;

/// <summary>What a load did.</summary>
internal sealed record LoadResult(long Records, long Transactions, CommitResult? Last, double Seconds);

/// <summary>
/// Loads records into a table: cuts them into transactions, keeps the pace, writes an acknowledgement for each
/// transaction once it is durable, in the order of the file.
/// </summary>
/// <remarks>
/// ACKNOWLEDGEMENTS  one JSON line a transaction, appended with a write of its own at once, so that what stands in the
/// file after a crash of anything was durable before.
/// PACE  record number n is due n / rate seconds after the start; a transaction is sent when its last record is due.
/// </remarks>
internal sealed class Loader(IDatabaseTarget target, TimeProvider clock)
{
    private const int OverheadBytes = 64; // of a record in a transaction, at the most

    private readonly ConcurrentQueue<Sent> _sent = new();

    /// <summary>Records a transaction.</summary>
    public int BatchRecords { get; init; } = 1000;

    /// <summary>Records a second; null: no limit.</summary>
    public double? RecordsPerSecond { get; init; }

    /// <summary>What a transaction may hold; tests have less.</summary>
    public long TransactionBytesMax { get; init; } = Limits.TransactionBytesMax;

    /// <summary>Where acknowledgements go; null: nowhere. It must not buffer.</summary>
    public Stream? Acks { get; init; }

    /// <summary>Called with the records that are durable.</summary>
    public Action<long>? Loaded { get; init; }

    /// <summary>Loads all of them.</summary>
    public async Task<LoadResult> LoadAsync(
        string table, IAsyncEnumerable<InputRecord> records, CancellationToken cancellationToken)
    {
        long started = clock.GetTimestamp();
        long recordCount = 0;
        long transactionCount = 0;
        CommitResult? last = null;
        var line = new ArrayBufferWriter<byte>(512);
        IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions = CutAsync(records, started, cancellationToken);
        await foreach (CommitResult commit in target.LoadAsync(table, transactions, cancellationToken).ConfigureAwait(false))
        {
            if (!_sent.TryDequeue(out Sent? sent))
                throw new InvalidOperationException("An acknowledgement came for a transaction that was not sent.");
            recordCount += sent.Records;
            transactionCount++;
            last = commit;
            if (Acks is not null)
            {
                WriteAck(line, sent, commit);
                Acks.Write(line.WrittenSpan);
                line.ResetWrittenCount();
            }
            Loaded?.Invoke(recordCount);
        }
        return new LoadResult(recordCount, transactionCount, last, clock.GetElapsedTime(started).TotalSeconds);
    }

    private async IAsyncEnumerable<IReadOnlyList<KeyValue>> CutAsync(
        IAsyncEnumerable<InputRecord> records, long started, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var batch = new List<KeyValue>(Math.Min(BatchRecords, 10_000));
        string firstKey = "", lastKey = "";
        long total = 0, batchBytes = 0;
        await foreach (InputRecord record in records.WithCancellation(cancellationToken).ConfigureAwait(false))
        {
            if (batch.Count == 0)
                firstKey = record.Key;
            lastKey = record.Key;
            byte[] key = Encoding.UTF8.GetBytes(record.Key);
            batch.Add(new KeyValue(key, record.Value));
            batchBytes += OverheadBytes + key.Length + record.Value.Length;
            if (batchBytes > TransactionBytesMax)
                throw TooLarge(batch.Count, record.Line);
            total++;
            if (batch.Count < BatchRecords)
                continue;
            await PaceAsync(started, total, cancellationToken).ConfigureAwait(false);
            _sent.Enqueue(new Sent(firstKey, lastKey, batch.Count));
            yield return batch;
            batch = new List<KeyValue>(batch.Count);
            batchBytes = 0;
        }
        if (batch.Count == 0)
            yield break;
        await PaceAsync(started, total, cancellationToken).ConfigureAwait(false);
        _sent.Enqueue(new Sent(firstKey, lastKey, batch.Count));
        yield return batch;
    }

    private UsageException TooLarge(int records, long line) => new(
        $"The {records} records up to line {line} are more than one transaction may hold: {TextShapes.Bytes(TransactionBytesMax)}.",
        "Load again with a smaller --batch; transactions before these may have been committed.");

    private async Task PaceAsync(long started, long recordNumber, CancellationToken cancellationToken)
    {
        if (RecordsPerSecond is not { } rate)
            return;
        TimeSpan wait = TimeSpan.FromSeconds(recordNumber / rate) - clock.GetElapsedTime(started);
        if (wait > TimeSpan.Zero)
            await Task.Delay(wait, clock, cancellationToken).ConfigureAwait(false);
    }

    private static void WriteAck(ArrayBufferWriter<byte> line, Sent sent, CommitResult commit)
    {
        using (var json = new Utf8JsonWriter(
            line, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("firstKey", sent.FirstKey);
            json.WriteString("lastKey", sent.LastKey);
            json.WriteNumber("records", sent.Records);
            json.WriteString("lsn", commit.Lsn.ToString());
            json.WriteString("time", TextForms.Time(commit.Time));
            json.WriteNumber("transactionId", commit.TransactionId.Value);
            json.WriteEndObject();
        }
        line.Write("\n"u8);
    }

    private sealed record Sent(string FirstKey, string LastKey, int Records);
}
