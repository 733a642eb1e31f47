using Pitr.Recovery;
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

/// <summary>A record as the oracle knows it.</summary>
/// <param name="End">Its LSN.</param>
/// <param name="Steps">What it did; nothing for events that change no row.</param>
/// <param name="Transaction">0 if it is none.</param>
/// <param name="CommitTicks">Its group's commit time.</param>
/// <param name="RawTicks">What the clock said.</param>
/// <param name="RestorePoint">Its name, if it is one.</param>
internal sealed record ModelRecord(
    Lsn End, IReadOnlyList<ModelStep> Steps, TransactionId Transaction = default, long CommitTicks = 0,
    long RawTicks = 0, string? RestorePoint = null)
{
    public bool HasEffect => Steps.Count > 0;

    /// <summary>It ends a segment: a group of its own, with the time of the one before.</summary>
    public bool IsFiller { get; init; }

    /// <summary>It belongs to the group of the record before it: those of one have one commit time.</summary>
    public bool IsOfGroupOf(ModelRecord before) => !IsFiller && CommitTicks != 0 && CommitTicks == before.CommitTicks;
}

/// <summary>
/// The oracle of one database: what each record did, in the order of the log, and so what the database has to contain
/// at the end of any of them.
/// </summary>
/// <remarks>
/// A record is begun before a byte of its group is written, and acknowledged when the group is durable. A crash may cut
/// the group that is under way after any of its records, since each is a transaction of its own; it never loses what
/// was acknowledged. The oracle of a restored database begins as that of its source up to the cut; where its own
/// timeline begins is learnt when it is opened for the first time.
/// </remarks>
internal sealed class StepModel
{
    private readonly List<ModelRecord> _records = [];
    private (int Count, ModelState State) _base = (0, new ModelState()); // shared between copies, never changed
    private int _acknowledged;
    private Lsn? _beginsAbove; // its timeline's first record is not known yet

    /// <summary>Where the log begins.</summary>
    public StepModel(Lsn start) => Start = start;

    public Lsn Start { get; }

    /// <summary>The end of what must be there.</summary>
    public Lsn Acknowledged => EndOf(_acknowledged);

    /// <summary>Up to here every store has the log of this timeline: it said so.</summary>
    public Lsn Shipped { get; set; }

    /// <summary>
    /// Where the group before the last one begins: below it every record has one of a later group behind it, which
    /// proves that it was whole.
    /// </summary>
    public Lsn ProvenBelow { get; private set; }

    /// <summary>Where the last group begins, whole or not.</summary>
    public Lsn LastGroupStart { get; private set; }

    /// <summary>Backup sets that are whole, with their stops.</summary>
    public List<(string Id, Lsn Stop)> Sets { get; } = [];

    /// <summary>Tars that have got their names.</summary>
    public HashSet<string> Tars { get; } = [];

    /// <summary>Below it an expire may have removed the archived log of this timeline.</summary>
    public Lsn ArchiveFrom { get; set; }

    public IReadOnlyList<ModelRecord> Records => _records;

    /// <summary>True if the group that goes on there began before.</summary>
    public bool IsWithinGroup(Lsn lsn)
    {
        int next = _records.FindIndex(record => record.End > lsn);
        return next > 0 && _records[next].IsOfGroupOf(_records[next - 1]);
    }

    /// <summary>Where the log may end: at what was acknowledged, or behind a record that is under way.</summary>
    public bool MayEndAt(Lsn end)
    {
        if (_beginsAbove is { } above)
            return end > above;
        for (int count = _acknowledged; count <= _records.Count; count++)
        {
            if (EndOf(count) == end)
                return true;
        }

        return false;
    }

    /// <summary>The last transaction at or below an LSN: a later one has a greater number (I9).</summary>
    public TransactionId LastTransactionAt(Lsn end)
    {
        for (int i = CountAt(end) - 1; i >= 0; i--)
        {
            if (_records[i].Transaction.Value > 0)
                return _records[i].Transaction;
        }

        return default;
    }

    /// <summary>A group begins.</summary>
    public void BeginGroup(Lsn at) => (ProvenBelow, LastGroupStart) = (LastGroupStart, at);

    /// <summary>A record is about to be written.</summary>
    public void Begin(ModelRecord record) => _records.Add(record);

    /// <summary>All that was begun is durable.</summary>
    public void Acknowledge() => _acknowledged = _records.Count;

    /// <summary>As it is now; the original goes on.</summary>
    public StepModel Copy()
    {
        var copy = new StepModel(Start)
        {
            _acknowledged = _acknowledged,
            _base = _base,
            _beginsAbove = _beginsAbove,
            Shipped = Shipped,
            ArchiveFrom = ArchiveFrom,
            LastGroupStart = LastGroupStart,
            ProvenBelow = ProvenBelow,
        };
        copy._records.AddRange(_records);
        copy.Sets.AddRange(Sets);
        copy.Tars.UnionWith(Tars);
        return copy;
    }

    /// <summary>The oracle of a database that was restored from this one, to the end of one of its records.</summary>
    public StepModel Fork(Lsn cut, Lsn begins)
    {
        var fork = new StepModel(Start) { _beginsAbove = begins };
        fork._records.AddRange(_records.Take(CountAt(cut)));
        fork._acknowledged = fork._records.Count;
        fork.Sets.AddRange(Sets.Where(set => set.Stop <= cut));
        return fork;
    }

    /// <summary>The log was found to end here: what is beyond never was. How many records that are.</summary>
    public int CutAt(Lsn end)
    {
        if (_beginsAbove is not null)
        {
            _records.Add(new ModelRecord(end, []));
            _beginsAbove = null;
        }

        int removed = _records.RemoveAll(record => record.End > end);
        _acknowledged = _records.Count;
        LastGroupStart = ProvenBelow;
        _base = (_records.Count, StateAt(_records.Count));
        return removed;
    }

    /// <summary>The tables and their rows, by name, in the order of the keys, at the end of a record.</summary>
    public SortedDictionary<string, SortedDictionary<byte[], byte[]>> At(Lsn end) => StateAt(CountAt(end)).ByName();

    /// <summary>A key's value at the end of a record; null if it is not there.</summary>
    public byte[]? ValueAt(Lsn end, TableId table, byte[] key)
    {
        for (int i = CountAt(end) - 1; i >= 0; i--)
        {
            IReadOnlyList<ModelStep> steps = _records[i].Steps;
            for (int n = steps.Count - 1; n >= 0; n--)
            {
                if (steps[n] is ModelStep.Change change && change.Table == table && change.Key.AsSpan().SequenceEqual(key))
                    return change.Value;
            }
        }

        return null;
    }

    /// <summary>
    /// The last record that a target includes; null if the target lies before the first. Asked of the records alone.
    /// </summary>
    public ModelRecord? LastOf(RecoveryTarget target, Lsn stop)
    {
        ModelRecord? last = null;
        foreach (ModelRecord record in _records)
        {
            bool isNamed = target.Kind == RecoveryTarget.Form.Transaction
                ? record.Transaction == target.TransactionId
                : target.Kind == RecoveryTarget.Form.RestorePoint && record.RestorePoint == target.Name;
            bool belongs = target.Kind switch
            {
                RecoveryTarget.Form.Latest => true,
                RecoveryTarget.Form.Immediate => record.End <= stop,
                RecoveryTarget.Form.Lsn => target.IsInclusive ? record.End <= target.Lsn : record.End < target.Lsn,
                RecoveryTarget.Form.Time => record.CommitTicks == 0 || (target.IsInclusive
                    ? record.CommitTicks <= target.Time.UtcTicks : record.CommitTicks < target.Time.UtcTicks),
                _ => target.IsInclusive || !isNamed,
            };
            if (!belongs)
                break;
            last = record;
            if (isNamed)
                break;
        }

        return last;
    }

    /// <summary>The last record at or below an LSN that changed a row or a table; null if none did.</summary>
    public ModelRecord? LastEffectAt(Lsn end)
    {
        for (int i = CountAt(end) - 1; i >= 0; i--)
        {
            if (_records[i].HasEffect)
                return _records[i];
        }

        return null;
    }

    private Lsn EndOf(int count) => count == 0 ? Start : _records[count - 1].End;

    private int CountAt(Lsn end)
    {
        int count = _records.Count;
        while (count > 0 && _records[count - 1].End > end)
            count--;
        return count;
    }

    /// <summary>Whoever gets it does not change it.</summary>
    private ModelState StateAt(int count)
    {
        if (count == _base.Count)
            return _base.State;
        ModelState state = count > _base.Count ? _base.State.Copy() : new ModelState();
        for (int i = count >= _base.Count ? _base.Count : 0; i < count; i++)
            state.Apply(_records[i].Steps);
        return state;
    }
}

/// <summary>Tables and their rows at one LSN; a copy shares the tables that it does not change.</summary>
internal sealed class ModelState
{
    private readonly Dictionary<TableId, (string Name, SortedDictionary<byte[], byte[]> Rows)> _tables = [];
    private readonly HashSet<TableId> _own = [];

    /// <summary>This one is not changed any more.</summary>
    public ModelState Copy()
    {
        var copy = new ModelState();
        foreach ((TableId id, (string Name, SortedDictionary<byte[], byte[]> Rows) table) in _tables)
            copy._tables.Add(id, table);
        return copy;
    }

    public void Apply(IReadOnlyList<ModelStep> steps)
    {
        foreach (ModelStep step in steps)
        {
            switch (step)
            {
                case ModelStep.Created created:
                    _tables.Add(created.Table, (created.Name, new SortedDictionary<byte[], byte[]>(ByteOrder.Instance)));
                    _own.Add(created.Table);
                    break;
                case ModelStep.Dropped dropped:
                    _tables.Remove(dropped.Table);
                    break;
                case ModelStep.Change { Value: { } value } put:
                    OwnRows(put.Table)[put.Key] = value;
                    break;
                case ModelStep.Change delete:
                    OwnRows(delete.Table).Remove(delete.Key);
                    break;
                default:
                    throw new InvalidOperationException($"No model of {step.GetType().Name}.");
            }
        }
    }

    private SortedDictionary<byte[], byte[]> OwnRows(TableId id)
    {
        (string name, SortedDictionary<byte[], byte[]> rows) = _tables[id];
        if (_own.Add(id))
        {
            rows = new SortedDictionary<byte[], byte[]>(rows, ByteOrder.Instance);
            _tables[id] = (name, rows);
        }

        return rows;
    }

    public SortedDictionary<string, SortedDictionary<byte[], byte[]>> ByName()
    {
        var byName = new SortedDictionary<string, SortedDictionary<byte[], byte[]>>(StringComparer.Ordinal);
        foreach ((string name, SortedDictionary<byte[], byte[]> rows) in _tables.Values)
            byName.Add(name, rows);
        return byName;
    }

    private sealed class ByteOrder : IComparer<byte[]>
    {
        public static readonly ByteOrder Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
