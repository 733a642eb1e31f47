using Pitr.Wal;

namespace Pitr.Hosting;

/// <summary>
/// The folders under which paths and stores that remote callers name must lie; without any, they may lie anywhere.
/// </summary>
/// <remarks>
/// What is named is read as the engine will read it: a store by the parser of store addresses, a datafile's path as a
/// path. Read in another way here, it could lie elsewhere there. A store that is no folder lies under a root that is
/// its own address, or one whose path, with the same options, is above its own.
/// </remarks>
internal sealed class AllowedRoots(IReadOnlyList<string> roots)
{
    private readonly string[] _roots = [.. roots.Where(static root => !StoreAddress.HasScheme(root))
        .Select(root => Path.TrimEndingDirectorySeparator(Resolve(root)))];

    private readonly StoreAddress[] _stores =
        [.. roots.Where(StoreAddress.HasScheme).Select(root => StoreAddress.Parse(root, "/"))];

    /// <summary>True if a path lies under a root. It is no address, and not relative to anything.</summary>
    public bool AllowsPath(string path) =>
        IsUnlimited || (Path.IsPathFullyQualified(path) && IsUnderRoot(path));

    private bool IsUnlimited => _roots.Length + _stores.Length == 0;

    /// <summary>True if a store lies under a root.</summary>
    public bool AllowsStore(string store)
    {
        if (IsUnlimited)
            return true;
        try
        {
            if (!Path.IsPathFullyQualified(store) && !StoreAddress.HasScheme(store))
                return false;
            StoreAddress address = StoreAddress.Parse(store, baseFolder: "/");
            return address.IsFolder ? IsUnderRoot(address.Folder) : _stores.Any(root => IsUnder(root, address));
        }
        catch (RefusedException)
        {
            return false;
        }
    }

    private static bool IsUnder(StoreAddress root, StoreAddress store) =>
        root.Scheme == store.Scheme && root.Options.SequenceEqual(store.Options)
        && (root.Path == store.Path || store.Path.StartsWith($"{root.Path}/", StringComparison.Ordinal));

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
