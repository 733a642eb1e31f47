using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr restore-point NAME</c>: give the present moment a name to come back to.</summary>
internal static class RestorePointCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> name = CliContext.ArgumentOf("NAME", "The name of the moment.", TextForms.Name);
        return cli.TargetVerb(
            "restore-point", "Name the present moment, to come back to it.", [name],
            async (target, parsed, cancellationToken) =>
            {
                RestorePoint point = await target
                    .CreateRestorePointAsync(parsed.GetRequiredValue(name), cancellationToken).ConfigureAwait(false);
                return Answer.Line(
                    json => JsonShapes.RestorePoint(json, point),
                    $"restore point {point.Name} at {point.Lsn}, {TextForms.Time(point.Time)}");
            });
    }
}
