using System.CommandLine;
using System.Text;

namespace Pitr.Cli;

/// <summary><c>pitr put TABLE KEY VALUE|-</c>: durable when it returns.</summary>
internal static class PutCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        Argument<string> key = DataOptions.Key();
        var value = new Argument<string>("VALUE") { Description = "The value; - reads it from standard input." };
        Option<bool> hex = DataOptions.Hex();
        return cli.TargetVerb(
            "put", "Put one key; durable when it returns.", [table, key, value, hex],
            async (target, parsed, cancellationToken) =>
            {
                bool isHex = parsed.GetValue(hex);
                byte[] keyBytes = TextForms.Bytes(parsed.GetRequiredValue(key), isHex);
                string given = parsed.GetRequiredValue(value);
                byte[] valueBytes = given == "-"
                    ? await ReadInputAsync(cli.Console, isHex, cancellationToken).ConfigureAwait(false)
                    : TextForms.Bytes(given, isHex);
                CommitResult commit = await target
                    .PutAsync(parsed.GetRequiredValue(table), keyBytes, valueBytes, cancellationToken)
                        .ConfigureAwait(false);
                return Answer.Line(json => JsonShapes.Commit(json, commit), Line(commit));
            });
    }

    /// <summary>A commit as a line for people.</summary>
    public static string Line(CommitResult commit) =>
        $"transaction {commit.TransactionId} at {commit.Lsn}, {TextForms.Time(commit.Time)}";

    private static async Task<byte[]> ReadInputAsync(
        CliConsole console, bool isHex, CancellationToken cancellationToken)
    {
        using var bytes = new MemoryStream();
        await console.Input().CopyToAsync(bytes, cancellationToken).ConfigureAwait(false);
        return isHex ? TextForms.Bytes(Encoding.UTF8.GetString(bytes.ToArray()).Trim(), isHex: true) : bytes.ToArray();
    }
}
