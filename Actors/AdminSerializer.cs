using System.Collections.Frozen;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Akka.Actor;
using Akka.Serialization;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>
/// Bytes of the administration messages: one manifest a message, JSON as body, no type names on the wire.
/// </summary>
/// <remarks>
/// LAYOUT  described in docs/formats/admin-wire.md. A manifest is <c>NAME.VERSION</c>; the body is UTF-8 JSON with
/// camelCase names. A reader leaves out members that it does not know; a new member has a default, without which a
/// message that lacks it is refused (<see cref="StrictJson"/>). A message whose
/// meaning changes gets a new version, which writers use one release after readers know it.
/// INVARIANTS  W1 what is written can be read again (a message longer than <see cref="MessageBytesMax"/> is refused by
/// the writer, since a frame holds 128,000 bytes). W2 a manifest that is not in the table is refused; no type is ever
/// looked up by a name that came from outside.
/// THREADS  any; it has no state.
/// </remarks>
internal sealed class AdminSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    /// <summary>Longest body; below Akka's frame of 128,000 bytes with room for its envelope.</summary>
    public const int MessageBytesMax = 112 << 10;

    /// <summary>This serializer's number on the wire; never another.</summary>
    public const int SerializerId = 7041;

    private static readonly FrozenDictionary<Type, (string Manifest, JsonTypeInfo Info)> ByType = Table();

    private static readonly FrozenDictionary<string, JsonTypeInfo> ByManifest =
        ByType.Values.ToFrozenDictionary(
            entry => entry.Manifest, entry => StrictJson.Of(entry.Info), StringComparer.Ordinal);

    /// <inheritdoc/>
    public override int Identifier => SerializerId;

    /// <summary>Every manifest, for the format's test.</summary>
    public static IEnumerable<(Type Type, string Manifest)> Manifests =>
        ByType.Select(entry => (entry.Key, entry.Value.Manifest));

    /// <inheritdoc/>
    public override string Manifest(object o) => Entry(o).Manifest;

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj)
    {
        byte[] bytes = JsonSerializer.SerializeToUtf8Bytes(obj, Entry(obj).Info);
        return bytes.Length <= MessageBytesMax
            ? bytes
            : throw new ArgumentException(
                $"A message '{Manifest(obj)}' of {bytes.Length} bytes does not fit into a frame (W1).", nameof(obj));
    }

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest)
    {
        if (!ByManifest.TryGetValue(manifest, out JsonTypeInfo? info))
            throw new ArgumentException(
                $"No administration message has the manifest '{manifest}' (W2).", nameof(manifest));
        if (bytes.Length > MessageBytesMax)
            throw new ArgumentException($"A message '{manifest}' has {bytes.Length} bytes (W1).", nameof(bytes));
        return JsonSerializer.Deserialize(bytes, info)
            ?? throw new ArgumentException($"A message '{manifest}' has no content.", nameof(bytes));
    }

    private static (string Manifest, JsonTypeInfo Info) Entry(object message) =>
        ByType.TryGetValue(message.GetType(), out (string, JsonTypeInfo) entry)
            ? entry
            : throw new ArgumentException(
                $"'{message.GetType().Name}' is not an administration message.", nameof(message));

    private static FrozenDictionary<Type, (string, JsonTypeInfo)> Table()
    {
        AdminJson json = AdminJson.Default;
        return new (string, JsonTypeInfo)[]
        {
            ("open-session.1", json.OpenSession),
            ("session-opened.1", json.SessionOpened),
            ("session-refused.1", json.SessionRefused),
            ("ping.1", json.Ping),
            ("pong.1", json.Pong),
            ("close-session.1", json.CloseSession),
            ("done.1", json.Done),
            ("failed.1", json.Failed),
            ("progress.1", json.Progress),
            ("read-status.1", json.ReadStatus),
            ("status-read.1", json.StatusRead),
            ("read-datafiles.1", json.ReadDatafiles),
            ("datafiles-read.1", json.DatafilesRead),
            ("read-tables.1", json.ReadTables),
            ("tables-read.1", json.TablesRead),
            ("checkpoint.1", json.Checkpoint),
            ("checkpointed.1", json.Checkpointed),
            ("switch-wal.1", json.SwitchWal),
            ("wal-switched.1", json.WalSwitched),
            ("create-restore-point.1", json.CreateRestorePoint),
            ("restore-point-created.1", json.RestorePointCreated),
            ("shutdown.1", json.Shutdown),
            ("create-datafile.1", json.CreateDatafile),
            ("datafile-created.1", json.DatafileCreated),
            ("drop-datafile.1", json.DropDatafile),
            ("create-table.1", json.CreateTable),
            ("table-created.1", json.TableCreated),
            ("drop-table.1", json.DropTable),
            ("fence-datafile.1", json.FenceDatafile),
            ("datafile-fenced.1", json.DatafileFenced),
            ("unfence-datafile.1", json.UnfenceDatafile),
            ("datafile-unfenced.1", json.DatafileUnfenced),
            ("make-backup.1", json.MakeBackup),
            ("backup-made.1", json.BackupMade),
        }.ToFrozenDictionary(entry => entry.Item2.Type);
    }
}

/// <summary>JSON of the administration messages and of the HTTP endpoint's small documents.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters = new[]
    {
        typeof(LsnJsonConverter), typeof(SystemIdentifierJsonConverter), typeof(TimelineIdJsonConverter),
        typeof(TransactionIdJsonConverter),
    })]
[JsonSerializable(typeof(OpenSession))]
[JsonSerializable(typeof(SessionOpened))]
[JsonSerializable(typeof(SessionRefused))]
[JsonSerializable(typeof(Ping))]
[JsonSerializable(typeof(Pong))]
[JsonSerializable(typeof(CloseSession))]
[JsonSerializable(typeof(Done))]
[JsonSerializable(typeof(Failed))]
[JsonSerializable(typeof(Progress))]
[JsonSerializable(typeof(ReadStatus))]
[JsonSerializable(typeof(StatusRead))]
[JsonSerializable(typeof(ReadDatafiles))]
[JsonSerializable(typeof(DatafilesRead))]
[JsonSerializable(typeof(ReadTables))]
[JsonSerializable(typeof(TablesRead))]
[JsonSerializable(typeof(Checkpoint))]
[JsonSerializable(typeof(Checkpointed))]
[JsonSerializable(typeof(SwitchWal))]
[JsonSerializable(typeof(WalSwitched))]
[JsonSerializable(typeof(CreateRestorePoint))]
[JsonSerializable(typeof(RestorePointCreated))]
[JsonSerializable(typeof(Shutdown))]
[JsonSerializable(typeof(CreateDatafile))]
[JsonSerializable(typeof(DatafileCreated))]
[JsonSerializable(typeof(DropDatafile))]
[JsonSerializable(typeof(CreateTable))]
[JsonSerializable(typeof(TableCreated))]
[JsonSerializable(typeof(DropTable))]
[JsonSerializable(typeof(FenceDatafile))]
[JsonSerializable(typeof(DatafileFenced))]
[JsonSerializable(typeof(UnfenceDatafile))]
[JsonSerializable(typeof(DatafileUnfenced))]
[JsonSerializable(typeof(MakeBackup))]
[JsonSerializable(typeof(BackupMade))]
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

/// <summary>A system identifier as 16 hexadecimal digits.</summary>
internal sealed class SystemIdentifierJsonConverter : JsonConverter<SystemIdentifier>
{
    /// <inheritdoc/>
    public override SystemIdentifier Read(
        ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        ulong.TryParse(
            reader.GetString(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            ? new SystemIdentifier(value)
            : throw new JsonException("A system identifier has 16 hexadecimal digits.");

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, SystemIdentifier value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>A timeline as a number.</summary>
internal sealed class TimelineIdJsonConverter : JsonConverter<TimelineId>
{
    /// <inheritdoc/>
    public override TimelineId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        new(reader.GetUInt32());

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, TimelineId value, JsonSerializerOptions options) =>
        writer.WriteNumberValue(value.Value);
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
