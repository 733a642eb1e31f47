using System.Globalization;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// Which table ids have which names, from what tells it: a database's control file, records that create and drop
/// tables, the control file that each checkpoint record holds, and the indexes of archived segments. Ids are never
/// given twice; a name may be, so it may have several.
/// </summary>
internal sealed class TableNames
{
    private readonly Dictionary<uint, NamedTable> _tables = [];

    /// <summary>The name of a table; null if nothing told it yet.</summary>
    public string? this[uint table] => _tables.GetValueOrDefault(table)?.Name;

    /// <summary>Learns from a database's control file.</summary>
    public void Learn(ControlFile control)
    {
        foreach (CatalogueTable table in control.Catalogue.Tables)
            Learn(new NamedTable(table.Id, table.FileId, table.Name));
    }

    /// <summary>Learns from a record.</summary>
    public void Learn(WalRecord record)
    {
        if (record.Kind is not (WalRecordKind.CreateTable or WalRecordKind.DropTable or WalRecordKind.Checkpoint))
            return;
        switch (record.Event)
        {
            case WalEvent.CreateTable created:
                Learn(new NamedTable(created.TableId, created.FileId, created.Name));
                break;
            case WalEvent.DropTable dropped:
                Learn(new NamedTable(dropped.TableId, dropped.FileId, dropped.Name));
                break;
            case WalEvent.Checkpoint checkpoint:
                LearnTables(checkpoint);
                break;
            default:
                break;
        }
    }

    /// <summary>
    /// The tables of a name, or the one of a number, after everything that there is was looked at for names: by the
    /// indexes where there are some.
    /// </summary>
    /// <exception cref="NotFoundException">TableUnknown: nothing names it.</exception>
    public IReadOnlyList<NamedTable> Find(string table, SegmentPieces source, CancellationToken cancellationToken)
    {
        bool isNumber = uint.TryParse(table, NumberStyles.None, CultureInfo.InvariantCulture, out uint id);
        if (!isNumber || !_tables.ContainsKey(id))
        {
            var without = new HashSet<PieceSource>(ReferenceEqualityComparer.Instance);
            foreach (PieceSource piece in source.Pieces)
            {
                cancellationToken.ThrowIfCancellationRequested();
                KeyIndex? index = piece.Index();
                if (index is null)
                    without.Add(piece);
                foreach (NamedTable named in index?.Tables ?? [])
                    Learn(named);
            }
            var unindexed = new SegmentRecords(source, without.Contains);
            foreach (FoundRecord found in unindexed.Read(cancellationToken))
                Learn(found.Record);
        }
        if (isNumber)
            return [_tables.GetValueOrDefault(id) ?? new NamedTable(new TableId(id), default, table)];
        NamedTable[] tables = [.. _tables.Values.Where(named => named.Name == table)];
        return tables.Length > 0 ? tables : throw AdminErrors.TableNotInWal(table);
    }

    private void Learn(NamedTable table) => _tables[table.Id.Value] = table;

    private void LearnTables(WalEvent.Checkpoint checkpoint)
    {
        try
        {
            foreach (NamedTable table in KeyIndexBuilder.TablesOf(checkpoint))
                Learn(table);
        }
        catch (DamageException)
        {
            // A control file of another release: its tables go without names here.
        }
    }
}
