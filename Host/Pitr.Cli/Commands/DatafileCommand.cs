using System.CommandLine;
using Pitr.Actors;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr datafile create|list|drop</c>.</summary>
internal static class DatafileCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("datafile", "Create, list and drop datafiles.");
        command.Subcommands.Add(CreateVerb(cli));
        command.Subcommands.Add(ListVerb(cli));
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
