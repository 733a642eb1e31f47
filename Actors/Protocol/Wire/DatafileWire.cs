using static Pitr.Actors.AdminProtocol;
using W = Pitr.Actors.Wire;

namespace Pitr.Actors;

/// <summary>The wire's forms of what is asked about datafiles and tables.</summary>
internal static class DatafileWire
{
    /// <summary>All of them.</summary>
    public static IEnumerable<WireEntry> Entries =>
    [
        WireEntry.Of<ReadDatafiles, W.ReadDatafiles>(
            "read-datafiles.1",
            m => m.After is { } after
                ? new W.ReadDatafiles { RequestId = m.RequestId, After = after }
                : new W.ReadDatafiles { RequestId = m.RequestId },
            w => new ReadDatafiles(w.RequestId, w.HasAfter ? w.After : null)),
        WireEntry.Of<DatafilesRead, W.DatafilesRead>(
            "datafiles-read.1",
            m => new W.DatafilesRead
            {
                RequestId = m.RequestId,
                Datafiles = { m.Datafiles.Select(ToWire) },
                More = m.More,
            },
            w => new DatafilesRead(w.RequestId, [.. w.Datafiles.Select(FromWire)], w.More)),
        WireEntry.Of<ReadTables, W.ReadTables>(
            "read-tables.1",
            m => m.After is { } after
                ? new W.ReadTables { RequestId = m.RequestId, After = after }
                : new W.ReadTables { RequestId = m.RequestId },
            w => new ReadTables(w.RequestId, w.HasAfter ? w.After : null)),
        WireEntry.Of<TablesRead, W.TablesRead>(
            "tables-read.1",
            m => new W.TablesRead { RequestId = m.RequestId, Tables = { m.Tables.Select(ToWire) }, More = m.More },
            w => new TablesRead(w.RequestId, [.. w.Tables.Select(FromWire)], w.More)),
        WireEntry.Of<CreateDatafile, W.CreateDatafile>(
            "create-datafile.1",
            m => m.Path is { } path
                ? new W.CreateDatafile { RequestId = m.RequestId, Name = m.Name, Path = path }
                : new W.CreateDatafile { RequestId = m.RequestId, Name = m.Name },
            w => new CreateDatafile(w.RequestId, w.Name, w.HasPath ? w.Path : null)),
        WireEntry.Of<DatafileCreated, W.DatafileCreated>(
            "datafile-created.1",
            m => new W.DatafileCreated { RequestId = m.RequestId, Name = m.Datafile.Name, Path = m.Datafile.Path },
            w => new DatafileCreated(w.RequestId, new DatafileEntry(w.Name, w.Path))),
        WireEntry.Of<DropDatafile, W.DropDatafile>(
            "drop-datafile.1",
            m => new W.DropDatafile { RequestId = m.RequestId, Name = m.Name },
            w => new DropDatafile(w.RequestId, w.Name)),
        WireEntry.Of<CreateTable, W.CreateTable>(
            "create-table.1",
            m => m.Datafile is { } datafile
                ? new W.CreateTable { RequestId = m.RequestId, Name = m.Name, Datafile = datafile }
                : new W.CreateTable { RequestId = m.RequestId, Name = m.Name },
            w => new CreateTable(w.RequestId, w.Name, w.HasDatafile ? w.Datafile : null)),
        WireEntry.Of<TableCreated, W.TableCreated>(
            "table-created.1",
            m => new W.TableCreated { RequestId = m.RequestId, Table = ToWire(m.Table) },
            w => new TableCreated(w.RequestId, FromWire(WireForms.Require(w.Table, "table")))),
        WireEntry.Of<DropTable, W.DropTable>(
            "drop-table.1",
            m => new W.DropTable { RequestId = m.RequestId, Name = m.Name },
            w => new DropTable(w.RequestId, w.Name)),
    ];

    private static W.Table ToWire(TableEntry table) => new() { Name = table.Name, Datafile = table.Datafile };

    private static TableEntry FromWire(W.Table table) => new(table.Name, table.Datafile);

    private static W.DatafileStatus ToWire(DatafileStatus file) => new()
    {
        Name = file.Name,
        Path = file.Path,
        State = file.State,
        CheckpointLsn = file.CheckpointLsn.Value,
        Bytes = file.Bytes,
        Tables = file.Tables,
        BufferedBytes = file.BufferedBytes,
        LiveBytes = file.LiveBytes,
        FreeBytes = file.FreeBytes,
        PinnedBytes = file.PinnedBytes,
        Fences = { file.Fences.Select(ToWire) },
    };

    private static DatafileStatus FromWire(W.DatafileStatus file) => new(
        file.Name, file.Path, file.State, new Lsn(file.CheckpointLsn), file.Bytes, file.Tables, file.BufferedBytes,
        file.LiveBytes, file.FreeBytes, file.PinnedBytes, [.. file.Fences.Select(FromWire)]);

    private static W.FenceStatus ToWire(FenceStatus fence) => new()
    {
        FenceId = WireForms.Of(fence.FenceId),
        Holder = fence.Holder,
        Reason = fence.Reason,
        Since = WireForms.Of(fence.Since),
        Until = WireForms.Of(fence.Until),
    };

    private static FenceStatus FromWire(W.FenceStatus fence) => new(
        WireForms.ToFence(fence.FenceId), fence.Holder, fence.Reason, WireForms.ToTime(fence.Since),
        WireForms.ToTime(fence.Until));
}
