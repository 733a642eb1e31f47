using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using CsvHelper;

namespace Pitr.Cli;

/// <summary>
/// Records of a CSV file (RFC 4180, with a header line): a value is a JSON object with the header's names and the
/// fields as texts, in the order of the columns.
/// </summary>
internal static class CsvRecords
{
    private static readonly JsonWriterOptions JsonForm =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly CsvReaderOptions Form = CsvReaderOptions.Default with
    {
        Separator = ',',
        DetectSeparatorHint = false,
        TrackLineNumbers = true,
        MaxRecordSize = Limits.ValueBytesMax,
        FieldCountMismatch = CsvFieldCountHandling.Throw,
        MalformedData = CsvMalformedDataHandling.Throw,
    };

    /// <summary>Reads record after record; memory holds one record.</summary>
    public static async IAsyncEnumerable<InputRecord> ReadAsync(
        Stream stream, string file, string keyField, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using CsvReader csv = CsvReader.Create(stream, Form, leaveOpen: true);
        bool there = await NextAsync(csv, file, cancellationToken).ConfigureAwait(false);
        string[] header = [.. csv.Headers];
        if (header.Length == 0)
            yield break;
        int keyColumn = Array.IndexOf(header, keyField);
        if (keyColumn < 0)
            throw InputErrors.At(
                file, 1, $"its header has no column '{keyField}' (it has: {string.Join(", ", header)}).");
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer, JsonForm);
        for (; there; there = await NextAsync(csv, file, cancellationToken).ConfigureAwait(false))
        {
            string key = Write(csv, header, keyColumn, file, json);
            yield return new InputRecord(key, buffer.WrittenSpan.ToArray(), csv.LineNumber);
            buffer.ResetWrittenCount();
            json.Reset();
        }
    }

    /// <summary>The first column of the header; null if there is none.</summary>
    public static async Task<string?> FirstFieldAsync(Stream stream, string file, CancellationToken cancellationToken)
    {
        using CsvReader csv = CsvReader.Create(stream, Form, leaveOpen: true);
        await NextAsync(csv, file, cancellationToken).ConfigureAwait(false);
        return csv.Headers.Count == 0 ? null : csv.Headers[0];
    }

    private static string Write(CsvReader csv, string[] header, int keyColumn, string file, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        for (int column = 0; column < header.Length; column++)
        {
            ReadOnlySpan<byte> field = csv.GetSpan(column);
            if (!Utf8.IsValid(field))
                throw InputErrors.At(file, csv.LineNumber, "its text is not valid UTF-8.");
            json.WriteString(header[column], field);
        }
        json.WriteEndObject();
        json.Flush();
        ReadOnlySpan<byte> key = csv.GetSpan(keyColumn);
        if (key.Length > Limits.KeyBytesMax)
            throw InputErrors.At(file, csv.LineNumber, $"its key is longer than {Limits.KeyBytesMax} bytes.");
        return Encoding.UTF8.GetString(key);
    }

    private static async ValueTask<bool> NextAsync(CsvReader csv, string file, CancellationToken cancellationToken)
    {
        try
        {
            return await csv.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (CsvFormatException wrong)
        {
            throw InputErrors.At(file, wrong.LineNumber, wrong.Message, wrong);
        }
    }
}
