using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Simulation.StepBranchStories;

namespace Pitr.Simulation;

/// <summary>
/// Stories of an expire and of everything that it must not touch: bases, pins, branches, sets elsewhere, backups that are being
/// made (H8, H29, H35, H38). Each is carried out on a copy of the archive, and cut off before each of its operations.
/// </summary>
internal static class StepExpireStories
{
    private const string ElsewhereFolder = "/elsewhere";

    /// <summary>An archive as it is at one moment, with what has to stay reachable in it.</summary>
    private sealed record At(SimulatedDisk Disk, FolderStore Store, FolderStore Elsewhere);

    /// <summary>What can be reached before an expire, and has to be afterwards.</summary>
    private sealed record Promise(RecoveryTarget Target, string? Timeline = null, string? Set = null, bool IsElsewhere = false);

    /// <summary>
    /// Four sets, one of them on another, one elsewhere, one that lacks a datafile, and a drill's branch that begins before the
    /// newest.
    /// </summary>
    public static void Sets(StepLife life, StepScene scene)
    {
        IArchiveStore store = scene.Engine.Stores[0];
        scene.Disk.CreateFolders(ElsewhereFolder);
        Commits(life, scene, 1);
        BackupSet oldest = Backup(life, scene, store);
        Commits(life, scene, 2);
        BackupSet first = Backup(life, scene, store);
        Commits(life, scene, 1);
        scene.Engine.Switch(scene.Model); // what it needs lies in segments that nothing else needs
        BackupSet far = Backup(life, scene, StoreOn(scene.Disk, ElsewhereFolder, scene.Seed));
        scene.Engine.Switch(scene.Model);
        Commits(life, scene, 1);
        BackupSet second = Backup(life, scene, store, first);
        Commits(life, scene, 2);
        Lsn fork = scene.Engine.DurableLsn;
        Commits(life, scene, 1);
        BackupSet third = Backup(life, scene, store);
        Commits(life, scene, 2);
        BackupSet partial = Backup(life, scene, store, files: 1);
        Require(partial.Label.IsPartial, "A set that lacks a datafile says nothing of it (H29).");
        Commits(life, scene, 2);

        scene.Disk.BeforeOperation = null; // what is done on copies from here on no crash leaves
        StepDatabase drill = Restore(scene, RecoveryTarget.Including(fork), timeline: null);
        (string branch, Promise[] ofDrill, BackupSet? built) = GoOn(scene, drill);
        Require(built?.Id != third.Id, "A set would be built on one of another branch (H14, H38).");

        string source = scene.Engine.History.Last.Timeline.ToString();
        Promise[] behind(BackupSet set) => [.. Behind(scene.Model, set.Label.StopTime, source)];
        Promise farOne = new(RecoveryTarget.Immediate, Set: far.Id, IsElsewhere: true);

        // The window begins between the second set and the third: the base of the second stays.
        Expire(scene, Since(second), [.. behind(second), .. ofDrill, farOne], gone: [oldest]);
        // It begins behind the partial set, which is none to begin with; the drill's branch has the second.
        Expire(scene, Since(partial), [.. behind(partial), .. ofDrill, farOne], gone: [oldest]);
        // By a clock that is years ahead it would begin behind everything.
        Expire(scene, Since(oldest), [.. behind(oldest), .. ofDrill], gone: [], isAhead: true);
        // Of production's own future nothing is in the window: its end is still known.
        Expire(scene, DrillsOwn(drill), ofDrill, gone: [oldest]);
        // Nobody can say what sets elsewhere need.
        Expire(scene, Since(partial), [.. behind(partial), farOne], gone: [oldest], opensElsewhere: false);

        Pinned(scene, oldest, Since(partial));
        Damaged(scene, first, DrillsOwn(drill));
        Outdated(scene, oldest, Since(partial), at => SetPins.Pin(at.Store, oldest.Id, Now(scene)), "a pin");
        Outdated(
            scene, oldest, Since(partial), at => Writer(scene, at.Disk, at.Store, [at.Store], Base(at.Store, oldest.Id)).Begin(),
            "a backup");
    }

    /// <summary>
    /// What would be the window's base is partial, or something of it is lost, and nobody has noticed: then the one before it
    /// is the base, and stays (H29, H35).
    /// </summary>
    public static void Losses(StepLife life, StepScene scene)
    {
        IArchiveStore store = scene.Engine.Stores[0];
        scene.Disk.CreateFolders(ElsewhereFolder);
        Commits(life, scene, 1);
        BackupSet oldest = Backup(life, scene, store);
        Commits(life, scene, 2);
        BackupSet good = Backup(life, scene, store);
        Commits(life, scene, 1);
        scene.Engine.Switch(scene.Model); // what the newest needs lies in segments that nothing else needs
        BackupSet newest = Backup(life, scene, store);
        scene.Engine.Switch(scene.Model);
        Commits(life, scene, 2);
        BackupSet partial = Backup(life, scene, store, files: 1);
        Commits(life, scene, 2);

        scene.Disk.BeforeOperation = null; // what is done on copies from here on no crash leaves
        string timeline = scene.Engine.History.Last.Timeline.ToString();
        Promise[] behind = [.. Behind(scene.Model, newest.Label.StopTime, timeline)];
        Expire(
            scene, Since(partial), [.. Behind(scene.Model, partial.Label.StopTime, timeline)], gone: [oldest, good]);
        Expire(
            scene, Since(newest), [.. behind.Select(moment => moment with { Set = good.Id })], gone: [oldest],
            loses: at => at.Store.Delete(
                newest.Prefix + newest.Manifest.Objects.First(static one => one.Name.EndsWith(".pitr", StringComparison.Ordinal)).Name));
        Expire(
            scene, Since(newest), [new Promise(RecoveryTarget.Immediate, Set: good.Id)], gone: [oldest],
            loses: at => LoseWal(at.Store, scene.Engine, newest.Label.StartLsn, newest.Label.StopLsn));
    }

    /// <summary>Backups that are under way, ended late, and whose intents or base somebody removes.</summary>
    public static void BesideABackup(StepLife life, StepScene scene)
    {
        IArchiveStore store = scene.Engine.Stores[0];
        scene.Disk.CreateFolders(ElsewhereFolder);
        Commits(life, scene, 1);
        BackupSet first = Backup(life, scene, store);
        Commits(life, scene, 1);
        BackupWriter running = Begin(life, scene, store, first);
        Commits(life, scene, 3);
        BackupSet newest = Backup(life, scene, store);
        Commits(life, scene, 3);
        var here = new At(scene.Disk, (FolderStore)store, StoreOn(scene.Disk, ElsewhereFolder, scene.Seed));
        RetentionRequest request = Request(scene, here, Since(newest), isAhead: false, opensElsewhere: true);
        RetentionRun.CarryOut(RetentionPlanner.Plan(request), request, CancellationToken.None);
        BackupSet ended = End(life, scene, running);
        RequireReached(here, new Promise(RecoveryTarget.Immediate, Set: ended.Id), "behind a backup that ran beside an expire");

        // Taken for dead, it ends between the plan and what is removed.
        BackupWriter late = Begin(life, scene, store, built: null);
        RetentionRequest later = Request(scene, here, Since(newest), isAhead: true, opensElsewhere: true);
        RetentionPlan plan = RetentionPlanner.Plan(later);
        BackupSet alive = End(life, scene, late);
        MustFail(
            () => RetentionRun.CarryOut(plan, later, CancellationToken.None),
            "A backup that had ended since the plan was taken for unfinished (H35).");
        RequireReached(here, new Promise(RecoveryTarget.Immediate, Set: alive.Id), "behind an expire that was refused");

        // Its intent goes while it writes its manifest: an expire did not know of it.
        BackupWriter robbed = Begin(life, scene, store, built: null);
        string prefix = BackupSet.PrefixOf(robbed.BackupId);
        bool isRobbed = false;
        MustFail(
            () => scene.Disk.DuringNext(
                () =>
                {
                    if (isRobbed || store.Stat(prefix + BackupSet.ManifestName) is null)
                        return;
                    isRobbed = true;
                    store.Delete(prefix + BackupSet.IntentName);
                },
                () => End(life, scene, robbed)),
            "A backup whose intent went while it wrote its manifest counts (H35).");

        // What it builds on goes while it is made.
        BackupSet under = Backup(life, scene, store);
        BackupWriter above = Begin(life, scene, store, under);
        store.Delete(BackupSet.PrefixOf(under.Id) + BackupSet.ManifestName);
        MustFail(() => End(life, scene, above), "A backup whose base has gone was completed (H35).");
        above.Abandon();
        robbed.Abandon();
    }

    /// <summary>
    /// A restore of what an expire removes says so, and looks whether all is there, at every moment of the expire: one of both
    /// gives way, and no object goes that is being read (H48).
    /// </summary>
    public static void BesideARestore(StepLife life, StepScene scene)
    {
        IArchiveStore store = scene.Engine.Stores[0];
        scene.Disk.CreateFolders(ElsewhereFolder);
        Commits(life, scene, 1);
        BackupSet oldest = Backup(life, scene, store);
        Commits(life, scene, 1);
        scene.Engine.Switch(scene.Model); // what the older ones need lies in segments that nothing else needs
        BackupSet older = Backup(life, scene, store);
        scene.Engine.Switch(scene.Model);
        Commits(life, scene, 1);
        BackupSet newest = Backup(life, scene, store);
        Commits(life, scene, 2);

        scene.Disk.BeforeOperation = null; // what is done on copies from here on no crash leaves
        foreach (BackupSet set in (BackupSet[])[oldest, older])
        {
            foreach (bool readsSet in (bool[])[true, false]) // a recovery in place needs the WAL only
            {
                bool isOver = false;
                for (int moment = -1; !isOver; moment++)
                    isOver = IsRestoredBeside(scene, set, readsSet, Since(newest), moment);
            }
        }
    }

    /// <summary>Registered before the expire is planned, or at one of its operations; true if it has fewer.</summary>
    private static bool IsRestoredBeside(StepScene scene, BackupSet set, bool readsSet, DateTimeOffset from, int moment)
    {
        At at = Copy(scene);
        PlannedRecovery planned = RecoveryPlanner.Plan(new PlanRequest
        {
            Target = RecoveryTarget.Immediate,
            SetStore = at.Store,
            Archives = [at.Store],
            BackupId = set.Id,
            Random = () => (ulong)scene.Next(int.MaxValue),
        });
        TimeProvider clock = scene.Engine.Context.Clock;
        RestoreHold hold = RestoreHold.Of(planned.Plan, "/restored", [at.Store], clock);
        bool mayCopy = false;
        if (moment < 0)
            Begin();
        RetentionRequest request = Request(scene, at, from, isAhead: false, opensElsewhere: true);
        int operations = 0;
        bool isWithin = false; // what the restore itself does are operations, too
        RetentionPlan plan = RetentionPlanner.Plan(request);
        at.Disk.DuringNext(
            () =>
            {
                if (!isWithin && operations++ == moment)
                    Begin();
            },
            () =>
            {
                try
                {
                    RetentionRun.CarryOut(plan, request, CancellationToken.None);
                }
                catch (RefusedException) when (moment >= 0)
                {
                    // The expire gives way.
                }
            });
        scene.Explored++;
        scene.Hazards.Note(48);
        if (mayCopy)
        {
            try
            {
                RequireThere();
                foreach (LabelledFile file in planned.Set.Label.Files.Where(_ => readsSet))
                    planned.Set.VerifyFile(file, CancellationToken.None);
            }
            catch (PitrException gone)
            {
                throw new SimulationFailure(
                    $"A restore of set {set.Id} began at operation {moment} of an expire, and what it reads is gone (H48).", gone);
            }
        }

        return operations <= moment;

        void RequireThere() => RestoreHold.Require(
            readsSet ? planned.Set : null, planned.Plan.Wal, [at.Store], clock.GetUtcNow());

        void Begin()
        {
            isWithin = true;
            hold.Register();
            try
            {
                RequireThere();
                mayCopy = true;
            }
            catch (PitrException)
            {
                // The restore gives way.
            }

            isWithin = false;
        }
    }

    // ---- expires ---------------------------------------------------------------------------------

    /// <summary>Carried out whole, and on copies of it that end before each operation; made again there, days later.</summary>
    private static void Expire(
        StepScene scene, DateTimeOffset from, Promise[] promises, BackupSet[] gone, bool isAhead = false,
        bool opensElsewhere = true, Action<At>? loses = null)
    {
        At before = Copy(scene);
        loses?.Invoke(before);
        foreach (Promise promise in promises)
            RequireReached(before, promise, "before an expire");
        Dictionary<TimelineId, Lsn> ends = EndsIn(before);
        var cut = new List<SimulatedDisk>();
        long seed = scene.Seed;
        before.Disk.DuringNext(
            () => cut.Add(scene.Chance(50) ? before.Disk.KillCopy() : before.Disk.CrashCopy(++seed)),
            () => CarryOut(before, TimeSpan.Zero));
        RequireKept(before);
        foreach (SimulatedDisk disk in cut.Where((_, at) => at % 3 == 0))
        {
            At left = On(disk, scene.Seed);
            StepCheck.Sets(left.Store);
            foreach (Promise promise in promises.Take(2))
                RequireReached(left, promise, "in the middle of an expire");
            CarryOut(left, 2 * RetentionPlanner.RunningMax); // what is left of a set looks like one in the making until then
            RequireKept(left);
            scene.Explored++;
        }

        void CarryOut(At at, TimeSpan later)
        {
            RetentionRequest request = Request(scene, at, from, isAhead, opensElsewhere);
            request = request with { Now = request.Now + later };
            RetentionRun.CarryOut(RetentionPlanner.Plan(request), request, CancellationToken.None);
        }

        void RequireKept(At at)
        {
            scene.Hazards.Note(35);
            StepCheck.Sets(at.Store);
            foreach (Promise promise in promises)
                RequireReached(at, promise, "behind an expire");
            Require(EndsIn(at).SequenceEqual(ends), "An expire took the end of a timeline's WAL (H35).");
            foreach (BackupSet set in gone)
            {
                Require(
                    !at.Store.List(set.Prefix).Any(), $"Of set {set.Id}, which no moment needs, something is left for ever (H35).");
            }
        }
    }

    private static void Pinned(StepScene scene, BackupSet set, DateTimeOffset from)
    {
        At at = Copy(scene);
        SetPins.Pin(at.Store, set.Id, Now(scene));
        RetentionRequest request = Request(scene, at, from, isAhead: false, opensElsewhere: true);
        RetentionRun.CarryOut(RetentionPlanner.Plan(request), request, CancellationToken.None);
        RequireReached(at, new Promise(RecoveryTarget.Immediate, Set: set.Id), "of a set that is pinned");
    }

    private static void Damaged(StepScene scene, BackupSet set, DateTimeOffset from)
    {
        At at = Copy(scene);
        at.Store.Put(set.Prefix + BackupSet.ManifestName, "nonsense"u8.ToArray());
        string[] before = [.. at.Store.List(set.Prefix)];
        RetentionRequest request = Request(scene, at, from, isAhead: true, opensElsewhere: true);
        RetentionRun.CarryOut(RetentionPlanner.Plan(request), request, CancellationToken.None);
        Require(before.SequenceEqual(at.Store.List(set.Prefix)), "Of a damaged set something was removed (H35).");
    }

    private static void Outdated(StepScene scene, BackupSet set, DateTimeOffset from, Action<At> meanwhile, string what)
    {
        At at = Copy(scene);
        RetentionRequest request = Request(scene, at, from, isAhead: false, opensElsewhere: true);
        RetentionPlan plan = RetentionPlanner.Plan(request);
        meanwhile(at);
        MustFail(
            () => RetentionRun.CarryOut(plan, request, CancellationToken.None), $"An expire did not see {what} since its plan (H35).");
        RequireReached(at, new Promise(RecoveryTarget.Immediate, Set: set.Id), "behind an expire that was refused");
    }

    private static RetentionRequest Request(StepScene scene, At at, DateTimeOffset from, bool isAhead, bool opensElsewhere) => new()
    {
        SetStore = at.Store,
        Archives = [at.Store],
        Window = LastMoment(scene) - from,
        Now = isAhead ? LastMoment(scene).AddDays(3000) : LastMoment(scene).AddSeconds(1),
        OpenStore = name => opensElsewhere && name == ElsewhereFolder ? at.Elsewhere : null,
    };

    private static void RequireReached(At at, Promise promise, string when)
    {
        try
        {
            RecoveryPlanner.Plan(new PlanRequest
            {
                Target = promise.Target,
                SetStore = promise.IsElsewhere ? at.Elsewhere : at.Store,
                Archives = [at.Store],
                BackupId = promise.Set,
                Timeline = promise.Timeline,
                VerifiesFiles = true,
                LookBehindCutBytes = 64,
                Random = static () => 5,
            });
        }
        catch (PitrException lost)
        {
            throw new SimulationFailure($"{promise} can't be reached {when}: {lost.Message} (H35)", lost);
        }
    }

    private static void LoseWal(FolderStore store, StepEngine engine, Lsn from, Lsn to)
    {
        WalGeometry geometry = engine.Wal.Geometry;
        TimelineId timeline = engine.History.Last.Timeline;
        for (ulong number = geometry.NumberOf(from); geometry.StartOf(number) < to; number++)
        {
            store.Delete(ObjectName.Segment(timeline, number));
            foreach (string part in store.List(ObjectName.PartPrefix(timeline, number)))
                store.Delete(part);
        }
    }

    private static Dictionary<TimelineId, Lsn> EndsIn(At at)
    {
        ArchiveCatalog catalog = ArchiveCatalog.Load(at.Store);
        long payloadBytes = new WalGeometry(checked((int)BackupCatalog.Read(at.Store).Sets[0].Label.WalSegmentBytes)).PayloadBytes;
        return catalog.Timelines.OrderBy(static one => one.Value).ToDictionary(static one => one, one => catalog.HighestEnd(one, payloadBytes));
    }

    // ---- moments ---------------------------------------------------------------------------------

    /// <summary>Right behind a set's stop: it is the newest at or before the window.</summary>
    private static DateTimeOffset Since(BackupSet set) => set.Label.StopTime;

    /// <summary>Before all that was committed on the drill's branch, and behind production's last commit.</summary>
    private static DateTimeOffset DrillsOwn(StepDatabase drill) =>
        new DateTimeOffset(drill.Model.Records[^1].CommitTicks, TimeSpan.Zero).AddSeconds(-1);

    private static DateTimeOffset LastMoment(StepScene scene) => scene.Databases
        .SelectMany(static database => database.Model.Records).Max(static record => new DateTimeOffset(record.CommitTicks, TimeSpan.Zero));

    private static DateTimeOffset Now(StepScene scene) => scene.Engine.Context.Clock.GetUtcNow();

    private static IEnumerable<Promise> Behind(StepModel model, DateTimeOffset from, string timeline) => model.Records
        .Where(record => record.Transaction.Value > 0 && record.CommitTicks > from.UtcTicks && record.End < model.Shipped)
        .Select(record => new Promise(RecoveryTarget.Including(record.End), timeline));

    /// <summary>Commits on the drill's branch, whose clock is ahead; what a set of it would build on.</summary>
    private static (string Timeline, Promise[] Promises, BackupSet? Built) GoOn(StepScene scene, StepDatabase drill)
    {
        string timeline = "";
        BackupSet? built = null;
        StepBranchStories.GoOn(scene, drill, (life, there) =>
        {
            Commits(life, there, 3);
            timeline = there.Engine.History.Last.Timeline.ToString();
            built = BaseChoice.Of(BackupCatalog.Read(there.Engine.Stores[0]), there.Engine.Control).Base;
        });
        return (timeline, [.. Behind(drill.Model, DrillsOwn(drill), timeline)], built);
    }

    private static void Commits(StepLife life, StepScene scene, int count)
    {
        Commit(life, scene, count);
        ShipAll(scene);
    }

    // ---- sets ------------------------------------------------------------------------------------

    internal static BackupSet Backup(
        StepLife life, StepScene scene, IArchiveStore store, BackupSet? built = null, int files = int.MaxValue) =>
        End(life, scene, Begin(life, scene, store, built, files));

    internal static BackupWriter Begin(
        StepLife life, StepScene scene, IArchiveStore store, BackupSet? built, int files = int.MaxValue)
    {
        life.RunToEnd(new StepCheckpoint(scene));
        BackupWriter writer = Writer(scene, scene.Disk, store, scene.Engine.Stores, built);
        writer.Begin();
        foreach (CatalogueFile file in scene.Engine.Control.Catalogue.Files.Take(files))
            life.RunToEnd(new StepCopyFile(scene, file, writer));
        return writer;
    }

    internal static BackupSet End(StepLife life, StepScene scene, BackupWriter writer)
    {
        StepEngine engine = scene.Engine;
        Lsn lsn = engine.Log(new WalEvent.BackupEnd(writer.BackupId, writer.StartLsn), scene.Model);
        ShipAll(scene);
        BackupSet set = writer.Complete(StopAt(scene, lsn));
        life.Settle();
        return set;
    }

    // ---- copies ----------------------------------------------------------------------------------

    private static At Copy(StepScene scene) => On(scene.Disk.KillCopy(), scene.Seed);

    private static At On(SimulatedDisk disk, long seed) => new(
        disk, StoreOn(disk, StepSettings.Store, seed), StoreOn(disk, ElsewhereFolder, seed + 1));

    internal static FolderStore StoreOn(SimulatedDisk disk, string folder, long seed)
    {
        var random = SeededRandom.For(seed, 13);
        return new FolderStore(disk, folder, () => random.NextBits());
    }

    private static BackupSet Base(IArchiveStore store, string id) => BackupCatalog.Read(store).Get(id);
}
