using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;

namespace Pitr.Cli;

/// <summary><c>pitr pin STORE ID</c>, <c>pitr unpin STORE ID</c>: whether expire keeps a set whatever its age.</summary>
internal static class PinCommand
{
    public static Command Pin(CliContext cli) => Create(
        cli, "pin", "Keep a backup set, whatever its age.", isPinned: true, static (store, id) =>
            SetPins.Pin(store, id, new PitrOptions().Clock.GetUtcNow()) ? "is pinned" : "was pinned already");

    public static Command Unpin(CliContext cli) => Create(
        cli, "unpin", "Let expire remove a backup set again.", isPinned: false, static (store, id) =>
            SetPins.Unpin(store, id) ? "is not pinned any more" : "was not pinned");

    private static Command Create(
        CliContext cli, string name, string description, bool isPinned, Func<Wal.IArchiveStore, string, string> act)
    {
        var store = new Argument<string>("STORE") { Description = "The store of the set." };
        var id = new Argument<string>("ID") { Description = "The set: pitr backups STORE lists them." };
        return cli.Verb(name, description, [store, id], async (parsed, cancellation) =>
        {
            string backupId = parsed.GetRequiredValue(id);
            PitrOptions settings = await cli.StoreOptionsAsync(parsed, cancellation).ConfigureAwait(false);
            string address = cli.Console.FullStore(parsed.GetRequiredValue(store));
            string what = await Task.Run(() => act(OfflineStores.Open(address, settings), backupId), cancellation)
                .ConfigureAwait(false);
            return Answer.Line(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteString("backupId", backupId);
                    json.WriteBoolean("pinned", isPinned);
                    json.WriteEndObject();
                },
                $"{backupId} {what}");
        });
    }
}
