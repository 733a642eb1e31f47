using System.CommandLine;
using System.Globalization;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary>
/// What <c>pitr recover DIR</c> is told of the control file: the one that is there, that of a backup set, or one that is
/// made anew; and what goes with it.
/// </summary>
internal sealed class ControlFileOptions
{
    private const string Current = "current";
    private const string Backup = "backup";
    private const string Rebuild = "rebuild";

    private readonly Option<string?> _which = new("--control-file")
    {
        HelpName = $"{Current}|{Backup}|{Rebuild}",
        Description = "The one that is there, that of a backup set (to the target, on a new timeline), or made anew from "
            + "datafiles and WAL.",
    };

    private readonly Option<string?> _backup = new("--backup")
    {
        HelpName = "ID",
        Description = "The set whose control file is taken (else the newest that reaches the target).",
    };

    private readonly Option<string?> _timeline = CliContext.OptionOf(
        "--timeline", "N|latest|current", "Which branch, where there are several.", RestoreCommand.Branch);

    private readonly Option<string[]> _moved = new("--moved")
    {
        HelpName = "OLD=NEW",
        Arity = ArgumentArity.ZeroOrMore,
        Description = "Alone: the folder was moved and is no copy, its datafiles outside are its own again. OLD=NEW, with "
            + "--control-file backup: those that were known in a folder outside are its own, and lie there now; may be given "
            + "several times.",
    };

    private readonly Option<string?> _action = RestoreCommand.ActionOption();

    public ControlFileOptions() => _which.AcceptOnlyFromAmong(Current, Backup, Rebuild);

    /// <summary>All of them.</summary>
    public Symbol[] Symbols => [_which, _backup, _timeline, _moved, _action];

    /// <summary>True if the control file is not the one that is there.</summary>
    public bool IsOther(ParseResult parsed) => parsed.GetValue(_which) is Backup or Rebuild;

    /// <summary>True if it is said that the folder was moved, of the control file that is there.</summary>
    /// <exception cref="UsageException">With folders, or with what else a recovery is told.</exception>
    public bool IsMoved(ParseResult parsed, bool isAlone)
    {
        if (parsed.GetResult(_moved) is null || IsOther(parsed))
            return false;
        if (parsed.GetValue(_moved) is { Length: > 0 })
            throw new UsageException(
                "With the control file that is there --moved names no folders: its datafiles are its own where it knows them.",
                $"Give --moved alone; or --control-file {Backup} too, if they lie in another folder now.");
        if (!isAlone || parsed.GetValue(_backup) is not null || parsed.GetValue(_timeline) is not null
            || parsed.GetValue(_action) is not null)
            throw new UsageException(
                "--moved says only that the folder was moved, and recovers nothing.",
                "Give it alone, or with --plan; then recover or serve the database.");
        return true;
    }

    /// <summary>What is of another control file's recovery alone.</summary>
    /// <exception cref="UsageException">It is said of the one that is there.</exception>
    public void RequireNothingElse(ParseResult parsed, bool hasTarget)
    {
        if (parsed.GetValue(_backup) is not null || parsed.GetValue(_timeline) is not null)
            throw new UsageException(
                "--backup and --timeline belong to a recovery with another control file.",
                $"Give --control-file {Backup} too, or leave them out.");
        if (parsed.GetValue(_action) is not null)
            throw new UsageException(
                "--action says where a recovery with another control file ends; one that is under way goes on as it was begun.",
                $"Give --control-file {Backup} too; or --promote, to finish one that is paused.");
        if (hasTarget && parsed.GetValue(_which) == Current)
            throw new UsageException(
                "With the control file that is there a database comes back to the end of its WAL, and goes to no target.",
                $"Give --control-file {Backup}, to go back to an earlier moment.");
    }

    /// <summary>Carries it out, or shows the plan.</summary>
    public async Task<Answer> RunAsync(
        CliContext cli, ParseResult parsed, string folder, RecoveryTarget target, (string? Store, string? Archive) places,
        bool promotes, bool isPlan, CancellationToken cancellationToken)
    {
        if (parsed.GetValue(_which) == Rebuild)
        {
            if (promotes)
                throw new UsageException(
                    "With a control file that is made anew a database goes on on its timeline: no new one begins.",
                    $"Leave out --promote; or give --control-file {Backup}, which begins one.");
            if (target.Kind != RecoveryTarget.Form.Latest || places.Store is not null || places.Archive is not null
                || parsed.GetValue(_backup) is not null || parsed.GetResult(_moved) is not null
                || parsed.GetValue(_action) is not null)
                throw new UsageException(
                    "A control file is made anew from what lies in the folder, to the end of its WAL.",
                    $"Give --timeline and --plan at most, and afterwards --moved alone; or --control-file {Backup}.");
            return await RebuildAsync(cli, parsed, folder, isPlan, cancellationToken).ConfigureAwait(false);
        }

        if (parsed.GetResult(_moved) is not null && parsed.GetValue(_moved) is not { Length: > 0 })
            throw new UsageException(
                $"With --control-file {Backup}, --moved names the folders outside.",
                "Give --moved OLD=NEW: where the datafiles were known, and where they lie; the same twice if they lie there "
                + "still.");
        bool pauses = RestoreCommand.Pauses(parsed.GetValue(_action));
        if (pauses && promotes)
            throw new UsageException(
                "--promote and --action pause are opposites.", "Give one of them; or none, which promotes.");
        using var progress = new ProgressLine(cli.Console);
        var request = new InPlaceRecoveryRequest
        {
            Folder = folder,
            Store = places.Store,
            Archive = places.Archive,
            BackupId = parsed.GetValue(_backup),
            Target = target,
            Timeline = parsed.GetValue(_timeline),
            Moved = RestoreCommand.Mappings(cli, "--moved", parsed.GetValue(_moved) ?? []),
            Pause = pauses,
            Progress = progress,
        };
        if (isPlan)
        {
            RecoveryPlan plan = await PitrRecovery
                .PlanInPlaceAsync(request, cli.Targets.OptionsFor(folder), cancellationToken).ConfigureAwait(false);
            return new Answer(json => json.WriteRawValue(plan.ToJson()), console => console.Write(plan.ToText()));
        }

        return RecoverCommand.Told(
            await cli.Targets.RecoverInPlaceAsync(request, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>The folder was moved: <see cref="IsMoved"/>.</summary>
    public static async Task<Answer> NoteMovedAsync(
        CliContext cli, string folder, bool isPlan, CancellationToken cancellationToken)
    {
        PitrOptions options = cli.Targets.OptionsFor(folder);
        IReadOnlyList<OutsideDatafile> outside = isPlan
            ? await PitrRecovery.PlanMovedAsync(folder, options, cancellationToken).ConfigureAwait(false)
            : await PitrRecovery.NoteMovedAsync(folder, options, cancellationToken).ConfigureAwait(false);
        return Answer.Line(
            json =>
            {
                json.WriteStartArray();
                foreach (OutsideDatafile file in outside)
                {
                    json.WriteStartObject();
                    json.WriteString("datafile", file.Datafile);
                    json.WriteString("path", file.Path);
                    json.WriteBoolean("isThere", file.IsThere);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            },
            outside.Count == 0
                ? "no datafile lies outside of the folder"
                : string.Join('\n', outside.Select(file =>
                    $"datafile {file.Datafile} at {file.Path} {(isPlan ? "would be" : "is")} this database's"
                    + (file.IsThere ? "" : ", and is not there: it needs recovery"))));
    }

    private async Task<Answer> RebuildAsync(
        CliContext cli, ParseResult parsed, string folder, bool isPlan, CancellationToken cancellationToken)
    {
        TimelineId? timeline = parsed.GetValue(_timeline) switch
        {
            null => null,
            { } text when uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) =>
                new TimelineId(number),
            _ => throw new UsageException(
                "Which timeline was in use has to be said by its number.", "Give --timeline N."),
        };
        PitrOptions options = cli.Targets.OptionsFor(folder);
        RebuildPlan plan = isPlan
            ? await PitrRecovery.PlanControlFileAsync(folder, timeline, options, cancellationToken).ConfigureAwait(false)
            : await PitrRecovery.RebuildControlFileAsync(folder, timeline, options, cancellationToken)
                .ConfigureAwait(false);
        return new Answer(json => json.WriteRawValue(plan.ToJson()), console => console.Write(plan.ToText()));
    }
}
