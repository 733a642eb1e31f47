using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// What a recovery of a database that is not running would do, with the control file that it has; no engine is opened, and
/// nothing is written, neither into the folder nor into a store.
/// </summary>
/// <remarks>
/// <code>
///   the database is          planned
///   in recovery              how that goes on without a target (RecoveryContinuation)
///   not                      each datafile that an opening would find in need of recovery, to the end of the WAL
/// </code>
/// An opening replays before it recovers a datafile. So the log is proven here as an opening would (WalOpening, steps 1 to
/// 3), and the catalogue is brought up by what it logs; a datafile that is born in that part is replay's. That a datafile
/// turns out damaged while it is replayed is not foreseen.
/// THREADS  one worker. The database's lock is held meanwhile.
/// </remarks>
internal static class RecoveryPreview
{
    /// <exception cref="PitrException">As an opening, and as the recovery of a datafile; RefusedException NotInRecovery:
    /// there is nothing to recover; ControlFileWhole: other places were named for a recovery that is under way.</exception>
    public static IReadOnlyList<RecoveryPlan> Plan(
        string folder, string? from, string? archive, PitrOptions options, CancellationToken cancellation) =>
        InPlaceRecovery.Held(folder, options, isPlan: true, engine =>
        {
            var store = new ControlFileStore(engine.FileSystem, engine.Folder);
            if (!store.Exists)
                throw EngineErrors.NotADatabase(engine.Folder);
            ControlFile control = store.ReadLive();
            engine.Outside = OutsideFiles.Of(engine.FileSystem, engine.Folder, control.Place, engine.Options.Process);
            if (control.Recovery is null)
                return PlanLost(engine, control, from, archive, cancellation);
            return from is null && archive is null
                ? [RecoveryContinuation.Look(engine.FileSystem, engine.Folder, control, options, cancellation)]
                : throw RecoveryErrors.ControlFileInRecovery(store.FilePath);
        });

    private static RecoveryPlan[] PlanLost(
        EngineContext engine, ControlFile control, string? from, string? archive, CancellationToken cancellation)
    {
        TimelineHistory history = TimelineHistory.Of(control.SystemId, control.History);
        using var folder = new WalFolder(
            engine.FileSystem, Path.Combine(engine.Folder, EngineCreation.WalFolderName), (int)control.WalSegmentBytes,
            new WalIdentity(control.SystemId, control.Timeline, control.Lineage));
        Dictionary<FileId, MetaPage?> found = control.Catalogue.Files.ToDictionary(
            static file => file.Id, file => MetaIfItOpens(engine, control, history, file));
        (Lsn end, IReadOnlyList<WalReplayPart> replay) = WalOpening.Look(EngineOpening.RequestFor(control, history, folder) with
        {
            MustReach = [.. control.Catalogue.Files.Where(file => found[file.Id] is not null)
                .Select(file => new KnownPosition(found[file.Id]!.CheckpointLsn, $"datafile '{file.Name}'"))],
        });
        IReadOnlyList<IArchiveStore> stores = EngineFactory.StoresOf(engine);
        EngineOpening.RequireNoStoreAhead(stores, history, folder.Geometry, end);

        var moves = new MoveSettlement(engine.FileSystem, engine.Folder, engine.Outside.Here, control.SystemId);
        ControlFile opened = moves.Decide(control, id => found.GetValueOrDefault(id));
        opened = opened with
        {
            Catalogue = LoggedCatalogue.At(opened.Catalogue, EventsOf(folder, replay, cancellation), end),
        };
        CatalogueFile[] lost = [.. control.Catalogue.Files.Where(
            file => found[file.Id] is null && opened.Catalogue.File(file.Id) is not null)];
        if (lost.Length == 0)
            throw EngineErrors.NotInRecovery(engine.Folder);
        return [.. lost.Select(file => FileRecoveryPlanner.Plan(
            FileRecoverySources.Of(
                engine, stores, folder, opened, file.Id, end,
                new DatafileRecoveryRequest { Datafile = file.Name, Store = from, Archive = archive }) with
            {
                Local = () => new FolderWalSource(folder, folder.Folder, end),
            },
            cancellation).Plan)];
    }

    /// <summary>As an opening decides it; null: it would need recovery.</summary>
    private static MetaPage? MetaIfItOpens(
        EngineContext engine, ControlFile control, TimelineHistory history, CatalogueFile file)
    {
        IFileSystem files = engine.FileSystem;
        string name = Catalogue.FullPath(engine.Folder, file.Path);
        string path = LinkedName.Resolve(files, name);
        if (file.NeedsRecovery is not null || engine.Outside.Bars(name))
            return null;
        try
        {
            MetaPage meta = Datafile.Inspect(files, path, EngineOpening.ExpectationOf(files, control, file, path));
            return history.PathContains(meta.Lineage, meta.CheckpointLsn) ? meta : null;
        }
        catch (PitrException error) when (error.Code is not ErrorCode.FormatVersion)
        {
            return null;
        }
    }

    private static List<LoggedEvent> EventsOf(
        WalFolder folder, IReadOnlyList<WalReplayPart> replay, CancellationToken cancellation)
    {
        var events = new List<LoggedEvent>();
        foreach (WalReplayPart part in replay)
        {
            using var reader = new WalReader(new FolderWalBytes(folder, part.Identity), part.Range);
            while (reader.MoveNext())
            {
                cancellation.ThrowIfCancellationRequested();
                WalRecord record = reader.Current;
                if (record.Kind is WalRecordKind.CreateDatafile or WalRecordKind.DropDatafile or WalRecordKind.CreateTable
                    or WalRecordKind.DropTable)
                    events.Add(new LoggedEvent(record.Event!, record.Lsn, record.CommitTime));
            }
        }
        return events;
    }
}
