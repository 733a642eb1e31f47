namespace Pitr.Wal;

/// <summary>Where an archive store is, read from what the operator wrote.</summary>
/// <remarks>
/// A folder path (absolute, or relative to a base folder given), or <c>file:///PATH</c>. The schemes <c>s3:</c>,
/// <c>azblob:</c> and <c>command:</c> are known and refused as not yet available, so that a typing error and a plan for
/// later are told apart.
/// </remarks>
/// <param name="Text">As it was written.</param>
/// <param name="Folder">The absolute path of the folder.</param>
internal sealed record StoreAddress(string Text, string Folder)
{
    /// <summary>Reads an address.</summary>
    /// <param name="text">What was written.</param>
    /// <param name="baseFolder">What a relative path is relative to; absolute.</param>
    /// <exception cref="RefusedException">StoreAddressInvalid.</exception>
    public static StoreAddress Parse(string text, string baseFolder)
    {
        if (string.IsNullOrWhiteSpace(text))
            throw ArchiveErrors.AddressInvalid(text, "it is empty");
        if (text.Contains('\0', StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text.Replace('\0', '?'), "it has a zero character");
        if (Scheme(text) is not { } scheme)
            return new StoreAddress(text, Path.TrimEndingDirectorySeparator(Path.GetFullPath(text, baseFolder)));
        if (scheme is "s3" or "azblob" or "command")
            throw ArchiveErrors.KindUnavailable(text, scheme);
        if (scheme != "file")
            throw ArchiveErrors.AddressInvalid(text, $"there is no kind of store called '{scheme}'");
        string rest = text["file:".Length..];
        if (!rest.StartsWith("///", StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text, "a file address has three slashes and names no host");
        string path = Uri.UnescapeDataString(rest[2..]);
        if (path.Contains('\0', StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text, "it has a zero character");
        return new StoreAddress(text, Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static string? Scheme(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        if (colon < 2)
            return null;
        foreach (char c in text.AsSpan(0, colon))
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('+' or '-'))
                return null;
        }
        return text[..colon].ToLowerInvariant();
    }
}
