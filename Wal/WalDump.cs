using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>One operation of a transaction, as plain data.</summary>
/// <param name="Operation">"put" or "delete".</param>
/// <param name="FileId">The datafile.</param>
/// <param name="TableId">The table.</param>
/// <param name="Key">The user's key, hexadecimal.</param>
/// <param name="ValueBytes">Bytes of the value.</param>
internal sealed record OperationDescription(string Operation, uint FileId, uint TableId, string Key, int ValueBytes);

/// <summary>One record as plain data, for people and for <c>pitr wal dump</c>.</summary>
/// <param name="Lsn">Just past its last byte.</param>
/// <param name="StartLsn">Its first byte.</param>
/// <param name="GroupStart">The first byte of its group.</param>
/// <param name="Kind">Its kind; a number if this program does not know it.</param>
/// <param name="LengthBytes">Header, body and padding.</param>
/// <param name="Crc">Its CRC, 8 hexadecimal digits.</param>
/// <param name="PreviousCrc">That of the record before it.</param>
/// <param name="CommitTime">UTC.</param>
/// <param name="RawClock">UTC, what the clock said.</param>
/// <param name="TransactionId">For a transaction.</param>
/// <param name="Operations">For a transaction, if they were asked for.</param>
/// <param name="OperationCount">For a transaction.</param>
/// <param name="Event">The event's body as it is written: JSON text; null for those without members.</param>
internal sealed record RecordDescription(
    string Lsn, string StartLsn, string GroupStart, string Kind, int LengthBytes, string Crc, string PreviousCrc,
    DateTimeOffset CommitTime, DateTimeOffset RawClock, ulong? TransactionId, uint? OperationCount,
    IReadOnlyList<OperationDescription>? Operations, string? Event);

/// <summary>Describes records as plain data that can be written as JSON.</summary>
internal static class WalDump
{
    /// <summary>The record without its operations.</summary>
    /// <exception cref="DamageException">It is an event whose body is none of its kind.</exception>
    public static RecordDescription Describe(WalRecord record) => Describe(record, operations: null);

    /// <summary>The record with each of its operations.</summary>
    public static RecordDescription DescribeWithOperations(WalRecord record)
    {
        List<OperationDescription> operations = [];
        OperationReader reader = record.Operations;
        while (record.Kind == WalRecordKind.Transaction && reader.MoveNext())
        {
            operations.Add(new OperationDescription(
                reader.Kind == OperationKind.Put ? "put" : "delete", reader.File.Value, reader.Table.Value,
                Convert.ToHexString(reader.Key[OperationCodec.TableIdBytes..]), reader.Value.Length));
        }
        return Describe(record, operations);
    }

    private static RecordDescription Describe(WalRecord record, IReadOnlyList<OperationDescription>? operations)
    {
        bool isTransaction = record.Kind == WalRecordKind.Transaction;
        bool hasText = !isTransaction && record.Kind != WalRecordKind.Filler;
        ReadOnlySpan<byte> json = hasText ? record.Body.TrimEnd((byte)0) : default;
        WalEventCodec.RequireObject(record, json);
        return new RecordDescription(
            record.Lsn.ToString(), record.StartLsn.ToString(), record.GroupStart.ToString(), record.Kind.ToString(),
            record.Bytes.Length, Hex(record.Crc), Hex(record.PreviousCrc), record.CommitTime, record.RawClock,
            isTransaction ? record.TransactionId.Value : null, isTransaction ? record.OperationCount : null,
            isTransaction ? operations : null, json.IsEmpty ? null : System.Text.Encoding.UTF8.GetString(json));
    }

    private static string Hex(uint crc) => crc.ToString("X8", System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>How descriptions look as JSON.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition =
        JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(RecordDescription))]
internal sealed partial class WalDumpJson : JsonSerializerContext;
