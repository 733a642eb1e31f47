using System.Globalization;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>The same answers for people: tables and lines.</summary>
internal static class TextShapes
{
    /// <summary>A number of bytes as people read it.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 1 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
        < 1 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.#} KiB"),
        < 1 << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.#} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824.0:0.#} GiB"),
    };

    /// <summary>A number with its thousands apart.</summary>
    public static string Number(long number) => number.ToString("#,0", CultureInfo.InvariantCulture);

    /// <summary>Seconds as people read them.</summary>
    public static string Seconds(double seconds) => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.00} s");

    /// <summary>A datafile that was moved.</summary>
    public static string Moved(MoveResult move) =>
        $"datafile {move.Datafile} moved from {move.From} to {move.To}: {Bytes(move.Bytes)} in {Seconds(move.Seconds)}, "
        + $"fenced for {Seconds(move.FencedSeconds)}";

    /// <summary>A datafile that serves again.</summary>
    public static string Recovered(DatafileRecoveryResult result) =>
        $"datafile {result.Datafile} serves again: "
        + (result.BackupId is { } set ? $"{Bytes(result.Bytes)} of set {set}, " : "")
        + $"{Number(result.RecordsReplayed)} records read, from {result.StartLsn} to {result.Lsn}, in "
        + Seconds(result.Seconds)
        + string.Concat(result.Findings.Select(finding => $"\nnote: {finding}"));

    /// <summary>A datafile that was compacted.</summary>
    public static string Compacted(CompactResult done) =>
        $"datafile {done.Datafile} compacted: {Bytes(done.BytesBefore)} before, {Bytes(done.BytesAfter)} now, in "
        + $"{Seconds(done.Seconds)}, fenced for {Seconds(done.FencedSeconds)}";

    /// <summary>A table of plain texts; the last column gives way where a terminal is too narrow.</summary>
    public static Spectre.Console.Table Rows(string[] columns, IEnumerable<string[]> rows)
    {
        Spectre.Console.Table table = new Spectre.Console.Table().Border(TableBorder.Simple);
        for (int n = 0; n < columns.Length; n++)
        {
            var column = new TableColumn(new Text(columns[n]));
            table.AddColumn(n < columns.Length - 1 ? column.NoWrap() : column);
        }
        foreach (string[] row in rows)
            table.AddRow(row.Select(cell => (Spectre.Console.Rendering.IRenderable)new Text(cell, StyleOf(cell))));
        return table;
    }

    public static void Status(IAnsiConsole console, EngineStatus status)
    {
        console.Write($"database {status.SystemId}  ");
        console.Write(new Text(status.State, StyleOf(status.State)));
        console.WriteWhole($"  timeline {status.Timeline}");
        console.WriteWhole($"WAL to {status.CurrentLsn}, durable to {status.FlushedLsn}, redo from {status.RedoLsn}");
        console.Write(Rows(
            ["datafile", "state", "checkpoint LSN", "size", "free", "buffered", "tables", "path"],
            status.Datafiles.Select(file => new[]
            {
                file.Name, file.State, file.CheckpointLsn.ToString(), Bytes(file.Bytes), Bytes(file.FreeBytes),
                Bytes(file.BufferedBytes), file.Tables.ToString(CultureInfo.InvariantCulture), file.Path,
            })));
        if (status.Datafiles.Any(file => file.Fences.Count > 0))
        {
            console.Write(Rows(
                ["fence", "datafile", "holder", "until", "reason"],
                status.Datafiles.SelectMany(file => file.Fences.Select(fence => new[]
                {
                    fence.FenceId.ToString(), file.Name, fence.Holder, TextForms.Time(fence.Until), fence.Reason,
                }))));
        }
        foreach (DiskStatus disk in status.Disks.Where(disk => disk.RefusesCommits))
            console.WriteWhole($"commits are refused: {Full(disk)}");
        Archive(console, status.Archive);
        if (status.RecoveryWindow is { } window)
            console.WriteWhole($"recovery window from {TextForms.Time(window.From)} to {TextForms.Time(window.To)}{Verified(window)}");
        if (status.Schedules.Count > 0)
        {
            console.Write(Rows(
                ["schedule", "when", "next", "last run", "last error"],
                status.Schedules.Select(schedule => new[]
                {
                    $"{WorkOf(schedule)} {schedule.Store}", schedule.Cron, Next(schedule),
                    schedule.LastBeganAt is { } last ? TextForms.Time(last) : "none yet", schedule.LastError ?? "none",
                })));
        }
    }

    /// <summary>The word for scheduled work.</summary>
    public static string WorkOf(ScheduleStatus schedule) => schedule.Run switch
    {
        ScheduledWork.Backup => "backup",
        ScheduledWork.Verify => "verify",
        _ => "expire",
    };

    /// <summary>When a schedule is due.</summary>
    public static string Next(ScheduleStatus schedule) => schedule.IsRunning ? "runs now"
        : schedule.NextAt is { } next ? TextForms.Time(next) : "never";

    private static string Verified(RecoveryWindow window) =>
        window.VerifiedAt is { } verified ? $", a set of it verified {TextForms.Time(verified)}" : "";

    /// <summary>Of a disk that is nearly full.</summary>
    public static string Full(DiskStatus disk) =>
        $"{Bytes(disk.FreeBytes)} are free on the disk of {disk.Path}, {Bytes(disk.ReserveBytes)} are kept";

    /// <summary>How far each store is.</summary>
    public static void Archive(IAnsiConsole console, IReadOnlyList<ArchiveStatus> stores)
    {
        if (stores.Count == 0)
        {
            console.WriteWhole("no archive: there is no going back to a moment behind the last backup set");
            return;
        }
        console.Write(Rows(
            ["archive", "last segment", "behind", "since", "last error"],
            stores.Select(store => new[]
            {
                store.Store, store.LastSegment ?? "none yet", Bytes(store.LagBytes), Seconds(store.LagSeconds),
                store.LastError ?? "none",
            })));
        foreach (ArchiveStatus store in stores.Where(store => store.RefusesCommits))
            console.WriteWhole($"commits are refused: {store.Store} is behind by more than {Bytes(store.LagBytesMax)}");
        foreach (ArchiveStatus store in stores.Where(store => store.IsUnclaimed))
            console.WriteWhole($"unclaimed: nothing but you keeps another database from archiving into {store.Store}");
        foreach (ArchiveStatus store in stores.Where(store => store.Dropped is not null))
            console.WriteWhole($"given up, a gap in {store.Store}: {store.Dropped}");
    }

    /// <summary>States that people look for are marked; colours are shown on terminals only.</summary>
    private static Style StyleOf(string text) => text switch
    {
        "open" or "running" => new Style(Color.Green),
        "fenced" or "flushing" or "recovering" or "paused" => new Style(Color.Yellow),
        "offline" or "needsRecovery" => new Style(Color.Red),
        _ => Style.Plain,
    };
}
