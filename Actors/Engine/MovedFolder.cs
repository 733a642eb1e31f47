using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// The operator's word that a database was moved, and is no copy: its control file gets the place where the folder is now,
/// so that the datafiles outside of it are its own again (H26).
/// </summary>
/// <remarks>
/// ORDER
/// <code>
///   1  the database's lock, and that of each datafile outside that is there      else its source runs: refused
///   2  each says in its header that it is this datafile                          else refused
///   3  the control file, with the place                                          one rename; before it nothing was changed
/// </code>
/// Moves that were noted in the former place go on in this one.
/// THREADS  one worker.
/// </remarks>
internal static class MovedFolder
{
    /// <summary>The datafiles outside; with the control file written, unless it is only looked at.</summary>
    /// <exception cref="PitrException">NotADatabase; RefusedException DatabaseLocked, ForeignSystem.</exception>
    public static IReadOnlyList<OutsideDatafile> Note(string folder, bool isPlan, PitrOptions options) =>
        InPlaceRecovery.Held(folder, options, isPlan, engine =>
        {
            IFileSystem files = engine.FileSystem;
            var store = new ControlFileStore(files, engine.Folder);
            if (!store.Exists)
                throw EngineErrors.NotADatabase(engine.Folder);
            ControlFile control = store.ReadLive();
            var outside = OutsideFiles.Of(files, engine.Folder, control.Place, options.Process);
            var told = new List<OutsideDatafile>();
            var held = new List<IDisposable>();
            try
            {
                foreach ((CatalogueFile file, string path) in outside.In(control.Catalogue))
                {
                    bool isThere = files.Stat(path) is { IsFolder: false };
                    if (isThere)
                    {
                        held.Add(files.TryLock(path) ?? throw DatafileErrors.Locked(path));
                        RequireOwn(files, control, file, path);
                    }

                    told.Add(new OutsideDatafile(file.Name, path, isThere));
                }

                if (!isPlan)
                    store.Replace(WithPlace(control, outside.Here));
            }
            finally
            {
                held.ForEach(static one => one.Dispose());
            }

            return told;
        });

    /// <summary>One that can't be read is an opening's matter.</summary>
    private static void RequireOwn(IFileSystem files, ControlFile control, CatalogueFile file, string path)
    {
        try
        {
            MetaPage meta = Datafile.Inspect(files, path);
            if (meta.SystemId != control.SystemId || meta.FileId != file.Id)
                throw StorageErrors.ForeignSystem(path, meta.SystemId, control.SystemId);
        }
        catch (DamageException)
        {
            // it needs recovery, and is this database's by its name
        }
    }

    private static ControlFile WithPlace(ControlFile control, FolderPlace here) => control with
    {
        Place = here,
        Moves = [.. control.Moves.Select(move => IsOfFormerPlace(control, move) ? move with { Place = here } : move)],
    };

    private static bool IsOfFormerPlace(ControlFile control, PlannedMove move) =>
        control.Place is not { } former || move.Place.ComparedWith(former) != PlaceComparison.Other;
}
