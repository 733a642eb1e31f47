using System.CommandLine;
using Spectre.Console;

namespace Pitr.Cli;

/// <summary><c>pitr checkpoint</c>: flush what is not fenced, move the redo point.</summary>
internal static class CheckpointCommand
{
    public static Command Create(CliContext cli) => cli.TargetVerb(
        "checkpoint", "Flush every datafile that is not fenced and move the redo point.", [],
        async (target, _, cancellationToken) =>
        {
            CheckpointResult result = await target.CheckpointAsync(cancellationToken).ConfigureAwait(false);
            return new Answer(json => JsonShapes.Checkpoint(json, result), console =>
            {
                console.WriteWhole($"checkpoint at {result.CheckpointLsn}, redo from {result.RedoLsn}");
                console.WriteWhole($"flushed: {List(result.Flushed)}; skipped: {List(result.Skipped)}");
            });
        });

    private static string List(IReadOnlyList<string> names) => names.Count == 0 ? "none" : string.Join(", ", names);
}
