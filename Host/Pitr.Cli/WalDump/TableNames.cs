using System.Globalization;
using System.Text;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// Which table ids have which names, from what tells it: a database's control file, records that create and drop
/// tables, and the control file that each checkpoint record holds. Ids are never given twice; a name may be, so it may
/// have several.
/// </summary>
internal sealed class TableNames
{
    private readonly Dictionary<uint, string> _names = [];

    /// <summary>The name of a table; null if nothing told it yet.</summary>
    public string? this[uint table] => _names.GetValueOrDefault(table);

    /// <summary>Learns from a database's control file.</summary>
    public void Learn(ControlFile control)
    {
        foreach (CatalogueTable table in control.Catalogue.Tables)
            _names[table.Id.Value] = table.Name;
    }

    /// <summary>Learns from a record.</summary>
    public void Learn(RecordDescription record)
    {
        bool isCheckpoint = record.Kind == nameof(WalRecordKind.Checkpoint);
        if (record.Event is null || (!isCheckpoint && !IsOfTable(record)))
            return;
        using JsonDocument text = JsonDocument.Parse(record.Event);
        if (isCheckpoint)
            LearnPayload(text.RootElement.GetProperty("controlFile").GetString()!);
        else
            _names[text.RootElement.GetProperty("tableId").GetUInt32()] = text.RootElement.GetProperty("name")
                .GetString()!;
    }

    /// <summary>The table that a record creates or drops; null if it does neither.</summary>
    public static uint? TableOf(RecordDescription record)
    {
        if (record.Event is null || !IsOfTable(record))
            return null;
        using JsonDocument text = JsonDocument.Parse(record.Event);
        return text.RootElement.GetProperty("tableId").GetUInt32();
    }

    /// <summary>The ids of a table that is given by its name or its number.</summary>
    /// <exception cref="NotFoundException">TableUnknown: nothing names it.</exception>
    public IReadOnlySet<uint> IdsOf(string table)
    {
        if (uint.TryParse(table, NumberStyles.None, CultureInfo.InvariantCulture, out uint id))
            return new HashSet<uint> { id };
        HashSet<uint> ids = [.. _names.Where(pair => pair.Value == table).Select(pair => pair.Key)];
        return ids.Count > 0 ? ids : throw AdminErrors.TableNotInWal(table);
    }

    private static bool IsOfTable(RecordDescription record) =>
        record.Kind is nameof(WalRecordKind.CreateTable) or nameof(WalRecordKind.DropTable);

    private void LearnPayload(string payload)
    {
        try
        {
            Learn(ControlFileStore.DecodePayload("wal", Encoding.UTF8.GetBytes(payload)));
        }
        catch (DamageException)
        {
            // A control file of another release: its tables go without names here.
        }
    }
}
