using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// Stories of one archive with several branches, and of backup sets that are not whole: which of them a recovery follows,
/// and which it refuses (H14, H28, H29, H33, H35).
/// </summary>
internal static class StepBranchStories
{
    /// <summary>Production goes on, a drill is promoted from the past, and both ship into one archive.</summary>
    public static void Branches(StepLife life, StepScene scene)
    {
        StepEngine source = scene.Engine;
        Commit(life, scene, 2);
        ShipAll(scene);
        life.RunToEnd(new StepBackup(scene)); // below the fork
        Commit(life, scene, 3);
        Lsn fork = source.DurableLsn;
        Commit(life, scene, 1);
        ShipAll(scene);
        StepDatabase drill = Restore(scene, RecoveryTarget.Including(fork), timeline: null);

        // Nothing was committed on the drill's branch: production's is meant (H28).
        PlannedRecovery latest = Plan(scene, RecoveryTarget.Latest, timeline: null);
        Require(
            latest.Plan.StopsAt.Lsn == source.DurableLsn,
            $"Only one branch has transactions beyond the fork, and the plan ends at {latest.Plan.StopsAt.Lsn} (H28).");

        Commit(life, scene, 3);
        ShipAll(scene);
        life.RunToEnd(new StepBackup(scene)); // above the fork, on production's branch
        Commit(life, scene, 2);
        ShipAll(scene);
        Lsn production = source.DurableLsn;
        TimelineHistory path = source.History;
        GoOn(scene, drill, (lifeThere, there) =>
        {
            Commit(lifeThere, there, 2);
            ShipAll(there);
            path = there.Engine.History;
        });
        string number = path.Last.Timeline.ToString();

        ArchivedRange range = ArchiveCatalog.Load(source.Stores[0]).Along(
            path, source.History.Last.StartLsn, Lsn.MaxValue, source.Wal.Geometry.PayloadBytes);
        Require(
            range.Sources.All(one => one.Timeline == path.Last.Timeline || one.To <= fork),
            $"On the drill's path production's WAL counts beyond the fork at {fork} (H33).");
        scene.Hazards.Note(28);
        MustBeRefused(scene, RecoveryTarget.Latest, "Two branches have transactions beyond the fork, and one is followed (H28).");
        MustBeRefused(
            scene, RecoveryTarget.Including(Lsn.Max(production, drill.Model.Acknowledged)),
            "The target lies on one branch alone, and it is followed (H28).");
        Require(
            Plan(scene, RecoveryTarget.Before(fork), timeline: null).Plan.StopsAt.Lsn <= fork,
            "The target lies on what all branches share, and another one is found (H28).");

        latest = Plan(scene, RecoveryTarget.Latest, number);
        Require(
            latest.Plan.StopsAt.Lsn == drill.Model.Acknowledged,
            $"The drill's branch ends at {drill.Model.Acknowledged}, and the plan for it at {latest.Plan.StopsAt.Lsn} (H14, H33).");
        StepDatabase again = Restore(scene, RecoveryTarget.Latest, number, drill.Model);
        scene.Hazards.Note(33);
        Require(again.Model.Records.Count > 0, "Nothing was restored.");
    }

    /// <summary>Sets that lack a file, or whose intent is gone, or that end before they began: none of them counts.</summary>
    public static void Sets(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        Commit(life, scene, 2);
        ShipAll(scene);
        BackupWriter given = Begin(scene, out _);
        foreach (StepFile file in engine.Files.ToArray())
            Copy(life, scene, given, file.Id);
        Complete(scene, given, engine.DurableLsn);
        given.Abandon(); // its manifest goes first, durably (H35, H36)

        BackupWriter lacking = Begin(scene, out string lackingId);
        Require(
            engine.Stores[0].Stat(BackupSet.PrefixOf(lackingId) + BackupSet.IntentName) is not null,
            "A backup began, and no store has its intent (H35).");
        Copy(life, scene, lacking, FileId.Main);
        Complete(scene, lacking, engine.DurableLsn);
        scene.Hazards.Note(29);
        MustBeRefused(scene, RecoveryTarget.Latest, "A set that lacks a living datafile was used (H29).");

        BackupWriter orphan = Begin(scene, out string orphanId);
        foreach (StepFile file in engine.Files.ToArray())
            Copy(life, scene, orphan, file.Id);
        engine.Stores[0].Delete(BackupSet.PrefixOf(orphanId) + BackupSet.IntentName);
        scene.Hazards.Note(35);
        MustFail(() => Complete(scene, orphan, engine.DurableLsn), "A backup whose intent is gone was completed (H35).");

        BackupWriter early = Begin(scene, out _);
        Commit(life, scene, 2);
        life.RunToEnd(new StepCheckpoint(scene));
        foreach (StepFile file in engine.Files.ToArray())
            Copy(life, scene, early, file.Id);
        Lsn least = engine.Files.Min(static file => file.File.CheckpointLsn);
        MustFail(() => Complete(scene, early, least + -8), "A set ends before a file that it has (H29).");
    }

    /// <summary>
    /// A database with the parent's WAL beside its own, as a recovery in place leaves it (H31): it is kept until a store has
    /// it, not pushed while its owner lives, and pushed up to the fork afterwards.
    /// </summary>
    public static void Parents(StepLife life, StepScene scene)
    {
        StepEngine source = scene.Engine;
        IArchiveStore store = source.Stores[0];
        TimelineId parent = source.History.Last.Timeline;
        Commit(life, scene, 1);
        ShipAll(scene);
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 3);
        Lsn fork = source.DurableLsn;
        ShipAll(scene);
        StepDatabase drill = Restore(scene, RecoveryTarget.Including(fork), timeline: null);
        Commit(life, scene, 1);
        scene.Disk.BeforeOperation = null; // what is done to folders from here on no crash leaves
        var last = new SegmentName(parent, source.Wal.Geometry.NumberOf(fork + -8));
        foreach (string name in scene.Disk.List($"{scene.Engine.Folder}/wal"))
        {
            using IFileHandle copy = scene.Disk.Open($"{drill.Folder}/wal/{name}", FileOpen.CreateNew);
            copy.Write(0, scene.Disk.ReadAll($"{scene.Engine.Folder}/wal/{name}"));
            copy.SyncData(); // a power loss at the story's end leaves no name without content
        }

        scene.Disk.SyncFolder($"{drill.Folder}/wal");
        foreach (string name in store.List(ObjectName.PartPrefix(parent, last.Number)))
            store.Delete(name);
        string[] before = [.. store.List(ObjectName.WalPrefix).Where(IsParents)];
        for (int turn = 0; turn < 2; turn++)
        {
            using StepEngine engine = StepEngine.Open(
                drill.Folder, scene.Settings.OptionsFor(scene.Disk, scene.Seed + 41 + turn), scene.Memory);
            drill.Model.CutAt(StepCheck.Run(engine, drill.Model));
            for (int i = 0; i < 30; i++)
            {
                engine.Shippers[0].Retry.TryNow();
                engine.Ship(engine.Shippers[0], drill.Model);
            }

            scene.Hazards.Note(31);
            bool mayGo = engine.Shippers[0].MayRecycle(last);
            string[] now = [.. store.List(ObjectName.WalPrefix).Where(IsParents)];
            if (turn == 0)
            {
                Require(!mayGo, $"Segment {last} of the parent may go, and no store has it (H31).");
                Require(before.SequenceEqual(now), "WAL of a parent was pushed that another database owns (H31).");
                source.Shippers[0].Release();
                RequireDamageIsTold(scene, drill, last, fork);
                continue;
            }

            Lsn end = ArchiveCatalog.Load(store).HighestEnd(parent, source.Wal.Geometry.PayloadBytes);
            Require(mayGo, $"Segment {last} of the parent stays, though its owner has gone.");
            Require(end == fork, $"The parent's WAL was pushed to {end}, and the fork is at {fork} (H31).");
        }

        bool IsParents(string name) =>
            (ObjectName.TryParseSegment(name, out TimelineId timeline, out _)
                || ObjectName.TryParsePart(name, out timeline, out _, out _, out _)) && timeline == parent;
    }

    /// <summary>A bad sector in the parent's WAL, below the fork: nothing of that segment is pushed (H31).</summary>
    private static void RequireDamageIsTold(StepScene scene, StepDatabase drill, SegmentName last, Lsn fork)
    {
        SimulatedDisk disk = scene.Disk.KillCopy();
        WalGeometry geometry = scene.Engine.Wal.Geometry;
        Lsn bad = drill.Model.Records.Last(record => record.End < fork).End;
        disk.Damage($"{drill.Folder}/wal/{last with { Number = geometry.NumberOf(bad) }}", geometry.OffsetOf(bad) + 8);
        StepModel model = drill.Model.Copy();
        using StepEngine engine = StepEngine.Open(
            drill.Folder, scene.Settings.OptionsFor(disk, scene.Seed + 43), scene.Memory);
        model.CutAt(StepCheck.Run(engine, model));
        for (int i = 0; i < 30; i++)
        {
            engine.Shippers[0].Retry.TryNow();
            engine.Ship(engine.Shippers[0], model);
        }

        Lsn end = ArchiveCatalog.Load(engine.Stores[0]).HighestEnd(last.Timeline, geometry.PayloadBytes);
        Require(end < fork, $"WAL of a parent is damaged at {bad}, and the archive has it up to {end} (H31).");
    }

    /// <summary>
    /// Two restores at once take two numbers (H32); one whose WAL has gone, or which has a file from beyond its target, does
    /// not end somewhere else (H34); and WAL of another lineage is none of the path (H33).
    /// </summary>
    public static void Promotions(StepLife life, StepScene scene)
    {
        StepEngine source = scene.Engine;
        IArchiveStore store = source.Stores[0];
        Commit(life, scene, 1);
        ShipAll(scene);
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 2);
        ShipAll(scene);
        Commit(life, scene, 1);
        ShipAll(scene);
        StepDatabase one = Write(scene, RecoveryTarget.Latest), other = Write(scene, RecoveryTarget.Latest);
        var control = new ControlFileStore(scene.Disk, one.Folder);
        bool isMet = false;
        scene.Disk.DuringNext(
            () =>
            {
                if (isMet || control.ReadAny().PromotionIntent is null)
                    return;
                isMet = true;
                Open(scene, other);
            },
            () => Open(scene, one));
        Require(isMet, "No intent was met.");
        StepCheck.Claims(scene.Disk, scene.Databases, source.Stores);
        scene.Hazards.Note(32);

        scene.Disk.BeforeOperation = null; // what is done to the store from here on no crash leaves
        StepDatabase lost = Write(scene, RecoveryTarget.Latest), later = Write(scene, RecoveryTarget.Latest);
        string newest = ArchiveCatalog.Load(store)
            .Parts(source.History.Last.Timeline, source.Wal.Geometry.NumberOf(source.DurableLsn + -8)).MaxBy(static part => part.To)!.Name;
        byte[] bytes = store.Get(newest).ToArray();
        store.Delete(newest);
        MustFail(() => Open(scene, lost), "WAL below the target has gone, and the restore ended before it (H34).");
        store.TryPutIfAbsent(newest, bytes);
        MetaPage meta = Datafile.Inspect(scene.Disk, $"{later.Folder}/main.pitr");
        var page = new byte[PageLayout.PageBytes];
        MetaPage forged = meta with { CheckpointLsn = source.DurableLsn + 8, Generation = meta.Generation + 2 };
        forged.Write(page);
        using (IFileHandle file = scene.Disk.Open($"{later.Folder}/main.pitr", FileOpen.ReadWrite))
            file.Write(forged.Slot * (long)PageLayout.PageBytes, page);
        MustFail(() => Open(scene, later), "A datafile lies above the target, and takes part (H34).");

        ArchivedSegment part = ArchivedSegment.Decode(store.Name, newest, bytes);
        store.Delete(newest);
        store.TryPutIfAbsent(newest, ArchivedSegment.Part(
            part.Identity with { Lineage = new Lineage(scene.Draw()) }, part.From, part.Stream, part.Times).Encode());
        MustFail(() => Plan(scene, RecoveryTarget.Latest, "1"), "A part of another lineage was read as one of the path (H33).");
        store.Delete(newest);
        store.TryPutIfAbsent(newest, bytes);
        foreach (StepDatabase gone in (StepDatabase[])[lost, later])
        {
            scene.Databases.Remove(gone);
            scene.Disk.Vanish(gone.Folder);
        }
    }

    private static BackupWriter Begin(StepScene scene, out string id)
    {
        StepEngine engine = scene.Engine;
        BackupWriter writer = Writer(scene, scene.Disk, engine.Stores[0], engine.Stores);
        id = writer.BackupId;
        writer.Begin();
        return writer;
    }

    /// <summary>Of a set of the database as it is now, which has not begun.</summary>
    internal static BackupWriter Writer(
        StepScene scene, SimulatedDisk disk, IArchiveStore store, IReadOnlyList<IArchiveStore> archives,
        BackupSet? built = null, UnfinishedSet? continues = null)
    {
        StepEngine engine = scene.Engine;
        var start = new BackupStart(
            continues?.BackupId ?? $"set{scene.Draw():x16}", engine.Control, Lsn.Max(engine.Control.RedoLsn, engine.Control.Catalogue.Lsn),
            engine.Context.Clock.GetUtcNow())
        {
            Base = built,
            Continues = continues,
        };
        return new BackupWriter(
            disk, store, archives, start, new ReachablePages(engine.Context.Environment, CancellationToken.None));
    }

    /// <summary>What <see cref="WalEvent.BackupEnd"/> says of a set that ends with the last record.</summary>
    internal static BackupStop StopAt(StepScene scene, Lsn stop) => new(
        stop, new DateTimeOffset(scene.Model.Records[^1].CommitTicks, TimeSpan.Zero), scene.Engine.LastTransaction,
        scene.Engine.Control.Catalogue.Files.Select(static file => file.Id).ToHashSet());

    private static void Copy(StepLife life, StepScene scene, BackupWriter writer, FileId file) =>
        life.RunToEnd(new StepCopyFile(scene, scene.Engine.Control.Catalogue.File(file)!, writer));

    private static void Complete(StepScene scene, BackupWriter writer, Lsn stop)
    {
        StepEngine engine = scene.Engine;
        IWalSource[] places = [new FolderWalSource(engine.Wal, engine.Wal.Folder)];
        writer.IncludeWal(
            engine.History, new WalSources(places, engine.Wal.Geometry), engine.DurableLsn, CancellationToken.None);
        writer.Complete(StopAt(scene, stop));
    }

    private static PlannedRecovery Plan(
        StepScene scene, RecoveryTarget target, string? timeline, string? set = null) =>
        RecoveryPlanner.Plan(new PlanRequest
        {
            Target = target,
            SetStore = scene.Engine.Stores[0],
            Archives = [scene.Engine.Stores[0]],
            BackupId = set,
            Timeline = timeline,
            Random = scene.Engine.Context.Draw,
        });

    internal static StepDatabase Restore(
        StepScene scene, RecoveryTarget target, string? timeline, StepModel? from = null, string? set = null)
    {
        StepDatabase restored = Write(scene, target, timeline, from, set);
        Open(scene, restored);
        return restored;
    }

    /// <summary>Opens a database of the family, and does something with it.</summary>
    internal static void GoOn(StepScene scene, StepDatabase database, Action<StepLife, StepScene> how)
    {
        using StepEngine engine = StepEngine.Open(
            database.Folder, scene.Settings.OptionsFor(scene.Disk, scene.Seed + 31), scene.Memory);
        database.Model.CutAt(StepCheck.Run(engine, database.Model));
        var there = new StepScene(
            scene.Disk, engine, database, scene.Databases, scene.Settings, scene.Memory, scene.Hazards, scene.Seed + 32);
        var life = new StepLife(there);
        how(life, there);
        life.LetGo();
    }

    internal static void Open(StepScene scene, StepDatabase restored)
    {
        using (StepEngine engine = StepEngine.Open(
            restored.Folder, scene.Settings.OptionsFor(scene.Disk, scene.Seed + scene.Next(1_000_000)), scene.Memory))
            restored.Model.CutAt(StepCheck.Run(engine, restored.Model));
        restored.IsUnfinished = false;
    }

    private static StepDatabase Write(
        StepScene scene, RecoveryTarget target, string? timeline = null, StepModel? from = null, string? set = null)
    {
        PlannedRecovery planned = Plan(scene, target, timeline, set);
        Lsn cut = planned.Plan.StopsAt.Lsn;
        string folder = $"/r{scene.Draw():x8}";
        var restored = new StepDatabase(
            folder, (from ?? scene.Model).Fork(cut, scene.Engine.Wal.Geometry.BoundaryAtOrAbove(cut)))
        {
            IsUnfinished = true,
        };
        scene.Databases.Add(restored);
        var settings = new DatabaseSettings { Stores = [StepSettings.Store] };
        new RestoreWriter(scene.Disk, folder, StepSettings.Process).Restore(
            planned, isPaused: false, CancellationToken.None,
            (DatabaseSettings.FileName, () => settings.Write(scene.Disk, folder)));
        return restored;
    }

    internal static void Commit(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
            life.RunToEnd(new StepCommit(scene));
    }

    internal static void ShipAll(StepScene scene)
    {
        StoreShipper shipper = scene.Engine.Shippers[0];
        ShipStep step;
        do
        {
            shipper.Retry.TryNow();
            step = scene.Engine.Ship(shipper, scene.Model);
        }
        while (step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail);
        Require(step == ShipStep.Nothing, $"Shipping ends with {step}: {shipper.Retry.LastError?.Message}");
    }

    internal static void MustBeRefused(StepScene scene, RecoveryTarget target, string otherwise) =>
        MustFail(() => Plan(scene, target, timeline: null), otherwise);

    internal static void Require(bool isSo, string otherwise)
    {
        if (!isSo)
            throw new SimulationFailure(otherwise);
    }

    internal static void MustFail(Action wrong, string otherwise)
    {
        try
        {
            wrong();
        }
        catch (PitrException)
        {
            return;
        }

        throw new SimulationFailure(otherwise);
    }
}
