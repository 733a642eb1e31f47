using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr;

/// <summary>
/// Reads from a snapshot and writes that are committed together: serializable. If another transaction changed a key or
/// a range that this one read, its commit throws a <see cref="ConflictException"/>: run it again.
/// </summary>
/// <remarks>
/// It sees its own writes. Its snapshot was taken after everything that had been stamped before it began was visible
/// (H37). Not thread-safe. Dispose it, also after a commit.
/// </remarks>
public sealed class Transaction : IDisposable
{
    private readonly PitrDatabase _database;
    private readonly Snapshot _snapshot;
    private readonly TransactionTicket _ticket;
    private readonly ReadSet _reads = new();
    private readonly SortedDictionary<byte[], (Table Table, byte[]? Value)> _writes = new(ByteOrder.Instance);
    private bool _isEnded;

    internal Transaction(PitrDatabase database, Snapshot snapshot, TransactionTicket ticket)
    {
        _database = database;
        _snapshot = snapshot;
        _ticket = ticket;
        _reads.SnapshotLsn = snapshot.Lsn;
    }

    /// <summary>What it sees: every transaction at or below this LSN.</summary>
    public Lsn Lsn => _snapshot.Lsn;

    /// <summary>Its commit, from when that was asked for.</summary>
    internal PendingCommit? Commit { get; private set; }

    /// <summary>The value of a key, as this transaction sees it; null if it is not there.</summary>
    public byte[]? Get(Table table, ReadOnlySpan<byte> key)
    {
        RequireOpen();
        ArgumentNullException.ThrowIfNull(table);
        byte[] treeKey = TreeKey.Of(table.Id, key);
        if (_writes.TryGetValue(treeKey, out (Table Table, byte[]? Value) own))
            return own.Value;
        _reads.AddKey(treeKey);
        return _snapshot.Get(table, key);
    }

    /// <summary>
    /// Rows in key order or backwards, as this transaction sees them. The whole range counts as read.
    /// </summary>
    public IEnumerable<KeyValue> Scan(Table table, ScanRange range)
    {
        RequireOpen();
        ArgumentNullException.ThrowIfNull(table);
        ArgumentNullException.ThrowIfNull(range);
        (byte[] from, byte[] to) = RangeCursor.Bounds(table.Id, range);
        _reads.AddRange(from, to);
        List<KeyValuePair<byte[], byte[]?>> own = [.. _writes
            .Where(write =>
                ByteOrder.Instance.Compare(write.Key, from) >= 0 && ByteOrder.Instance.Compare(write.Key, to) < 0)
            .Select(write => KeyValuePair.Create(write.Key[OperationCodec.TableIdBytes..], write.Value.Value))];
        if (range.Reverse)
            own.Reverse();
        IEnumerable<KeyValue> rows = MergeOwn(_snapshot.Scan(table, range with { RowsMax = null }), own, range.Reverse);
        return range.RowsMax is { } most ? rows.Take((int)Math.Min(most, int.MaxValue)) : rows;
    }

    /// <summary>Sets a key's value, at commit.</summary>
    public void Put(Table table, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        RequireOpen();
        ArgumentNullException.ThrowIfNull(table);
        _writes[TreeKey.Of(table.Id, key)] = (table, value.ToArray());
    }

    /// <summary>Removes a key, at commit.</summary>
    public void Delete(Table table, ReadOnlySpan<byte> key)
    {
        RequireOpen();
        ArgumentNullException.ThrowIfNull(table);
        _writes[TreeKey.Of(table.Id, key)] = (table, null);
    }

    /// <summary>
    /// Commits. When the task completes the writes are durable and visible. A transaction that wrote nothing is
    /// serializable at its snapshot and commits without the WAL.
    /// </summary>
    /// <exception cref="ConflictException">What it read was changed; nothing was written.</exception>
    public async ValueTask<CommitResult> CommitAsync(CancellationToken cancellationToken = default)
    {
        RequireOpen();
        _isEnded = true;
        if (_writes.Count == 0)
        {
            _database.EndTransaction(_ticket);
            return new CommitResult(Lsn, default, default);
        }

        try
        {
            var batch = new WriteBatch();
            foreach ((byte[] treeKey, (Table table, byte[]? value)) in _writes)
            {
                if (value is null)
                    batch.Delete(table, treeKey.AsSpan(OperationCodec.TableIdBytes));
                else
                    batch.Put(table, treeKey.AsSpan(OperationCodec.TableIdBytes), value);
            }

            Commit = batch.Pending;
            return await _database.CommitAsync(batch, _reads, _ticket, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _database.EndTransaction(_ticket);
        }
    }

    /// <summary>Ends it; without a commit nothing was changed.</summary>
    public void Dispose()
    {
        if (!_isEnded)
        {
            _isEnded = true;
            _database.EndTransaction(_ticket);
        }

        _snapshot.Dispose();
    }

    private void RequireOpen()
    {
        if (_isEnded)
            throw new InvalidOperationException("The transaction has ended; begin another one.");
    }

    private static IEnumerable<KeyValue> MergeOwn(
        IEnumerable<KeyValue> rows, List<KeyValuePair<byte[], byte[]?>> own, bool isReverse)
    {
        int next = 0;
        foreach (KeyValue row in rows)
        {
            int order = 1;
            while (next < own.Count && (order = Order(own[next].Key, row.Key)) < 0)
            {
                if (own[next].Value is { } value)
                    yield return new KeyValue(own[next].Key, value);
                next++;
            }

            if (next < own.Count && order == 0)
                continue; // the own write comes in its turn
            yield return row;
        }

        for (; next < own.Count; next++)
        {
            if (own[next].Value is { } value)
                yield return new KeyValue(own[next].Key, value);
        }

        int Order(byte[] left, byte[] right) =>
            isReverse ? ByteOrder.Instance.Compare(right, left) : ByteOrder.Instance.Compare(left, right);
    }
}

/// <summary>Keys in the order of the tree: unsigned bytes, the shorter first.</summary>
internal sealed class ByteOrder : IComparer<byte[]>
{
    public static ByteOrder Instance { get; } = new();

    public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
}
