using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What a run of a seed explored.</summary>
/// <param name="States">Crashes, each with its opening, replay and comparison with the oracle.</param>
/// <param name="Distinct">How many of them were different: content of the disk and what the oracle knew.</param>
/// <param name="Steps">Steps taken between them.</param>
/// <param name="Digest">One number for all of them, in their order: the same run has the same.</param>
internal readonly record struct StepResult(long States, long Distinct, long Steps, ulong Digest);

/// <summary>
/// One seed on the level of the steps: several lives of one database, each crashed at many operations on the disk, and
/// every crash opened and compared with the oracle.
/// </summary>
/// <remarks>
/// A crash is a copy of the disk, as power loss or a kill leaves it, taken before an operation; the life goes on beside
/// it, so that one life has many ends. One of them is where the next life begins, of the same database or of one that
/// was restored beside it. Opening is crashed as well, and some disks are damaged before they are opened
/// (<see cref="StepHand"/>).
/// </remarks>
internal sealed class StepRun
{
    public const string Folder = "/db";

    private static readonly FileOp[] Failing =
    [
        FileOp.SyncData, FileOp.SyncData, FileOp.SyncData, FileOp.Write, FileOp.StartWriteback, FileOp.StartWriteback,
        FileOp.Create, FileOp.Rename, FileOp.Delete, FileOp.SyncFolder, FileOp.SetLength, FileOp.Read,
    ];

    private readonly long _seed;
    private readonly StepSettings _settings;
    private readonly List<Crash> _crashes = [];
    private readonly List<SimulatedDisk> _past = []; // as it was once, on the way to the present life
    private readonly HashSet<ulong> _seen = [];
    private SeededRandom _random;
    private long _opened;
    private long _states;
    private long _steps;
    private ulong _digest;
    private string _where = "creating";
    private List<FlushJob> _late = [];

    public StepRun(long seed, Func<StepSettings, StepSettings>? change = null)
    {
        _seed = seed;
        _random = SeededRandom.For(seed, 0);
        StepSettings drawn = StepSettings.Drawn(ref _random);
        _settings = change is null ? drawn : change(drawn);
    }

    public StepSettings Settings => _settings;

    /// <summary>Which schedules came about.</summary>
    public StepHazards Hazards { get; } = new();

    /// <summary>States so far, also of a run that failed.</summary>
    public long States => _states;

    /// <exception cref="SimulationFailure">Something is not as it has to be; says where.</exception>
    public StepResult Run()
    {
        try
        {
            Live();
            return new StepResult(_states, _seen.Count, _steps, _digest);
        }
        catch (Exception error)
        {
            throw new SimulationFailure($"Seed {_seed}, {_where}: {error.Message}", error);
        }
    }

    private void Live()
    {
        using var memory = new StepMemory(_settings);
        var disk = new SimulatedDisk(_seed);
        disk.CreateFolders(StepSettings.Outside);
        disk.CreateFolders(StepDiskCheck.Tars);
        EngineCreation.Create(Folder, _settings.OptionsFor(disk, _seed));
        List<StepDatabase> databases = [];
        string folder = Folder;
        for (int life = 1; life <= _settings.LivesMax; life++)
        {
            _where = $"opening for life {life}";
            using (StepEngine engine = Open(folder, disk, memory))
            {
                if (databases.Count == 0)
                    databases.Add(new StepDatabase(folder, new StepModel(engine.DurableLsn)));
                StepDatabase database = databases.First(one => one.Folder == folder);
                Check(engine, database.Model, isWithArchive: false);
                _where = $"life {life}";
                Live(engine, disk, database, databases, memory, life);
            }

            RequireNothingOpen(disk);
            RequireRefused(_late);
            (disk, databases) = Explore(life, folder, memory);
            string[] others =
                [.. databases.Where(one => !one.IsUnfinished && one.Folder != folder).Select(static one => one.Folder)];
            if (others.Length > 0 && _random.Chance(60))
                folder = others[_random.Next(others.Length)];
        }
    }

    private void Live(
        StepEngine engine, SimulatedDisk disk, StepDatabase database, List<StepDatabase> databases, StepMemory memory,
        int life)
    {
        _crashes.Clear();
        int percent = 1 + _random.Next(_settings.CrashPercentMax);
        var random = SeededRandom.For(_seed, 1000 + life);
        var scene = new StepScene(
            disk, engine, database, databases, _settings, memory, Hazards, _seed * 31 + life);
        disk.BeforeOperation = operation =>
        {
            if (random.Chance(scene.IsCritical ? 40 : percent))
                Take(disk, databases, operation, ref random);
        };
        var steps = new StepLife(scene);
        bool isFailing = life > 1 && _random.Chance(35);
        int count = 10 + _random.Next(_settings.StepsMax);
        bool closes = _random.Chance(30);
        try
        {
            if (life == 1)
                steps.Begin();
            if (isFailing)
                BreakDisk(disk);
            for (; count > 0; count--)
            {
                steps.Step();
                _steps++;
            }

            if (closes)
                steps.Close();
            else if (_random.Chance(30))
                steps.Settle();
            else if (_random.Chance(20) && !engine.Appender.HasFailed)
                engine.StageWithoutRoom();
        }
        catch (PitrException stopped) when (
            stopped is StorageFailedException or DamageException
            && (isFailing || (stopped as StorageFailedException)?.IsDiskFull == true || IsOfStore(stopped)))
        {
            // The engine stops: what was under way may be there or not.
            if (engine.HasWalThrown)
                engine.RequireDead();
        }
        finally
        {
            steps.LetGo();
            _late = scene.Late;
        }

        disk.BeforeOperation = null;
        disk.Faults.Clear();
        if (((StepClock)engine.Context.Clock).StepsBack > 0)
            Hazards.Note(8);
        Take(disk, databases, disk.OperationCount, ref random);
    }

    /// <summary>A backup or restore runs into a store that is out.</summary>
    private static bool IsOfStore(PitrException error) => error.Message.Contains(StepSettings.Store, StringComparison.Ordinal);

    /// <summary>One operation fails, and the next of its kind succeeds without having done it (fsyncgate).</summary>
    private void BreakDisk(SimulatedDisk disk)
    {
        FileOp operation = Failing[_random.Next(Failing.Length)];
        string of = ((string[])["", ".pitr", "/wal/", "control"])[_random.Next(4)];
        if (operation == FileOp.StartWriteback)
            Hazards.Note(11);
        disk.Faults.On(operation).Of(of).Nth(1 + _random.Next(operation == FileOp.SyncData ? 60 : 30))
            .Fail(operation is FileOp.Write or FileOp.SyncData or FileOp.StartWriteback && _random.Chance(25)
                ? Errno.ENOSPC : Errno.EIO);
    }

    private void Take(SimulatedDisk disk, List<StepDatabase> databases, long operation, ref SeededRandom random)
    {
        bool isPowerLoss = random.Chance(75);
        long seed = (long)(random.NextBits() >> 8);
        NoteHazards(disk, isPowerLoss);
        SimulatedDisk left = isPowerLoss ? disk.CrashCopy(seed) : disk.KillCopy();
        left.CapacityBytes = long.MaxValue; // somebody made room
        bool hasLost = !isPowerLoss && random.Chance(40);
        if (hasLost)
            left.LoseWriteback(ref random);
        _crashes.Add(new Crash(left, [.. databases.Select(static one => one.Copy())], operation, isPowerLoss)
        {
            // Where what is read is not what is durable, what comes next shows it.
            GoesOn = random.Chance(hasLost || (!isPowerLoss && disk.HasUnsynced(StepSettings.Store, names: true)) ? 60 : 8),
        });
    }

    private void NoteHazards(SimulatedDisk disk, bool isPowerLoss)
    {
        if (isPowerLoss)
        {
            if (disk.HasUnsynced("/wal", names: true))
                Hazards.Note(5);
            return;
        }

        if (disk.HasUnsynced("/wal/", names: false))
            Hazards.Note(3);
        if (disk.HasUnsynced(".pitr", names: false))
            Hazards.Note(10);
        if (disk.HasUnsynced(StepSettings.Store, names: true))
            Hazards.Note(39);
        if (disk.HasUnsynced(StepSettings.Store + "/history", names: true))
            Hazards.Note(27);
    }

    /// <summary>Opens what each crash left; answers one of them, as it was left, for the next life.</summary>
    private (SimulatedDisk Disk, List<StepDatabase> Databases) Explore(int life, string folder, StepMemory memory)
    {
        Crash[] crashes = [.. _crashes];
        int next = _random.Next(crashes.Length);
        (int At, SimulatedDisk Disk)[] ofThisLife = [.. Enumerable.Range(0, 3).Select(_ => _random.Next(crashes.Length))
            .Select(at => (at, crashes[at].Disk.KillCopy()))];
        for (int i = 0; i < crashes.Length; i++)
        {
            Crash crash = crashes[i];
            _where = $"life {life}, {(crash.IsPowerLoss ? "power loss" : "kill")} before operation {crash.Operation}";
            Crash copy = crash.Copy();
            SimulatedDisk[] past = [.. _past, .. ofThisLife.Where(one => one.At < i).Select(static one => one.Disk)];
            Verify(
                i == next ? copy : crash with { Databases = copy.Databases }, folder, mayCrashAgain: true, memory,
                past.Length == 0 ? null : past[_random.Next(past.Length)]);
        }

        _past.AddRange(ofThisLife.Where(one => one.At <= next).Select(static one => one.Disk));

        return (crashes[next].Disk, crashes[next].Databases);
    }

    private void Verify(Crash crash, string folder, bool mayCrashAgain, StepMemory memory, SimulatedDisk? past)
    {
        Crash? touched = mayCrashAgain && _random.Chance(20) ? crash.Copy() : null;
        if (mayCrashAgain)
            TouchRestores(crash, folder, memory);
        foreach (StepDatabase database in crash.Databases)
        {
            if (database.Folder == folder || database.IsUnfinished || _random.Chance(10))
                Verify(crash, database, mayCrashAgain, memory);
        }

        if (touched is not null)
        {
            string where = _where;
            _where += ", and touched by a hand";
            StepDatabase database = touched.Databases.First(one => one.Folder == folder);
            new StepHand(
                touched.Disk, past ?? touched.Disk, database, touched.Databases, _settings, memory, Hazards,
                _seed + ++_opened * 7919).Touch();
            RequireNothingOpen(touched.Disk);
            _where = where;
        }
    }

    /// <summary>One in three restores that a crash cut off has a datafile of its source put in.</summary>
    private void TouchRestores(Crash crash, string folder, StepMemory memory)
    {
        bool Exists(StepDatabase one) => one.IsUnfinished && new ControlFileStore(crash.Disk, one.Folder).Exists;
        if (!crash.Databases.Any(Exists) || !_random.Chance(33))
            return;
        Crash touched = crash.Copy();
        StepDatabase source = touched.Databases.First(one => one.Folder == folder);
        foreach (StepDatabase restored in touched.Databases.Where(Exists))
        {
            new StepRestoreHand(
                touched.Disk, source, restored, _settings, memory, Hazards, _seed + (++_opened * 7919)).Touch();
        }

        RequireNothingOpen(touched.Disk);
    }

    private void Verify(Crash crash, StepDatabase database, bool mayCrashAgain, StepMemory memory)
    {
        if (database.IsUnfinished && !new ControlFileStore(crash.Disk, database.Folder).Exists)
            return; // the restore had not come to its last step: no database (V3)
        _states++;
        bool isMoving = StepDiskCheck.Run(crash.Disk, database, _settings, memory);
        ulong state = SparseContent.Mix(crash.Disk.FingerprintBut(StepDiskCheck.Tars), database.Model.Acknowledged.Value);
        _seen.Add(state);
        _digest = SparseContent.Mix(_digest, state);
        var again = new List<SimulatedDisk>();
        bool hasRemoved = false;
        bool isTorn = database.Model.Records.Count > 0 && database.Model.Records[^1].End > database.Model.Acknowledged;
        if (mayCrashAgain && _random.Chance(isTorn || isMoving ? 40 : 20))
        {
            // What a torn group has reached, or a move has left, goes in many steps.
            isTorn |= isMoving;
            int most = isTorn ? 6 : 1;
            long at = crash.Disk.OperationCount + 1 + _random.Next(_random.Chance(50) ? 10 : 40);
            var random = SeededRandom.For(_seed, 3000 + (++_opened));
            crash.Disk.BeforeOperation = operation =>
            {
                if (again.Count >= most || (isTorn ? random.Chance(70) : operation != at))
                    return;
                long seed = (long)(random.NextBits() >> 8);
                again.Add(random.Chance(75) ? crash.Disk.CrashCopy(seed) : crash.Disk.KillCopy());
                hasRemoved |= crash.Disk.HasUnsynced("/wal", names: true);
            };
        }

        StepModel before = database.Model.Copy();
        var after = new List<Crash>();
        using (StepEngine? engine = TryOpen(database, crash.Disk, memory))
        {
            crash.Disk.BeforeOperation = null;
            if (engine is null)
                return;
            Check(engine, database.Model, isWithArchive: _random.Chance(40));
            if (engine.Stores.Count > 0 && _random.Chance(40))
            {
                StepCheck.Claims(crash.Disk, crash.Databases, engine.Stores);
                StepCheck.Sets(engine.Stores[0]);
            }

            if (engine.HasRestored && again.Count > 0)
                Hazards.Note(32);
            if (mayCrashAgain && crash.GoesOn)
                GoOn(engine, crash, database, after);
        }

        RequireNothingOpen(crash.Disk);
        if (mayCrashAgain && after.Count == 0 && _random.Chance(20))
        {
            // What an opening has shown stays, whatever the one before it had synced (H3, H10).
            string where = _where;
            _where += ", and power loss after it was opened";
            Verify(
                crash with { Disk = crash.Disk.CrashCopy((long)(_random.NextBits() >> 8)) },
                database with { Model = database.Model.Copy() }, mayCrashAgain: false, memory);
            _where = where;
        }

        foreach (Crash soon in after)
        {
            string where = _where;
            _where += $", opened, and power loss before operation {soon.Operation} of what came next";
            Verify(soon, soon.Databases[0], mayCrashAgain: false, memory);
            _where = where;
        }

        if (hasRemoved)
            Hazards.Note(44);
        foreach (SimulatedDisk disk in again)
        {
            string where = _where;
            _where += ", and again while it was opened";
            Verify(crash with { Disk = disk }, database with { Model = before.Copy() }, mayCrashAgain: false, memory);
            _where = where;
        }
    }

    /// <summary>
    /// Goes on at once, with flushes that reuse pages and checkpoints that believe what opening has read, and loses power
    /// (H3, H10).
    /// </summary>
    private void GoOn(StepEngine engine, Crash crash, StepDatabase database, List<Crash> after)
    {
        SimulatedDisk disk = crash.Disk;
        List<StepDatabase> databases = [database.Copy(), .. crash.Databases.Where(one => one.Folder != database.Folder)];
        var scene = new StepScene(
            disk, engine, databases[0], databases, _settings, engine.Memory, Hazards, _seed + (++_opened * 7919));
        var life = new StepLife(scene);
        SeededRandom random = SeededRandom.For(_seed, 2000 + _opened);
        disk.BeforeOperation = operation =>
        {
            if (after.Count < 4 && random.Chance(8))
            {
                after.Add(new Crash(
                    disk.CrashCopy((long)(random.NextBits() >> 8)), [.. databases.Select(static one => one.Copy())], operation, IsPowerLoss: true));
            }
        };
        for (int i = 1 + random.Next(3); i > 0; i--)
        {
            if (engine.Shippers.Count > 0 && random.Chance(70))
                life.RunToEnd(new StepShip(scene));
            life.RunToEnd(new StepCommit(scene));
            life.RunToEnd(new StepCheckpoint(scene));
        }

        life.LetGo();
        disk.BeforeOperation = null;
        after.Add(new Crash(
            disk.CrashCopy((long)(random.NextBits() >> 8)), [.. databases.Select(static one => one.Copy())], disk.OperationCount, IsPowerLoss: true));
    }

    private void Check(StepEngine engine, StepModel model, bool isWithArchive)
    {
        Lsn end = StepCheck.Run(engine, model);
        MoveCheck.NothingIsLeft((SimulatedDisk)engine.Context.FileSystem, engine.Folder, engine.Control);
        if (model.CutAt(end) > 0)
            Hazards.Note(2);
        if (isWithArchive)
        {
            StepCheck.Archive(engine, model);
            if (StepCheck.Indexes(engine, model) > 0)
                Hazards.Note(46);
        }
        foreach (StepFile file in engine.Files)
        {
            if (engine.AheadAtOpening.Contains(file.Id))
                Hazards.Note(16);
        }

        if (engine.HasFlushedInReplay)
            Hazards.Note(21);
    }

    /// <summary>Null if a restore has lost WAL that no store had acknowledged, and says so.</summary>
    private StepEngine? TryOpen(StepDatabase database, SimulatedDisk disk, StepMemory memory)
    {
        try
        {
            return Open(database.Folder, disk, memory);
        }
        catch (RefusedException gone) when (
            gone.Code == ErrorCode.TargetUnreachable && database is { IsUnfinished: true, IsOfUnshippedWal: true })
        {
            return null;
        }
    }

    private StepEngine Open(string folder, SimulatedDisk disk, StepMemory memory) => StepEngine.Open(
        folder, _settings.OptionsFor(disk, _seed + ++_opened * 7919), memory);

    /// <summary>Workers that come when their file is closed do nothing, and are told why (H13).</summary>
    private static void RequireRefused(List<FlushJob> late)
    {
        foreach (FlushJob job in late)
        {
            try
            {
                job.WritePages();
            }
            catch (PitrException told) when (told is not BugException)
            {
                continue;
            }
            catch (Exception wrong)
            {
                throw new SimulationFailure("A flush went on though its file was closed (H13).", wrong);
            }

            throw new SimulationFailure("A flush was written though its file was closed (H13).");
        }
    }

    private static void RequireNothingOpen(SimulatedDisk disk)
    {
        if (disk.UsedAfterFailedSync is { } path)
            throw new SimulationFailure($"{path} was written or synced again after a sync of it had failed (H3, H11).");
        if (disk.OpenHandleCount > 0 || disk.HeldLockCount > 0)
        {
            throw new SimulationFailure(
                $"{disk.HeldLockCount} locks are held, and open are: {string.Join(", ", disk.OpenHandlePaths)}.");
        }
    }

    private sealed record Crash(SimulatedDisk Disk, List<StepDatabase> Databases, long Operation, bool IsPowerLoss)
    {
        /// <summary>The database that is opened goes on for a while, and loses power.</summary>
        public bool GoesOn { get; init; }

        public Crash Copy() => this with
        {
            Disk = Disk.KillCopy(),
            Databases = [.. Databases.Select(static one => one.Copy())],
        };
    }
}
