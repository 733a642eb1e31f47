using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr archive status</c>: how far each archive is behind what is durable.</summary>
internal static class ArchiveCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("archive", "Look at the stores that the WAL is archived into.");
        command.Subcommands.Add(cli.TargetVerb(
            "status", "Show how far each store is.", [], async (target, _, cancellationToken) =>
            {
                EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
                return new Answer(
                    json => JsonShapes.Archive(json, status.Archive), console =>
                        TextShapes.Archive(console, status.Archive));
            }));
        return command;
    }
}
