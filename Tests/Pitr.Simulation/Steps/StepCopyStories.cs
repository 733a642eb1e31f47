using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of what a set may go on with, or build on: a copy whose fence ended well, which is still what was noted of it, and the
/// very set that it was made for (H38, H39).
/// </summary>
internal static class StepCopyStories
{
    /// <summary>Each would be found by a restore at the latest: years later.</summary>
    public static void OthersHands(StepLife life, StepScene scene)
    {
        scene.Disk.BeforeOperation = null; // crashes of backups are others' matter
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        CatalogueFile main = engine.Control.Catalogue.File(FileId.Main)!;
        Commit(life, scene, 2);
        life.RunToEnd(new StepCheckpoint(scene));
        scene.Hazards.Note(39);

        // The process dies before it knows how the fence has ended.
        BackupWriter died = Begun(scene, store);
        var fence = new StepFence(scene, engine.File(FileId.Main)!, lasts: 0);
        foreach (Turn _ in fence.Take())
            scene.DeliverAll();
        died.Copy(fence.Answer(), CancellationToken.None);
        Require(
            Left(scene, store)?.Copies.Any(static copy => copy.File.Id == FileId.Main) is not true,
            "A copy counts of which nobody has said that its fence ended well (H39).");
        fence.Leave();
        died.Abandon();

        BackupWriter cutOff = Begun(scene, store);
        life.RunToEnd(new StepCopyFile(scene, main, cutOff));
        UnfinishedSet left = Left(scene, store)!;
        string copied = left.Copies.Single(static copy => copy.File.Id == FileId.Main).Object.Name;
        scene.Disk.Damage(
            $"{StepSettings.Store}/{BackupSet.PrefixOf(cutOff.BackupId)}{copied}", (int)MetaPage.Slots * PageLayout.PageBytes);
        BackupWriter next = Writer(scene, scene.Disk, store, engine.Stores, continues: left);
        next.Begin();
        Require(
            next.CanResume(FileId.Main) && !next.TryResume(FileId.Main, CancellationToken.None),
            "A copy of an earlier attempt counts, and is not what was noted of it (H39).");
        next.Abandon();

        BackupSet older = StepExpireStories.Backup(life, scene, store);
        Commit(life, scene, 2);
        BackupSet built = StepExpireStories.Backup(life, scene, store, older);
        Require(IsWhole(), $"Set {built.Id} does not count.");
        ManifestEntry one = older.Manifest.Objects[0], more = one with { Name = "one-more" };
        store.Put(older.Prefix + more.Name, store.Get(older.Prefix + one.Name));
        store.Put(
            older.Prefix + BackupSet.ManifestName, BackupManifest.Of(older.Id, [.. older.Manifest.Objects, more]).ToBytes());
        Require(!IsWhole(), $"Set {built.Id} builds on {older.Id}, and another one has taken that one's place (H38).");
        store.Put(older.Prefix + BackupSet.ManifestName, older.Manifest.ToBytes());
        store.Delete(older.Prefix + more.Name);
        scene.Hazards.Note(38);

        bool IsWhole() => BackupCatalog.Read(store).Sets.Any(set => set.Id == built.Id);
    }

    private static BackupWriter Begun(StepScene scene, IArchiveStore store)
    {
        BackupWriter writer = Writer(scene, scene.Disk, store, scene.Engine.Stores);
        writer.Begin();
        scene.Engine.Holds[writer.BackupId] = Lsn.Zero;
        return writer;
    }

    private static UnfinishedSet? Left(StepScene scene, IArchiveStore store) => UnfinishedSet.Find(
        store, scene.Engine.Control, older: null, scene.Engine.Context.Clock.GetUtcNow(), static _ => true);
}
