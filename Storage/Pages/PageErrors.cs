using System.Globalization;

namespace Pitr.Storage;

/// <summary>The failures that reading a page can have: one factory a code.</summary>
internal static class PageErrors
{
    private const string Hint =
        "Keep the file for inspection, and restore from a backup set: pitr restore --from STORE --into DIR";

    public static DamageException Checksum(string path, uint page, ulong stored, ulong computed) =>
        new(ErrorCode.PageChecksum,
            string.Create(CultureInfo.InvariantCulture,
                $"Page {page} of '{path}' has checksum {stored:X16}; its content gives {computed:X16}."),
            Hint)
        { Path = path, Offset = OffsetOf(page) };

    public static DamageException Misplaced(string path, uint page, uint found) =>
        new(ErrorCode.PageMisplaced,
            string.Create(CultureInfo.InvariantCulture,
                $"Page {page} of '{path}' was expected; the bytes in its place say that they are page {found}."),
            Hint)
        { Path = path, Offset = OffsetOf(page) };

    public static DamageException FromTheFuture(string path, uint page, ulong rootGeneration, ulong found) =>
        new(ErrorCode.PageMisplaced,
            string.Create(CultureInfo.InvariantCulture,
                $"Page {page} of '{path}' is of generation {found}; its root is of generation {rootGeneration}."),
            Hint)
        { Path = path, Offset = OffsetOf(page) };

    // what: the end of the sentence "Page 17 of 'x' …", without the full stop
    public static DamageException TreeInvalid(string path, uint page, string what) =>
        new(ErrorCode.TreeInvalid,
            string.Create(CultureInfo.InvariantCulture, $"Page {page} of '{path}' {what}."),
            Hint)
        { Path = path, Offset = OffsetOf(page) };

    private static long OffsetOf(uint page) => (long)page * PageLayout.PageBytes;
}
