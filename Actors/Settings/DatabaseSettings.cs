using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// What <c>pitr.json</c> in the database's folder says: settings that operators edit. Secrets are never in it.
/// </summary>
/// <remarks>
/// One source of settings; <see cref="LayeredSettings"/> puts the sources together. What is null is not said here.
/// Each member is a row of docs/reference/settings.md.
/// </remarks>
internal sealed record DatabaseSettings
{
    public const string FileName = "pitr.json";

    /// <summary>Addresses of the stores that the database archives into; null: none.</summary>
    public IReadOnlyList<string>? Stores { get; init; }

    /// <summary>The commands behind stores <c>command:NAME</c>, by their names.</summary>
    public IReadOnlyDictionary<string, CommandSettings>? Commands { get; init; }

    /// <summary>
    /// As <see cref="PitrOptions.ArchiveKeyFile"/>; a relative path is taken from the database's folder.
    /// </summary>
    public string? ArchiveKeyFile { get; init; }

    /// <summary>
    /// Folders, from the database's folder, under which paths of remote callers must lie; null: anywhere.
    /// </summary>
    public IReadOnlyList<string>? Roots { get; init; }

    /// <summary>As <see cref="PitrOptions.Schedules"/>.</summary>
    public IReadOnlyList<ScheduleSettings>? Schedules { get; init; }

    /// <summary>Where <c>pitr serve</c> listens for administration, HOST:PORT.</summary>
    public string? Listen { get; init; }

    /// <summary>Where <c>pitr serve</c> listens for data, health and metrics, HOST:PORT.</summary>
    public string? Http { get; init; }

    /// <summary>PEM file of the certificate that <c>pitr serve</c> shows outside of loopback.</summary>
    public string? TlsCertificate { get; init; }

    /// <summary>PEM file of its key.</summary>
    public string? TlsKey { get; init; }

    /// <summary>PEM file of the authority that signs clients' certificates.</summary>
    public string? TlsAuthority { get; init; }

    /// <summary>Files with tokens of operators, besides the one of each start.</summary>
    public IReadOnlyList<string>? OperatorTokens { get; init; }

    /// <summary>Files with tokens of viewers.</summary>
    public IReadOnlyList<string>? ViewerTokens { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveLagBytesMax"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? ArchiveLagBytesMax { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveLagChoice"/>.</summary>
    public ArchiveLagChoice? ArchiveLagChoice { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveSegmentsAtOnce"/>.</summary>
    [JsonNumberHandling(JsonNumberHandling.AllowReadingFromString)]
    public int? ArchiveSegmentsAtOnce { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveCommitWait"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? ArchiveCommitWait { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveShutdownWait"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? ArchiveShutdownWait { get; init; }

    /// <summary>As <see cref="PitrOptions.MemoryBudgetBytes"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? MemoryBudgetBytes { get; init; }

    /// <summary>As <see cref="PitrOptions.WriteBufferBytesMax"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? WriteBufferBytesMax { get; init; }

    /// <summary>As <see cref="PitrOptions.CheckpointWalBytes"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? CheckpointWalBytes { get; init; }

    /// <summary>As <see cref="PitrOptions.CheckpointInterval"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? CheckpointInterval { get; init; }

    /// <summary>As <see cref="PitrOptions.HeartbeatInterval"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? HeartbeatInterval { get; init; }

    /// <summary>As <see cref="PitrOptions.SegmentAgeMax"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? SegmentAgeMax { get; init; }

    /// <summary>As <see cref="PitrOptions.FencedWalBytesMax"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? FencedWalBytesMax { get; init; }

    /// <summary>As <see cref="PitrOptions.KeptWalChoice"/>.</summary>
    public KeptWalChoice? KeptWalChoice { get; init; }

    /// <summary>As <see cref="PitrOptions.DiskReserveBytes"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? DiskReserveBytes { get; init; }

    /// <summary>As <see cref="PitrOptions.SnapshotAgeMax"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? SnapshotAgeMax { get; init; }

    /// <summary>As <see cref="PitrOptions.SnapshotBytesMax"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? SnapshotBytesMax { get; init; }

    /// <summary>As <see cref="PitrOptions.RequestTimeout"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? RequestTimeout { get; init; }

    private IEnumerable<string> Paths =>
        [.. Roots ?? [], .. OperatorTokens ?? [], .. ViewerTokens ?? [], TlsCertificate ?? "", TlsKey ?? "", TlsAuthority ?? "",
            ArchiveKeyFile ?? ""];

    /// <exception cref="RefusedException">SettingsInvalid: the file is not JSON of the known form.</exception>
    public static DatabaseSettings Read(IFileSystem files, string folder)
    {
        string path = Path.Combine(folder, FileName);
        if (files.Stat(path) is not { IsFolder: false })
            return new DatabaseSettings();
        using IFileHandle file = files.Open(path, FileOpen.Read);
        byte[] bytes = new byte[file.LengthBytes];
        int read = file.Read(0, bytes);
        try
        {
            DatabaseSettings settings = Parse(bytes.AsSpan(0, read));
            return settings.Paths.FirstOrDefault(static named => named.Contains('\0', StringComparison.Ordinal)) is null
                ? settings
                : throw EngineErrors.SettingsInvalid(path, "a root or a file has a zero character.");
        }
        catch (JsonException error)
        {
            throw EngineErrors.SettingsInvalid(path, error);
        }
    }

    /// <exception cref="JsonException">It is not JSON of the known form.</exception>
    public static DatabaseSettings Parse(ReadOnlySpan<byte> json)
    {
        DatabaseSettings settings = JsonSerializer.Deserialize(
            json, StrictJson.Of(SettingsJson.Default.DatabaseSettings)) ?? new DatabaseSettings();
        if (settings.Schedules?.Any(static one => one is null) is true)
            throw new JsonException("A schedule is null.");
        return settings.Commands?.FirstOrDefault(static named => named.Value is null).Key is { } none
            ? throw new JsonException($"The commands of the name '{none}' are null.")
            : settings;
    }

    public void Write(IFileSystem files, string folder) => DurableReplace.Write(
        files, Path.Combine(folder, FileName),
        JsonSerializer.SerializeToUtf8Bytes(this, SettingsJson.Default.DatabaseSettings));

    /// <summary>
    /// The options with what is said here in place of what they say; stores of <c>pitr.json</c> are not among them: the
    /// engine reads those by itself.
    /// </summary>
    public PitrOptions Over(PitrOptions options) => options with
    {
        ArchiveCommands = Commands is null ? options.ArchiveCommands
            : Commands.ToDictionary(static named => named.Key, static named => named.Value.ToCommand()),
        ArchiveKeyFile = ArchiveKeyFile ?? options.ArchiveKeyFile,
        Schedules = Schedules is null ? options.Schedules : [.. Schedules.Select(static one => one.ToSchedule())],
        ArchiveLagBytesMax = ArchiveLagBytesMax ?? options.ArchiveLagBytesMax,
        ArchiveLagChoice = ArchiveLagChoice ?? options.ArchiveLagChoice,
        ArchiveSegmentsAtOnce = ArchiveSegmentsAtOnce ?? options.ArchiveSegmentsAtOnce,
        ArchiveCommitWait = ArchiveCommitWait ?? options.ArchiveCommitWait,
        ArchiveShutdownWait = ArchiveShutdownWait ?? options.ArchiveShutdownWait,
        MemoryBudgetBytes = MemoryBudgetBytes ?? options.MemoryBudgetBytes,
        WriteBufferBytesMax = WriteBufferBytesMax ?? options.WriteBufferBytesMax,
        CheckpointWalBytes = CheckpointWalBytes ?? options.CheckpointWalBytes,
        CheckpointInterval = CheckpointInterval ?? options.CheckpointInterval,
        HeartbeatInterval = HeartbeatInterval ?? options.HeartbeatInterval,
        SegmentAgeMax = SegmentAgeMax ?? options.SegmentAgeMax,
        FencedWalBytesMax = FencedWalBytesMax ?? options.FencedWalBytesMax,
        KeptWalChoice = KeptWalChoice ?? options.KeptWalChoice,
        DiskReserveBytes = DiskReserveBytes ?? options.DiskReserveBytes,
        SnapshotAgeMax = SnapshotAgeMax ?? options.SnapshotAgeMax,
        SnapshotBytesMax = SnapshotBytesMax ?? options.SnapshotBytesMax,
        RequestTimeout = RequestTimeout ?? options.RequestTimeout,
    };
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true,
    UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    ReadCommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true)]
[JsonSerializable(typeof(DatabaseSettings))]
internal sealed partial class SettingsJson : JsonSerializerContext;
