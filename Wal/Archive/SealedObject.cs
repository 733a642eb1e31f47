using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Pitr.Wal;

/// <summary>The encrypted form of an archived object: what it holds, cut into frames, each sealed with AES-256-GCM.</summary>
/// <remarks>
/// LAYOUT  (integers little endian)
/// <code>
///    0  8 magic "PITRSEAL"           8 u16 format version (1)   10 u16 0
///   12 u32 plain bytes of a frame (1 MiB)
///   16  8 id of the key             24 16 random salt
///   40 …  frames: the sealed bytes, then the tag of 16; the last one may be shorter, also empty
/// </code>
/// KEY    of each object: HKDF-SHA256 of the file's key with the object's salt, so no nonce is used twice with a key
///        however many objects there are.
/// NONCE  12 bytes: the frame's number (u64), 0, 0, 0, and 1 for the last frame: frames that are left out, exchanged or
///        added do not open.
/// BOUND  each frame is bound to the header and to the object's name: the content of another object does not open.
/// What the sizes and names of objects tell is not hidden.
/// </remarks>
internal sealed class SealedObject
{
    public const int HeaderBytes = 40;
    public const int FrameBytes = 1 << 20;
    public const int TagBytes = 16;
    private const int Version = 1;
    private const int SaltAt = 24;
    private const int NonceBytes = 12;
    private static ReadOnlySpan<byte> Magic => "PITRSEAL"u8;

    private readonly string _store;
    private readonly string _name;
    private readonly byte[] _header;
    private readonly byte[] _bound;
    private readonly byte[] _key;

    private SealedObject(string store, string name, byte[] header, ArchiveKey key)
    {
        (_store, _name, _header) = (store, name, header);
        _bound = [.. header, .. Encoding.UTF8.GetBytes(name)];
        _key = key.For(header.AsSpan(SaltAt));
    }

    /// <summary>The first 40 bytes.</summary>
    public ReadOnlyMemory<byte> Header => _header;

    /// <summary>A new object.</summary>
    public static SealedObject New(string store, string name, ArchiveKey key, Func<ulong> random)
    {
        byte[] header = new byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), FrameBytes);
        Convert.FromHexString(key.Id).CopyTo(header, 16);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(SaltAt), random());
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(SaltAt + 8), random());
        return new SealedObject(store, name, header, key);
    }

    /// <summary>An object that is there, by its first bytes.</summary>
    /// <exception cref="RefusedException">StoreNotSealed, StoreKeyWrong, FormatVersion.</exception>
    /// <exception cref="DamageException">ArchiveDamaged.</exception>
    public static SealedObject Open(string store, string name, ReadOnlySpan<byte> header, ArchiveKey key)
    {
        if (!IsOne(header))
            throw ArchiveErrors.NotSealed(store, name);
        if (header.Length < HeaderBytes)
            throw ArchiveErrors.Damaged(store, name, $"it has only {header.Length} bytes", header.Length);
        int version = BinaryPrimitives.ReadUInt16LittleEndian(header[8..]);
        if (version > Version)
            throw ArchiveErrors.FormatVersion(store, name, version, Version);
        string id = Convert.ToHexString(header.Slice(16, ArchiveKey.IdBytes));
        if (id != key.Id)
            throw ArchiveErrors.KeyWrong(store, name, id, key.Id);
        return BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) == FrameBytes
            ? new SealedObject(store, name, header[..HeaderBytes].ToArray(), key)
            : throw ArchiveErrors.Damaged(store, name, "its header holds impossible values", 0);
    }

    /// <summary>True if bytes begin as a sealed object does.</summary>
    public static bool IsOne(ReadOnlySpan<byte> bytes) => bytes.StartsWith(Magic);

    /// <summary>Bytes of the sealed form of so many.</summary>
    public static long SealedLength(long plainBytes) =>
        HeaderBytes + plainBytes + (Math.Max(1, (plainBytes + FrameBytes - 1) / FrameBytes) * TagBytes);

    /// <summary>Bytes within a sealed form of so many; 0 for one that is cut off.</summary>
    public static long PlainLength(long sealedBytes)
    {
        long rest = sealedBytes - HeaderBytes;
        long frames = (rest + FrameBytes + TagBytes - 1) / (FrameBytes + TagBytes);
        return Math.Max(0, rest - (frames * TagBytes));
    }

    /// <summary>Seals one frame; <paramref name="sealedFrame"/> is longer by a tag.</summary>
    public void Seal(long number, bool isLast, ReadOnlySpan<byte> plain, Span<byte> sealedFrame)
    {
        Span<byte> nonce = stackalloc byte[NonceBytes];
        Nonce(nonce, number, isLast);
        using var cipher = new AesGcm(_key, TagBytes);
        cipher.Encrypt(nonce, plain, sealedFrame[..plain.Length], sealedFrame[plain.Length..], _bound);
    }

    /// <summary>Opens one frame.</summary>
    /// <exception cref="DamageException">ArchiveDamaged.</exception>
    public void Unseal(long number, bool isLast, ReadOnlySpan<byte> sealedFrame, Span<byte> plain)
    {
        Span<byte> nonce = stackalloc byte[NonceBytes];
        Nonce(nonce, number, isLast);
        try
        {
            if (sealedFrame.Length < TagBytes)
                throw new AuthenticationTagMismatchException();
            using var cipher = new AesGcm(_key, TagBytes);
            cipher.Decrypt(nonce, sealedFrame[..^TagBytes], sealedFrame[^TagBytes..], plain, _bound);
        }
        catch (AuthenticationTagMismatchException)
        {
            throw ArchiveErrors.Damaged(
                _store, _name, "its seal does not hold: it was changed, cut off, or is another object's",
                HeaderBytes + (number * (FrameBytes + TagBytes)));
        }
    }

    private static void Nonce(Span<byte> nonce, long number, bool isLast)
    {
        nonce.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(nonce, number);
        nonce[^1] = isLast ? (byte)1 : (byte)0;
    }
}
