using System.CommandLine;
using System.Text.Json;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary><c>pitr wal dump SEGMENT|STORE</c>: one JSON record a line.</summary>
internal static class WalCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("wal", "Look into WAL segments.");
        command.Subcommands.Add(DumpVerb(cli));
        return command;
    }

    private static Command DumpVerb(CliContext cli)
    {
        var source = new Argument<string>("SEGMENT|STORE") { Description = "A segment of wal/, an archived object, or a store." };
        Option<Lsn?> from = CliContext.OptionOf<Lsn?>("--from", "L", "Records that end above it.", text => TextForms.Position(text));
        Option<Lsn?> to = CliContext.OptionOf<Lsn?>("--to", "L", "Records that end at or below it.", text => TextForms.Position(text));
        var key = new Option<string?>("--key") { HelpName = "K", Description = "Only transactions that touched this key." };
        Option<bool> hex = DataOptions.Hex();
        return cli.Verb("dump", "Write WAL records as JSON, one a line.", [source, from, to, key, hex], async (parsed, cancellationToken) =>
        {
            string? wanted = parsed.GetValue(key) is { } text
                ? Convert.ToHexString(TextForms.Bytes(text, parsed.GetValue(hex)))
                : null;
            string path = cli.Console.FullStore(parsed.GetRequiredValue(source));
            var output = new BufferedStream(cli.Console.Output, 64 << 10);
            await Task.Run(
                () =>
                {
                    foreach (RecordDescription record in SegmentRecords.Read(path, cancellationToken))
                    {
                        Lsn lsn = TextForms.Position(record.Lsn);
                        if (lsn <= (parsed.GetValue(from) ?? Lsn.Zero) || lsn > (parsed.GetValue(to) ?? Lsn.MaxValue)
                            || (wanted is not null && record.Operations?.Any(operation => operation.Key == wanted) != true))
                            continue;
                        JsonSerializer.Serialize(output, record, WalDumpJson.Default.RecordDescription);
                        output.WriteByte((byte)'\n');
                    }
                },
                cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }
}
