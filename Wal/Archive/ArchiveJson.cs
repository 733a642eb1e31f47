using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The archive's text objects as JSON: LSNs as <c>HIGH/LOW</c>, random ids as 16 hexadecimal digits, times in UTC.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(HistoryJson))]
[JsonSerializable(typeof(OwnerJson))]
[JsonSerializable(typeof(IdentityJson))]
[JsonSerializable(typeof(GapJson))]
[JsonSerializable(typeof(ExpiredJson))]
[JsonSerializable(typeof(OwnerNotesJson))]
internal sealed partial class ArchiveJson : JsonSerializerContext
{
    private const string TimeFormat = "yyyy-MM-ddTHH:mm:ss.fffffff'Z'";

    /// <summary>A time as it is written.</summary>
    public static string Text(DateTimeOffset time) =>
        time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture);

    /// <summary>Reads <see cref="Text"/>.</summary>
    public static DateTimeOffset Time(string text) => DateTimeOffset.ParseExact(
        text, TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);

    /// <summary>Reads a random id.</summary>
    public static ulong Id(string text) =>
        ulong.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    /// <summary>Reads a sealed object; what is no such JSON is damage, a greater format is a newer program's.</summary>
    public static T Read<T, TJson>(
        string store, string name, ReadOnlySpan<byte> bytes, JsonTypeInfo<TJson> type, int newest,
        Func<TJson, int> format, Func<TJson, T> map)
        where TJson : class
    {
        ReadOnlySpan<byte> text = SealedText.Open(store, name, bytes);
        try
        {
            TJson json = JsonSerializer.Deserialize(text, StrictJson.Of(type)) ?? throw new FormatException("it is null");
            if (format(json) > newest)
                throw ArchiveErrors.FormatVersion(store, name, format(json), newest);
            return map(json);
        }
        catch (Exception cause) when (cause is JsonException or FormatException or OverflowException)
        {
            throw ArchiveErrors.Damaged(store, name, $"its text is not of the known form ({cause.Message})");
        }
    }
}

internal sealed record HistoryJson
{
    public required int Format { get; init; }
    public required string System { get; init; }
    public required EntryJson[] Path { get; init; }

    internal sealed record EntryJson
    {
        public required uint Timeline { get; init; }
        public required string Lineage { get; init; }
        public uint? Parent { get; init; }
        public required string ForkLsn { get; init; }
        public required string StartLsn { get; init; }
        public required string Reason { get; init; }
        public required string Time { get; init; }
    }
}

internal sealed record OwnerJson
{
    public required int Format { get; init; }
    public required string System { get; init; }
    public required uint Timeline { get; init; }
    public required string Lineage { get; init; }
    public required string Start { get; init; }
    public required string Machine { get; init; }
    public string? Boot { get; init; }
    public required string Folder { get; init; }
    public ulong Device { get; init; }
    public required ulong Inode { get; init; }
    public required string Taken { get; init; }
    public required string Renewed { get; init; }
    public string? Released { get; init; }
}

internal sealed record OwnerNotesJson
{
    public required int Format { get; init; }
    public required string Boot { get; init; }
    public required SeenJson[] Seen { get; init; }

    internal sealed record SeenJson
    {
        public required string Store { get; init; }
        public required uint Timeline { get; init; }
        public required string Start { get; init; }
        public required string Renewed { get; init; }
        public required long Since { get; init; }
    }
}

internal sealed record IdentityJson
{
    public required int Format { get; init; }
    public required string System { get; init; }
    public required string Store { get; init; }
    public required string Created { get; init; }
}

internal sealed record GapJson
{
    public required int Format { get; init; }
    public required string System { get; init; }
    public required uint Timeline { get; init; }
    public required string Lineage { get; init; }
    public required string From { get; init; }
    public required string To { get; init; }
    public required string Time { get; init; }
}

internal sealed record ExpiredJson
{
    public required int Format { get; init; }
    public required string System { get; init; }
    public required uint Timeline { get; init; }
    public required string From { get; init; }
    public required string To { get; init; }
    public required string Time { get; init; }
}
