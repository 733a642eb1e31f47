namespace Pitr.Storage;

/// <summary>
/// Whose the datafiles are that lie outside of a database's folder: its own, as long as the folder is in the place that
/// its control file names. Opened elsewhere it may be a copy, whose links and paths lead to the files of its source: those
/// are not touched until the operator says that the database was moved (H26).
/// </summary>
/// <remarks>
/// INVARIANTS
///   OF1  A file that is barred is not opened, made, written, recovered or removed; of its name, a link in the folder goes.
///   OF2  The control file names this place only when nothing outside is left that it lists, or lists as dropped, or when
///        the operator has said so.
/// Outside is what lies there, links of folders on the way followed, and not what its path looks like.
/// THREADS  any; it asks the disk each time.
/// </remarks>
internal sealed class OutsideFiles
{
    private readonly IFileSystem _files;
    private readonly string _folder;

    private OutsideFiles(IFileSystem files, string folder, FolderPlace? known, FolderPlace here)
    {
        (_files, _folder, Here) = (files, folder, here);
        AreOwn = known is null || known.ComparedWith(here) != PlaceComparison.Other;
    }

    /// <summary>Of a database in this folder.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The database's; absolute.</param>
    /// <param name="known">What its control file says; null: it was written before places were, and is believed.</param>
    /// <param name="process">Who asks.</param>
    public static OutsideFiles Of(IFileSystem files, string folder, FolderPlace? known, ThisProcess process) =>
        new(files, folder, known, FolderPlace.Of(files, folder, process));

    /// <summary>Where the folder is now.</summary>
    public FolderPlace Here { get; }

    /// <summary>True if what lies outside is this database's.</summary>
    public bool AreOwn { get; }

    /// <summary>The same with what the control file says since.</summary>
    public OutsideFiles As(FolderPlace? known) => new(_files, _folder, known, Here);

    /// <summary>True for a path that leads out of the folder, to what may be another database's.</summary>
    public bool Bars(string path) => !AreOwn && !IsInside(path);

    /// <summary>True if what the path leads to lies in the folder, or would.</summary>
    public bool IsInside(string path) => SameFolder.Holds(_files, _folder, LinkedName.ResolveAll(_files, path));

    /// <summary>True if the name itself lies in the folder, whatever it leads to.</summary>
    public bool HasNameInside(string path) => SameFolder.HoldsName(_files, _folder, path);

    /// <summary>The datafiles of a catalogue that lie outside, by name and place.</summary>
    public IEnumerable<(CatalogueFile File, string Path)> In(Catalogue catalogue) => catalogue.Files
        .Select(file => (File: file, Path: LinkedName.Resolve(_files, Catalogue.FullPath(_folder, file.Path))))
        .Where(file => !IsInside(file.Path));

    /// <summary>OF2: with this place, unless that would make what lies outside its own.</summary>
    public ControlFile Settled(ControlFile control) => AreOwn || !HasAny(control.Catalogue)
        ? control with { Place = Here }
        : control;

    /// <summary>
    /// Removes a datafile that nothing lists any more, with the link under its name; one that is barred stays (OF1).
    /// Durable when it returns.
    /// </summary>
    public void Remove(string path)
    {
        if (!Bars(path))
        {
            LinkedName.Delete(_files, path);
            return;
        }

        if (_files.Stat(path) is { IsSymlink: true } && HasNameInside(path))
        {
            _files.Delete(path);
            _files.SyncFolder(DurableReplace.FolderOf(path));
        }
    }

    /// <summary>Why a datafile that is barred is left alone.</summary>
    public RefusedException Refusal(CatalogueFile file) => StorageErrors.DatafileElsewhere(
        file.Name, LinkedName.Resolve(_files, Catalogue.FullPath(_folder, file.Path)), _folder);

    private bool HasAny(Catalogue catalogue) => catalogue.Files.Select(file => file.Path)
        .Concat(catalogue.DroppedFiles.Select(drop => drop.Path).OfType<string>())
        .Any(path => !IsInside(Catalogue.FullPath(_folder, path)));
}
