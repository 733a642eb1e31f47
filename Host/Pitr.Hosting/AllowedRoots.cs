using Pitr.Wal;

namespace Pitr.Hosting;

/// <summary>
/// The folders under which paths and stores that remote callers name must lie; without any, they may lie anywhere.
/// </summary>
/// <remarks>
/// What is named is read as the engine will read it: a store by the parser of store addresses, a datafile's path as a
/// path. Read in another way here, it could lie elsewhere there.
/// </remarks>
internal sealed class AllowedRoots(IReadOnlyList<string> roots)
{
    private readonly string[] _roots = [.. roots.Select(root => Path.TrimEndingDirectorySeparator(Resolve(root)))];

    /// <summary>True if a path lies under a root. It is no address, and not relative to anything.</summary>
    public bool AllowsPath(string path) =>
        _roots.Length == 0 || (Path.IsPathFullyQualified(path) && IsUnderRoot(path));

    /// <summary>True if a store's folder lies under a root.</summary>
    public bool AllowsStore(string store)
    {
        if (_roots.Length == 0)
            return true;
        try
        {
            return (Path.IsPathFullyQualified(store) || store.StartsWith("file:", StringComparison.OrdinalIgnoreCase))
                && IsUnderRoot(StoreAddress.Parse(store, baseFolder: "/").Folder);
        }
        catch (RefusedException)
        {
            return false;
        }
    }

    /// <summary>Links on the way are followed first.</summary>
    private bool IsUnderRoot(string path)
    {
        string resolved = Resolve(path);
        return _roots.Any(root =>
            resolved == root || resolved.StartsWith(root + Path.DirectorySeparatorChar, StringComparison.Ordinal));
    }

    /// <summary>The path with every link in it followed, as far as it is there.</summary>
    private static string Resolve(string path)
    {
        string full = Path.GetFullPath(path);
        string resolved = Path.GetPathRoot(full)!;
        foreach (string part in full[resolved.Length..]
            .Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            string next = Path.Combine(resolved, part);
            var name = new FileInfo(next);
            resolved = name.LinkTarget is null ? next : name.ResolveLinkTarget(returnFinalTarget: true)!.FullName;
        }
        return resolved;
    }
}
