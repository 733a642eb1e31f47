using System.Globalization;

namespace Pitr.Storage;

/// <summary>
/// What a file is called from then on that a recovery replaces or leaves behind: it is the operator's to remove, when all
/// is well.
/// </summary>
internal static class AsideName
{
    /// <summary>Behind its former path.</summary>
    public const string Suffix = ".aside";

    /// <summary>A name beside a path that nothing has.</summary>
    public static string Free(IFileSystem files, string path)
    {
        string aside = path + Suffix;
        for (int n = 2; files.Stat(aside) is not null; n++)
            aside = string.Create(CultureInfo.InvariantCulture, $"{path}{Suffix}.{n}");
        return aside;
    }
}
