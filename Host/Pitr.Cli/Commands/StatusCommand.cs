using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr status</c>: what the engine is doing.</summary>
internal static class StatusCommand
{
    public static Command Create(CliContext cli) => cli.TargetVerb(
        "status", "Show datafiles, fences, the WAL and the archive.", [], async (target, _, cancellationToken) =>
        {
            EngineStatus status = await target.GetStatusAsync(cancellationToken).ConfigureAwait(false);
            return new Answer(json => JsonShapes.Status(json, status), console => TextShapes.Status(console, status));
        });
}
