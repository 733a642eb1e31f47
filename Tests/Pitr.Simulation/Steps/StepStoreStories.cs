using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// Stories of an archive store in which others have their hands: two who take a timeline or a number at once, objects that
/// are not what they should be, writes that a disk only says it did (H7, H25, H26, H27, H36, H39).
/// </summary>
internal static class StepStoreStories
{
    /// <summary>Of two who take a timeline or claim a number at once exactly one has it (H26, H27).</summary>
    public static void Races(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        SystemIdentifier system = engine.History.System;
        DateTimeOffset now = engine.Context.Clock.GetUtcNow();
        Commit(life, scene, 1);

        TimelineEntry free = engine.History.Last with { Timeline = new TimelineId(77), Lineage = new Lineage(scene.Draw()) };
        var here = new EngineStart(scene.Draw(), "here", "boot", "/here", 8, 1);
        var there = new EngineStart(scene.Draw(), "there", "boot", "/there", 8, 2);
        var takes = new MeddledStore(
            store, before: () => TimelineOwner.Take(store, system, free.Timeline, free.Lineage, there, now));
        MustFail(
            () => TimelineOwner.Take(takes, system, free.Timeline, free.Lineage, here, now),
            "Two have taken one timeline at once (H26).");

        TimelineHistory one = Fork(engine, scene, 78), other = Fork(engine, scene, 78);
        var claims = new MeddledStore(store, before: () => TimelineClaim.Claim(store, other));
        Require(TimelineClaim.Claim(claims, one) == ClaimOutcome.Taken, "Two have claimed one number at once (H27).");
        (one, other) = (Fork(engine, scene, 79), Fork(engine, scene, 79));
        var lookAlike = new MeddledStore(
            store, isLookAlike: true,
            after: () => store.Put(ObjectName.History(other.Last.Timeline), other.Encode()));
        Require(
            TimelineClaim.Claim(lookAlike, one) == ClaimOutcome.Taken,
            "A claim counts that was not read back, and another one has the number (H27).");
        foreach (uint number in (uint[])[78, 79])
            store.Delete(ObjectName.History(new TimelineId(number)));

        MustFail(
            () => ArchiveIdentity.SetUp(new MeddledStore(store, isLookAlike: true), system, scene.Draw, now),
            "A store that ignores conditions was set up (H27).");
    }

    /// <summary>Another start of the same database has taken the timeline: from then on nothing is pushed (H26).</summary>
    public static void Owner(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        StoreShipper shipper = engine.Shippers[0];
        Commit(life, scene, 2);
        ShipAll(engine, scene);
        OwnerState owner = TimelineOwner.Read(engine.Stores[0], engine.History.Last.Timeline)!;
        Commit(life, scene, 2);
        TimelineOwner.Take(
            engine.Stores[0], owner.System, owner.Timeline, owner.Lineage,
            owner.Start with { StartId = owner.Start.StartId + 1 }, engine.Context.Clock.GetUtcNow());
        string[] before = [.. engine.Stores[0].List(ObjectName.WalPrefix)];
        for (int i = 0; i < 3; i++)
        {
            shipper.Retry.TryNow();
            ShipStep step = shipper.Ship(engine.DurableLsn);
            Require(step == ShipStep.Failed, $"Another start owns the timeline, and this one goes on: {step} (H26).");
        }

        Require(
            before.SequenceEqual(engine.Stores[0].List(ObjectName.WalPrefix)),
            "Another start owns the timeline, and WAL was pushed (H26).");
    }

    /// <summary>What is in the store under a name is found equal, or left alone (H25, H39).</summary>
    public static void InTheWay(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        StoreShipper shipper = engine.Shippers[0];
        Commit(life, scene, 2);
        ShipAll(engine, scene);

        scene.Disk.BeforeOperation = null; // what is done to the store from here on is undone, and no crash comes in between

        // The same content, compressed by another version of a library.
        Commit(life, scene, 1);
        ArchivedSegment tail = Tail(engine, shipper.ShippedLsn);
        store.TryPutIfAbsent(tail.Name, OtherFrame(tail));
        ShipStep step = Ship(engine, scene);
        Require(
            step == ShipStep.Tail,
            $"A part is there with the same content, and shipping says {step}, {shipper.Retry.LastError?.Message} (H25).");

        // Bytes above the durable LSN.
        Commit(life, scene, 1);
        tail = Tail(engine, shipper.ShippedLsn);
        MustFail(() => ArchivePush.PushPart(store, tail, tail.To + -8), "A part above the durable LSN was pushed (H25).");

        // A disk that says it wrote, and did not.
        scene.Disk.Faults.On(FileOp.Write).Of($"{StepSettings.Store}/wal").Lie();
        step = Ship(engine, scene);
        Require(step == ShipStep.Failed, $"What was pushed is not what is in the store: {step} (H39).");
        scene.Disk.Faults.Clear();
        store.Delete(tail.Name);
        Require(Ship(engine, scene) == ShipStep.Tail, "A push is not made again.");

        // Other content under the name.
        Commit(life, scene, 1);
        tail = Tail(engine, shipper.ShippedLsn);
        byte[] bytes = tail.Stream.ToArray();
        bytes[^1] ^= 1;
        byte[] others = ArchivedSegment.Part(tail.Identity, tail.From, bytes, tail.Times).Encode().ToArray();
        store.TryPutIfAbsent(tail.Name, others);
        step = Ship(engine, scene);
        Require(step == ShipStep.Failed, $"Other content has the name of a part, and shipping says {step} (H25).");
        Require(store.Get(tail.Name).Span.SequenceEqual(others), "Other content under a part's name was written over (H25).");
        store.Delete(tail.Name);
        ShipAll(engine, scene);
    }

    /// <summary>
    /// Finished segments go into the store side by side, and the last one that began goes on first; of the first one the disk
    /// only says that it was written. Neither it counts nor any behind it (H47).
    /// </summary>
    public static void SideBySide(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        StoreShipper shipper = engine.Shippers[0];
        Commit(life, scene, 1);
        ShipAll(engine, scene);
        ulong first = engine.Wal.Geometry.NumberOf(engine.DurableLsn);
        for (int i = 0; i < 3; i++)
        {
            Commit(life, scene, 1);
            engine.Switch(scene.Model);
        }

        scene.Disk.BeforeOperation = null; // of a disk that lies no crash is judged
        scene.Disk.Faults.On(FileOp.Write).Of($"{StepSettings.Store}/wal").Lie();
        var begun = new Stack<ShipWork>();
        ShipStep step = ShipStep.UnderWay;
        for (bool isWritten = false; !isWritten;)
        {
            ShipWork alone = shipper.TryBegin(engine.DurableLsn)!;
            isWritten = alone.Shipment?.Stage == ShipStage.Write;
            step = engine.Ship(shipper, alone, scene.Model);
        }

        while (step != ShipStep.Failed)
        {
            while (shipper.TryBegin(engine.DurableLsn) is { } one)
                begun.Push(one);
            Require(begun.Count > 0, "A segment that was not written counts (H39, H47).");
            step = engine.Ship(shipper, begun.Pop(), scene.Model);
            scene.Hazards.Note(47);
            Require(
                shipper.ShippedLsn < engine.Wal.Geometry.StartOf(first + 1),
                $"All up to {shipper.ShippedLsn} counts, and segment {first} was not read back (H47).");
        }

        while (begun.TryPop(out ShipWork? left))
            engine.Ship(shipper, left, scene.Model);
        scene.Disk.Faults.Clear();
        engine.Stores[0].Delete(ObjectName.Segment(engine.History.Last.Timeline, first));
        ShipAll(engine, scene);
        StepCheck.Archive(engine, scene.Model);
    }

    /// <summary>
    /// A segment is proved again, since its push has failed; its index says all the same what is in it. One that is not what was
    /// written, or that is another segment's, is none (H46).
    /// </summary>
    public static void Indexes(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        Commit(life, scene, 1);
        ShipAll(engine, scene);
        TimelineId timeline = engine.History.Last.Timeline;
        ulong first = engine.Wal.Geometry.NumberOf(engine.DurableLsn);
        for (int i = 0; i < 3; i++)
        {
            Commit(life, scene, 2);
            if (i == 1)
                life.RunToEnd(new StepDropTable(scene));
            engine.Switch(scene.Model);
            scene.Disk.Faults.On(FileOp.Create).Of($"{StepSettings.Store}/wal").Fail(Errno.EIO);
            Require(Ship(engine, scene) == ShipStep.Failed, "A store that makes no file has got a segment.");
            scene.Disk.Faults.Clear();
            ShipAll(engine, scene);
        }

        StepCheck.Indexes(engine, scene.Model);
        scene.Hazards.Note(46);
        scene.Disk.BeforeOperation = null; // what is done to the store from here on is undone
        string name = ObjectName.KeyIndex(timeline, first);
        byte[] there = store.Get(name).ToArray(), damaged = [.. there];
        damaged.AsSpan(KeyIndex.HeaderBytes, 8).Clear();
        foreach (byte[] wrong in (byte[][])[damaged, store.Get(ObjectName.KeyIndex(timeline, first + 1)).ToArray()])
        {
            store.Put(name, wrong);
            StepCheck.Indexes(engine, scene.Model);
        }

        store.Put(name, there);
    }

    /// <summary>A store that knows more, and WAL that only it has: what a new start may do (H7, H39).</summary>
    public static void NewStart(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        Commit(life, scene, 2);
        engine.Switch(scene.Model);
        Commit(life, scene, 2);
        ShipAll(engine, scene);
        OwnerState owner = TimelineOwner.Read(store, engine.History.Last.Timeline)!;
        EngineStart next = owner.Start with { StartId = owner.Start.StartId + 1 };

        var standings = new StoreStandings(
            engine.Context.Clock, new OwnerNotes(scene.Disk, engine.Folder, owner.Start.BootId));
        var shorter = new StoreShipper(
            store, engine.Wal, engine.History, next, engine.Context.Clock, endAtStart: engine.History.Last.StartLsn)
        {
            Standing = standings.In(store),
        };
        Require(
            shorter.Ship(engine.DurableLsn) == ShipStep.Failed,
            "A store was longer than the log when this start opened it, and it pushes there (H7).");

        var second = new StoreShipper(store, engine.Wal, engine.History, next, engine.Context.Clock, engine.DurableLsn)
        {
            Standing = standings.In(store),
        };
        Require(second.Ship(engine.DurableLsn) == ShipStep.Prepared, "A start from the same place does not take over.");
        SegmentName first = engine.Wal.List()[0];
        Require(!second.MayRecycle(first), $"Segment {first} may go, which this start has not read back (H39).");
        Require(second.Ship(engine.DurableLsn) == ShipStep.Segment, "A new start does not read back.");
        Require(second.MayRecycle(first), $"Segment {first} may not go, which was read back.");
    }

    /// <summary>Parts and their whole: many are joined, none hides a hole, none goes before the whole is proven (H36).</summary>
    public static void Parts(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        IArchiveStore store = engine.Stores[0];
        ShipAll(engine, scene);
        for (int i = 0; i < ArchivePush.PartsBeforeJoin + 4; i++)
        {
            engine.Log(new WalEvent.Heartbeat(), scene.Model);
            ShipAll(engine, scene);
        }

        ulong number = engine.Wal.Geometry.NumberOf(engine.DurableLsn);
        engine.Switch(scene.Model);
        ShipAll(engine, scene);
        Commit(life, scene, 1);
        ShipAll(engine, scene);

        scene.Disk.BeforeOperation = null; // what is done to the store from here on is undone, and no crash comes in between
        TimelineId timeline = engine.History.Last.Timeline;
        string name = ObjectName.Segment(timeline, number);
        ArchivedSegment whole = ArchivedSegment.Decode(store.Name, name, store.Get(name).Span);
        byte[] few = whole.Stream[..800].ToArray();
        ArchivedSegment part = ArchivedSegment.Part(whole.Identity, whole.From, few, whole.Times);
        byte[] there = store.Get(name).ToArray();
        store.TryPutIfAbsent(part.Name, part.Encode());
        store.Delete(name);
        ArchivedRange range = ArchiveCatalog.Load(store).Along(
            engine.History, engine.History.Last.StartLsn, Lsn.MaxValue, engine.Wal.Geometry.PayloadBytes);
        Require(range.Gaps.Count > 0, $"Segment {number} is missing from the store, and a part of it hides that (H36).");

        byte[] damaged = [.. there];
        damaged[^1] ^= 1;
        store.TryPutIfAbsent(name, damaged);
        MustFail(() => ArchivePush.DeleteParts(store, whole), "Parts went, and their whole was not proven (H36).");
        Require(store.Stat(part.Name) is not null, "A part went, and its whole was not proven (H36).");
        store.Delete(name);
        store.TryPutIfAbsent(name, there);
        store.Delete(part.Name);
    }

    /// <summary>The clock steps back far behind a time: to go back to that time is ambiguous (H8).</summary>
    public static void Clock(StepLife life, StepScene scene)
    {
        StepEngine engine = scene.Engine;
        life.RunToEnd(new StepBackup(scene));
        Commit(life, scene, 2);
        var time = new DateTimeOffset(scene.Model.Records[^1].CommitTicks, TimeSpan.Zero);
        for (int i = 0; i < 4; i++)
        {
            Commit(life, scene, 1);
            engine.Switch(scene.Model);
        }

        ((StepClock)engine.Context.Clock).StepBack(TimeSpan.FromHours(1));
        Commit(life, scene, 2);
        ShipAll(engine, scene);
        scene.Hazards.Note(8);
        MustFail(
            () => RecoveryPlanner.Plan(new PlanRequest
            {
                Target = RecoveryTarget.Including(time),
                SetStore = engine.Stores[0],
                Archives = [engine.Stores[0]],
                LookBehindCutBytes = 64,
                Random = engine.Context.Draw,
            }),
            "The clock had stepped back behind a time, and a recovery to it is planned (H8).");
    }

    /// <summary>After a failed write-back nothing goes through the handle any more (H11).</summary>
    public static void WriteBack(StepLife life, StepScene scene)
    {
        Commit(life, scene, 30);
        PacedWriter writer = scene.Engine.Context.Environment.Writer;
        using IFileHandle handle = scene.Disk.Open("/db/scratch", FileOpen.CreateNew);
        foreach (FileOp failing in (FileOp[])[FileOp.StartWriteback, FileOp.SyncData])
        {
            scene.Disk.Faults.On(failing).Of("scratch").Fail(Errno.EIO);
            MustFail(
                () =>
                {
                    writer.Write(handle, 0, new byte[100]);
                    writer.Sync(handle);
                },
                "A failed write-back is told to nobody (H11).");
            MustFail(() => writer.Sync(handle), "After a failed write-back a sync says that all is durable (H11).");
            MustFail(() => writer.Write(handle, 0, new byte[100]), "After a failed write-back the handle is written again (H11).");
            scene.Disk.Faults.Clear();
        }

        Require(scene.Disk.UsedAfterFailedSync is null, "After a failed write-back the handle was used again (H11).");
    }

    private static TimelineHistory Fork(StepEngine engine, StepScene scene, uint number)
    {
        Lsn start = engine.Wal.Geometry.BoundaryAtOrAbove(engine.DurableLsn);
        return engine.History.Fork(
            new TimelineId(number), new Lineage(scene.Draw()), engine.DurableLsn, start, "a story",
            engine.Context.Clock.GetUtcNow());
    }

    private static ArchivedSegment Tail(StepEngine engine, Lsn from)
    {
        ulong number = engine.Wal.Geometry.NumberOf(from);
        var identity = new SegmentIdentity(
            engine.History.System, engine.History.Last.Timeline, engine.History.Last.Lineage, number);
        byte[] bytes = new byte[engine.DurableLsn - from];
        using IFileHandle file = engine.Wal.Open(number, engine.Wal.Identity, FileOpen.Read);
        file.Read(engine.Wal.Geometry.OffsetOf(from), bytes);
        return ArchivedSegment.Part(identity, from, bytes);
    }

    private static ReadOnlyMemory<byte> OtherFrame(ArchivedSegment segment) => segment.Encode(compressionLevel: 19);

    private static void Commit(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
            life.RunToEnd(new StepCommit(scene));
    }

    private static ShipStep Ship(StepEngine engine, StepScene scene)
    {
        engine.Shippers[0].Retry.TryNow();
        return engine.Ship(engine.Shippers[0], scene.Model);
    }

    private static void ShipAll(StepEngine engine, StepScene scene)
    {
        ShipStep step;
        do
            step = Ship(engine, scene);
        while (step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail);
        Require(step == ShipStep.Nothing, $"Shipping ends with {step}: {engine.Shippers[0].Retry.LastError?.Message}");
    }

    private static void Require(bool isSo, string otherwise)
    {
        if (!isSo)
            throw new SimulationFailure(otherwise);
    }

    private static void MustFail(Action wrong, string otherwise)
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
