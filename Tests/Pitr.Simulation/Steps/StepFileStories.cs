using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Stories of datafiles whose pages are soon written again: under a reader that stands still, in a cache that has no room,
/// and of a file that was idle before it was fenced (H12, H22).
/// </summary>
internal static class StepFileStories
{
    /// <summary>A reader stands inside an epoch over several flushes (H12).</summary>
    public static void Reader(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        Commit(life, scene, 4);
        Flush(life, scene, 2);
        Table table = scene.Tables[0];
        StepFile file = engine.File(table.DatafileId)!;
        ReadView view = file.File.View;
        Lsn at = engine.VisibleLsn;
        SortedDictionary<byte[], byte[]> rows = scene.Model.At(at)[table.Name];
        using EpochHold hold = engine.Context.Epochs.Hold();
        for (int i = 0; i < 5; i++)
        {
            Commit(life, scene, 2);
            Flush(life, scene, 1);
        }

        scene.Hazards.Note(12);
        var there = new CatalogueTable(table.Id, table.Name, table.DatafileId, Lsn.Zero);
        StepCheck.Compare(engine, view, there, rows, at, isReverse: false);
    }

    /// <summary>Pages are written to places whose old content is still cached, while the cache has no room (H12).</summary>
    public static void Cache(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        scene.Disk.BeforeOperation = null; // its files are large, and crashes of flushes are others' matter
        for (int i = 0; i < 4; i++)
        {
            Commit(life, scene, 2);
            Flush(life, scene, 1);
            CompareAll(engine, scene);
        }

        using (engine.Context.Epochs.Hold())
        {
            for (int i = 0; i < 10; i++)
            {
                Commit(life, scene, 2);
                Flush(life, scene, 1);
            }
        }

        scene.Hazards.Note(12);
        CompareAll(engine, scene);
    }

    /// <summary>
    /// A file is idle while checkpoints pass, is changed and sealed, and is fenced before that is flushed: its meta page
    /// says all that is known of it (H22).
    /// </summary>
    public static void Idle(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        StepFile idle = engine.Files.Last();
        Table its = scene.Tables.First(table => table.DatafileId == idle.Id);
        Table other = scene.Tables.First(table => table.DatafileId != idle.Id);
        Put(engine, scene, its);
        life.RunToEnd(new StepCheckpoint(scene));
        for (int i = 0; i < 3; i++)
        {
            Put(engine, scene, other);
            life.RunToEnd(new StepCheckpoint(scene));
        }

        Put(engine, scene, its);
        idle.TakeAllMail();
        if (idle.Progress.CanSeal)
            idle.Progress.Seal();
        if (idle.File.PrepareFlush(idle.Progress.Lineage) is { } job)
            idle.File.DropFlush(job);
        scene.Hazards.Note(22);
        life.RunToEnd(new StepFence(scene, idle, lasts: 2));
        Put(engine, scene, its);
        life.RunToEnd(new StepCheckpoint(scene));
    }

    private static void Put(StepEngine engine, StepScene scene, Table table)
    {
        var batch = new WriteBatch();
        byte[] key = scene.AnyKey(), value = scene.NewValue();
        batch.Put(table, key, value);
        engine.Commit([(batch, [new ModelStep.Change(table.Id, key, value)])], scene.Model);
        scene.DeliverAll();
    }

    private static void Commit(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
            life.RunToEnd(new StepCommit(scene));
    }

    private static void Flush(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
        {
            foreach (StepFile file in scene.Engine.Files.ToArray())
                life.RunToEnd(new StepFlush(scene, file));
        }
    }

    private static void CompareAll(StepEngine engine, StepScene scene) =>
        StepCheck.Compare(engine, scene.Model.At(engine.VisibleLsn), engine.VisibleLsn);
}
