using System.CommandLine;
using System.Globalization;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr restore --from STORE --into DIR</c>: plan first, then exactly that plan.</summary>
internal static class RestoreCommand
{
    private const string Promote = "promote";
    private const string Pause = "pause";

    public static Command Create(CliContext cli)
    {
        var from = new Option<string>(
            "--from")
        { HelpName = "STORE", Description = "Where the backup sets are.", Required = true };
        var into = new Option<string>(
            "--into")
        { HelpName = "DIR", Description = "A folder that is not there or is empty.", Required = true };
        var archive =
            new Option<string?>("--archive") { HelpName = "STORE", Description = "Where the WAL is (else --from)." };
        var backup = new Option<string?>(
            "--backup")
        { HelpName = "ID", Description = "The set to start from (else the newest that fits)." };
        Option<string?> timeline = CliContext.OptionOf(
            "--timeline", "N|latest|current", "Which branch, where there are several.", Branch);
        var map = new Option<string[]>("--map")
        {
            HelpName = "OLD=NEW",
            Description = "Where datafiles of a folder outside the database go; may be given several times.",
        };
        Option<string?> action = ActionOption();
        var detached =
            new Option<bool>("--detached") { Description = "Do not archive into the store it was restored from." };
        var plan = new Option<bool>("--plan") { Description = "Show what would be done; write nothing." };
        var target = new TargetOptions();
        return cli.Verb(
            "restore", "Restore into a new folder, to any moment.",
            [from, into, archive, backup, .. target.Symbols, timeline, map, action, detached, plan],
            async (parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                var request = new RestoreRequest
                {
                    Store = cli.Console.FullStore(parsed.GetRequiredValue(from)),
                    Into = cli.Console.FullPath(parsed.GetRequiredValue(into)),
                    Archive = parsed.GetValue(archive) is { } store ? cli.Console.FullStore(store) : null,
                    BackupId = parsed.GetValue(backup),
                    Target = target.Read(parsed),
                    Timeline = parsed.GetValue(timeline),
                    Map = Mappings(cli, "--map", parsed.GetValue(map) ?? []),
                    Pause = Pauses(parsed.GetValue(action)),
                    Detached = parsed.GetValue(detached),
                    Progress = progress,
                };
                PitrOptions options = await cli.StoreOptionsAsync(parsed, cancellationToken).ConfigureAwait(false);
                if (parsed.GetValue(plan))
                {
                    RecoveryPlan planned = await PitrRecovery
                        .PlanAsync(request, options, cancellationToken)
                        .ConfigureAwait(false);
                    return new Answer(json => json.WriteRawValue(planned.ToJson()), console =>
                        console.Write(planned.ToText()));
                }
                RestoreResult result = await cli.Targets
                    .RestoreAsync(request, options, cancellationToken).ConfigureAwait(false);
                return RecoverCommand.Told(
                    result,
                    $"restored set {result.BackupId}, {TextShapes.Number(result.RecordsReplayed)} records replayed in "
                    + $"{TextShapes.Seconds(result.Seconds)}");
            });
    }

    /// <summary>What to do at the target, of a restore or a recovery in place.</summary>
    public static Option<string?> ActionOption()
    {
        var action = new Option<string?>("--action")
        {
            HelpName = $"{Promote}|{Pause}",
            Description = "What to do at the target (promote).",
        };
        action.AcceptOnlyFromAmong(Promote, Pause);
        return action;
    }

    /// <summary>It stays at the target.</summary>
    public static bool Pauses(string? action) => action == Pause;

    /// <summary>The form of a branch.</summary>
    public static string Branch(string text) =>
        text is "latest" or "current"
        || (uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) && number > 0)
            ? text
            : throw new FormatException($"'{text}' is not a timeline: its number, latest or current.");

    /// <summary>Folders, from → to; a relative one that they go to is taken from where the client runs.</summary>
    public static Dictionary<string, string> Mappings(CliContext cli, string option, string[] texts)
    {
        var mappings = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            KeyValuePair<string, string> mapping;
            try
            {
                mapping = TextForms.Mapping(text);
            }
            catch (FormatException wrong)
            {
                throw new UsageException(wrong.Message, $"Give {option} /old/folder=/new/folder.");
            }
            if (!mappings.TryAdd(mapping.Key, cli.Console.FullPath(mapping.Value)))
                throw new UsageException($"{option} names '{mapping.Key}' twice.", "Give each folder once.");
        }
        return mappings;
    }
}
