using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Makes a new database in a folder that is absent or empty. The control file comes last: without it there is no
/// database, and what a crash left is no harm.
/// </summary>
internal static class EngineCreation
{
    public const string WalFolderName = "wal";

    /// <exception cref="PitrException">
    /// RefusedException FolderNotEmpty, PlatformUnsupported; of a store: ForeignSystem, StoreWithoutClaims,
    /// StoreFailed.
    /// </exception>
    public static void Create(string folder, PitrOptions options)
    {
        if (options.FileSystem is null)
            PlatformCheck.RequireSystem();
        EngineContext engine = EngineFactory.ContextFor(folder, options);
        try
        {
            Create(folder, options, engine);
        }
        finally
        {
            engine.ReleaseMemory();
        }
    }

    private static void Create(string folder, PitrOptions options, EngineContext engine)
    {
        IFileSystem files = engine.FileSystem;
        RequireEmpty(files, folder);
        var system = new SystemIdentifier(engine.Draw());
        SetUpStores(engine, system);
        CreateFolders(files, folder);
        if (options.FileSystem is null)
            PlatformCheck.RequireLocal(folder);
        var lineage = new Lineage(engine.Draw());
        var geometry = new WalGeometry(options.WalSegmentBytes);
        string walPath = Path.Combine(folder, WalFolderName);
        files.CreateFolder(walPath);
        files.SyncFolder(folder);

        using (var wal = new WalFolder(
            files, walPath, options.WalSegmentBytes, new WalIdentity(system, TimelineId.First, lineage)))
        {
            wal.ContinueAt(geometry.NumberOf(geometry.FirstLsn));
            wal.EnsureReady();
        }

        new DatabaseSettings { Stores = options.ArchiveStores }.Write(files, folder);
        var incarnation = new Incarnation(engine.Draw());
        string path = Path.Combine(folder, "main.pitr");
        Lsn start = geometry.FirstLsn;
        CatalogueFile main;
        using (Datafile file = Datafile.Create(
            engine.Environment, path, "main", system, FileId.Main, incarnation, lineage, start))
        {
            main = new CatalogueFile(
                FileId.Main, "main", "main.pitr", incarnation, file.Generation, file.CheckpointLsn, file.CheckpointLsn);
        }

        ControlFile control =
            ControlFile.ForNew(system, lineage, options.WalSegmentBytes, start, engine.Clock.GetUtcNow());
        new ControlFileStore(files, folder).Replace(control with
        {
            Catalogue = Catalogue.Empty.CreateFile(main, start),
            State = EngineState.CleanShutdown,
            Place = FolderPlace.Of(files, folder, options.Process),
        });
    }

    /// <summary>
    /// Makes each store this database's archive, before anything else: one that can't be is told while the folder is
    /// untouched.
    /// </summary>
    private static void SetUpStores(EngineContext engine, SystemIdentifier system)
    {
        foreach (IArchiveStore store in EngineFactory.StoresOf(engine))
        {
            store.CreateRoot();
            ArchiveIdentity.SetUp(store, system, engine.Draw, engine.Clock.GetUtcNow());
        }
    }

    private static void RequireEmpty(IFileSystem files, string folder)
    {
        FileEntry? entry = files.Stat(folder);
        if (entry is { IsFolder: false } || (entry is not null && files.List(folder).Count > 0))
            throw EngineErrors.FolderNotEmpty(folder);
    }

    private static void CreateFolders(IFileSystem files, string folder)
    {
        if (files.Stat(folder) is not null)
            return;
        string parent = Path.GetDirectoryName(folder)!;
        CreateFolders(files, parent);
        files.CreateFolder(folder);
        files.SyncFolder(parent);
    }
}
