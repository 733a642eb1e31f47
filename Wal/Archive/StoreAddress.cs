using System.Collections.Immutable;
using System.Text.RegularExpressions;

namespace Pitr.Wal;

/// <summary>Where an archive store is, read from what the operator wrote.</summary>
/// <remarks>
/// FORMS  a folder path (absolute, or relative to a base folder given) · <c>file:///PATH</c> ·
/// <c>s3://BUCKET/PREFIX[?OPTION=VALUE&amp;…]</c> · <c>azblob://CONTAINER/PREFIX[?…]</c> · <c>command:NAME</c>.
/// Which schemes there are is known here, so that a typing error and a kind that a program lacks are told apart; what
/// their options mean is known to the kind (<see cref="ArchiveStoreKind"/>).
///
/// A folder's path is unescaped in a <c>file:</c> address only. A prefix is made of the characters of object names
/// (<see cref="ObjectName"/>): nothing in it needs escaping, and nothing leads out of it.
/// </remarks>
/// <param name="Text">As it was written.</param>
/// <param name="Scheme">The kind: file, s3, azblob, command.</param>
/// <param name="Path">Of a folder its absolute path; BUCKET/PREFIX or CONTAINER/PREFIX, without a slash at the end; of
/// a command its name.</param>
/// <param name="Options">What stands behind the question mark, unescaped.</param>
internal sealed partial record StoreAddress(
    string Text, string Scheme, string Path, ImmutableSortedDictionary<string, string> Options)
{
    public const string FileScheme = "file";
    public const string CommandScheme = "command";

    /// <summary>Kinds whose addresses are an authority, a prefix and options.</summary>
    private static readonly string[] Services = ["s3", "azblob"];

    /// <summary>True if it is a folder, or a file, of this machine.</summary>
    public bool IsFolder => Scheme == FileScheme;

    /// <summary>The absolute path; only of a folder.</summary>
    public string Folder => IsFolder ? Path : throw new InvalidOperationException($"'{Text}' is no folder.");

    /// <summary>The first part of the path: bucket or container.</summary>
    public string Authority => Path.Split('/', 2)[0];

    /// <summary>What names in the store begin with there: empty, or with a slash at its end.</summary>
    public string Prefix => Path.IndexOf('/', StringComparison.Ordinal) is var at and > 0 ? $"{Path[(at + 1)..]}/" : "";

    /// <summary>The one form that tells two stores apart, and that means the same wherever it is read.</summary>
    public string Place => IsFolder ? Path
        : Scheme == CommandScheme ? $"{Scheme}:{Path}"
        : Options.IsEmpty ? $"{Scheme}://{Path}"
        : $"{Scheme}://{Path}?{string.Join('&', Options.Select(static option => $"{option.Key}={Uri.EscapeDataString(option.Value)}"))}";

    /// <summary>As it was written, but that a folder means the same wherever it is read.</summary>
    public string Absolute => IsFolder ? Path : Text;

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
        if (SchemeOf(text) is not { } scheme)
            return OfFolder(text, System.IO.Path.GetFullPath(text, baseFolder));
        string rest = text[(scheme.Length + 1)..];
        if (Services.Contains(scheme))
            return OfService(text, scheme, rest);
        return scheme switch
        {
            FileScheme => OfFile(text, rest),
            CommandScheme when CommandName().IsMatch(rest) =>
                new StoreAddress(text, scheme, rest, ImmutableSortedDictionary<string, string>.Empty),
            CommandScheme => throw ArchiveErrors.AddressInvalid(
                text, "a command's name is a lower-case letter, and up to 62 letters, digits, '_' and '-'"),
            _ => throw ArchiveErrors.AddressInvalid(text, $"there is no kind of store called '{scheme}'"),
        };
    }

    /// <summary>True if a text is an address with a scheme, and so not relative to anything.</summary>
    public static bool HasScheme(string text) => SchemeOf(text) is not null;

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static StoreAddress OfFolder(string text, string path) => new(
        text, FileScheme, System.IO.Path.TrimEndingDirectorySeparator(path),
        ImmutableSortedDictionary<string, string>.Empty);

    private static StoreAddress OfFile(string text, string rest)
    {
        if (!rest.StartsWith("///", StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text, "a file address has three slashes and names no host");
        string path = Uri.UnescapeDataString(rest[2..]);
        if (path.Contains('\0', StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text, "it has a zero character");
        return OfFolder(text, System.IO.Path.GetFullPath(path));
    }

    private static StoreAddress OfService(string text, string scheme, string rest)
    {
        if (!rest.StartsWith("//", StringComparison.Ordinal))
            throw ArchiveErrors.AddressInvalid(text, $"it begins with {scheme}://");
        string[] parts = rest[2..].Split('?', 2);
        string path = parts[0].TrimEnd('/');
        if (!ObjectName.IsValid(path))
            throw ArchiveErrors.AddressInvalid(
                text, "its path is made of letters, digits, '.', '_' and '-' between slashes, and begins none with a dot");
        var options = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (string option in parts.Length < 2 ? [] : parts[1].Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] pair = option.Split('=', 2);
            if (pair.Length < 2 || !OptionName().IsMatch(pair[0]) || options.ContainsKey(pair[0]))
                throw ArchiveErrors.AddressInvalid(text, $"'{option}' is no option=value, or is given twice");
            string value = Uri.UnescapeDataString(pair[1]);
            if (value.Any(char.IsControl))
                throw ArchiveErrors.AddressInvalid(text, $"the value of {pair[0]} has a control character");
            options.Add(pair[0], value);
        }
        return new StoreAddress(text, scheme, path, options.ToImmutable());
    }

    private static string? SchemeOf(string text)
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

    [GeneratedRegex(@"\A[a-z][a-z0-9_-]{0,62}\z", RegexOptions.CultureInvariant)]
    private static partial Regex CommandName();

    [GeneratedRegex(@"\A[a-zA-Z]{1,32}\z", RegexOptions.CultureInvariant)]
    private static partial Regex OptionName();
}
