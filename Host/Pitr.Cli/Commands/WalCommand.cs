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
                        Write(output, record);
                        output.WriteByte((byte)'\n');
                    }
                },
                cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }

    private static void Write(Stream output, RecordDescription record)
    {
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        json.WriteString("kind", record.Kind);
        json.WriteString("lsn", record.Lsn);
        json.WriteString("startLsn", record.StartLsn);
        json.WriteString("groupStart", record.GroupStart);
        json.WriteString("time", TextForms.Time(record.CommitTime));
        json.WriteString("rawClock", TextForms.Time(record.RawClock));
        json.WriteNumber("bytes", record.LengthBytes);
        json.WriteString("crc", record.Crc);
        json.WriteString("previousCrc", record.PreviousCrc);
        if (record.TransactionId is { } transaction)
            json.WriteNumber("transactionId", transaction);
        if (record.Event is { } text)
        {
            json.WritePropertyName("event");
            json.WriteRawValue(text);
        }
        if (record.Operations is { } operations)
        {
            json.WriteStartArray("operations");
            foreach (OperationDescription operation in operations)
            {
                json.WriteStartObject();
                json.WriteString("operation", operation.Operation);
                json.WriteNumber("fileId", operation.FileId);
                json.WriteNumber("tableId", operation.TableId);
                json.WriteString("key", operation.Key);
                json.WriteNumber("valueBytes", operation.ValueBytes);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }
}
