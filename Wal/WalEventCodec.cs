using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The bodies of events: UTF-8 JSON, zero-padded to a multiple of 8; nothing for those without members.
/// </summary>
internal static class WalEventCodec
{
    /// <summary>
    /// The event as a record buffer for <see cref="WalAppender.Stage"/>: 64 bytes of room, body, padding.
    /// </summary>
    public static byte[] Encode(WalEvent what)
    {
        byte[] json = what switch
        {
            WalEvent.Heartbeat or WalEvent.Shutdown => [],
            WalEvent.Checkpoint it => Serialize(it, WalEventJson.Default.Checkpoint),
            WalEvent.RestorePoint it => Serialize(it, WalEventJson.Default.RestorePoint),
            WalEvent.BackupEnd it => Serialize(it, WalEventJson.Default.BackupEnd),
            WalEvent.CreateDatafile it => Serialize(it, WalEventJson.Default.CreateDatafile),
            WalEvent.DropDatafile it => Serialize(it, WalEventJson.Default.DropDatafile),
            WalEvent.CreateTable it => Serialize(it, WalEventJson.Default.CreateTable),
            WalEvent.DropTable it => Serialize(it, WalEventJson.Default.DropTable),
            WalEvent.MoveDatafile it => Serialize(it, WalEventJson.Default.MoveDatafile),
            WalEvent.TimelineStart it => Serialize(it, WalEventJson.Default.TimelineStart),
            _ => throw new BugException($"No codec for the event {what.Kind}."),
        };
        byte[] record = new byte[RecordCodec.LengthOf(json.Length)];
        json.CopyTo(record, RecordCodec.HeaderBytes);
        return record;
    }

    /// <summary>Encodes an event and stages it; returns its LSN.</summary>
    public static Lsn Stage(this WalAppender appender, WalEvent what)
    {
        byte[] record = Encode(what);
        uint state = RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes));
        return appender.Stage(record, what.Kind, default, 0, state);
    }

    /// <summary>The event of a record; null for a transaction or a filler.</summary>
    /// <exception cref="DamageException">The kind is unknown, or the body is none of it.</exception>
    public static WalEvent? Decode(WalRecord record)
    {
        ReadOnlySpan<byte> json = record.Body.TrimEnd((byte)0);
        try
        {
            WalEvent? decoded = record.Kind switch
            {
                WalRecordKind.Transaction or WalRecordKind.Filler => null,
                WalRecordKind.Heartbeat => new WalEvent.Heartbeat(),
                WalRecordKind.Shutdown => new WalEvent.Shutdown(),
                WalRecordKind.Checkpoint => Deserialize(json, WalEventJson.Default.Checkpoint),
                WalRecordKind.RestorePoint => Deserialize(json, WalEventJson.Default.RestorePoint),
                WalRecordKind.BackupEnd => Deserialize(json, WalEventJson.Default.BackupEnd),
                WalRecordKind.CreateDatafile => Deserialize(json, WalEventJson.Default.CreateDatafile),
                WalRecordKind.DropDatafile => Deserialize(json, WalEventJson.Default.DropDatafile),
                WalRecordKind.CreateTable => Deserialize(json, WalEventJson.Default.CreateTable),
                WalRecordKind.DropTable => Deserialize(json, WalEventJson.Default.DropTable),
                WalRecordKind.MoveDatafile => Deserialize(json, WalEventJson.Default.MoveDatafile),
                WalRecordKind.TimelineStart => Deserialize(json, WalEventJson.Default.TimelineStart),
                _ => throw new JsonException("An unknown kind."),
            };
            return NameOf(decoded) is { } name && !Limits.IsName(name)
                ? throw new JsonException($"'{name}' is no name.") // names become paths
                : decoded;
        }
        catch (JsonException cause)
        {
            throw WalErrors.EventDamaged(record.Kind, record.Lsn, cause);
        }
    }

    /// <summary>Requires of an event of any kind, also an unknown one, that its text is a JSON object, or empty.</summary>
    /// <exception cref="DamageException">It is not.</exception>
    public static void RequireObject(WalRecord record, ReadOnlySpan<byte> json)
    {
        try
        {
            if (!json.IsEmpty)
            {
                var reader = new Utf8JsonReader(json);
                if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                    throw new JsonException("An event is an object.");
                while (reader.Read())
                    continue;
            }
            if (record.Kind is > WalRecordKind.Filler and <= WalRecordKind.Shutdown)
                _ = Decode(record);
        }
        catch (JsonException cause)
        {
            throw WalErrors.EventDamaged(record.Kind, record.Lsn, cause);
        }
    }

    private static string? NameOf(WalEvent? what) => what switch
    {
        WalEvent.CreateDatafile it => it.Name,
        WalEvent.CreateTable it => it.Name,
        _ => null,
    };

    private static byte[] Serialize<T>(T value, JsonTypeInfo<T> type) =>
        JsonSerializer.SerializeToUtf8Bytes(value, type);

    private static T Deserialize<T>(ReadOnlySpan<byte> json, JsonTypeInfo<T> type) =>
        JsonSerializer.Deserialize(json, StrictJson.Of(type)) ?? throw new JsonException("null");
}

/// <summary>How events look as JSON.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectRequiredConstructorParameters = true,
    RespectNullableAnnotations = true,
    IgnoreReadOnlyProperties = true, // the kind is in the record's header
    Converters =
    [
        typeof(LsnAsText), typeof(LineageAsHex), typeof(IncarnationAsHex), typeof(FileIdAsNumber),
        typeof(TableIdAsNumber),
        typeof(TimelineAsNumber),
    ])]
[JsonSerializable(typeof(WalEvent.Checkpoint))]
[JsonSerializable(typeof(WalEvent.RestorePoint))]
[JsonSerializable(typeof(WalEvent.BackupEnd))]
[JsonSerializable(typeof(WalEvent.CreateDatafile))]
[JsonSerializable(typeof(WalEvent.DropDatafile))]
[JsonSerializable(typeof(WalEvent.CreateTable))]
[JsonSerializable(typeof(WalEvent.DropTable))]
[JsonSerializable(typeof(WalEvent.MoveDatafile))]
[JsonSerializable(typeof(WalEvent.TimelineStart))]
internal sealed partial class WalEventJson : JsonSerializerContext;
