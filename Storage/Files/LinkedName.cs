namespace Pitr.Storage;

/// <summary>Where the bytes behind a name lie: a datafile that was moved has a symbolic link under its name.</summary>
internal static class LinkedName
{
    private const int LinksMax = 8;
    private const int LinksOnTheWayMax = 40; // as the kernel

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

    /// <summary>
    /// The path with every link on it followed, those of folders too: where it really leads. What leads in a circle is
    /// returned as it is.
    /// </summary>
    /// <param name="files">The disk.</param>
    /// <param name="path">Absolute.</param>
    public static string ResolveAll(IFileSystem files, string path)
    {
        var rest = new Stack<string>(PartsOf(path));
        string at = "/";
        int links = 0;
        while (rest.TryPop(out string? name))
        {
            string next = Path.GetFullPath(name, at); // nothing before it is a link: two dots are the folder above
            if (files.Stat(next) is not { IsSymlink: true } || files.ReadLink(next) is not { } target)
            {
                at = next;
                continue;
            }

            if (++links > LinksOnTheWayMax)
                return path;
            foreach (string part in PartsOf(target))
                rest.Push(part);
            if (Path.IsPathRooted(target))
                at = "/";
        }

        return at;

        static IEnumerable<string> PartsOf(string path) =>
            path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse();
    }

    /// <summary>
    /// Removes a datafile, and the link under its name if it was moved; what the link leads to goes first, since without
    /// the link nobody would find it again. Durable when it returns.
    /// </summary>
    public static void Delete(IFileSystem files, string path)
    {
        string target = Resolve(files, path);
        if (target != path && files.Stat(target) is not null)
        {
            files.Delete(target);
            files.SyncFolder(DurableReplace.FolderOf(target));
        }

        files.Delete(path);
        files.SyncFolder(DurableReplace.FolderOf(path));
    }
}
