using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What a record does to what is looked for.</summary>
internal enum TouchKind
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Sets its value.</summary>
    Put,
    /// <summary>Removes it.</summary>
    Delete,
    /// <summary>Drops its table.</summary>
    DropTable,
    /// <summary>Drops its datafile, with the table.</summary>
    DropDatafile,
}

/// <summary>Which records of the WAL concern a table, a key of it, or a key of any.</summary>
/// <param name="tables">The tables that are meant; null: any.</param>
/// <param name="key">The key; null: any.</param>
/// <remarks>THREADS  any.</remarks>
internal sealed class WalQuery(IReadOnlyList<NamedTable>? tables, byte[]? key)
{
    /// <summary>Every record is wanted.</summary>
    public bool IsForAll => tables is null && key is null;

    /// <summary>True unless no record of a segment concerns it.</summary>
    /// <param name="index">The segment's.</param>
    /// <param name="onlyDeleted">Only what removes the key is looked for.</param>
    public bool MayConcern(KeyIndex index, bool onlyDeleted = false) => tables is null
        || tables.Any(table => key is null
            ? index.MayTouch(table)
            : onlyDeleted ? index.MayDelete(table, key) : index.MayTouch(table, key));

    /// <summary>True for a transaction that touches it, and for a record that creates or drops the table.</summary>
    public bool Concerns(WalRecord record)
    {
        if (IsForAll)
            return true;
        if (record.Kind == WalRecordKind.Transaction)
            return LastOf(record, out _) != TouchKind.None;
        return key is null && TableOf(record.Kind, record) is { } table && IsMeant(table);
    }

    /// <summary>
    /// What a record leaves of a key: of several operations of a transaction on it the last counts.
    /// </summary>
    /// <param name="record">The record.</param>
    /// <param name="valueBytes">Bytes of the value that was put.</param>
    public TouchKind Touch(WalRecord record, out int valueBytes)
    {
        valueBytes = 0;
        switch (record.Kind)
        {
            case WalRecordKind.Transaction:
                return LastOf(record, out valueBytes);
            case WalRecordKind.DropTable when record.Event is WalEvent.DropTable dropped && IsMeant(dropped.TableId):
                return TouchKind.DropTable;
            case WalRecordKind.DropDatafile when record.Event is WalEvent.DropDatafile dropped
                && tables?.Any(table => table.File == dropped.FileId) == true:
                return TouchKind.DropDatafile;
            default:
                return TouchKind.None;
        }
    }

    private TouchKind LastOf(WalRecord record, out int valueBytes)
    {
        TouchKind last = TouchKind.None;
        valueBytes = 0;
        OperationReader reader = record.Operations;
        while (reader.MoveNext())
        {
            if ((key is null || reader.Key[OperationCodec.TableIdBytes..].SequenceEqual(key)) && IsMeant(reader.Table))
            {
                last = reader.Kind == OperationKind.Put ? TouchKind.Put : TouchKind.Delete;
                valueBytes = reader.Value.Length;
            }
        }
        return last;
    }

    private bool IsMeant(TableId table)
    {
        if (tables is null)
            return true;
        foreach (NamedTable meant in tables)
        {
            if (meant.Id == table)
                return true;
        }
        return false;
    }

    private static TableId? TableOf(WalRecordKind kind, WalRecord record) => kind switch
    {
        WalRecordKind.CreateTable => (record.Event as WalEvent.CreateTable)?.TableId,
        WalRecordKind.DropTable => (record.Event as WalEvent.DropTable)?.TableId,
        _ => null,
    };
}
