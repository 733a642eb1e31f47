using System.CommandLine;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr wal dump SEGMENT|STORE</c>: one JSON record a line; <c>pitr wal find</c>: who touched a key, and when.
/// </summary>
internal static class WalCommand
{
    public static Command Create(CliContext cli)
    {
        var command = new Command("wal", "Look into WAL segments.");
        command.Subcommands.Add(DumpVerb(cli));
        command.Subcommands.Add(WalFindCommand.Create(cli));
        return command;
    }

    private static Command DumpVerb(CliContext cli)
    {
        var source = new Argument<string>("SEGMENT|STORE")
        {
            Description = "A segment of wal/ or of a store, a store, or a database's folder.",
        };
        Option<Lsn?> from =
            CliContext.OptionOf<Lsn?>("--from", "L", "Records that end above it.", text => TextForms.Position(text));
        Option<Lsn?> to = CliContext.OptionOf<Lsn?>("--to", "L", "Records that end at or below it.", text =>
            TextForms.Position(text));
        var table = new Option<string?>("--table")
        {
            HelpName = "T",
            Description = "Only what touched this table (its name or its number).",
        };
        var key =
            new Option<string?>("--key") { HelpName = "K", Description = "Only transactions that touched this key." };
        Option<bool> hex = DataOptions.Hex();
        Symbol[] symbols = [source, from, to, table, key, hex];
        return cli.Verb("dump", "Write WAL records as JSON, one a line.", symbols, async (parsed, cancellationToken) =>
        {
            bool isHex = parsed.GetValue(hex);
            var dump = new WalDumpWriter
            {
                Source = SegmentPieces.At(
                    cli.Console.FullStore(parsed.GetRequiredValue(source)),
                    await cli.StoreOptionsAsync(parsed, cancellationToken).ConfigureAwait(false)),
                From = parsed.GetValue(from) ?? Lsn.Zero,
                To = parsed.GetValue(to) ?? Lsn.MaxValue,
                Table = parsed.GetValue(table),
                Key = parsed.GetValue(key) is { } text ? TextForms.Bytes(text, isHex) : null,
                AsHex = isHex,
            };
            var output = new BufferedStream(cli.Console.Output, 64 << 10);
            await Task.Run(() => dump.WriteTo(output, cancellationToken), cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }
}
