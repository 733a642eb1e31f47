using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr count TABLE</c>.</summary>
internal static class CountCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        return cli.TargetVerb(
            "count", "Count the keys of a table.", [table], async (target, parsed, cancellationToken) =>
        {
            long count = await target.CountAsync(parsed.GetRequiredValue(table), cancellationToken)
                .ConfigureAwait(false);
            return Answer.Line(
                json =>
                {
                    json.WriteStartObject();
                    json.WriteNumber("count", count);
                    json.WriteEndObject();
                },
                $"{count}");
        });
    }
}
