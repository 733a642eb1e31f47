using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>One thing that a record did.</summary>
internal abstract record ModelStep
{
    private ModelStep() { }

    /// <summary>A key's value was set; null: the key was removed.</summary>
    public sealed record Change(TableId Table, byte[] Key, byte[]? Value) : ModelStep;

    /// <summary>A table was made.</summary>
    public sealed record Created(TableId Table, string Name) : ModelStep;

    /// <summary>A table was dropped.</summary>
    public sealed record Dropped(TableId Table) : ModelStep;
}

/// <summary>
/// The oracle of one database: what each record did, in the order of the log, and so what the database has to contain
/// at the end of any of them.
/// </summary>
/// <remarks>
/// A record is begun before a byte of its group is written, and acknowledged when the group is durable. A crash may cut
/// the group that is under way after any of its records, since each is a transaction of its own; it never loses what
/// was acknowledged.
/// </remarks>
internal sealed class StepModel
{
    private readonly List<Record> _records = [];
    private int _acknowledged;

    /// <summary>Where the log begins.</summary>
    public StepModel(Lsn start) => Start = start;

    public Lsn Start { get; }

    /// <summary>The end of what must be there.</summary>
    public Lsn Acknowledged => EndOf(_acknowledged);

    /// <summary>Where the log may end: at what was acknowledged, or behind a record that is under way.</summary>
    public bool MayEndAt(Lsn end)
    {
        for (int count = _acknowledged; count <= _records.Count; count++)
        {
            if (EndOf(count) == end)
                return true;
        }

        return false;
    }

    /// <summary>The last transaction at or below an LSN: a later one has a greater number (I9).</summary>
    public TransactionId LastTransactionAt(Lsn end) =>
        _records.TakeWhile(record => record.End <= end).Select(record => record.Transaction).LastOrDefault(
            static transaction => transaction.Value > 0);

    /// <summary>A record is about to be written.</summary>
    public void Begin(Lsn end, IReadOnlyList<ModelStep> steps, TransactionId transaction = default) =>
        _records.Add(new Record(end, steps, transaction));

    /// <summary>All that was begun is durable.</summary>
    public void Acknowledge() => _acknowledged = _records.Count;

    /// <summary>As it is now; the original goes on.</summary>
    public StepModel Copy()
    {
        var copy = new StepModel(Start) { _acknowledged = _acknowledged };
        copy._records.AddRange(_records);
        return copy;
    }

    /// <summary>The log was found to end here: what is beyond never was.</summary>
    public void CutAt(Lsn end)
    {
        _records.RemoveAll(record => record.End > end);
        _acknowledged = _records.Count;
    }

    /// <summary>The tables and their rows, by name, in the order of the keys, at the end of a record.</summary>
    public SortedDictionary<string, SortedDictionary<byte[], byte[]>> At(Lsn end)
    {
        var tables = new Dictionary<TableId, (string Name, SortedDictionary<byte[], byte[]> Rows)>();
        foreach (ModelStep step in _records.TakeWhile(record => record.End <= end).SelectMany(record => record.Steps))
        {
            switch (step)
            {
                case ModelStep.Created created:
                    tables.Add(created.Table, (created.Name, new SortedDictionary<byte[], byte[]>(ByteOrder.Instance)));
                    break;
                case ModelStep.Dropped dropped:
                    tables.Remove(dropped.Table);
                    break;
                case ModelStep.Change { Value: { } value } put:
                    tables[put.Table].Rows[put.Key] = value;
                    break;
                case ModelStep.Change delete:
                    tables[delete.Table].Rows.Remove(delete.Key);
                    break;
                default:
                    throw new InvalidOperationException($"No model of {step.GetType().Name}.");
            }
        }

        var byName = new SortedDictionary<string, SortedDictionary<byte[], byte[]>>(StringComparer.Ordinal);
        foreach ((string name, SortedDictionary<byte[], byte[]> rows) in tables.Values)
            byName.Add(name, rows);
        return byName;
    }

    private Lsn EndOf(int count) => count == 0 ? Start : _records[count - 1].End;

    private sealed record Record(Lsn End, IReadOnlyList<ModelStep> Steps, TransactionId Transaction);

    private sealed class ByteOrder : IComparer<byte[]>
    {
        public static readonly ByteOrder Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
