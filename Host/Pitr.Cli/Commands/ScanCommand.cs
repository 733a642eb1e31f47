using System.Buffers;
using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Pitr.Cli;

/// <summary>
/// <c>pitr scan TABLE</c>: rows of one snapshot, streamed. As JSON one object a line; for people the key, a tab, the
/// value.
/// </summary>
internal static class ScanCommand
{
    private const int BufferBytes = 64 << 10;

    public static Command Create(CliContext cli)
    {
        Argument<string> table = DataOptions.Table();
        var from = new Option<string?>("--from") { HelpName = "K", Description = "The first key that may come." };
        var to = new Option<string?>("--to") { HelpName = "K", Description = "The first key beyond." };
        var prefix = new Option<string?>("--prefix") { HelpName = "P", Description = "Only keys that begin with it." };
        Option<long?> limit =
            CliContext.OptionOf<long?>("--limit", "N", "At most so many rows.", text => TextForms.Count(text));
        var reverse = new Option<bool>("--reverse") { Description = "From the last key to the first." };
        Option<bool> hex = DataOptions.Hex();
        return cli.TargetVerb(
            "scan", "Read rows in the order of their keys.", [table, from, to, prefix, limit, reverse, hex],
            async (target, parsed, cancellationToken) =>
            {
                bool isHex = parsed.GetValue(hex);
                byte[]? Bound(Option<string?> option) =>
                    parsed.GetValue(option) is { } text ? TextForms.Bytes(text, isHex) : null;
                var range = new ScanRange
                {
                    From = Bound(from),
                    To = Bound(to),
                    Prefix = Bound(prefix),
                    RowsMax = parsed.GetValue(limit),
                    Reverse = parsed.GetValue(reverse),
                };
                IAsyncEnumerable<KeyValue> rows =
                    target.ScanAsync(parsed.GetRequiredValue(table), range, cancellationToken);
                await WriteRowsAsync(cli.Console.Output, rows, isHex, cli.AsJson(parsed), cancellationToken)
                    .ConfigureAwait(false);
                return Answer.Streamed;
            });
    }

    private static async Task WriteRowsAsync(
        Stream output, IAsyncEnumerable<KeyValue> rows, bool isHex, bool asJson, CancellationToken cancellationToken)
    {
        var buffer = new ArrayBufferWriter<byte>(BufferBytes * 2);
        using var json = new Utf8JsonWriter(
            buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        try
        {
            await foreach (KeyValue row in rows.WithCancellation(cancellationToken).ConfigureAwait(false))
            {
                if (asJson)
                    WriteJson(json, row, isHex);
                else
                    WriteText(buffer, row, isHex);
                buffer.Write("\n"u8);
                if (buffer.WrittenCount >= BufferBytes)
                {
                    await output.WriteAsync(buffer.WrittenMemory, cancellationToken).ConfigureAwait(false);
                    buffer.ResetWrittenCount();
                }
            }
        }
        finally
        {
            await output.WriteAsync(buffer.WrittenMemory, CancellationToken.None).ConfigureAwait(false);
            await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static void WriteJson(Utf8JsonWriter json, KeyValue row, bool isHex)
    {
        string key = TextForms.Text(row.Key, isHex);
        string value = TextForms.Text(row.Value, isHex);
        json.WriteStartObject();
        json.WriteString("key", key);
        json.WriteString("value", value);
        json.WriteEndObject();
        json.Flush();
        json.Reset();
    }

    private static void WriteText(ArrayBufferWriter<byte> buffer, KeyValue row, bool isHex)
    {
        buffer.Write(isHex ? Encoding.ASCII.GetBytes(Convert.ToHexStringLower(row.Key)) : row.Key);
        buffer.Write("\t"u8);
        buffer.Write(isHex ? Encoding.ASCII.GetBytes(Convert.ToHexStringLower(row.Value)) : row.Value);
    }
}
