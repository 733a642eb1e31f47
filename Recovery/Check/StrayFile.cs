using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>A file that looks like a datafile of this database, and that nothing lists (H23).</summary>
/// <param name="Path">Where it lies.</param>
/// <param name="Row">What it is, and what is to be done with it.</param>
internal sealed record StrayFile(string Path, ControlFileCase.Row Row)
{
    private const string Ending = ".pitr";

    /// <summary>True if it is provably ours and empty of meaning. Any other is left as it is, and reported.</summary>
    public bool IsToBeRemoved => Row.Verdict == FileVerdict.Remove;

    /// <summary>
    /// Every stray: names <c>*.pitr</c> in the database's folder, and where the dropped datafiles lay that are still
    /// listed as such. Changes nothing.
    /// </summary>
    /// <remarks>
    /// The catalogue must be that of the WAL's end: seen from an older one, a file whose creation was logged looks
    /// unborn. A symbolic link is somebody's, and passed over, but where a dropped datafile lay: what it leads to then
    /// goes with it. A file that a listed datafile's link leads to is that datafile.
    /// </remarks>
    /// <exception cref="StorageFailedException">A folder or a file can't be read.</exception>
    public static IReadOnlyList<StrayFile> Find(
        IFileSystem files, string folder, Catalogue catalogue, SystemIdentifier system)
    {
        IEnumerable<string> inside = files.List(folder)
            .Where(name => name.EndsWith(Ending, StringComparison.Ordinal))
            .Select(name => System.IO.Path.Combine(folder, name));
        HashSet<string> dropped = [.. catalogue.DroppedFiles
            .Where(drop => drop.Path is not null)
            .Select(drop => Catalogue.FullPath(folder, drop.Path!))];
        HashSet<string> listed = [.. catalogue.Files.Select(file => Catalogue.FullPath(folder, file.Path))
            .SelectMany(path => (string[])[path, LinkedName.Resolve(files, path)])];
        return [.. inside.Concat(dropped)
            .Distinct(StringComparer.Ordinal)
            .Where(path => !listed.Contains(path) && files.Stat(path) is { IsFolder: false } entry
                && (!entry.IsSymlink || dropped.Contains(path)))
            .Select(path => new StrayFile(path, Decide(
                files, folder, path, catalogue, system,
                isOurPlace: path.StartsWith(folder + "/", StringComparison.Ordinal))))];
    }

    /// <summary>True if what stands where a datafile is to be made may be removed for it.</summary>
    public static bool MeansNothing(
        IFileSystem files, string folder, string path, Catalogue catalogue, SystemIdentifier system) =>
        Decide(files, folder, path, catalogue, system, isOurPlace: true).Verdict == FileVerdict.Remove;

    private static ControlFileCase.Row Decide(
        IFileSystem files, string folder, string path, Catalogue catalogue, SystemIdentifier system, bool isOurPlace)
    {
        if (files.Stat(path) is { IsSymlink: true, Inode: 0 }) // a crash came between the file and its link
            return ControlFileCase.Decide(
                new FileFacts { IsThere = true, IsReadable = true, IsOurs = true, IsDropped = true });
        bool isBlank = false;
        MetaPage? meta;
        try
        {
            meta = Datafile.Inspect(files, path);
        }
        catch (PitrException error) when (error is DamageException or RefusedException)
        {
            meta = OfUnfinished(files, path, out isBlank);
        }

        string stored = Catalogue.StoredPath(folder, path);
        return ControlFileCase.Decide(FileFacts.OfStray(catalogue, system, meta, stored, isBlank && isOurPlace));
    }

    /// <summary>
    /// A file is made as two meta pages, one as the other. What is not zero of them lies in their first sectors, so
    /// that a power loss leaves of each all or nothing: the one that is left tells whose it is, and none left is blank.
    /// </summary>
    private static MetaPage? OfUnfinished(IFileSystem files, string path, out bool isBlank)
    {
        isBlank = false;
        using IFileHandle file = files.Open(path, FileOpen.Read);
        var bytes = new byte[MetaPage.Slots * PageLayout.PageBytes];
        if (file.LengthBytes > bytes.Length)
            return null;
        file.Read(0, bytes);
        MetaPage? left = null;
        for (uint slot = 0; slot < MetaPage.Slots; slot++)
        {
            ReadOnlySpan<byte> page = bytes.AsSpan((int)slot * PageLayout.PageBytes, PageLayout.PageBytes);
            if (page.IndexOfAnyExcept((byte)0) < 0)
                continue;
            if (MetaPage.TryRead(page, slot, out _) is not { } meta)
                return null;
            left ??= meta;
        }

        isBlank = left is null;
        return left;
    }
}
