using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// The JSON of labels, manifests, intents and plans: camelCase, LSNs as HIGH/LOW, random ids as 16 hexadecimal digits,
/// times as ISO 8601 UTC with seven digits; members that a reader does not know are skipped.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters =
    [
        typeof(LsnJson), typeof(TimeJson), typeof(LineageJson), typeof(SystemIdentifierJson), typeof(IncarnationJson),
        typeof(FileIdJson), typeof(TimelineIdJson), typeof(TransactionIdJson),
    ])]
[JsonSerializable(typeof(BackupLabel))]
[JsonSerializable(typeof(BackupManifest))]
[JsonSerializable(typeof(BackupIntent))]
[JsonSerializable(typeof(SetPin))]
[JsonSerializable(typeof(CopyNote))]
[JsonSerializable(typeof(AttemptNote))]
[JsonSerializable(typeof(VerifiedSet))]
[JsonSerializable(typeof(RestoreIntent))]
[JsonSerializable(typeof(RecoveryPlan))]
[JsonSerializable(typeof(RebuildPlan))]
internal sealed partial class RecoveryJson : JsonSerializerContext;

internal sealed class LsnJson : JsonConverter<Lsn>
{
    public override Lsn Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Lsn.TryParse(reader.GetString(), CultureInfo.InvariantCulture, out Lsn lsn)
            ? lsn
            : throw new JsonException("An LSN has the form HIGH/LOW.");

    public override void Write(Utf8JsonWriter writer, Lsn value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

internal sealed class TimeJson : JsonConverter<DateTimeOffset>
{
    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        DateTimeOffset.TryParseExact(
            reader.GetString(), UtcText.Format, CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out DateTimeOffset time)
            ? time
            : throw new JsonException("A time has the form 2026-11-22T14:05:00.1234567Z.");

    public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
        writer.WriteStringValue(UtcText.Of(value));
}

/// <summary>A 64-bit random number as 16 hexadecimal digits.</summary>
internal abstract class HexJson<T> : JsonConverter<T>
{
    protected abstract T Of(ulong value);

    protected abstract ulong ValueOf(T id);

    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.GetString() is { Length: 16 } text
        && ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            ? Of(value)
            : throw new JsonException("An id has 16 hexadecimal digits.");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        writer.WriteStringValue(ValueOf(value).ToString("X16", CultureInfo.InvariantCulture));
}

internal sealed class LineageJson : HexJson<Lineage>
{
    protected override Lineage Of(ulong value) => new(value);

    protected override ulong ValueOf(Lineage id) => id.Value;
}

internal sealed class SystemIdentifierJson : HexJson<SystemIdentifier>
{
    protected override SystemIdentifier Of(ulong value) => new(value);

    protected override ulong ValueOf(SystemIdentifier id) => id.Value;
}

internal sealed class IncarnationJson : HexJson<Incarnation>
{
    protected override Incarnation Of(ulong value) => new(value);

    protected override ulong ValueOf(Incarnation id) => id.Value;
}

/// <summary>A running number as a number.</summary>
internal abstract class NumberJson<T> : JsonConverter<T>
{
    protected abstract T Of(ulong value);

    protected abstract ulong ValueOf(T id);

    protected virtual ulong Max => uint.MaxValue;

    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetUInt64(out ulong value) && value <= Max
            ? Of(value)
            : throw new JsonException("A number is expected.");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(ValueOf(value));
}

internal sealed class FileIdJson : NumberJson<FileId>
{
    protected override FileId Of(ulong value) => new((uint)value);

    protected override ulong ValueOf(FileId id) => id.Value;
}

internal sealed class TimelineIdJson : NumberJson<TimelineId>
{
    protected override TimelineId Of(ulong value) => new((uint)value);

    protected override ulong ValueOf(TimelineId id) => id.Value;
}

internal sealed class TransactionIdJson : NumberJson<TransactionId>
{
    protected override ulong Max => ulong.MaxValue;

    protected override TransactionId Of(ulong value) => new(value);

    protected override ulong ValueOf(TransactionId id) => id.Value;
}
