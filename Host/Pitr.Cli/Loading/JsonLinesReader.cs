using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace Pitr.Cli;

/// <summary>
/// Records of a JSON Lines file: a value is the line as it stands. The key is a member of the record's top level: a
/// text, a number or a boolean; of a member that comes twice the last one counts, as everywhere. Empty lines are left
/// out.
/// </summary>
internal static class JsonLinesReader
{
    /// <summary>Reads record after record; memory holds one line.</summary>
    public static async IAsyncEnumerable<InputRecord> ReadAsync(
        Stream stream, string file, string keyField, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        byte[] keyName = Encoding.UTF8.GetBytes(keyField);
        PipeReader reader =
            PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 256 << 10, leaveOpen: true));
        long line = 0;
        while (true)
        {
            ReadResult read = await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
            ReadOnlySequence<byte> buffer = read.Buffer;
            while (TryTakeLine(ref buffer, read.IsCompleted, out ReadOnlySequence<byte> content))
            {
                line++;
                if (Parse(content, file, line, keyName, keyField) is { } record)
                    yield return record;
            }
            if (buffer.Length > Limits.ValueBytesMax)
                throw InputErrors.At(file, line + 1, $"it is longer than {Limits.ValueBytesMax} bytes.");
            reader.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted)
                break;
        }
        await reader.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>
    /// The first member of the first record that is a text, a number or a boolean; null if there is no record.
    /// </summary>
    public static async Task<string?> FirstFieldAsync(Stream stream, string file, CancellationToken cancellationToken)
    {
        using var reader = new StreamReader(stream, leaveOpen: true);
        for (long line = 1; await reader.ReadLineAsync(cancellationToken).ConfigureAwait(false) is { } text; line++)
        {
            if (!string.IsNullOrWhiteSpace(text))
                return FirstFieldOf(text, file, line);
        }
        return null;
    }

    private static string FirstFieldOf(string text, string file, long line)
    {
        try
        {
            using JsonDocument record = JsonDocument.Parse(text);
            if (record.RootElement.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty member in record.RootElement.EnumerateObject())
                {
                    if (member.Value.ValueKind is JsonValueKind.String or JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False)
                        return member.Name;
                }
            }
        }
        catch (JsonException wrong)
        {
            throw InputErrors.At(file, line, $"it is not JSON ({wrong.Message.Split('.')[0]}).", wrong);
        }
        throw InputErrors.At(file, line, "it is no JSON object with a text, number or boolean.");
    }

    private static bool TryTakeLine(ref ReadOnlySequence<byte> buffer, bool isLast, out ReadOnlySequence<byte> line)
    {
        if (buffer.PositionOf((byte)'\n') is { } end)
        {
            line = buffer.Slice(0, end);
            buffer = buffer.Slice(buffer.GetPosition(1, end));
            return true;
        }
        line = buffer;
        if (!isLast || buffer.IsEmpty)
            return false;
        buffer = buffer.Slice(buffer.End);
        return true;
    }

    private static InputRecord? Parse(
        ReadOnlySequence<byte> content, string file, long line, byte[] keyName, string keyField)
    {
        byte[] bytes = content.ToArray();
        ReadOnlySpan<byte> text = bytes;
        if (line == 1 && text.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
            text = text[3..];
        text = text.Trim(" \t\r"u8);
        if (text.IsEmpty)
            return null;
        string? key;
        try
        {
            key = ReadKey(text, keyName);
        }
        catch (JsonException wrong)
        {
            throw InputErrors.At(file, line, $"it is not JSON ({wrong.Message.Split('.')[0]}).", wrong);
        }
        catch (InvalidOperationException wrong)
        {
            throw InputErrors.At(file, line, "its text is not valid UTF-8.", wrong);
        }
        if (key is null)
            throw InputErrors.At(file, line, $"it has no text, number or boolean '{keyField}' at its top level.");
        if (Encoding.UTF8.GetByteCount(key) > Limits.KeyBytesMax)
            throw InputErrors.At(file, line, $"its key is longer than {Limits.KeyBytesMax} bytes.");
        return new InputRecord(key, text.Length == bytes.Length ? bytes : text.ToArray(), line);
    }

    private static string? ReadKey(ReadOnlySpan<byte> text, byte[] keyName)
    {
        var json = new Utf8JsonReader(text);
        string? key = null;
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
            throw new JsonException("a record is an object");
        while (json.Read())
        {
            if (json.TokenType != JsonTokenType.PropertyName || json.CurrentDepth != 1
                || !json.ValueTextEquals(keyName))
                continue;
            json.Read();
            key = json.TokenType switch
            {
                JsonTokenType.String => json.GetString(),
                JsonTokenType.Number or JsonTokenType.True or JsonTokenType.False =>
                    Encoding.UTF8.GetString(json.ValueSpan),
                _ => null,
            };
        }
        return key;
    }
}
