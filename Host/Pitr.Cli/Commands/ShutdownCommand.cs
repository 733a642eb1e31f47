using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr shutdown</c>: stop a running engine in order.</summary>
internal static class ShutdownCommand
{
    public static Command Create(CliContext cli)
    {
        var force = new Option<bool>("--force") { Description = "Break fences instead of waiting for them." };
        return cli.EngineVerb(
            "shutdown", "Stop a running engine in order.", [force], async (target, parsed, cancellationToken) =>
            {
                await target.ShutdownAsync(parsed.GetValue(force), cancellationToken).ConfigureAwait(false);
                return Answer.Line(JsonShapes.Named("state", "stopped"), "the engine has stopped");
            });
    }
}
