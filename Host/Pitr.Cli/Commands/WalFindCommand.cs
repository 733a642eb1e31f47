using System.CommandLine;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr wal find --table T --key K</c>: which transactions touched or deleted a key, when, and the target that
/// stops just before. Reads a database's WAL, also while it runs, and its stores.
/// </summary>
internal static class WalFindCommand
{
    public static Command Create(CliContext cli)
    {
        var table = new Option<string>("--table")
        {
            HelpName = "T",
            Description = "The table, by its name (each that ever had it) or its number.",
            Required = true,
        };
        var key = new Option<string>("--key") { HelpName = "K", Description = "The key.", Required = true };
        var deleted = new Option<bool>("--deleted") { Description = "Only what removed it, a drop too." };
        Option<DateTimeOffset?> since = CliContext.OptionOf<DateTimeOffset?>(
            "--since", "T", "Only what was committed at or after this moment.", text => TextForms.Time(text));
        var archive = new Option<string[]>("--archive")
        {
            HelpName = "STORE",
            Description = "A store to look into; those of the database's settings are looked into anyway.",
        };
        Option<bool> hex = DataOptions.Hex();
        Symbol[] symbols = [table, key, deleted, since, archive, hex];
        return cli.Verb("find", "Find the transactions that touched a key.", symbols, async (parsed, cancellation) =>
        {
            string keyText = parsed.GetRequiredValue(key);
            string? folder = await cli.ReadableFolderAsync(parsed, cancellation).ConfigureAwait(false);
            List<string> stores = [.. (parsed.GetValue(archive) ?? []).Select(cli.Console.FullStore)];
            List<string> leftOut = [];
            if (folder is null && stores.Count == 0)
            {
                throw new UsageException(
                    "It is not said whose WAL.",
                    "Name the database's folder with --database DIR (it may be running), an engine of this machine with "
                    + "--host HOST:PORT, or a store: --archive STORE");
            }
            PitrOptions options = StoreKinds.OptionsOf(cli.Console, folder);
            foreach (string own in folder is null ? [] : StoresOf(folder, cli.Console))
            {
                if (stores.Contains(own))
                    continue;
                IArchiveStore opened = OfflineStores.Open(own, options);
                if (opened.Lists())
                    stores.Add(own);
                else
                    leftOut.Add(StoreListing.LeftOut(opened));
            }
            var finder = new KeyFinder
            {
                Source = SegmentPieces.Of(folder, stores, options),
                Table = parsed.GetRequiredValue(table),
                Key = TextForms.Bytes(keyText, parsed.GetValue(hex)),
                OnlyDeleted = parsed.GetValue(deleted),
                Since = parsed.GetValue(since) ?? DateTimeOffset.MinValue,
            };
            KeySearchResult result =
                await Task.Run(() => finder.Find(cancellation), cancellation).ConfigureAwait(false);
            return result.Touches.Count > 0 || result.Gaps.Count > 0
                ? new Answer(
                    json => Write(json, finder.Table, keyText, result, leftOut),
                    console => Write(console, result, stores, leftOut))
                {
                    ExitCode = result.ExitCode,
                }
                : throw AdminErrors.KeyNotInWal(finder.Table, keyText, finder.OnlyDeleted);
        });
    }

    private static string[] StoresOf(string folder, CliConsole console)
    {
        IFileSystem files = EngineFactory.FileSystemOf(new PitrOptions());
        if (!new ControlFileStore(files, folder).Exists)
            throw EngineErrors.NotADatabase(folder);
        return
        [
            .. (DatabaseSettings.Read(files, folder).Stores ?? [])
                .Concat(LayeredSettings.Read(folder, console.Settings()).Options.ArchiveStores)
                .Select(store => StoreAddress.Parse(store, folder).Absolute).Distinct(),
        ];
    }

    private static void Write(
        Utf8JsonWriter json, string table, string key, KeySearchResult result, List<string> leftOut)
    {
        json.WriteStartObject();
        json.WriteString("table", table);
        json.WriteString("key", key);
        json.WriteNumber("segments", result.Segments);
        json.WriteNumber("segmentsRead", result.SegmentsRead);
        json.WriteStartArray("touches");
        foreach (KeyTouch touch in result.Touches)
        {
            json.WriteStartObject();
            json.WriteString("operation", NameOf(touch.Kind));
            json.WriteNumber("timeline", touch.Timeline.Value);
            json.WriteString("lsn", touch.Lsn.ToString());
            json.WriteString("startLsn", touch.StartLsn.ToString());
            json.WriteString("time", TextForms.Time(touch.Time));
            if (touch.TransactionId.Value != 0)
                json.WriteNumber("transactionId", touch.TransactionId.Value);
            if (touch.Kind == TouchKind.Put)
                json.WriteNumber("valueBytes", touch.ValueBytes);
            json.WriteString("targetBefore", result.TargetBefore(touch));
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("gaps");
        foreach (SearchGap gap in result.Gaps)
        {
            json.WriteStartObject();
            json.WriteString("kind", gap.Kind);
            json.WriteNumber("timeline", gap.Timeline.Value);
            json.WriteString("from", gap.From.ToString());
            json.WriteString("to", gap.To.ToString());
            json.WriteEndObject();
        }
        json.WriteEndArray();
        if (leftOut.Count > 0)
        {
            json.WriteStartArray("findings");
            foreach (string finding in leftOut)
                json.WriteStringValue(finding);
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    private static void Write(IAnsiConsole console, KeySearchResult result, List<string> stores, List<string> leftOut)
    {
        if (result.Touches.Count > 0)
            WriteTouches(console, result);
        console.WriteLine($"{result.SegmentsRead} of {result.Segments} segments read");
        foreach (string finding in leftOut)
            console.WriteWhole(finding);
        foreach (SearchGap gap in result.Gaps)
        {
            console.WriteWhole(
                $"WAL of timeline {gap.Timeline} from {gap.From} to {gap.To} is {gap.Kind}: "
                + "a transaction there is not in this answer. Name a store that has it: --archive STORE");
        }
        if (result.Touches.Count > 0)
        {
            console.WriteLine(
                $"just before the last one: pitr restore --from {stores.FirstOrDefault() ?? "STORE"} --into DIR "
                + result.TargetBefore(result.Touches[^1]));
        }
    }

    private static void WriteTouches(IAnsiConsole console, KeySearchResult result) =>
        console.Write(TextShapes.Rows(
            ["time", "what", "transaction", "timeline", "LSN", "value"],
            result.Touches.Select(touch => new[]
            {
                TextForms.Time(touch.Time), NameOf(touch.Kind),
                touch.TransactionId.Value == 0 ? "" : touch.TransactionId.ToString(), touch.Timeline.ToString(),
                touch.Lsn.ToString(), touch.Kind == TouchKind.Put ? TextShapes.Bytes(touch.ValueBytes) : "",
            })));

    private static string NameOf(TouchKind kind) => kind switch
    {
        TouchKind.Put => "put",
        TouchKind.Delete => "delete",
        TouchKind.DropTable => "drop-table",
        _ => "drop-datafile",
    };
}
