using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pitr.Wal;

/// <summary>An LSN as <c>"HIGH/LOW"</c>.</summary>
internal sealed class LsnAsText : JsonConverter<Lsn>
{
    public override Lsn Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Lsn.TryParse(reader.GetString(), CultureInfo.InvariantCulture, out Lsn lsn) ? lsn
            : throw new JsonException("No LSN.");

    public override void Write(Utf8JsonWriter writer, Lsn value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>A lineage as 16 hexadecimal digits.</summary>
internal sealed class LineageAsHex : JsonConverter<Lineage>
{
    public override Lineage Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(Hex.Read(ref reader));

    public override void Write(Utf8JsonWriter writer, Lineage value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>An incarnation as 16 hexadecimal digits.</summary>
internal sealed class IncarnationAsHex : JsonConverter<Incarnation>
{
    public override Incarnation Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(Hex.Read(ref reader));

    public override void Write(Utf8JsonWriter writer, Incarnation value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>A file id as a number.</summary>
internal sealed class FileIdAsNumber : JsonConverter<FileId>
{
    public override FileId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(reader.GetUInt32());

    public override void Write(Utf8JsonWriter writer, FileId value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.Value);
}

/// <summary>A table id as a number.</summary>
internal sealed class TableIdAsNumber : JsonConverter<TableId>
{
    public override TableId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(reader.GetUInt32());

    public override void Write(Utf8JsonWriter writer, TableId value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.Value);
}

/// <summary>A timeline as a number.</summary>
internal sealed class TimelineAsNumber : JsonConverter<TimelineId>
{
    public override TimelineId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(reader.GetUInt32());

    public override void Write(Utf8JsonWriter writer, TimelineId value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.Value);
}

file static class Hex
{
    public static ulong Read(ref Utf8JsonReader reader) =>
        reader.GetString() is { Length: 16 } text
        && ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            ? value
            : throw new JsonException("Not 16 hexadecimal digits.");
}
