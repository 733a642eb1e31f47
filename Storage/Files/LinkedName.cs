namespace Pitr.Storage;

/// <summary>Where the bytes behind a name lie: a datafile that was moved has a symbolic link under its name.</summary>
internal static class LinkedName
{
    private const int LinksMax = 8;

    /// <summary>
    /// The path with the links under its own name followed, also to where nothing is; those of folders on the way are
    /// the file system's matter. What leads in a circle is returned as it is, and opens as nothing.
    /// </summary>
    public static string Resolve(IFileSystem files, string path)
    {
        string at = path;
        for (int links = 0; links < LinksMax; links++)
        {
            if (files.Stat(at) is not { IsSymlink: true } || files.ReadLink(at) is not { } target)
                return at;
            at = Path.GetFullPath(target, DurableReplace.FolderOf(at));
        }

        return path;
    }
}
