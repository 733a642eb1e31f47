using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// Stories of datafiles whose pages are soon written again: under a reader that stands still, in a cache that has no room,
/// and of a file that was idle before it was fenced (H12, H22).
/// </summary>
internal static class StepFileStories
{
    private const int RowsBeyondTheCache = 40; // each over several pages

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

    /// <summary>
    /// A datafile is made anew under a reader who stands inside an epoch, and one who holds a view; there is no room to cache
    /// what they read. Both read on in the former file, whose pages have other numbers (H12, H42).
    /// </summary>
    public static void FormerFile(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        scene.Disk.BeforeOperation = null; // the files are large, and crashes of compacting are others' matter
        StepFile main = engine.File(FileId.Main)!;
        Table table = scene.Tables.First(static one => one.DatafileId == FileId.Main);
        var there = new CatalogueTable(table.Id, table.Name, table.DatafileId, Lsn.Zero);
        for (byte key = 0; key < RowsBeyondTheCache; key++)
        {
            var batch = new WriteBatch();
            byte[] value = scene.NewValue(scene.Settings.ValueBytes);
            batch.Put(table, [key], value);
            engine.Commit([(batch, [new ModelStep.Change(table.Id, [key], value)])], scene.Model);
            scene.DeliverAll();
            if (key % 8 == 7)
                Flush(life, scene, 1);
        }

        for (int i = 0; i < 4; i++)
        {
            Commit(life, scene, 3);
            Flush(life, scene, 1);
            ReadView view = main.File.View;
            Lsn at = engine.VisibleLsn;
            SortedDictionary<byte[], byte[]> rows = scene.Model.At(at)[table.Name];
            bool isPinned = i % 2 == 1 && view.TryPin();
            using EpochHold? hold = isPinned ? null : engine.Context.Epochs.Hold();
            life.RunToEnd(new StepCompact(scene, main));
            Commit(life, scene, 2);
            Flush(life, scene, 1);
            scene.Hazards.Note(42);
            StepCheck.Compare(engine, view, there, rows, at, isReverse: i > 1);
            if (isPinned)
                view.Unpin();
        }

        CompareAll(engine, scene);
    }

    /// <summary>
    /// The disk has written another row than it was given, in a page that passes by itself: a file that was made anew is not
    /// taken then (H42). Nor is one made out of a file that somebody has put into the place of what the fence named (H20).
    /// </summary>
    public static void OtherRow(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        scene.Disk.BeforeOperation = null; // crashes of compacting are others' matter
        StepFile main = engine.File(FileId.Main)!;
        Table table = scene.Tables.First(static one => one.DatafileId == FileId.Main);
        byte[] older = scene.Disk.ReadAll(main.File.Path);
        var batch = new WriteBatch();
        byte[] value = scene.NewValue(100);
        batch.Put(table, "row"u8, value);
        engine.Commit([(batch, [new ModelStep.Change(table.Id, "row"u8.ToArray(), value)])], scene.Model);
        life.RunToEnd(new StepCheckpoint(scene));
        var fence = new StepFence(scene, main, lasts: 0);
        foreach (Turn _ in fence.Take())
            scene.DeliverAll();
        CompactPlan plan = CompactPlan.Make(
            scene.Disk, engine.Folder, engine.Control.Catalogue.File(main.Id)!, main.File.LiveBytes, new Incarnation(scene.Draw()));
        string aside = $"{main.File.Path}.moved";
        scene.Disk.Rename(main.File.Path, aside);
        using (IFileHandle other = scene.Disk.Open(main.File.Path, FileOpen.CreateNew))
            other.Write(0, older);
        StepBranchStories.MustFail(
            () => Copy().Dispose(), "A datafile is made anew out of another file than the one that the fence named (H20).");
        scene.Disk.Rename(aside, main.File.Path);
        using CompactCopy copy = Copy();
        copy.Create();
        copy.Fill(static _ => { }, static _ => { }, CancellationToken.None);
        int at = scene.Disk.ReadAll(plan.Copy).AsSpan().IndexOf(value);
        StepMove.SpoilPage(scene, plan.Copy, at - (at % PageLayout.PageBytes), at % PageLayout.PageBytes);
        scene.Hazards.Note(42);
        StepBranchStories.MustFail(
            () => copy.Prove(static _ => { }, CancellationToken.None),
            "A row of a compacted file is another one than the datafile's, and it is to take its place (H42).");
        copy.Remove();
        fence.Leave();

        CompactCopy Copy() => CompactCopy.Of(
            engine.Context.Environment, plan, main.File.Incarnation, main.File.Generation, main.File.CheckpointLsn);
    }

    /// <summary>Pages are written to places whose old content is still cached, while the cache has no room (H12).</summary>
    public static void Cache(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        Commit(life, scene, 2);
        Flush(life, scene, 1);
        scene.Disk.BeforeOperation = null; // the files are large, and crashes of more flushes are others' matter
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

    /// <summary>
    /// A process is killed in a flush, and what it had written is lost behind its back: an opening that believes a meta page
    /// of the cache makes it durable, before the flush that comes next writes over older pages (H10).
    /// </summary>
    public static void LostMeta(StepLife life, StepScene scene)
    {
        Commit(life, scene, 3);
        Flush(life, scene, 2);
        Commit(life, scene, 2);
        StepDatabase database = scene.Databases[0];
        List<(SimulatedDisk Disk, StepDatabase Database)> killed = [];
        scene.Disk.DuringNext(() => killed.Add((scene.Disk.KillCopy(), database.Copy())), () => Flush(life, scene, 1));
        scene.Hazards.Note(10);
        var random = SeededRandom.For(scene.Seed, 8);
        foreach ((SimulatedDisk disk, StepDatabase left) in killed)
        {
            for (int i = 0; i < 3; i++)
            {
                SimulatedDisk lost = disk.KillCopy();
                lost.LoseWriteback(ref random);
                GoOn(scene, lost, left.Copy(), ref random);
            }
        }
    }

    /// <summary>Opens, commits, checkpoints, and loses power before each operation of that.</summary>
    private static void GoOn(StepScene scene, SimulatedDisk disk, StepDatabase database, ref SeededRandom random)
    {
        List<(SimulatedDisk Disk, StepDatabase Database)> ends = [];
        long seed = (long)(random.NextBits() >> 8);
        using (StepEngine engine = StepEngine.Open(
            database.Folder, scene.Settings.OptionsFor(disk, scene.Seed + 51), scene.Memory))
        {
            database.Model.CutAt(StepCheck.Run(engine, database.Model));
            var next = new StepScene(
                disk, engine, database, [database], scene.Settings, scene.Memory, scene.Hazards, scene.Seed + 52);
            var life = new StepLife(next);
            disk.DuringNext(
                () => ends.Add((disk.CrashCopy(++seed), database.Copy())),
                () =>
                {
                    Commit(life, next, 2);
                    life.RunToEnd(new StepCheckpoint(next));
                });
            life.LetGo();
        }

        foreach ((SimulatedDisk end, StepDatabase left) in ends)
        {
            scene.Explored++;
            using StepEngine engine = StepEngine.Open(
                left.Folder, scene.Settings.OptionsFor(end, scene.Seed + 53), scene.Memory);
            StepCheck.Run(engine, left.Model);
        }
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
