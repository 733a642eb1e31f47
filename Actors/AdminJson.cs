using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>JSON of the HTTP endpoint's small documents.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters = new[] { typeof(LsnJsonConverter), typeof(TransactionIdJsonConverter) })]
[JsonSerializable(typeof(AdminProblem))]
[JsonSerializable(typeof(CommitResult))]
internal sealed partial class AdminJson : JsonSerializerContext;

/// <summary>An LSN as <c>HIGH/LOW</c>.</summary>
internal sealed class LsnJsonConverter : JsonConverter<Lsn>
{
    /// <inheritdoc/>
    public override Lsn Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Lsn.TryParse(reader.GetString(), CultureInfo.InvariantCulture, out Lsn lsn)
            ? lsn
            : throw new JsonException("An LSN has the form HIGH/LOW.");

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, Lsn value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>A transaction's number as a number.</summary>
internal sealed class TransactionIdJsonConverter : JsonConverter<TransactionId>
{
    /// <inheritdoc/>
    public override TransactionId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(reader.GetUInt64());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, TransactionId value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.Value);
}
