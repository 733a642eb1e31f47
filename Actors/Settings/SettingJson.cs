using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pitr.Actors;

/// <summary>Bytes in <c>pitr.json</c>: a number, or a text with its unit.</summary>
internal sealed class SizeJson : JsonConverter<long>
{
    public override long Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String
            ? FormRead.Of(reader.GetString()!, SettingForms.Size)
            : reader.TryGetInt64(out long bytes) && bytes >= 0
                ? bytes
                : throw new JsonException("A SIZE is a whole number of bytes from 0, or a text such as \"64MiB\".");

    public override void Write(Utf8JsonWriter writer, long value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value);
}

/// <summary>A length of time in <c>pitr.json</c>: a text with its unit.</summary>
internal sealed class DurationJson : JsonConverter<TimeSpan>
{
    public override TimeSpan Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String
            ? FormRead.Of(reader.GetString()!, SettingForms.Duration)
            : throw new JsonException("A DURATION is a text with its unit, such as \"90s\" or \"14d\".");

    public override void Write(Utf8JsonWriter writer, TimeSpan value, JsonSerializerOptions options) =>
        writer.WriteStringValue(SettingForms.Text(value));
}

/// <summary>What is wrong with a form is wrong with the JSON that it stands in, where it stands.</summary>
file static class FormRead
{
    public static T Of<T>(string text, Func<string, T> form)
    {
        try
        {
            return form(text);
        }
        catch (FormatException wrong)
        {
            throw new JsonException(wrong.Message, wrong);
        }
    }
}
