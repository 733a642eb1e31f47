using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>Finds the WAL of an unfinished restore again, from the plan that the control file keeps.</summary>
internal static class RestoreSources
{
    /// <summary>The WAL in a database's own folder, as it is now.</summary>
    public static WalSurvey Survey(IFileSystem files, string folder) =>
        WalSurvey.Of(files, Path.Combine(folder, EngineCreation.WalFolderName));

    /// <summary>The places that the plan names: archive stores, the backup set's own WAL, and that of a database which is
    /// recovered where it lies.</summary>
    public static RestoreInProgress Of(EngineContext engine, ControlFile control)
    {
        UnfinishedRecovery recovery = control.Recovery!;
        RecoveryPlan plan = RecoveryPlan.Of(recovery);
        var geometry = new WalGeometry((int)control.WalSegmentBytes);
        var places = new List<IWalSource>();
        var stores = new List<IArchiveStore>();
        foreach (string name in plan.Places)
        {
            IArchiveStore store = engine.Stores.OpenToRead(StoreAddress.Parse(name, engine.Folder));
            stores.Add(store);
        }

        // It goes on: expire keeps what it needs, before it is looked for.
        RestoreHold hold = RestoreHold.Of(plan, engine.Folder, stores, engine.Clock);
        hold.Register();
        RequireWhatIsLeft(engine, control, plan, stores);
        foreach (IArchiveStore store in stores)
        {
            places.Add(new ArchiveWalSource(store, ArchiveCatalog.Load(store), geometry));
            if (BackupCatalog.Read(store).Sets.FirstOrDefault(found => found.Label.BackupId == plan.BackupId)
                is { Label.IncludesWal: true } set)
            {
                IArchiveStore own = set.AsStore();
                places.Add(new ArchiveWalSource(own, ArchiveCatalog.Load(own), geometry));
            }
        }

        if (plan.IsInPlace)
            places.Add(new SurveyedWalSource(engine.FileSystem, Survey(engine.FileSystem, engine.Folder)));
        return new RestoreInProgress(
            recovery.Id, plan, TimelineHistory.Of(control.SystemId, control.History),
            new WalSources(places, geometry), hold);
    }

    /// <summary>What it has not replayed yet, of stores alone: WAL in its own set or in its folder is nothing that expire takes (H48).</summary>
    private static void RequireWhatIsLeft(
        EngineContext engine, ControlFile control, RecoveryPlan plan, IReadOnlyList<IArchiveStore> stores)
    {
        HashSet<string> names = [.. stores.Select(static store => store.Name)];
        RestoreHold.Require(
            set: null, plan.Wal.Where(part => part.ToLsn > control.RedoLsn && names.Contains(part.Source)), stores,
            engine.Clock.GetUtcNow());
    }
}
