using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>A file that may be a datafile of the catalogue.</summary>
/// <param name="Name">Absolute; a link, if one leads to it.</param>
/// <param name="Meta">Its meta page; null if it has none that can be believed.</param>
/// <param name="Row">How it fits what is known of the datafile.</param>
internal sealed record FoundDatafile(string Name, MetaPage? Meta, ControlFileCase.Row Row)
{
    /// <summary>It is the datafile as it is known, or newer.</summary>
    public bool IsKnown => Row.Verdict == FileVerdict.Use && Meta is not null;

    /// <summary>It is the state of this datafile at its own LSN, though nobody knows this copy (H16).</summary>
    public bool IsCopyOfOurs => Row.Label is "C3" or "C4" or "C5";
}

/// <summary>
/// Where the datafiles of a catalogue lie, if the catalogue is not of now: they are known by their own headers, at the
/// places that catalogue, control file and moves tell of, and in the database's folder under any name.
/// </summary>
/// <remarks>
/// INVARIANTS
///   DS1  A file that says it is of another database ends the search, wherever it lies in a datafile's place: the folder,
///        or what was given with it, is the wrong one.
///   DS2  With a mapping, what lies outside the database's folder is looked at only where the mapping leads: the folder
///        may be a copy, whose links still lead to its source's files (H26, H30).
/// Changes nothing. THREADS  one.
/// </remarks>
/// <param name="files">The disk.</param>
/// <param name="folder">The database's; absolute.</param>
/// <param name="outside">What lies outside of it.</param>
/// <param name="history">Its path.</param>
/// <param name="end">The end of its WAL, or the cut.</param>
/// <param name="moved">Folders outside, from → to; null: what leads outside is this database's.</param>
internal sealed class DatafileSearch(
    IFileSystem files, string folder, OutsideFiles outside, TimelineHistory history, Lsn end,
    IReadOnlyDictionary<string, string>? moved)
{
    private const string Ending = ".pitr";
    private readonly List<string> _findings = [];
    private Dictionary<FileId, List<string>>? _byHeader;

    /// <summary>What was not looked at, and why.</summary>
    public IReadOnlyList<string> Findings => _findings;

    /// <summary>Every file there is that may be this one, its known places first.</summary>
    /// <param name="file">What is known of it.</param>
    /// <param name="stored">Where it may lie; paths as a catalogue has them.</param>
    /// <exception cref="RefusedException">ForeignSystem (DS1).</exception>
    /// <exception cref="StorageFailedException">The disk can't be read.</exception>
    public IReadOnlyList<FoundDatafile> Of(CatalogueFile file, IEnumerable<string> stored)
    {
        var found = new List<FoundDatafile>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string path in stored.Select(path => Catalogue.FullPath(folder, path)))
        {
            if (PlaceOf(file, path) is { } place && seen.Add(LinkedName.Resolve(files, place))
                && files.Stat(place) is { IsFolder: false, Inode: not 0 })
                found.Add(Look(file, place, isPlaceOfIt: true));
        }

        _byHeader ??= ByHeader();
        foreach (string path in _byHeader.GetValueOrDefault(file.Id) ?? [])
        {
            if (seen.Add(path))
                found.Add(Look(file, path, isPlaceOfIt: false));
        }

        return found;
    }

    /// <summary>DS2: where a name leads, if it may be followed; null if not.</summary>
    private string? PlaceOf(CatalogueFile file, string path)
    {
        string bytes = LinkedName.Resolve(files, path);
        if (moved is null || outside.IsInside(bytes))
            return path;
        if (RestorePaths.Mapped(bytes, moved) is { } mapped)
            return mapped == bytes ? path : mapped;
        if (files.Stat(bytes) is not null)
            _findings.Add(
                $"Datafile '{file.Name}' lies at '{bytes}', outside of the database's folder, and is not used: this may be "
                + $"a copy of that folder. If it is this database's, say so: --moved {DurableReplace.FolderOf(bytes)}="
                + $"{DurableReplace.FolderOf(bytes)}");
        return null;
    }

    private FoundDatafile Look(CatalogueFile file, string path, bool isPlaceOfIt)
    {
        MetaPage? meta = MetaOf(path);
        if (isPlaceOfIt && meta is not null && meta.SystemId != history.System)
            throw RecoveryErrors.ForeignSystem($"Datafile '{path}'", history.System, meta.SystemId);
        return new FoundDatafile(path, meta, ControlFileCase.Decide(
            FileFacts.OfListed(file, history.System, meta, isThere: true, history, end)));
    }

    private MetaPage? MetaOf(string path)
    {
        try
        {
            return Datafile.Inspect(files, path);
        }
        catch (PitrException error) when (error is DamageException or RefusedException)
        {
            return null;
        }
    }

    /// <summary>Names in the database's folder whose header says that they are datafiles of this database.</summary>
    private Dictionary<FileId, List<string>> ByHeader()
    {
        var found = new Dictionary<FileId, List<string>>();
        foreach (string name in files.List(folder).Where(name => name.EndsWith(Ending, StringComparison.Ordinal)))
        {
            string path = Path.Combine(folder, name);
            if (files.Stat(path) is not { IsFolder: false, IsSymlink: false } || MetaOf(path) is not { } meta
                || meta.SystemId != history.System || meta.Kind != DatafileKind.Datafile)
                continue;
            if (!found.TryGetValue(meta.FileId, out List<string>? paths))
                found.Add(meta.FileId, paths = []);
            paths.Add(path);
        }

        return found;
    }
}
