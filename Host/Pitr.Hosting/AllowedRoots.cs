using Pitr.Actors;
using Pitr.Wal;

namespace Pitr.Hosting;

/// <summary>
/// The folders under which paths and stores that remote callers name must lie; without any, they may lie anywhere.
/// </summary>
/// <remarks>
/// What is named is read as the engine will read it: a store by the parser of store addresses, a datafile's path as a
/// path. Read in another way here, it could lie elsewhere there. A store that is no folder lies under a root that is
/// its own address, or one whose path, with the same options, is above its own. Links are followed as the kernel does:
/// each name of a target too, `..` where the links before it lead, and no more than <see cref="LinksMax"/>.
/// </remarks>
internal sealed class AllowedRoots(IReadOnlyList<string> roots)
{
    /// <summary>Linux follows as many in one path: what has more leads in a circle, and nowhere.</summary>
    private const int LinksMax = 40;

    private readonly string[] _roots = [.. roots.Where(static root => !StoreAddress.HasScheme(root))
        .Select(root => AsFolder(Resolve(root) ?? throw AdminErrors.RootInACircle(root)))];

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
    private bool IsUnderRoot(string path) => Resolve(path) is { } resolved
        && _roots.Any(root => AsFolder(resolved).StartsWith(root, StringComparison.Ordinal));

    /// <summary>With the separator at its end, which the root of the file system has already.</summary>
    private static string AsFolder(string path) =>
        Path.EndsInDirectorySeparator(path) ? path : path + Path.DirectorySeparatorChar;

    /// <summary>The path with every link in it followed, as far as it is there; null: they lead in a circle.</summary>
    private static string? Resolve(string path)
    {
        string full = Path.GetFullPath(path); // as the engine reads it: `..` by its text
        string resolved = Path.GetPathRoot(full)!; // free of links
        var rest = new Stack<string>();
        PushNames(rest, full[resolved.Length..]);
        int links = 0;
        while (rest.TryPop(out string? name))
        {
            if (name is "." or "..")
            {
                resolved = name == "." ? resolved : Path.GetDirectoryName(resolved) ?? resolved;
                continue;
            }

            string next = Path.Combine(resolved, name);
            string? target = new FileInfo(next).LinkTarget;
            if (target is null)
            {
                resolved = next;
                continue;
            }

            if (++links > LinksMax)
                return null;
            string root = Path.GetPathRoot(target)!;
            if (root.Length > 0)
                resolved = root;
            PushNames(rest, target[root.Length..]);
        }

        return resolved;
    }

    private static void PushNames(Stack<string> rest, string path)
    {
        foreach (string name in path.Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries).Reverse())
            rest.Push(name);
    }
}
