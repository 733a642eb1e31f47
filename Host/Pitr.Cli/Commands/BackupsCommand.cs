using System.CommandLine;
using System.Text.Json;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr backups STORE</c>: which sets a store has.</summary>
internal static class BackupsCommand
{
    public static Command Create(CliContext cli)
    {
        var store = new Argument<string>("STORE") { Description = "The store." };
        return cli.Verb("backups", "List the backup sets of a store.", [store], async (parsed, cancellationToken) =>
        {
            PitrOptions settings = await cli.StoreOptionsAsync(parsed, cancellationToken).ConfigureAwait(false);
            string address = cli.Console.FullStore(parsed.GetRequiredValue(store));
            BackupCatalog catalog = await Task
                .Run(() => BackupCatalog.Read(OfflineStores.Open(address, settings)), cancellationToken).ConfigureAwait(false);
            return new Answer(json => Write(json, catalog), console => Write(console, catalog));
        });
    }

    /// <summary>A partial one lacks files that lived at its stop: no restore begins with it (H29).</summary>
    private static string StateOf(BackupSet set) => set.Label.IsPartial ? "partial" : "complete";

    private static long BytesOf(BackupSet set) => set.Manifest.Objects.Sum(entry => entry.LengthBytes);

    private static void Write(Utf8JsonWriter json, BackupCatalog catalog)
    {
        json.WriteStartArray();
        foreach (BackupSet set in catalog.Sets)
        {
            json.WriteStartObject();
            json.WriteString("backupId", set.Id);
            json.WriteString("state", StateOf(set));
            json.WriteString("kind", JsonShapes.KindOf(set.Label.BaseId));
            json.WriteString("baseId", set.Label.BaseId);
            json.WriteNumber("timeline", set.Label.Timeline.Value);
            json.WriteString("startLsn", set.Label.StartLsn.ToString());
            json.WriteString("stopLsn", set.Label.StopLsn.ToString());
            json.WriteString("stopTime", TextForms.Time(set.Label.StopTime));
            json.WriteNumber("bytes", BytesOf(set));
            json.WriteBoolean("pinned", SetPins.IsPinned(set));
            json.WriteEndObject();
        }
        foreach (VoidSet other in catalog.Others)
        {
            json.WriteStartObject();
            json.WriteString("backupId", other.BackupId);
            json.WriteString("state", other.Damage is null or { Code: ErrorCode.BackupVoid } ? "unfinished" : "damaged");
            json.WriteString("why", other.Why);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void Write(IAnsiConsole console, BackupCatalog catalog)
    {
        if (catalog.Sets.Count == 0)
            console.WriteWhole("no backup set");
        else
        {
            console.Write(TextShapes.Rows(
                ["backup", "state", "builds on", "timeline", "from", "to", "time of its end", "size", "pinned"],
                catalog.Sets.Select(set => new[]
                {
                    set.Id, StateOf(set), set.Label.BaseId ?? "", set.Label.Timeline.ToString(),
                    set.Label.StartLsn.ToString(), set.Label.StopLsn.ToString(),
                    TextForms.Time(set.Label.StopTime), TextShapes.Bytes(BytesOf(set)),
                    SetPins.IsPinned(set) ? "yes" : "",
                })));
        }
        foreach (VoidSet other in catalog.Others)
            console.WriteWhole($"{other.BackupId} does not count: {other.Why}");
    }
}
