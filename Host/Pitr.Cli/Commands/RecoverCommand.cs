using System.CommandLine;
using Pitr.Recovery;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr recover DIR</c>: go on with a restore that is paused or that died, to a later target, or to its end.
/// </summary>
internal static class RecoverCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "A database whose restore is paused or unfinished." };
        var promote = new Option<bool>("--promote")
        {
            Description = "Begin the new timeline there; the database is ready for serve then.",
        };
        var target = new TargetOptions();
        return cli.Verb(
            "recover", "Go on with a restore that is paused or not finished.", [folder, .. target.Symbols, promote],
            async (parsed, cancellationToken) =>
            {
                RecoveryTarget asked = target.Read(parsed);
                RestoreResult result = await cli.Targets.RecoverAsync(
                    cli.Console.FullPath(parsed.GetRequiredValue(folder)),
                    asked.Kind == RecoveryTarget.Form.Latest ? null : asked, parsed.GetValue(promote),
                    cancellationToken).ConfigureAwait(false);
                return Answer.Line(
                    json => JsonShapes.Restore(json, result),
                    $"{TextShapes.Number(result.RecordsReplayed)} records replayed in "
                    + $"{TextShapes.Seconds(result.Seconds)}; "
                    + $"it stands at {result.StoppedAt.Lsn} ({TextForms.Time(result.StoppedAt.Time)}, "
                    + $"transaction {result.StoppedAt.TransactionId}) on timeline {result.Timeline}");
            });
    }
}
