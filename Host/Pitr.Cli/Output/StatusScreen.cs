using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Pitr.Cli;

/// <summary>
/// What <c>pitr status</c> shows on a terminal: the engine in a frame, its datafiles with how full they are, who holds which
/// still, how far each store is, and the moments that can be gone back to.
/// </summary>
/// <remarks>
/// Colour only underlines what words and marks say too: ● good, ◐ under way or held, ○ must be looked at. What is not there
/// (no fence, no archive) takes no room, but for an archive that is missing, which is told.
/// </remarks>
internal static class StatusScreen
{
    private const int BarCharacters = 12;
    private const int RatesShown = 32;
    private const int WideCharacters = 96; // below it, bars and what is long and seldom needed give way
    private static readonly Style Good = new(Color.Green);
    private static readonly Style Busy = new(Color.Yellow);
    private static readonly Style Bad = new(Color.Red, decoration: Decoration.Bold);
    private static readonly Style Dim = new(Color.Grey);
    private static readonly Style Strong = new(decoration: Decoration.Bold);

    /// <summary>The screen of one moment.</summary>
    /// <param name="status">What the engine said.</param>
    /// <param name="now">The moment, for how long fences last yet.</param>
    /// <param name="width">Characters in a line.</param>
    /// <param name="walRates">Bytes of WAL a second, the newest last; empty for a single look.</param>
    public static IRenderable Of(EngineStatus status, DateTimeOffset now, int width, IReadOnlyList<double> walRates)
    {
        bool isWide = width >= WideCharacters;
        var parts = new List<IRenderable> { Head(status, walRates), Datafiles(status, isWide) };
        if (status.Datafiles.Any(file => file.Fences.Count > 0))
            parts.Add(Fences(status, now, isWide));
        foreach (DiskStatus disk in status.Disks.Where(static disk => disk.RefusesCommits))
            parts.Add(new Text($"○ commits are refused: {TextShapes.Full(disk)}\n", Bad));
        parts.Add(status.Archive.Count > 0 ? Archive(status, isWide) : NoArchive());
        if (status.RecoveryWindow is { } window)
            parts.Add(Window(window, now));
        if (status.Schedules.Count > 0)
            parts.Add(Schedules(status));
        return new Rows(parts);
    }

    // ---- parts ---------------------------------------------------------------------------------------

    private static Panel Head(EngineStatus status, IReadOnlyList<double> walRates)
    {
        Paragraph lines = new Paragraph()
            .Append($"{MarkOf(status.State)} {status.State}", StyleOf(status.State))
            .Append($"   timeline {status.Timeline}\n")
            .Append("WAL ", Dim).Append(status.CurrentLsn.ToString(), Strong);
        long behind = status.CurrentLsn - status.FlushedLsn;
        lines.Append(behind > 0 ? $"   durable to {status.FlushedLsn}" : "   all of it durable", Dim)
            .Append($"   a replay would read {TextShapes.Bytes(Math.Max(0, status.CurrentLsn - status.RedoLsn))}", Dim);
        if (walRates.Count > 0)
        {
            lines.Append($"\n{Spark(walRates)} ", Good)
                .Append($"{TextShapes.Bytes((long)walRates[^1])}/s of WAL", Dim);
        }

        return new Panel(lines)
        {
            Header = new PanelHeader($" pitr {status.SystemId} "),
            Border = BoxBorder.Rounded,
            BorderStyle = StyleOf(status.State),
            Expand = true,
        };
    }

    private static Spectre.Console.Table Datafiles(EngineStatus status, bool isWide)
    {
        Spectre.Console.Table table = isWide
            ? TableOf("datafile", "", "live", "", "size", "buffered", "tables", "path")
            : TableOf("datafile", "", "live", "size", "buffered");
        foreach (DatafileStatus file in status.Datafiles)
        {
            double share = file.Bytes > 0 ? Math.Clamp((double)file.LiveBytes / file.Bytes, 0, 1) : 0;
            IRenderable[] first = [new Text(file.Name, Strong), new Text($"{MarkOf(file.State)} {file.State}", StyleOf(file.State))];
            IRenderable[] sizes = [Percent(share), Cell(TextShapes.Bytes(file.Bytes)), Cell(TextShapes.Bytes(file.BufferedBytes))];
            table.AddRow(isWide
                ? [.. first, Bar(share, Good), .. sizes, Cell(TextShapes.Number(file.Tables)), new Text(file.Path, Dim).Ellipsis()]
                : (IRenderable[])[.. first, .. sizes]);
        }

        return table;
    }

    private static Spectre.Console.Table Fences(EngineStatus status, DateTimeOffset now, bool isWide)
    {
        Spectre.Console.Table table = isWide
            ? TableOf("fence", "datafile", "ends in", "", "holder", "reason")
            : TableOf("fence", "datafile", "ends in");
        foreach (DatafileStatus file in status.Datafiles)
        {
            foreach (FenceStatus fence in file.Fences)
            {
                TimeSpan lease = fence.Until - fence.Since;
                TimeSpan left = fence.Until > now ? fence.Until - now : TimeSpan.Zero;
                IRenderable[] first =
                    [new Text(fence.FenceId.ToString(), Dim), new Text(file.Name, Strong), new Text(Length(left), Busy)];
                double share = lease > TimeSpan.Zero ? Math.Clamp(left / lease, 0, 1) : 0;
                table.AddRow(isWide
                    ? [.. first, Bar(share, Busy), new Text(fence.Holder), new Text(fence.Reason, Dim).Ellipsis()]
                    : first);
            }
        }

        return table;
    }

    private static Spectre.Console.Table Archive(EngineStatus status, bool isWide)
    {
        Spectre.Console.Table table = isWide
            ? TableOf("archive", "", "last segment", "what is wrong")
            : TableOf("archive", "", "what is wrong");
        foreach (ArchiveStatus store in status.Archive)
        {
            (string text, Style style) = store switch
            {
                { RefusesCommits: true } =>
                    ($"○ {Behind(store)}: commits are refused", Bad),
                { Dropped: not null } => ($"○ a gap: {store.Dropped}", Bad),
                { LastError: not null } => ($"◐ {Behind(store)}", Busy),
                { LagBytes: > 0 } => ($"● {Behind(store)}", Good),
                _ => ("● up to date", Good),
            };
            IRenderable[] first = [new Text(store.Store, Strong), new Text(text, style)];
            var wrong = new Text(store.LastError ?? "", Bad);
            table.AddRow(isWide ? [.. first, new Text(store.LastSegment ?? "none yet", Dim), wrong] : (IRenderable[])[.. first, wrong]);
        }

        return table;
    }

    private static Text NoArchive() =>
        new("○ no archive: there is no going back to a moment behind the last backup set\n", Busy);

    /// <summary>The moments that can be gone back to, on a line that ends now.</summary>
    private static Paragraph Window(RecoveryWindow window, DateTimeOffset now) => new Paragraph()
        .Append("back to any moment ", Strong).Append("├", Dim).Append(new string('─', BarCharacters * 2), Good)
        .Append("┤", Dim)
        .Append($" {Length(window.To - window.From)}", Strong)
        .Append($"  from {window.From.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z to ", Dim)
        .Append($"{Length(now > window.To ? now - window.To : TimeSpan.Zero)} ago", Dim)
        .Append(window.VerifiedAt is { } verified && now > verified ? $", verified {Length(now - verified)} ago\n" : "\n", Dim);

    private static Spectre.Console.Table Schedules(EngineStatus status)
    {
        Spectre.Console.Table table = TableOf("schedule", "", "next", "what is wrong");
        foreach (ScheduleStatus schedule in status.Schedules)
        {
            (string mark, Style style) = schedule switch
            {
                { IsRunning: true } => ("◐", Busy),
                { LastError: not null } => ("○", Bad),
                _ => ("●", Good),
            };
            table.AddRow(
                new Text($"{TextShapes.WorkOf(schedule)} {schedule.Store}", Strong),
                new Text($"{mark} {schedule.Cron}", style), new Text(TextShapes.Next(schedule), Dim),
                new Text(schedule.LastError ?? "", Bad));
        }

        return table;
    }

    // ---- marks and bars ------------------------------------------------------------------------------

    private static string MarkOf(string state) => state switch
    {
        "open" or "running" => "●",
        "offline" or "needsRecovery" => "○",
        _ => "◐",
    };

    private static Style StyleOf(string state) => state switch
    {
        "open" or "running" => Good,
        "offline" or "needsRecovery" => Bad,
        _ => Busy,
    };

    private static Paragraph Bar(double share, Style style)
    {
        int full = (int)Math.Round(share * BarCharacters);
        return new Paragraph().Append(new string('█', full), style).Append(new string('░', BarCharacters - full), Dim);
    }

    private static Text Percent(double share) =>
        new(string.Create(CultureInfo.InvariantCulture, $"{share * 100:0} %"), Dim);

    private static Text Cell(string text) => new(text);

    private static string Behind(ArchiveStatus store) => string.Create(
        CultureInfo.InvariantCulture, $"{TextShapes.Bytes(store.LagBytes)}, {store.LagSeconds:0.0} s behind");

    /// <summary>Eight heights, the highest of what is shown being the full one.</summary>
    private static string Spark(IReadOnlyList<double> rates)
    {
        const string heights = "▁▂▃▄▅▆▇█";
        double[] shown = [.. rates.Skip(Math.Max(0, rates.Count - RatesShown))];
        double most = Math.Max(1, shown.Max());
        return string.Concat(shown.Select(rate => heights[(int)Math.Clamp(rate / most * 7, 0, 7)]));
    }

    /// <summary>A length of time in its two largest units.</summary>
    private static string Length(TimeSpan length) => length switch
    {
        { TotalDays: >= 1 } => FormattableString.Invariant($"{(int)length.TotalDays} d {length.Hours} h"),
        { TotalHours: >= 1 } => FormattableString.Invariant($"{(int)length.TotalHours} h {length.Minutes} m"),
        { TotalMinutes: >= 1 } => FormattableString.Invariant($"{length.Minutes} m {length.Seconds} s"),
        _ => FormattableString.Invariant($"{length.TotalSeconds:0.0} s"),
    };

    private static Spectre.Console.Table TableOf(params string[] columns)
    {
        Spectre.Console.Table table = new Spectre.Console.Table().Border(TableBorder.None);
        table.AddColumn(new TableColumn(new Text(columns[0], Dim)) { Padding = new Padding(0, 0, 2, 0), NoWrap = true });
        for (int n = 1; n < columns.Length; n++)
        {
            table.AddColumn(new TableColumn(new Text(columns[n], Dim))
            {
                Padding = new Padding(0, 0, 2, 0),
                NoWrap = n < columns.Length - 1,
            });
        }

        table.ShowRowSeparators = false;
        return table.Caption(new TableTitle(" "));
    }
}
