using System.CommandLine;
using Pitr.Actors;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr table create|list|drop</c>.</summary>
internal static class TableCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("table", "Create, list and drop tables.");
        command.Subcommands.Add(CreateVerb(cli));
        command.Subcommands.Add(ListVerb(cli));
        command.Subcommands.Add(DropVerb(cli));
        return command;
    }

    private static Command CreateVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The table's name.", TextForms.Name);
        Option<string?> datafile = CliContext.OptionOf(
            "--datafile", "NAME", "The datafile that it lies in (else main).", TextForms.Name);
        return cli.TargetVerb(
            "create", "Create a table.", [name, datafile], async (target, parsed, cancellationToken) =>
        {
            TableEntry row = await target
                .CreateTableAsync(parsed.GetRequiredValue(name), parsed.GetValue(datafile), cancellationToken)
                .ConfigureAwait(false);
            return Answer.Line(json => JsonShapes.Table(json, row), $"table {row.Name} created in {row.Datafile}");
        });
    }

    private static Command ListVerb(CliContext cli) => cli.TargetVerb(
        "list", "List the tables.", [], async (target, _, cancellationToken) =>
        {
            IReadOnlyList<TableEntry> rows = await target.ListTablesAsync(cancellationToken).ConfigureAwait(false);
            return new Answer(
                json => JsonShapes.Tables(json, rows),
                console => console.Write(
                    TextShapes.Rows(["table", "datafile"], rows.Select(row => new[] { row.Name, row.Datafile }))));
        });

    private static Command DropVerb(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The table's name.", TextForms.Name);
        return cli.TargetVerb(
            "drop", "Drop a table with all of its keys.", [name], async (target, parsed, cancellationToken) =>
            {
                string dropped = parsed.GetRequiredValue(name);
                await target.DropTableAsync(dropped, cancellationToken).ConfigureAwait(false);
                return Answer.Line(JsonShapes.Named("name", dropped), $"table {dropped} dropped");
            });
    }
}
