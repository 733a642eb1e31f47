using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// What <c>pitr.json</c> in the database's folder says: settings that operators edit. Secrets are never in it.
/// </summary>
internal sealed record DatabaseSettings
{
    public const string FileName = "pitr.json";

    /// <summary>Addresses of the stores that the database archives into.</summary>
    public IReadOnlyList<string> Stores { get; init; } = [];

    /// <summary>
    /// Folders, from the database's folder, under which paths of remote callers must lie; null: anywhere.
    /// </summary>
    public IReadOnlyList<string>? Roots { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveLagBytesMax"/>.</summary>
    public long? ArchiveLagBytesMax { get; init; }

    /// <summary>As <see cref="PitrOptions.ArchiveLagChoice"/>.</summary>
    public ArchiveLagChoice? ArchiveLagChoice { get; init; }

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
            DatabaseSettings settings =
                JsonSerializer.Deserialize(
                    bytes.AsSpan(0, read), StrictJson.Of(SettingsJson.Default.DatabaseSettings)) ?? new DatabaseSettings();
            if (settings.ArchiveLagBytesMax is < 0)
                throw EngineErrors.SettingsInvalid(path, "archiveLagBytesMax is below 0.");
            return settings.Roots?.FirstOrDefault(static root => root.Contains('\0', StringComparison.Ordinal)) is null
                ? settings
                : throw EngineErrors.SettingsInvalid(path, "a root has a zero character.");
        }
        catch (JsonException error)
        {
            throw EngineErrors.SettingsInvalid(path, error);
        }
    }

    public void Write(IFileSystem files, string folder) => DurableReplace.Write(
        files, Path.Combine(folder, FileName),
        JsonSerializer.SerializeToUtf8Bytes(this, SettingsJson.Default.DatabaseSettings));
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true,
    UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    ReadCommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true)]
[JsonSerializable(typeof(DatabaseSettings))]
internal sealed partial class SettingsJson : JsonSerializerContext;
