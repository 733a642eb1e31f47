using System.Globalization;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>The same answers for people: tables and lines.</summary>
internal static class TextShapes
{
    /// <summary>A number of bytes as people read it.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 10 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
        < 10L << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.#} KiB"),
        < 10L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.#} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824.0:0.#} GiB"),
    };

    /// <summary>A number with its thousands apart.</summary>
    public static string Number(long number) => number.ToString("#,0", CultureInfo.InvariantCulture);

    /// <summary>Seconds as people read them.</summary>
    public static string Seconds(double seconds) => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.00} s");

    /// <summary>A table of plain texts.</summary>
    public static Spectre.Console.Table Rows(string[] columns, IEnumerable<string[]> rows)
    {
        Spectre.Console.Table table = new Spectre.Console.Table().Border(TableBorder.Simple);
        foreach (string column in columns)
            table.AddColumn(new TableColumn(new Text(column)).NoWrap());
        foreach (string[] row in rows)
            table.AddRow(row.Select(cell => (Spectre.Console.Rendering.IRenderable)new Text(cell)));
        return table;
    }

    public static void Status(IAnsiConsole console, EngineStatus status)
    {
        console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"database {status.SystemId}  {status.State}  timeline {status.Timeline}"));
        console.WriteLine($"WAL to {status.CurrentLsn}, durable to {status.FlushedLsn}, redo from {status.RedoLsn}");
        console.Write(Rows(
            ["datafile", "state", "checkpoint LSN", "size", "tables", "buffered", "live", "free", "pinned", "path"],
            status.Datafiles.Select(file => new[]
            {
                file.Name, file.State, file.CheckpointLsn.ToString(), Bytes(file.Bytes),
                file.Tables.ToString(CultureInfo.InvariantCulture), Bytes(file.BufferedBytes), Bytes(file.LiveBytes),
                Bytes(file.FreeBytes), Bytes(file.PinnedBytes), file.Path,
            })));
        foreach (DatafileStatus file in status.Datafiles)
        {
            foreach (FenceStatus fence in file.Fences)
            {
                console.WriteLine(
                    $"fence {fence.FenceId} on {file.Name}: {fence.Reason} (by {fence.Holder}), until {TextForms.Time(fence.Until)}");
            }
        }
        foreach (ArchiveStatus store in status.Archive)
        {
            console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"archive {store.Store}: last segment {store.LastSegment ?? "none"}, behind by {Bytes(store.LagBytes)} and "
                + $"{store.LagSeconds:0.#} s{(store.LastError is null ? "" : $"; {store.LastError}")}"));
        }
        if (status.RecoveryWindow is { } window)
            console.WriteLine($"recovery window from {TextForms.Time(window.From)} to {TextForms.Time(window.To)}");
    }
}
