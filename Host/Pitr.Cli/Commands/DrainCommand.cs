using System.CommandLine;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr drain FOLDER --to FOLDER</c>: every datafile of a folder moves to another one, under one rate.</summary>
internal static class DrainCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("FOLDER") { Description = "The folder that the datafiles lie in now." };
        var to = new Option<string>("--to")
        {
            HelpName = "FOLDER",
            Description = "The folder that they go to.",
            Required = true,
        };
        Option<long?> rate = CliContext.OptionOf<long?>(
            "--rate", "SIZE", "Bytes a second at most, for all of them together.", text => TextForms.SizePerSecond(text));
        return cli.TargetVerb(
            "drain", "Move every datafile of a folder while they are in use.", [folder, to, rate],
            async (target, parsed, cancellationToken) =>
            {
                using var progress = new ProgressLine(cli.Console);
                IReadOnlyList<MoveResult> moved = await target.DrainAsync(
                    new DrainRequest
                    {
                        Folder = cli.Console.FullPath(parsed.GetRequiredValue(folder)),
                        To = cli.Console.FullPath(parsed.GetRequiredValue(to)),
                        BytesPerSecondMax = parsed.GetValue(rate),
                        Progress = progress,
                    },
                    cancellationToken).ConfigureAwait(false);
                return new Answer(
                    json =>
                    {
                        json.WriteStartArray();
                        foreach (MoveResult one in moved)
                            JsonShapes.Move(json, one);
                        json.WriteEndArray();
                    },
                    console =>
                    {
                        foreach (MoveResult one in moved)
                            console.WriteWhole(TextShapes.Moved(one));
                        if (moved.Count == 0)
                            console.WriteWhole("no datafile lies there");
                    });
            });
    }
}
