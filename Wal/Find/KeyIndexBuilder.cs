using System.Text;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>Gathers the <see cref="KeyIndex"/> of a segment while its records are proved.</summary>
/// <remarks>
/// A record belongs to the segment in which it begins, also with what lies in the next ones. Where a record can't be
/// read to its end, or is no run of operations, there is no index: none is better than one that says no (X1).
/// THREADS  one.
/// </remarks>
/// <param name="entriesExpected">How many the segment before had: room is made for as many at once.</param>
internal sealed class KeyIndexBuilder(int entriesExpected = 0)
{
    private readonly HashSet<ulong> _entries = new(entriesExpected);
    private readonly Dictionary<uint, NamedTable> _tables = [];
    private bool _isIncomplete;
    private bool _hasCheckpoint;
    private long _lastCommitTicks;

    /// <summary>Entries that there are by now.</summary>
    public int EntryCount => _entries.Count;

    /// <summary>A record that begins in the segment.</summary>
    public void Add(WalRecord record)
    {
        _lastCommitTicks = record.CommitTimeTicks;
        if (record.Kind == WalRecordKind.Transaction)
            AddOperations(record);
        else if (record.Kind is WalRecordKind.CreateTable or WalRecordKind.DropTable or WalRecordKind.DropDatafile
            || (record.Kind == WalRecordKind.Checkpoint && !_hasCheckpoint))
            AddEvent(record);
    }

    /// <summary>A record that begins in the segment can't be read.</summary>
    public void GiveUp() => _isIncomplete = true;

    /// <summary>Puts the index beside its segment; a second try writes the same again.</summary>
    public void PutInto(IArchiveStore store, SegmentIdentity identity)
    {
        if (!_isIncomplete)
        {
            store.Put(
                ObjectName.KeyIndex(identity.Timeline, identity.Number),
                KeyIndex.Of(identity, _lastCommitTicks, _entries, [.. _tables.Values]).Encode());
        }
    }

    private void AddOperations(WalRecord record)
    {
        OperationReader reader = record.Operations;
        TableId? last = null;
        while (reader.MoveNext())
        {
            _entries.Add(KeyIndex.Entry.OfTreeKey(KeyIndex.Entry.Touched, reader.Key));
            if (reader.Kind == OperationKind.Delete)
                _entries.Add(KeyIndex.Entry.OfTreeKey(KeyIndex.Entry.Deleted, reader.Key));
            if (reader.Table != last)
            {
                last = reader.Table;
                _entries.Add(KeyIndex.Entry.OfTable(KeyIndex.Entry.TableTouched, reader.Table));
            }
        }
        _isIncomplete |= reader.IsMalformed;
    }

    private void AddEvent(WalRecord record)
    {
        try
        {
            switch (record.Event)
            {
                case WalEvent.CreateTable created:
                    Name(new NamedTable(created.TableId, created.FileId, created.Name));
                    _entries.Add(KeyIndex.Entry.OfTable(KeyIndex.Entry.TableTouched, created.TableId));
                    break;
                case WalEvent.DropTable dropped:
                    Name(new NamedTable(dropped.TableId, dropped.FileId, dropped.Name));
                    _entries.Add(KeyIndex.Entry.OfTable(KeyIndex.Entry.TableDropped, dropped.TableId));
                    break;
                case WalEvent.DropDatafile dropped:
                    _entries.Add(KeyIndex.Entry.OfFile(dropped.FileId));
                    break;
                case WalEvent.Checkpoint checkpoint: // later ones name nothing that is not created or dropped here
                    foreach (NamedTable table in TablesOf(checkpoint))
                        Name(table);
                    _hasCheckpoint = true;
                    break;
                default:
                    break;
            }
        }
        catch (PitrException error) when (error is not BugException)
        {
            GiveUp();
        }
    }

    /// <summary>The tables in the control file that a checkpoint record carries.</summary>
    /// <exception cref="DamageException">It is none.</exception>
    public static IEnumerable<NamedTable> TablesOf(WalEvent.Checkpoint checkpoint) =>
        ControlFileStore.DecodePayload("wal", Encoding.UTF8.GetBytes(checkpoint.ControlFile)).Catalogue.Tables
            .Select(table => new NamedTable(table.Id, table.FileId, table.Name));

    private void Name(NamedTable table)
    {
        if (Encoding.UTF8.GetByteCount(table.Name) > byte.MaxValue)
            GiveUp();
        _tables[table.Id.Value] = table;
    }
}
