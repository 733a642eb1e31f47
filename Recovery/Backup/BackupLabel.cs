using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What a backup set is of, and from where to where its WAL goes. Object <c>label.json</c> of a set.</summary>
/// <remarks>
/// INVARIANTS
///   L1  StartLsn = min(CatalogueLsn, the files' checkpoint LSNs): replay that begins there with the catalogue of the
///       set misses no change and no birth (H29).
///   L2  StopLsn is the LSN of the set's BackupEnd record, logged after the last unfence. No earlier moment can be
///       reached with the set (H34).
///   L3  A set that lacks a file alive at its stop is partial: neither the planner nor retention counts it (H29).
/// </remarks>
internal sealed record BackupLabel
{
    /// <summary>That of a set that builds on another; one that does not is as older programs know it.</summary>
    public const int FormatNewest = 2;

    public int FormatVersion { get; init; } = 1;
    public required string BackupId { get; init; }
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>The timeline that the set was taken on, and its lineage.</summary>
    public required TimelineId Timeline { get; init; }
    public required Lineage Lineage { get; init; }

    /// <summary>The path of timelines up to that one.</summary>
    public required IReadOnlyList<TimelineEntry> Path { get; init; }

    /// <summary>C: the LSN of the catalogue in the set's control file.</summary>
    public required Lsn CatalogueLsn { get; init; }
    public required Lsn StartLsn { get; init; }
    public required Lsn StopLsn { get; init; }

    /// <summary>Commit time of the BackupEnd record.</summary>
    public required DateTimeOffset StopTime { get; init; }

    /// <summary>The last transaction at or below the stop; 0 if not known.</summary>
    public TransactionId StopTransactionId { get; init; }
    public required DateTimeOffset BeganAt { get; init; }
    public required long WalSegmentBytes { get; init; }

    /// <summary>True if the WAL from start to stop lies in the set itself.</summary>
    public required bool IncludesWal { get; init; }

    /// <summary>The set that an incremental one builds on; null: whole.</summary>
    public string? BaseId { get; init; }

    /// <summary>The digest in the manifest of that set, which holds for all of it and for what it builds on itself.</summary>
    public string? BaseDigest { get; init; }

    public required IReadOnlyList<LabelledFile> Files { get; init; }

    /// <summary>
    /// Files of the catalogue at C that were dropped before they were copied: replay passes over them.
    /// </summary>
    public IReadOnlyList<FileId> DroppedFiles { get; init; } = [];

    /// <summary>Files alive at the stop that the set lacks (L3).</summary>
    public IReadOnlyList<FileId> MissingFiles { get; init; } = [];

    [JsonIgnore]
    public bool IsPartial => MissingFiles.Count > 0;

    public TimelineHistory History() => TimelineHistory.Of(SystemId, Path);

    /// <summary>L1.</summary>
    public static Lsn StartOf(Lsn catalogueLsn, IEnumerable<LabelledFile> files)
    {
        Lsn start = catalogueLsn;
        foreach (LabelledFile file in files)
            start = Lsn.Min(start, file.CheckpointLsn);
        return start;
    }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RecoveryJson.Default.BackupLabel);

    // What a restore would stumble over.
    private string? Fault()
    {
        if (TimelineEntry.Fault([.. Path]) is { } fault)
            return fault;
        if (!WalGeometry.IsSegmentBytes(WalSegmentBytes))
            return $"its WAL segments have {WalSegmentBytes} bytes";
        LabelledFile? odd = Files.FirstOrDefault(file => file.LengthBytes < 0 || !Wal.ObjectName.IsValid(file.ObjectName));
        if (odd is not null)
            return $"its datafile '{odd.Name}' is '{odd.ObjectName}' of {odd.LengthBytes} bytes";
        if (BaseId is not null && (BaseDigest is null || BaseId == BackupId))
            return $"of its base '{BaseId}' the digest is '{BaseDigest}'";
        odd = Files.FirstOrDefault(IsOddlyBased);
        return odd is null ? null : $"how its datafile '{odd.Name}' builds on '{BaseId}' makes no sense";
    }

    private bool IsOddlyBased(LabelledFile file) => file.BaseGeneration is { } older
        ? BaseId is null || file.Sha256 is null || older > file.Generation
            || file.LengthBytes % PageLayout.PageBytes != 0
            || file.LengthBytes / PageLayout.PageBytes is < MetaPage.Slots or > uint.MaxValue
        : file.Sha256 is not null;

    /// <exception cref="DamageException">BackupDamaged.</exception>
    /// <exception cref="RefusedException">FormatVersion.</exception>
    public static BackupLabel Parse(string backupId, ReadOnlySpan<byte> bytes)
    {
        BackupLabel label = SetJson.Parse(backupId, BackupSet.LabelName, bytes, RecoveryJson.Default.BackupLabel);
        if (label.FormatVersion > FormatNewest)
            throw RecoveryErrors.FormatVersion(BackupSet.LabelName, label.FormatVersion, FormatNewest);
        if (label.StartLsn != StartOf(label.CatalogueLsn, label.Files) || label.StopLsn < label.StartLsn)
        {
            throw RecoveryErrors.BackupDamaged(
                backupId, BackupSet.LabelName, $"start {label.StartLsn} and stop {label.StopLsn} do not fit its files");
        }
        if (label.Files.FirstOrDefault(file => !Limits.IsName(file.Name)) is { } bad)
            throw RecoveryErrors.BackupDamaged(backupId, BackupSet.LabelName, $"'{bad.Name}' is no name of a datafile");
        return label.Fault() is { } fault
            ? throw RecoveryErrors.BackupDamaged(backupId, BackupSet.LabelName, fault)
            : label;
    }
}

/// <summary>One datafile of a set.</summary>
internal sealed record LabelledFile
{
    public required FileId Id { get; init; }
    public required string Name { get; init; }

    /// <summary>The object within the set.</summary>
    public required string ObjectName { get; init; }
    public required long LengthBytes { get; init; }
    public required Incarnation Incarnation { get; init; }
    public required ulong Generation { get; init; }
    public required Lsn CheckpointLsn { get; init; }

    /// <summary>The lineage of <see cref="CheckpointLsn"/> (H14).</summary>
    public required Lineage Lineage { get; init; }

    /// <summary>
    /// Where it lay, if outside the database's folder: what <c>--map</c> maps. Never used as a path (H30).
    /// </summary>
    public string? OutsidePath { get; init; }

    /// <summary>
    /// The object has what is newer than this generation; the rest is in the copy of the base (G1). Null: it has all.
    /// </summary>
    public ulong? BaseGeneration { get; init; }

    /// <summary>Of the whole file, if the object has not all of it (G4).</summary>
    public string? Sha256 { get; init; }

    public static LabelledFile Of(FencedFile file, CopiedObject copy) => new()
    {
        Id = file.Id,
        Name = file.Name,
        ObjectName = copy.Name,
        LengthBytes = file.LengthBytes,
        Incarnation = file.Incarnation,
        Generation = file.Generation,
        CheckpointLsn = file.CheckpointLsn,
        Lineage = file.Lineage,
        OutsidePath = file.OutsidePath,
        BaseGeneration = copy.BaseGeneration,
        Sha256 = copy.FileSha256,
    };
}

/// <summary>The object that was made of a datafile.</summary>
/// <param name="Name">Within the set.</param>
/// <param name="LengthBytes">As stored.</param>
/// <param name="Sha256">Of what is stored.</param>
/// <param name="BaseGeneration">See <see cref="LabelledFile.BaseGeneration"/>.</param>
/// <param name="FileSha256">See <see cref="LabelledFile.Sha256"/>.</param>
internal sealed record CopiedObject(
    string Name, long LengthBytes, string Sha256, ulong? BaseGeneration = null, string? FileSha256 = null);

/// <summary>
/// Every object of a set with its length and digest. Object <c>manifest.json</c>, written last: a set without it is
/// none.
/// </summary>
/// <remarks>The digest of the listing makes a damaged manifest tell itself from damaged files.</remarks>
internal sealed record BackupManifest
{
    public const int FormatNewest = 1;

    // Of one object: so that sums have room.
    private const long LengthBytesMax = 1L << 50;

    public int FormatVersion { get; init; } = FormatNewest;
    public required string BackupId { get; init; }
    public required IReadOnlyList<ManifestEntry> Objects { get; init; }

    /// <summary>
    /// SHA-256 over a line <c>name length sha256</c> for each object, in order, each ended by a line feed.
    /// </summary>
    public required string Digest { get; init; }

    [JsonIgnore]
    public long LengthBytes => Objects.Sum(entry => entry.LengthBytes);

    public static BackupManifest Of(string backupId, IEnumerable<ManifestEntry> objects)
    {
        ManifestEntry[] sorted = [.. objects.OrderBy(entry => entry.Name, StringComparer.Ordinal)];
        return new BackupManifest { BackupId = backupId, Objects = sorted, Digest = DigestOf(backupId, sorted) };
    }

    public ManifestEntry? Find(string name) => Objects.FirstOrDefault(entry => entry.Name == name);

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RecoveryJson.Default.BackupManifest);

    /// <exception cref="DamageException">BackupDamaged.</exception>
    /// <exception cref="RefusedException">FormatVersion.</exception>
    public static BackupManifest Parse(string backupId, ReadOnlySpan<byte> bytes)
    {
        BackupManifest manifest =
            SetJson.Parse(backupId, BackupSet.ManifestName, bytes, RecoveryJson.Default.BackupManifest);
        if (manifest.FormatVersion > FormatNewest)
            throw RecoveryErrors.FormatVersion(BackupSet.ManifestName, manifest.FormatVersion, FormatNewest);
        string digest = DigestOf(manifest.BackupId, manifest.Objects);
        if (manifest.Digest != digest)
        {
            throw RecoveryErrors.BackupDamaged(
                backupId, BackupSet.ManifestName, $"its digest is {manifest.Digest}, its listing gives {digest}");
        }
        if (manifest.Objects.FirstOrDefault(entry =>
            entry.LengthBytes is < 0 or > LengthBytesMax || !ObjectName.IsValid(entry.Name)) is { } odd)
        {
            throw RecoveryErrors.BackupDamaged(
                backupId, BackupSet.ManifestName, $"it lists '{odd.Name}' with {odd.LengthBytes} bytes");
        }
        return manifest;
    }

    private static string DigestOf(string backupId, IEnumerable<ManifestEntry> objects)
    {
        var text = new StringBuilder().Append(backupId).Append('\n');
        foreach (ManifestEntry entry in objects)
            text.Append(entry.Name).Append(' ').Append(entry.LengthBytes).Append(' ').Append(entry.Sha256).Append('\n');
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }
}

/// <param name="Name">The object within the set.</param>
/// <param name="LengthBytes">As stored.</param>
/// <param name="Sha256">Of what is stored, 64 upper-case hexadecimal digits.</param>
internal sealed record ManifestEntry(string Name, long LengthBytes, string Sha256);

/// <summary>
/// That a backup is under way: object <c>intent.json</c>, the first of a set, in its own store and in every archive
/// store (H35). Expire keeps what it names. In an archive store it stays, as the set's registration.
/// </summary>
internal sealed record BackupIntent
{
    /// <summary>The store of a set that pgtar makes: nobody knows where it goes.</summary>
    public const string StoreOfTar = "tar:";

    public required string BackupId { get; init; }
    public required SystemIdentifier SystemId { get; init; }
    public required TimelineId Timeline { get; init; }
    public required Lineage Lineage { get; init; }

    /// <summary>The redo point when the catalogue was read: WAL from here on is kept (H39).</summary>
    public required Lsn HoldFromLsn { get; init; }

    /// <summary>The set that it builds on; null: none.</summary>
    public string? BaseId { get; init; }
    public required DateTimeOffset BeganAt { get; init; }

    /// <summary>The store that the set is written to, as the operator wrote it.</summary>
    public required string SetStore { get; init; }

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RecoveryJson.Default.BackupIntent);

    public static BackupIntent Parse(string backupId, ReadOnlySpan<byte> bytes) =>
        SetJson.Parse(backupId, BackupSet.IntentName, bytes, RecoveryJson.Default.BackupIntent);
}

/// <summary>Reading an object of a set: bytes that are no such JSON are damage.</summary>
internal static class SetJson
{
    public static T Parse<T>(
        string backupId, string name, ReadOnlySpan<byte> bytes,
        System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        if (SealedObject.IsOne(bytes))
            throw ArchiveErrors.KeyMissing(backupId, name);
        try
        {
            return JsonSerializer.Deserialize(bytes, StrictJson.Of(type))
                ?? throw RecoveryErrors.BackupDamaged(backupId, name, "it is empty");
        }
        catch (JsonException bad)
        {
            throw RecoveryErrors.BackupDamaged(backupId, name, bad.Message.TrimEnd('.'), bad.BytePositionInLine ?? -1);
        }
    }
}
