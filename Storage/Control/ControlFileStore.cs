using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text.Json;

namespace Pitr.Storage;

/// <summary>Reads and replaces the control file of a database folder, as a whole.</summary>
/// <remarks>
/// LAYOUT  (integers little endian, sizes in bytes; docs/formats/control-file.md)
/// <code>
///   0        8         12               16                 16 + n
///  +--------+---------+----------------+------------------+------------------------+
///  | magic  | version | payload bytes n| payload (JSON)   | XxHash3-64 of all before|
///  +--------+---------+----------------+------------------+------------------------+
/// </code>
/// This frame is the same in every version, so that a newer file is told from a damaged one. Valid if and only if
/// magic, length and checksum fit, nothing follows, and the payload is a <see cref="ControlFile"/> without
/// <c>Fault</c>.
/// DURABILITY  <see cref="Replace"/> is a <see cref="DurableReplace"/>: when it returns, the new content is durable.
/// THREADS  one owner replaces (CF1, H23); reading is safe beside it, because a rename is.
/// FAILURE  after Replace threw, a crash may bring either content: the owner writes no more until it has read again.
/// </remarks>
internal sealed class ControlFileStore(IFileSystem disk, string folder)
{
    /// <summary>Its name in the database folder.</summary>
    public const string FileName = "pitr.control";

    /// <summary>The version that this program writes, and the newest that it reads.</summary>
    public const uint Version = 2;

    private const int HeaderBytes = 16;
    private const int ChecksumBytes = 8;
    private const int PayloadBytesMax = 256 << 20;

    private static ReadOnlySpan<byte> Magic => "PITRCTRL"u8;

    /// <summary>Where it is.</summary>
    public string FilePath { get; } = Path.Combine(folder, FileName);

    /// <summary>True if the folder has one, valid or not.</summary>
    public bool Exists => disk.Stat(FilePath) is { IsFolder: false };

    /// <summary>The control file of a database; one of a backup set is refused.</summary>
    /// <param name="expected">The database that it must be of; null: any.</param>
    /// <exception cref="NotFoundException">NotADatabase.</exception>
    /// <exception cref="RefusedException">ControlFileOfBackup, ForeignSystem, FormatVersion.</exception>
    /// <exception cref="DamageException">ControlFileDamaged.</exception>
    public ControlFile ReadLive(SystemIdentifier? expected = null)
    {
        ControlFile control = ReadAny();
        if (control.Kind == ControlFileKind.Backup)
            throw StorageErrors.ControlFileOfBackup(FilePath, control.BackupId!);
        if (expected is { } system && control.SystemId != system)
            throw StorageErrors.ForeignSystem(FilePath, control.SystemId, system);
        return control;
    }

    /// <summary>The control file, of a database or of a backup set.</summary>
    /// <exception cref="NotFoundException">NotADatabase.</exception>
    /// <exception cref="RefusedException">FormatVersion.</exception>
    /// <exception cref="DamageException">ControlFileDamaged.</exception>
    public ControlFile ReadAny()
    {
        if (!Exists)
            throw StorageErrors.NotADatabase(folder);
        using IFileHandle file = disk.Open(FilePath, FileOpen.Read);
        long length = file.LengthBytes;
        if (length is < HeaderBytes + ChecksumBytes or > PayloadBytesMax)
            throw StorageErrors.ControlFileDamaged(FilePath, $"it has {length} bytes");
        var bytes = new byte[length];
        int read = file.Read(0, bytes);
        return Decode(FilePath, bytes.AsSpan(0, read));
    }

    /// <summary>Makes this the control file; durable when it returns.</summary>
    public void Replace(ControlFile control)
    {
        Invariant.Require(control.Fault() is null, "CF5", control.Fault() ?? "");
        CatalogueFile? below = control.FileBelowRedo();
        Invariant.Require(below is null || control.Kind == ControlFileKind.Backup, "CF3",
            $"the redo point {control.RedoLsn} is above {below?.CleanUpTo}, to which datafile '{below?.Name}' is clean");
        DurableReplace.Write(disk, FilePath, Encode(control));
    }

    /// <summary>
    /// True if this is the content that the name has: after a replace that failed, that the new one never got the name.
    /// </summary>
    public bool Holds(ControlFile control)
    {
        try
        {
            return EncodePayload(ReadAny()).AsSpan().SequenceEqual(EncodePayload(control));
        }
        catch (PitrException)
        {
            return false;
        }
    }

    /// <summary>The payload alone: what a checkpoint record carries (H22).</summary>
    public static byte[] EncodePayload(ControlFile control) =>
        JsonSerializer.SerializeToUtf8Bytes(control, ControlFileJson.Default.ControlFile);

    /// <summary>Reads a payload alone; <paramref name="path"/> is only named.</summary>
    /// <exception cref="DamageException">ControlFileDamaged.</exception>
    public static ControlFile DecodePayload(string path, ReadOnlySpan<byte> payload)
    {
        ControlFile? control;
        try
        {
            control = JsonSerializer.Deserialize(payload, StrictJson.Of(ControlFileJson.Default.ControlFile));
        }
        catch (JsonException cause)
        {
            throw StorageErrors.ControlFileDamaged(
                path, $"its text is not of the known form: {cause.Message}", HeaderBytes);
        }
        string? fault = control is null ? "its text is null" : control.Fault();
        return fault is null ? control! : throw StorageErrors.ControlFileDamaged(path, fault, HeaderBytes);
    }

    /// <summary>The bytes of the file.</summary>
    public static byte[] Encode(ControlFile control)
    {
        byte[] payload = EncodePayload(control);
        var bytes = new byte[HeaderBytes + payload.Length + ChecksumBytes];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(12), (uint)payload.Length);
        payload.CopyTo(bytes, HeaderBytes);
        int checkedBytes = bytes.Length - ChecksumBytes;
        BinaryPrimitives.WriteUInt64LittleEndian(
            bytes.AsSpan(checkedBytes), XxHash3.HashToUInt64(bytes.AsSpan(0, checkedBytes)));
        return bytes;
    }

    /// <summary>Reads the bytes of a file; <paramref name="path"/> is only named.</summary>
    /// <exception cref="RefusedException">FormatVersion.</exception>
    /// <exception cref="DamageException">ControlFileDamaged.</exception>
    public static ControlFile Decode(string path, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeaderBytes + ChecksumBytes)
            throw StorageErrors.ControlFileDamaged(path, $"it has {bytes.Length} bytes");
        if (!bytes.StartsWith(Magic))
            throw StorageErrors.ControlFileDamaged(path, "it does not begin with PITRCTRL", 0);
        uint payloadBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]);
        if (payloadBytes != bytes.Length - HeaderBytes - ChecksumBytes)
        {
            throw StorageErrors.ControlFileDamaged(
                path, $"it has {bytes.Length} bytes and says that its text has {payloadBytes}", 12);
        }
        ReadOnlySpan<byte> content = bytes[..^ChecksumBytes];
        ulong stored = BinaryPrimitives.ReadUInt64LittleEndian(bytes[^ChecksumBytes..]);
        ulong computed = XxHash3.HashToUInt64(content);
        if (stored != computed)
        {
            throw StorageErrors.ControlFileDamaged(
                path, $"it has checksum {stored:X16}, its content gives {computed:X16}", content.Length);
        }
        // Only now: a version that rot made is not a newer program's.
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (version > Version)
            throw StorageErrors.FormatVersion(path, version, Version);
        return version == 0
            ? throw StorageErrors.ControlFileDamaged(path, "it has version 0", 8)
            : DecodePayload(path, content[HeaderBytes..]);
    }
}
