using System.CommandLine;
using System.Text;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr dump TABLE</c>: the values, one a line, in key order, of one snapshot. Exit 0 only if it is whole.
/// </summary>
internal static class DumpCommand
{
    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        Option<bool> hex = DataOptions.Hex();
        return cli.TargetVerb(
            "dump", "Write the values of a table, one a line, in key order.", [table, hex],
            async (target, parsed, cancellationToken) =>
            {
                bool isHex = parsed.GetValue(hex);
                var output = new BufferedStream(cli.Console.Output, 64 << 10);
                try
                {
                    await foreach (KeyValue row in target
                        .ScanAsync(parsed.GetRequiredValue(table), ScanRange.All, cancellationToken)
                            .ConfigureAwait(false))
                    {
                        ReadOnlySpan<byte> value =
                            isHex ? Encoding.ASCII.GetBytes(Convert.ToHexStringLower(row.Value)) : row.Value;
                        output.Write(value);
                        output.WriteByte((byte)'\n');
                    }
                }
                finally
                {
                    await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
                }
                return Answer.Streamed;
            });
    }
}
