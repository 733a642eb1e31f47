using System.CommandLine;
using Pitr.Actors;
using Pitr.Recovery;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr datafile create|list|move|compact|recover|drop</c>.</summary>
internal static class DatafileCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("datafile", "Create, list, move, compact, recover and drop datafiles.");
        command.Subcommands.Add(CreateVerb(cli));
        command.Subcommands.Add(ListVerb(cli));
        command.Subcommands.Add(MoveVerb(cli));
        command.Subcommands.Add(CompactVerb(cli));
        command.Subcommands.Add(RecoverVerb(cli));
        command.Subcommands.Add(DropVerb(cli));
        return command;
    }

    private static Command CreateVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile's name.", TextForms.Name);
        var path = new Option<string?>("--path")
        {
            HelpName = "FILE",
            Description = "Where it shall lie (else NAME.pitr in the database's folder).",
        };
        return cli.TargetVerb("create", "Create a datafile.", [name, path], async (target, parsed, cancellationToken) =>
        {
            string? file = parsed.GetValue(path) is { } given ? cli.Console.FullPath(given) : null;
            DatafileEntry row = await target
                .CreateDatafileAsync(parsed.GetRequiredValue(name), file, cancellationToken).ConfigureAwait(false);
            return Answer.Line(json => JsonShapes.Datafile(json, row), $"datafile {row.Name} created: {row.Path}");
        });
    }

    private static Command ListVerb(CliContext cli) => cli.TargetVerb(
        "list", "List the datafiles.", [], async (target, _, cancellationToken) =>
        {
            IReadOnlyList<DatafileEntry> rows = await target.ListDatafilesAsync(cancellationToken)
                .ConfigureAwait(false);
            return new Answer(
                json => JsonShapes.Datafiles(json, rows),
                console => console.Write(
                    TextShapes.Rows(["datafile", "path"], rows.Select(row => new[] { row.Name, row.Path }))));
        });

    private static Command MoveVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile's name.", TextForms.Name);
        var file = new Argument<string>("FILE") { Description = "The file that it becomes; nothing may be there yet." };
        Option<long?> rate = Rate();
        var noSymlink = new Option<bool>("--no-symlink")
        {
            Description = "Note the new path in the database; else a symbolic link under the former one leads there.",
        };
        return cli.TargetVerb(
            "move", "Move a datafile while it is in use.", [name, file, rate, noSymlink],
            async (target, parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                MoveResult moved = await target.MoveAsync(
                    new MoveRequest
                    {
                        Datafile = parsed.GetRequiredValue(name),
                        Path = cli.Console.FullPath(parsed.GetRequiredValue(file)),
                        WithoutLink = parsed.GetValue(noSymlink),
                        BytesPerSecondMax = parsed.GetValue(rate),
                        Progress = progress,
                    },
                    cancellationToken).ConfigureAwait(false);
                return Answer.Line(json => JsonShapes.Move(json, moved), TextShapes.Moved(moved));
            });
    }

    private static Command RecoverVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile's name.", TextForms.Name);
        var from = new Option<string?>("--from")
        {
            HelpName = "STORE",
            Description = "Where the backup sets are (else what lies there if it is whole, or the database's stores).",
        };
        var archive = new Option<string?>("--archive")
        {
            HelpName = "STORE",
            Description = "Where WAL is that neither the database nor its stores have.",
        };
        var plan = new Option<bool>("--plan") { Description = "Show what would be done; write nothing." };
        return cli.TargetVerb(
            "recover", "Bring one datafile back while the others serve.", [name, from, archive, plan],
            async (target, parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                var request = new DatafileRecoveryRequest
                {
                    Datafile = parsed.GetRequiredValue(name),
                    Store = parsed.GetValue(from) is { } sets ? cli.Console.FullStore(sets) : null,
                    Archive = parsed.GetValue(archive) is { } store ? cli.Console.FullStore(store) : null,
                    Progress = progress,
                };
                if (parsed.GetValue(plan))
                {
                    RecoveryPlan planned = await target.PlanDatafileRecoveryAsync(request, cancellationToken)
                        .ConfigureAwait(false);
                    return new Answer(
                        json => json.WriteRawValue(planned.ToJson()), console => console.Write(planned.ToText()));
                }

                DatafileRecoveryResult result = await target.RecoverDatafileAsync(request, cancellationToken)
                    .ConfigureAwait(false);
                return Answer.Line(json => JsonShapes.RecoveredDatafile(json, result), TextShapes.Recovered(result));
            });
    }

    private static Command CompactVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile's name.", TextForms.Name);
        Option<long?> rate = Rate();
        return cli.TargetVerb(
            "compact", "Make a datafile anew with its live pages only, while it is in use.", [name, rate],
            async (target, parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                CompactResult done = await target.CompactAsync(
                    new CompactRequest
                    {
                        Datafile = parsed.GetRequiredValue(name),
                        BytesPerSecondMax = parsed.GetValue(rate),
                        Progress = progress,
                    },
                    cancellationToken).ConfigureAwait(false);
                return Answer.Line(json => JsonShapes.Compact(json, done), TextShapes.Compacted(done));
            });
    }

    private static Option<long?> Rate() =>
        CliContext.OptionOf<long?>("--rate", "SIZE", "Bytes a second at most.", text => TextForms.SizePerSecond(text));

    private static Command DropVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The datafile's name.", TextForms.Name);
        return cli.TargetVerb(
            "drop", "Drop a datafile that has no tables.", [name], async (target, parsed, cancellationToken) =>
            {
                string dropped = parsed.GetRequiredValue(name);
                await target.DropDatafileAsync(dropped, cancellationToken).ConfigureAwait(false);
                return Answer.Line(JsonShapes.Named("name", dropped), $"datafile {dropped} dropped");
            });
    }
}
