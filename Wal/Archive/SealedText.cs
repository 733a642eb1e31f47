using System.Security.Cryptography;
using System.Text;

namespace Pitr.Wal;

/// <summary>
/// The form of the archive's small text objects: JSON that a person can read, and a last line with its digest.
/// </summary>
/// <remarks>
/// LAYOUT  <c>JSON in UTF-8</c> · <c>\n</c> · <c># sha256 </c> · 64 hexadecimal digits of the JSON's SHA-256 ·
/// <c>\n</c> <br/>So a cut or changed object is damage, never another statement.
/// </remarks>
internal static class SealedText
{
    private const string Mark = "\n# sha256 ";
    private const int TailBytes = 10 + 64 + 1;

    /// <summary>The object's bytes.</summary>
    public static ReadOnlyMemory<byte> Seal(ReadOnlySpan<byte> json)
    {
        byte[] bytes = new byte[json.Length + TailBytes];
        json.CopyTo(bytes);
        Encoding.ASCII.GetBytes(Tail(json), bytes.AsSpan(json.Length));
        return bytes;
    }

    /// <summary>The JSON of an object.</summary>
    /// <exception cref="DamageException">ArchiveDamaged.</exception>
    public static ReadOnlySpan<byte> Open(string store, string name, ReadOnlySpan<byte> bytes)
    {
        if (SealedObject.IsOne(bytes))
            throw ArchiveErrors.KeyMissing(store, name);
        if (bytes.Length < TailBytes)
            throw ArchiveErrors.Damaged(store, name, $"it has only {bytes.Length} bytes");
        ReadOnlySpan<byte> json = bytes[..^TailBytes];
        if (!bytes[^TailBytes..].SequenceEqual(Encoding.ASCII.GetBytes(Tail(json))))
            throw ArchiveErrors.Damaged(store, name, "its last line is not the digest of its content");
        return json;
    }

    private static string Tail(ReadOnlySpan<byte> json) =>
        $"{Mark}{Convert.ToHexString(SHA256.HashData(json)).ToLowerInvariant()}\n";
}
