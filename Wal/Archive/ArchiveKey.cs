using System.Security.Cryptography;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>The key that archived objects are encrypted with, read from a file that only its owner may read.</summary>
/// <remarks>
/// FILE  64 hexadecimal digits (256 bits), and nothing else but white space around them: <c>openssl rand -hex 32</c>.
/// The key's id is in every object, so that a wrong key is told from damage; it tells nothing of the key.
/// </remarks>
internal sealed class ArchiveKey
{
    public const int KeyBytes = 32;
    public const int IdBytes = 8;
    private const int OthersMay = 0x3F; // group and others: read, write, execute

    private readonly byte[] _key;

    /// <param name="key">32 bytes.</param>
    public ArchiveKey(ReadOnlySpan<byte> key)
    {
        Invariant.Require(key.Length == KeyBytes, "E1", "a key has 256 bits.");
        _key = key.ToArray();
        Span<byte> id = stackalloc byte[IdBytes];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, _key, id, salt: [], info: "pitr-archive-key-id"u8);
        Id = Convert.ToHexString(id);
    }

    /// <summary>16 hexadecimal digits.</summary>
    public string Id { get; }

    /// <summary>The key of one object: drawn from this one and the object's random salt.</summary>
    public byte[] For(ReadOnlySpan<byte> salt)
    {
        byte[] own = new byte[KeyBytes];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, _key, own, salt, "pitr-archived-object"u8);
        return own;
    }

    /// <exception cref="RefusedException">KeyFileInvalid: it is not there, others may read it, or it is no key.</exception>
    public static ArchiveKey Read(IFileSystem files, string path)
    {
        try
        {
            if (files.Stat(path) is not { IsFolder: false } entry)
                throw ArchiveErrors.KeyFileInvalid(path, "there is no such file");
            if ((entry.Permissions & OthersMay) != 0)
                throw ArchiveErrors.KeyFileInvalid(path, "other users may read or change it");
            using IFileHandle file = files.Open(path, FileOpen.Read);
            Span<byte> text = stackalloc byte[256];
            int read = file.Read(0, text);
            string digits = System.Text.Encoding.Latin1.GetString(text[..read]).Trim();
            return digits.Length == 2 * KeyBytes && digits.All(char.IsAsciiHexDigit) && file.LengthBytes <= text.Length
                ? new ArchiveKey(Convert.FromHexString(digits))
                : throw ArchiveErrors.KeyFileInvalid(path, "it does not hold exactly 64 hexadecimal digits");
        }
        catch (StorageFailedException failed)
        {
            throw ArchiveErrors.KeyFileInvalid(path, failed.Message.TrimEnd('.'));
        }
    }
}
