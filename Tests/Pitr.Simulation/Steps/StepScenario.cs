using System.Numerics;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A short fixed story that is crashed before each of its operations on the disk, by power loss in several ways and by
/// a kill, and again before each operation of the opening that follows.
/// </summary>
/// <param name="Name">For people, and the command line.</param>
/// <param name="Settings">How large things are.</param>
/// <param name="Story">What happens, in order.</param>
internal sealed record StepScenario(string Name, StepSettings Settings, Action<StepLife, StepScene> Story)
{
    /// <summary>Of states that are bounded each story gets one of so many parts: all of them together a quarter, or less.</summary>
    public const int PartsOfStates = 200;

    private const int PowerLosses = 2;

    private static readonly StepSettings Small = new()
    {
        WalSegmentBytes = 8 << 10,
        WriteBufferBytesMax = 256 << 10,
        MoreFiles = 1,
        Keys = 20,
        ValueBytes = 300,
    };

    private static readonly StepSettings Archived = Small with { HasArchive = true };

    public static IReadOnlyList<StepScenario> All { get; } =
    [
        new("commits", Small, static (life, scene) => Commits(life, scene, 12)),
        new("flush", Small, static (life, scene) =>
        {
            Commits(life, scene, 4);
            life.RunToEnd(new StepFlush(scene, scene.Engine.File(FileId.Main)!));
            Commits(life, scene, 3);
            life.RunToEnd(new StepFlush(scene, scene.Engine.File(FileId.Main)!));
        }),
        new("checkpoints", Small, static (life, scene) =>
        {
            for (int i = 0; i < 3; i++)
            {
                Commits(life, scene, 5);
                life.RunToEnd(new StepCheckpoint(scene));
            }
        }),
        new("ddl", Small, static (life, scene) =>
        {
            life.RunToEnd(new StepCreateDatafile(scene));
            life.RunToEnd(new StepCreateTable(scene, scene.Engine.Files.Last().Id));
            Commits(life, scene, 2);
            life.RunToEnd(new StepDropTable(scene));
            life.RunToEnd(new StepDropTable(scene));
            life.RunToEnd(new StepDropDatafile(scene));
            Commits(life, scene, 1);
        }),
        new("fence", Small, static (life, scene) =>
        {
            Commits(life, scene, 2);
            life.RunToEnd(new StepCheckpoint(scene));
            Commits(life, scene, 2);
            life.Start(new StepFence(scene, scene.Engine.File(FileId.Main)!, lasts: 20));
            life.RunToEnd(new StepCheckpoint(scene));
            life.Settle();
        }),
        new("move", Small, static (life, scene) =>
        {
            StepFile main = scene.Engine.File(FileId.Main)!;
            Commits(life, scene, 3);
            for (int i = 0; i < 4; i++)
            {
                life.RunToEnd(new StepMove(scene, main));
                Commits(life, scene, 2);
                life.RunToEnd(new StepCheckpoint(scene));
            }
        }),
        new("spills", Small, StepMoveStories.Spills),
        new("spills without cache", Small with { HasTinyCache = true, Keys = 8, ValueBytes = 30_000 }, static (life, scene) =>
        {
            scene.Disk.BeforeOperation = null; // the files are large, and crashes of spills are others' matter
            StepMoveStories.Spills(life, scene);
        }) { JudgesItself = true },
        new("boundary", Small with { MoreFiles = 0 }, static (life, scene) =>
        {
            for (int i = 0; i < 2; i++)
            {
                scene.Engine.Switch(scene.Model);
                new StepCommit(scene).CommitLarge();
                life.RunToEnd(new StepCommit(scene));
            }
        }) { AgainEach = 1, Share = 6 },
        new("tar", Small with { TarWeight = 1 }, static (life, scene) =>
        {
            for (int i = 0; i < 3; i++)
            {
                Commits(life, scene, 2);
                life.RunToEnd(new StepTar(scene, voidPercent: i * 50));
            }
        }),
        new("compact", Small, static (life, scene) =>
        {
            StepFile main = scene.Engine.File(FileId.Main)!;
            Commits(life, scene, 3);
            for (int i = 0; i < 3; i++)
            {
                life.Start(new StepSnapshot(scene));
                if (i == 1)
                    life.RunToEnd(new StepMove(scene, main));
                life.RunToEnd(new StepCompact(scene, main));
                Commits(life, scene, 2);
                life.RunToEnd(new StepCheckpoint(scene));
                life.Settle();
            }
        }),
        new("large", Small with { HugeValueBytes = 0, ValueBytes = 30_000 }, static (life, scene) => Commits(life, scene, 6)),
        new("shipping", Archived, static (life, scene) =>
        {
            for (int i = 0; i < 5; i++)
            {
                Commits(life, scene, 3);
                life.RunToEnd(new StepShip(scene));
                life.RunToEnd(new StepShip(scene));
            }

            life.RunToEnd(new StepCheckpoint(scene));
        }),
        new("backup", Archived with { BackupWeight = 1 }, static (life, scene) =>
        {
            Commits(life, scene, 2);
            life.RunToEnd(new StepBackup(scene));
        }),
        new("restore", Archived with { BackupWeight = 1, HasFilesOutside = true }, static (life, scene) =>
        {
            life.RunToEnd(new StepCreateDatafile(scene));
            life.RunToEnd(new StepCreateDatafile(scene));
            Commits(life, scene, 3);
            for (int i = 0; i < 6; i++)
                life.RunToEnd(new StepShip(scene));
            life.RunToEnd(new StepRestore(scene));
        }),
        new("reader", Small, StepFileStories.Reader),
        new("cache", Small with { HasTinyCache = true, Keys = 8, ValueBytes = 30_000 }, StepFileStories.Cache),
        new("former file", Small with { HasTinyCache = true, Keys = 8, ValueBytes = 30_000 }, StepFileStories.FormerFile) { JudgesItself = true },
        new("idle", Small, StepFileStories.Idle),
        new("lost meta", Small with { Keys = 8, ValueBytes = 2000 }, StepFileStories.LostMeta),
        new("clock", Archived, StepStoreStories.Clock),
        new("write-back", Archived, StepStoreStories.WriteBack),
        new("races", Archived, StepStoreStories.Races),
        new("owner", Archived, StepStoreStories.Owner),
        new("in the way", Archived, StepStoreStories.InTheWay),
        new("side by side", Archived, StepStoreStories.SideBySide),
        new("indexes", Archived, StepStoreStories.Indexes),
        new("new start", Archived, StepStoreStories.NewStart),
        new("parts", Archived with { WalSegmentBytes = 64 << 10, ValueBytes = 30 }, StepStoreStories.Parts),
        new("increments", Archived with { MoreFiles = 0, Keys = 60, ValueBytes = 1500 }, StepIncrementStories.Chains) { JudgesItself = true },
        new("other files", Archived with { Keys = 400, ValueBytes = 1500 }, StepIncrementStories.OtherFiles) { JudgesItself = true },
        new("cut off", Archived, StepIncrementStories.CutOff) { JudgesItself = true },
        new("losses", Archived, StepLossStories.Branches),
        new("parents", Archived with { ValueBytes = 60 }, StepBranchStories.Parents),
        new("promotions", Archived, StepBranchStories.Promotions),
        new("branches", Archived with { BackupWeight = 1 }, StepBranchStories.Branches),
        new("sets", Archived, StepBranchStories.Sets),
        new("expires", Archived with { BackupWeight = 1 }, StepExpireStories.Sets),
        new("expire with losses", Archived with { BackupWeight = 1 }, StepExpireStories.Losses),
        new("expire beside a backup", Archived with { BackupWeight = 1 }, StepExpireStories.BesideABackup),
        new("expire beside a restore", Archived with { BackupWeight = 1 }, StepExpireStories.BesideARestore),
        new("in place", Archived with { BackupWeight = 1 }, StepInPlaceStories.LastCommits),
        new("close", Archived, static (life, scene) =>
        {
            Commits(life, scene, 3);
            life.Close();
        }),
        new("drained", Small with { HasFilesOutside = true, MoreFiles = 0 }, StepMoveStories.Drained),
        new("places", Archived with { MoreFiles = 0 }, StepMoveStories.Places) { JudgesItself = true },
        new("recycled", Small with { MoreFiles = 0 }, StepWalStories.Recycled),
        new("wal behind a set", Archived with { MoreFiles = 0 }, StepRestoreStories.WalBehindASet) { JudgesItself = true },
        new("unclaimed", Archived with { MoreFiles = 0 }, StepUnclaimedStories.Shorter) { JudgesItself = true },
        new("sealed", Archived with { MoreFiles = 0, IsSealed = true }, StepSealedStories.OthersHands) { JudgesItself = true },
        new("boots", Archived with { MoreFiles = 0 }, StepBootStories.Clones) { JudgesItself = true },
        new("copies", Archived with { MoreFiles = 0 }, StepCopyStories.OthersHands) { JudgesItself = true },
        new("other row", Small with { MoreFiles = 0 }, StepFileStories.OtherRow) { JudgesItself = true },
        new("rebuilt", Small with { MoreFiles = 1 }, StepFolderStories.Rebuilt) { JudgesItself = true },
        new("back in place", Archived with { BackupWeight = 1, MoreFiles = 0, HasFilesOutside = true }, StepFolderStories.InPlace)
        {
            JudgesItself = true,
        },
        // Those that open many crashes themselves.
        new("unwritten", Archived with { BackupWeight = 1, MoreFiles = 0 }, StepInPlaceStories.UnwrittenGroups) { JudgesItself = true },
        new("lost files", Archived with { MoreFiles = 0, HasFilesOutside = true, Keys = 400, ValueBytes = 1500 },
            StepInPlaceStories.LostDatafiles) { JudgesItself = true },
        new("torn", Small with { MoreFiles = 0 }, StepWalStories.Torn),
        new("in and out", Small with { HasFilesOutside = true, MoreFiles = 0 }, StepMoveStories.Outside),
    ];

    /// <summary>Of so many crashes one has its opening crashed too, or more often, if the caller wants it.</summary>
    public int AgainEach { get; init; } = int.MaxValue;

    /// <summary>How many times the states of others it gets, where they are bounded.</summary>
    public int Share { get; init; } = 1;

    /// <summary>What it is about is compared within it: of the crashes that others take few or none are left.</summary>
    public bool JudgesItself { get; init; }

    /// <summary>Explores it; answers how many states, and how many of them were different.</summary>
    /// <param name="seed">Of identifiers, values and losses.</param>
    /// <param name="hazards">Counts them.</param>
    /// <param name="again">Of so many crashes one has its opening crashed too, before each operation.</param>
    /// <param name="statesMax">About how many states at most: of crashes spread over the whole story.</param>
    /// <exception cref="SimulationFailure">Something is not as it has to be; says where.</exception>
    public StepResult Run(long seed, StepHazards hazards, int again, long statesMax = long.MaxValue)
    {
        int taken = 0;
        again = Math.Min(again, AgainEach);
        string where = "creating";
        var seen = new HashSet<ulong>();
        long states = 0;
        try
        {
            using var memory = new StepMemory(Settings);
            var disk = new SimulatedDisk(seed);
            disk.CreateFolders(StepSettings.Outside);
            disk.CreateFolders(StepDiskCheck.Tars);
            if (Settings.IsSealed)
                StepSealedStories.WriteKey(disk);
            EngineCreation.Create(StepRun.Folder, Settings.OptionsFor(disk, seed));
            var crashes = new List<(SimulatedDisk Disk, List<StepDatabase> Databases, string Where)>();
            using (StepEngine engine = StepEngine.Open(StepRun.Folder, Settings.OptionsFor(disk, seed + 1), memory))
            {
                List<StepDatabase> databases = [new StepDatabase(StepRun.Folder, new StepModel(engine.DurableLsn))];
                var scene = new StepScene(disk, engine, databases[0], databases, Settings, memory, hazards, seed);
                var life = new StepLife(scene);
                where = "beginning";
                life.Begin();
                where = "the story";
                disk.BeforeOperation = operation => Take(disk, databases, seed, operation, crashes);
                Story(life, scene);
                disk.BeforeOperation = null;
                Take(disk, databases, seed, disk.OperationCount, crashes);
                life.LetGo();
                states += scene.Explored;
            }

            foreach (int at in Spread(crashes.Count))
            {
                if (states >= statesMax)
                    break;
                (SimulatedDisk crashed, List<StepDatabase> databases, string how) = crashes[at];
                foreach (StepDatabase database in databases)
                {
                    where = how;
                    states += Explore(crashed, database, memory, seed, seen, isAgain: ++taken % again != 0, ref where);
                }
            }

            return new StepResult(states, seen.Count, crashes.Count, seen.Aggregate(0UL, SparseContent.Mix));
        }
        catch (Exception error)
        {
            throw new SimulationFailure($"Scenario {Name}, seed {seed}, {where}: {error.Message}", error);
        }
    }

    /// <summary>Each place once, so that also the first few of them lie over the whole.</summary>
    private static IEnumerable<int> Spread(int count)
    {
        int stride = Math.Max(1, (int)(count * 0.618));
        while (BigInteger.GreatestCommonDivisor(stride, count) != 1)
            stride++;
        for (int i = 0, at = 0; i < count; i++, at = (at + stride) % count)
            yield return at;
    }

    private static void Commits(StepLife life, StepScene scene, int count)
    {
        for (; count > 0; count--)
            life.RunToEnd(new StepCommit(scene));
    }

    private static void Take(
        SimulatedDisk disk, List<StepDatabase> databases, long seed, long operation,
        List<(SimulatedDisk, List<StepDatabase>, string)> crashes)
    {
        for (int way = 0; way <= PowerLosses; way++)
        {
            string how = way == PowerLosses ? $"kill before operation {operation}" : $"power loss {way} before operation {operation}";
            SimulatedDisk left = way == PowerLosses ? disk.KillCopy() : disk.CrashCopy(seed * 17 + operation * 31 + way);
            crashes.Add((left, [.. databases.Select(static one => one.Copy())], how));
        }
    }

    private long Explore(
        SimulatedDisk disk, StepDatabase database, StepMemory memory, long seed, HashSet<ulong> seen, bool isAgain,
        ref string where)
    {
        if (database.IsUnfinished && !new ControlFileStore(disk, database.Folder).Exists)
            return 0;
        StepDiskCheck.Run(disk, database, Settings, memory);
        bool isNew = seen.Add(SparseContent.Mix(disk.Fingerprint(), database.Model.Acknowledged.Value));
        var again = new List<(SimulatedDisk Disk, string Where)>();
        string before = where;
        if (!isAgain && isNew)
        {
            int number = 0;
            disk.BeforeOperation = operation =>
            {
                string how = $"{before}, and again before operation {++number} of the opening";
                if (number % 2 == 0)
                    again.Add((disk.KillCopy(), how + " (kill)"));
                for (int way = number % 2 == 0 && AgainEach > 1 ? 1 : 0; way < (AgainEach > 1 ? 1 : 2); way++)
                    again.Add((disk.CrashCopy(seed + number + (way * 1009)), how + $" (power loss {way})"));
            };
        }

        StepModel model = database.Model.Copy();
        using (StepEngine engine = StepEngine.Open(database.Folder, Settings.OptionsFor(disk, seed + 2), memory))
        {
            disk.BeforeOperation = null;
            model.CutAt(StepCheck.Run(engine, model));
            MoveCheck.NothingIsLeft(disk, engine.Folder, engine.Control);
            StepCheck.Archive(engine, model);
            StepCheck.Indexes(engine, model);
            if (engine.Stores.Count > 0)
                StepCheck.Sets(engine.Stores[0]);
        }

        if (disk.OpenHandleCount > 0 || disk.HeldLockCount > 0)
            throw new SimulationFailure($"Open are: {string.Join(", ", disk.OpenHandlePaths)}.");
        long states = 1;
        foreach ((SimulatedDisk crashed, string how) in again)
        {
            where = how;
            states += Explore(crashed, database, memory, seed, seen, isAgain: true, ref where);
        }

        return states;
    }
}
