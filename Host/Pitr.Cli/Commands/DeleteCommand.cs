using System.CommandLine;

namespace Pitr.Cli;

/// <summary><c>pitr delete TABLE KEY</c>: durable when it returns, whether or not the key was there.</summary>
internal static class DeleteCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        Argument<string> key = DataOptions.Key();
        Option<bool> hex = DataOptions.Hex();
        return cli.TargetVerb(
            "delete", "Delete one key; durable when it returns.", [table, key, hex],
            async (target, parsed, cancellationToken) =>
            {
                byte[] keyBytes = TextForms.Bytes(parsed.GetRequiredValue(key), parsed.GetValue(hex));
                CommitResult commit = await target
                    .DeleteAsync(parsed.GetRequiredValue(table), keyBytes, cancellationToken).ConfigureAwait(false);
                return Answer.Line(json => JsonShapes.Commit(json, commit), PutCommand.Line(commit));
            });
    }
}
