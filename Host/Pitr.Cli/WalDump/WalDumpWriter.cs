using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>
/// Writes WAL records as JSON, one a line. A key is text; one that is not UTF-8, and every key under --hex, is
/// hexadecimal in a member of its own, so that neither is taken for the other.
/// </summary>
internal sealed class WalDumpWriter
{
    private static readonly JsonWriterOptions JsonForm =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly TableNames _names = new();

    /// <summary>Where the records are.</summary>
    public required SegmentPieces Source { get; init; }

    /// <summary>Only records that end above it.</summary>
    public Lsn From { get; init; } = Lsn.Zero;

    /// <summary>Only records that end at or below it.</summary>
    public Lsn To { get; init; } = Lsn.MaxValue;

    /// <summary>Only what touched this table, given by name or number; null: all.</summary>
    public string? Table { get; init; }

    /// <summary>Only transactions that touched this key; null: all.</summary>
    public byte[]? Key { get; init; }

    /// <summary>Every key in hexadecimal.</summary>
    public bool AsHex { get; init; }

    /// <summary>
    /// Writes them. With a table's name, what there is and has no index is read twice: a name may stand behind what it
    /// names.
    /// </summary>
    public void WriteTo(Stream output, CancellationToken cancellationToken)
    {
        if (Source.Database is { } folder)
            _names.Learn(new ControlFileStore(EngineFactory.FileSystemOf(new PitrOptions()), folder).ReadAny());
        IReadOnlyList<NamedTable>? tables = Table is null
            ? null
            : _names.Find(Table, Source, cancellationToken);
        var query = new WalQuery(tables, Key);
        HashSet<PieceSource> reaching = ReachingAboveFrom();
        var records = new SegmentRecords(Source, piece => reaching.Contains(piece) || MayHave(piece, query));
        foreach (FoundRecord found in records.Read(cancellationToken))
        {
            WalRecord record = found.Record;
            _names.Learn(record);
            if (record.Lsn <= From || record.Lsn > To || !query.Concerns(record))
                continue;
            using (var json = new Utf8JsonWriter(output, JsonForm))
                Write(json, WalDump.DescribeWithOperations(record));
            output.WriteByte((byte)'\n');
        }
    }

    /// <summary>
    /// The pieces that end at or below <see cref="From"/> in which a record begins that may end above it: of each timeline the
    /// last one in which a record begins at all, and those behind it that lie within that record.
    /// </summary>
    private HashSet<PieceSource> ReachingAboveFrom()
    {
        var reaching = new HashSet<PieceSource>();
        foreach (IGrouping<TimelineId, PieceSource> timeline in From > Lsn.Zero ? Source.Pieces.GroupBy(piece => piece.Timeline) : [])
        {
            foreach (PieceSource piece in timeline.Where(piece => piece.Range() is { } range && range.To <= From).Reverse())
            {
                reaching.Add(piece);
                if (SegmentRecords.OneBegins(piece.Read()))
                    break;
            }
        }
        return reaching;
    }

    private bool MayHave(PieceSource piece, WalQuery query)
    {
        if ((From > Lsn.Zero || To < Lsn.MaxValue) && piece.Range() is { } range
            && (range.To <= From || range.From >= To))
            return false;
        return query.IsForAll || piece.Index() is not { } index || query.MayConcern(index);
    }

    internal void Write(Utf8JsonWriter json, RecordDescription record)
    {
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
            WriteEvent(json, text);
        if (record.Operations is { } operations)
        {
            json.WriteStartArray("operations");
            foreach (OperationDescription operation in operations)
                Write(json, operation);
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    private void Write(Utf8JsonWriter json, OperationDescription operation)
    {
        json.WriteStartObject();
        json.WriteString("operation", operation.Operation);
        json.WriteNumber("fileId", operation.FileId);
        json.WriteNumber("tableId", operation.TableId);
        if (_names[operation.TableId] is { } name)
            json.WriteString("table", name);
        if (!AsHex && TextOf(operation.Key) is { } text)
            json.WriteString("key", text);
        else
            json.WriteString("keyHex", operation.Key.ToLowerInvariant());
        json.WriteNumber("valueBytes", operation.ValueBytes);
        json.WriteEndObject();
    }

    /// <summary>An event's members; a control file in it as the document that it is, not as a text of one.</summary>
    private static void WriteEvent(Utf8JsonWriter json, string text)
    {
        using JsonDocument members = JsonDocument.Parse(text);
        json.WriteStartObject("event");
        foreach (JsonProperty member in members.RootElement.EnumerateObject())
        {
            json.WritePropertyName(member.Name);
            if (member.NameEquals("controlFile"))
                WriteDocument(json, member.Value);
            else
                member.Value.WriteTo(json);
        }
        json.WriteEndObject();
    }

    private static void WriteDocument(Utf8JsonWriter json, JsonElement text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text.GetString()!);
            document.WriteTo(json);
        }
        catch (JsonException)
        {
            text.WriteTo(json); // no control file of this program: shown as it stands
        }
    }

    private static string? TextOf(string hexKey)
    {
        try
        {
            return Utf8.GetString(Convert.FromHexString(hexKey));
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}
