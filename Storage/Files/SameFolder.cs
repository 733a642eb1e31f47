namespace Pitr.Storage;

/// <summary>
/// Which folder a path leads to: the same one goes by many names, through links, mounts and another way to the database.
/// Device and inode tell; text does not.
/// </summary>
internal static class SameFolder
{
    /// <summary>True if both paths lead to one folder that is there.</summary>
    public static bool Is(IFileSystem files, string one, string other) =>
        IdentityOf(files, one) is { } first && IdentityOf(files, other) == first;

    /// <summary>
    /// True if the file would lie in the folder or below it: one of the folders on its way, as far as they are there, is
    /// that one.
    /// </summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The folder; one that is not there holds nothing.</param>
    /// <param name="path">Of the file; absolute, without dots.</param>
    public static bool Holds(IFileSystem files, string folder, string path)
    {
        if (IdentityOf(files, folder) is not { } wanted)
            return false;
        for (string? at = Path.GetDirectoryName(path); at is not null; at = Path.GetDirectoryName(at))
        {
            if (IdentityOf(files, at) == wanted)
                return true;
        }

        return false;
    }

    /// <summary>The same of a name, wherever it leads to: links of folders on its way are followed, one under the name is not.</summary>
    public static bool HoldsName(IFileSystem files, string folder, string path) => Holds(
        files, folder, Path.Combine(LinkedName.ResolveAll(files, DurableReplace.FolderOf(path)), Path.GetFileName(path)));

    /// <summary>Links followed; null if there is no folder.</summary>
    private static (ulong Device, ulong Inode)? IdentityOf(IFileSystem files, string folder) =>
        files.Stat(folder) is { IsFolder: true } entry ? (entry.Device, entry.Inode) : null;
}
