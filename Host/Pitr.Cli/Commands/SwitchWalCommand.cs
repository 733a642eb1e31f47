using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr switch-wal</c>: end the segment in use, so that the archive gets it whole.</summary>
internal static class SwitchWalCommand
{
    public static Command Create(CliContext cli) => cli.TargetVerb(
        "switch-wal", "End the WAL segment in use, so that the archive gets it whole.", [],
        async (target, _, cancellationToken) =>
        {
            Lsn lsn = await target.SwitchWalAsync(cancellationToken).ConfigureAwait(false);
            return Answer.Line(JsonShapes.Named("lsn", lsn.ToString()), $"the next segment begins at {lsn}");
        });
}
