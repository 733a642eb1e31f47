using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pitr.Storage;

/// <summary>
/// The control file's payload: camelCase, LSNs as <c>"HIGH/LOW"</c>, random ids as 16 hexadecimal digits, times in UTC.
/// </summary>
/// <remarks>A member that this version does not know is not ignored: writing the file again would lose it.</remarks>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    Converters =
    [
        typeof(LsnText), typeof(SystemHex), typeof(LineageHex), typeof(IncarnationHex), typeof(TimelineNumber),
        typeof(FileNumber), typeof(TableNumber), typeof(TransactionNumber), typeof(UtcTime), typeof(PlaceText),
    ])]
[JsonSerializable(typeof(ControlFile))]
internal sealed partial class ControlFileJson : JsonSerializerContext
{
    internal abstract class TextOf<T> : JsonConverter<T>
    {
        protected abstract T FromText(string text);

        protected abstract string ToText(T value);

        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            try
            {
                return FromText(reader.GetString() ?? throw new JsonException("A text is null."));
            }
            catch (Exception cause) when (cause is FormatException or OverflowException or InvalidOperationException)
            {
                throw new JsonException(cause.Message, cause);
            }
        }

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
            writer.WriteStringValue(ToText(value));

        protected static ulong Hex(string text) => text.Length == 16
            ? ulong.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : throw new FormatException("A random id has 16 hexadecimal digits.");
    }

    internal abstract class NumberOf<T> : JsonConverter<T>
    {
        protected abstract T FromNumber(ulong number);

        protected abstract ulong ToNumber(T value);

        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.TokenType == JsonTokenType.Number && reader.TryGetUInt64(out ulong number)
                ? FromNumber(number)
                : throw new JsonException("A whole number from 0 is expected.");

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
            writer.WriteNumberValue(ToNumber(value));

        protected static uint Small(ulong number) =>
            number <= uint.MaxValue ? (uint)number : throw new JsonException("A number has more than 32 bits.");
    }

    internal sealed class LsnText : TextOf<Lsn>
    {
        protected override Lsn FromText(string text) => Pitr.Lsn.Parse(text, CultureInfo.InvariantCulture);

        protected override string ToText(Lsn value) => value.ToString();
    }

    internal sealed class SystemHex : TextOf<SystemIdentifier>
    {
        protected override SystemIdentifier FromText(string text) => new(Hex(text));

        protected override string ToText(SystemIdentifier value) => value.ToString();
    }

    internal sealed class LineageHex : TextOf<Lineage>
    {
        protected override Lineage FromText(string text) => new(Hex(text));

        protected override string ToText(Lineage value) => value.ToString();
    }

    internal sealed class IncarnationHex : TextOf<Incarnation>
    {
        protected override Incarnation FromText(string text) => new(Hex(text));

        protected override string ToText(Incarnation value) => value.ToString();
    }

    internal sealed class PlaceText : TextOf<FolderPlace>
    {
        protected override FolderPlace FromText(string text) => Pitr.Storage.FolderPlace.Parse(text);

        protected override string ToText(FolderPlace value) => value.ToString();
    }

    internal sealed class UtcTime : TextOf<DateTimeOffset>
    {
        private const string Form = "yyyy-MM-ddTHH:mm:ss.fffffff'Z'";

        protected override DateTimeOffset FromText(string text) => System.DateTimeOffset.ParseExact(
            text, Form, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);

        protected override string ToText(DateTimeOffset value) =>
            value.UtcDateTime.ToString(Form, CultureInfo.InvariantCulture);
    }

    internal sealed class TimelineNumber : NumberOf<TimelineId>
    {
        protected override TimelineId FromNumber(ulong number) => new(Small(number));

        protected override ulong ToNumber(TimelineId value) => value.Value;
    }

    internal sealed class FileNumber : NumberOf<FileId>
    {
        protected override FileId FromNumber(ulong number) => new(Small(number));

        protected override ulong ToNumber(FileId value) => value.Value;
    }

    internal sealed class TableNumber : NumberOf<TableId>
    {
        protected override TableId FromNumber(ulong number) => new(Small(number));

        protected override ulong ToNumber(TableId value) => value.Value;
    }

    internal sealed class TransactionNumber : NumberOf<TransactionId>
    {
        protected override TransactionId FromNumber(ulong number) => new(number);

        protected override ulong ToNumber(TransactionId value) => value.Value;
    }
}
