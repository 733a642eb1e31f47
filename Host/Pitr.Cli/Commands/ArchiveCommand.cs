using System.CommandLine;
using System.Text.Json;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr archive status|check|add|remove</c>: how far each store is, whether it has what it should, and which there are.
/// </summary>
internal static class ArchiveCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("archive", "Look at the stores that the WAL is archived into, and change which there are.");
        command.Subcommands.Add(cli.TargetVerb(
            "status", "Show how far each store is.", [], async (target, _, cancellationToken) =>
            {
                EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
                return new Answer(
                    json => JsonShapes.Archive(json, status.Archive), console =>
                        TextShapes.Archive(console, status.Archive));
            }));
        command.Subcommands.Add(cli.TargetVerb(
            "check", "Read all WAL in the stores, and compare it with what the database expects; exit 5 on damage, 4 on a gap.",
            [], async (target, _, cancellationToken) =>
            {
                IReadOnlyList<StoreCheck> stores = await target.CheckArchiveAsync(cancellationToken).ConfigureAwait(false);
                return new Answer(json => Write(json, stores), console =>
                {
                    foreach (StoreCheck store in stores)
                    {
                        console.WriteWhole(
                            $"{store.Store} has what it should: {TextShapes.Bytes(store.Bytes)} of WAL from {store.From} to {store.To}, "
                            + $"in {TextShapes.Number(store.Segments)} segments and {TextShapes.Number(store.Parts)} parts");
                    }
                    if (stores.Count == 0)
                        console.WriteWhole("no archive: there is nothing to check");
                });
            }));
        command.Subcommands.Add(AddVerb(cli));
        command.Subcommands.Add(RemoveVerb(cli));
        return command;
    }

    private static Command AddVerb(CliContext cli)
    {
        var store = new Argument<string>("STORE") { Description = "A folder, s3://…, azblob://…" };
        return cli.TargetVerb(
            "add", "Archive into one more store; it is noted in pitr.json.", [store],
            async (target, parsed, cancellationToken) =>
            {
                string address = cli.Console.FullStore(parsed.GetRequiredValue(store));
                ArchiveStatus added = await target.AddStoreAsync(address, cancellationToken).ConfigureAwait(false);
                return Answer.Line(
                    json => JsonShapes.Store(json, added),
                    $"the database archives into {added.Store}, too; {TextShapes.Bytes(added.LagBytes)} are on their way");
            });
    }

    private static Command RemoveVerb(CliContext cli)
    {
        var store = new Argument<string>("STORE") { Description = "As it stands in: pitr archive status" };
        return cli.TargetVerb(
            "remove", "Archive into a store no longer. What lies in it stays; WAL that only it lacks is kept no longer.", [store],
            async (target, parsed, cancellationToken) =>
            {
                string address = cli.Console.FullStore(parsed.GetRequiredValue(store));
                StoreRemoval removed = await target.RemoveStoreAsync(address, cancellationToken).ConfigureAwait(false);
                return Answer.Line(json => Write(json, removed), Words(removed));
            });
    }

    private static string Words(StoreRemoval removed)
    {
        string lacked = removed.LackedBytes == 0
            ? "it had all WAL"
            : $"it lacked {TextShapes.Bytes(removed.LackedBytes)} of WAL, which are kept for it no longer";
        string left = removed.StoresLeft == 0
            ? "the database archives nowhere now: no moment after this one can be gone back to without a new backup set"
            : $"stores that are left: {removed.StoresLeft}";
        return $"{removed.Store} is archived into no longer; what lies in it stays; {lacked}; {left}";
    }

    private static void Write(Utf8JsonWriter json, StoreRemoval removed)
    {
        json.WriteStartObject();
        json.WriteString("store", removed.Store);
        json.WriteNumber("lackedSegments", removed.LackedSegments);
        json.WriteNumber("lackedBytes", removed.LackedBytes);
        json.WriteNumber("storesLeft", removed.StoresLeft);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, IReadOnlyList<StoreCheck> stores)
    {
        json.WriteStartArray();
        foreach (StoreCheck store in stores)
        {
            json.WriteStartObject();
            json.WriteString("store", store.Store);
            json.WriteString("from", store.From.ToString());
            json.WriteString("to", store.To.ToString());
            json.WriteNumber("segments", store.Segments);
            json.WriteNumber("parts", store.Parts);
            json.WriteNumber("bytes", store.Bytes);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
