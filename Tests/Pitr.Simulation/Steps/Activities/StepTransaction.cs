using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// A transaction: registered, snapshot once all before it is visible (H37), reads of keys and of a range, and a commit
/// that is refused if anything that it read was changed since (H43).
/// </summary>
internal sealed class StepTransaction(StepScene scene) : StepActivity(scene)
{
    private readonly Dictionary<FileId, ReadView> _pinned = [];
    private TransactionTicket? _ticket;

    public override IEnumerable<Turn> Run()
    {
        if (Scene.Tables.Count == 0)
            yield break;
        if (Engine.VisibleLsn < Engine.DurableLsn)
            Scene.Hazards.Note(37);
        _ticket = Engine.Validation.Begin(Engine.DurableLsn);
        while (Engine.VisibleLsn < _ticket.Begin)
            yield return default;
        Lsn snapshot = Engine.VisibleLsn;
        foreach (StepFile file in Engine.Files)
        {
            if (file.File.View.TryPin())
                _pinned.Add(file.Id, file.File.View);
        }

        var reads = new ReadSet { SnapshotLsn = snapshot };
        var keys = new List<(Table Table, byte[] Key, byte[]? Value)>();
        for (int i = 1 + Scene.Next(3); i > 0; i--)
            keys.Add(ReadKey(reads, snapshot));
        (Table Table, ScanRange Range, KeyValue[] Rows)? range = Scene.Chance(40) ? ReadRange(reads, snapshot) : null;
        Scene.ReadTables.AddRange(reads.Tables);
        for (int i = Scene.Next(12); i > 0; i--)
            yield return default;
        Commit(reads, keys, range);
        foreach (TableId table in reads.Tables)
            Scene.ReadTables.Remove(table);
        LetGo();
    }

    public override void LetGo()
    {
        if (_ticket is not null)
            Engine.Validation.End(_ticket);
        _ticket = null;
        foreach (ReadView view in _pinned.Values)
            view.Unpin();
        _pinned.Clear();
    }

    private (Table, byte[], byte[]?) ReadKey(ReadSet reads, Lsn snapshot)
    {
        Table table = Scene.AnyTable()!;
        byte[] key = Scene.AnyKey();
        reads.AddKey(TreeKey.Of(table.Id, key));
        return (table, key, ValueOf(table, key, snapshot));
    }

    private byte[]? ValueOf(Table table, byte[] key, Lsn snapshot)
    {
        byte[] next = [.. key, 0];
        KeyValue[] found = Rows(table, new ScanRange { From = key, To = next }, snapshot);
        return found.Length == 0 ? null : found[0].Value;
    }

    private (Table, ScanRange, KeyValue[]) ReadRange(ReadSet reads, Lsn snapshot)
    {
        Table table = Scene.AnyTable()!;
        byte[] one = Scene.AnyKey(), other = Scene.AnyKey();
        bool isOrdered = one.AsSpan().SequenceCompareTo(other) <= 0;
        var range = new ScanRange { From = isOrdered ? one : other, To = isOrdered ? other : one };
        (byte[] from, byte[] to) = RangeCursor.Bounds(table.Id, range);
        reads.AddRange(from, to);
        return (table, range, Rows(table, range, snapshot));
    }

    private KeyValue[] Rows(Table table, ScanRange range, Lsn at)
    {
        var rows = new List<KeyValue>();
        if (!_pinned.TryGetValue(table.DatafileId, out ReadView? view))
            return [];
        var cursor = new RangeCursor(Engine.Context.Epochs, static () => { }, view, at, table.Id, range);
        while (cursor.TryNext(out KeyValue row))
            rows.Add(row);
        return [.. rows];
    }

    /// <summary>If it passes, what it read is still so: it might have been read just now.</summary>
    private void Commit(
        ReadSet reads, List<(Table Table, byte[] Key, byte[]? Value)> keys,
        (Table Table, ScanRange Range, KeyValue[] Rows)? range)
    {
        if (Scene.Chance(10))
            RequireLateRefused();
        if (Scene.Tables.Count == 0 || !Engine.Validation.TryValidate(reads, _ticket!, out _))
            return;
        Lsn now = Engine.DurableLsn;
        foreach ((Table table, byte[] key, byte[]? value) in keys)
        {
            if (!Scene.Tables.Contains(table))
                throw new SimulationFailure($"A transaction passed though table {table.Name}, which it read, is dropped (H43).");
            byte[]? current = Model.ValueAt(now, table.Id, key);
            if (!Same(current, value))
            {
                throw new SimulationFailure(
                    $"A transaction passed though key {Convert.ToHexString(key)} of {table.Name}, which it read, was changed.");
            }
        }

        if (range is var (read, bounds, rows) && Scene.Tables.Contains(read))
            RequireSame(read, bounds, rows, now);
        var batch = new WriteBatch();
        var steps = new List<ModelStep>();
        Scene.AddChanges(batch, steps, 1 + Scene.Next(3));
        try
        {
            Engine.Commit([(batch, steps)], Model);
        }
        catch (StorageFailedException full) when (full.IsDiskFull && Model.Acknowledged == Engine.DurableLsn)
        {
            Scene.Hazards.Note(4);
        }
    }

    /// <summary>A snapshot from before the registration: whatever came between is in no table of keys (H37).</summary>
    private void RequireLateRefused()
    {
        try
        {
            Engine.Validation.TryValidate(new ReadSet { SnapshotLsn = _ticket!.Begin + -8 }, _ticket, out _);
        }
        catch (BugException)
        {
            return;
        }

        throw new SimulationFailure("A transaction that read before its registration was validated (H37).");
    }

    private void RequireSame(Table table, ScanRange range, KeyValue[] rows, Lsn now)
    {
        KeyValuePair<byte[], byte[]>[] current = [.. Model.At(now)[table.Name].Where(row =>
            row.Key.AsSpan().SequenceCompareTo(range.From) >= 0 && row.Key.AsSpan().SequenceCompareTo(range.To) < 0)];
        bool isSame = current.Length == rows.Length;
        for (int i = 0; isSame && i < rows.Length; i++)
            isSame = Same(current[i].Key, rows[i].Key) && Same(current[i].Value, rows[i].Value);
        if (!isSame)
            throw new SimulationFailure($"A transaction passed though a range of {table.Name}, which it read, was changed.");
    }

    private static bool Same(byte[]? one, byte[]? other) =>
        one is null || other is null ? one is null && other is null : one.AsSpan().SequenceEqual(other);
}
