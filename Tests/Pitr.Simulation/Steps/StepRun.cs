using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What a run of a seed explored.</summary>
/// <param name="States">Crashes, each with its opening, replay and comparison with the oracle.</param>
/// <param name="Distinct">How many of them were different: content of the disk and what the oracle knew.</param>
/// <param name="Steps">Steps taken between them.</param>
internal readonly record struct StepResult(long States, long Distinct, long Steps);

/// <summary>
/// One seed on the level of the steps: several lives of one database, each crashed at many operations on the disk, and
/// every crash opened and compared with the oracle.
/// </summary>
/// <remarks>
/// A crash is a copy of the disk, as power loss or a kill leaves it, taken before an operation; the life goes on beside
/// it, so that one life has many ends. One of them is where the next life begins. Opening is crashed as well.
/// </remarks>
internal sealed class StepRun
{
    private const int LivesMax = 4;
    private const int StepsMax = 60;

    private static readonly FileOp[] Failing =
    [
        FileOp.SyncData, FileOp.SyncData, FileOp.SyncData, FileOp.Write, FileOp.StartWriteback, FileOp.Create,
        FileOp.Rename, FileOp.Delete, FileOp.SyncFolder, FileOp.SetLength,
    ];

    private readonly long _seed;
    private readonly StepSettings _settings;
    private readonly List<Crash> _crashes = [];
    private readonly HashSet<ulong> _seen = [];
    private SeededRandom _random;
    private long _opened;
    private long _states;
    private long _steps;
    private string _where = "creating";

    public StepRun(long seed)
    {
        _seed = seed;
        _random = new SeededRandom(seed);
        _settings = StepSettings.Drawn(ref _random);
    }

    /// <exception cref="SimulationFailure">Something is not as it has to be; says where.</exception>
    public StepResult Run()
    {
        try
        {
            Live();
            return new StepResult(_states, _seen.Count, _steps);
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
        disk.CreateFolders("/");
        StepEngine.Create(_settings.OptionsFor(disk, _seed));
        StepModel? model = null;
        for (int life = 1; life <= LivesMax; life++)
        {
            _where = $"opening for life {life}";
            using (StepEngine engine = Open(disk, memory))
            {
                model ??= new StepModel(engine.DurableLsn);
                model.CutAt(StepCheck.Run(engine, model));
                _where = $"life {life}";
                Live(engine, disk, model, life);
            }

            RequireNothingOpen(disk);
            (disk, model) = Explore(life, memory);
        }
    }

    private void Live(StepEngine engine, SimulatedDisk disk, StepModel model, int life)
    {
        _crashes.Clear();
        int percent = 1 + _random.Next(20);
        var random = new SeededRandom(_seed * 1009 + life);
        disk.BeforeOperation = operation =>
        {
            if (random.Chance(percent))
                Take(disk, model, operation, ref random);
        };
        var steps = new StepLife(engine, model, _settings, _seed * 31 + life);
        if (life == 1)
            steps.Begin();
        bool isFailing = life > 1 && _random.Chance(35);
        if (isFailing)
            BreakDisk(disk);
        try
        {
            for (int step = 10 + _random.Next(StepsMax); step > 0; step--)
            {
                steps.Step();
                _steps++;
            }

            if (_random.Chance(30))
                steps.Close();
            steps.CheckSnapshots();
        }
        catch (StorageFailedException) when (isFailing)
        {
            // The engine stops: what was under way may be there or not.
        }
        finally
        {
            steps.LetSnapshotsGo();
        }

        disk.BeforeOperation = null;
        disk.Faults.Clear();
        Take(disk, model, disk.OperationCount, ref random);
    }

    /// <summary>One operation fails, and the next of its kind succeeds without having done it (fsyncgate).</summary>
    private void BreakDisk(SimulatedDisk disk)
    {
        FileOp operation = Failing[_random.Next(Failing.Length)];
        string of = ((string[])["", ".pitr", "/wal/", "control"])[_random.Next(4)];
        disk.Faults.On(operation).Of(of).Nth(1 + _random.Next(operation == FileOp.SyncData ? 60 : 30)).Fail(Errno.EIO);
    }

    private void Take(SimulatedDisk disk, StepModel model, long operation, ref SeededRandom random)
    {
        bool isPowerLoss = random.Chance(75);
        long seed = (long)(random.NextBits() >> 8);
        _crashes.Add(new Crash(
            isPowerLoss ? disk.CrashCopy(seed) : disk.KillCopy(), model.Copy(), operation, isPowerLoss));
    }

    /// <summary>Opens what each crash left; answers one of them, as it was left, for the next life.</summary>
    private (SimulatedDisk Disk, StepModel Model) Explore(int life, StepMemory memory)
    {
        Crash[] crashes = [.. _crashes];
        int next = _random.Next(crashes.Length);
        for (int i = 0; i < crashes.Length; i++)
        {
            Crash crash = crashes[i];
            _where = $"life {life}, {(crash.IsPowerLoss ? "power loss" : "kill")} before operation {crash.Operation}";
            Verify(i == next ? crash with { Disk = crash.Disk.KillCopy() } : crash, mayCrashAgain: true, memory);
        }

        return (crashes[next].Disk, crashes[next].Model);
    }

    private void Verify(Crash crash, bool mayCrashAgain, StepMemory memory)
    {
        _states++;
        _seen.Add(SparseContent.Mix(crash.Disk.Fingerprint(), crash.Model.Acknowledged.Value));
        SimulatedDisk? again = null;
        if (mayCrashAgain && _random.Chance(25))
        {
            long at = crash.Disk.OperationCount + 1 + _random.Next(_random.Chance(50) ? 10 : 40);
            long seed = (long)(_random.NextBits() >> 8);
            bool isPowerLoss = _random.Chance(75);
            crash.Disk.BeforeOperation = operation =>
            {
                if (operation == at)
                    again = isPowerLoss ? crash.Disk.CrashCopy(seed) : crash.Disk.KillCopy();
            };
        }

        using (StepEngine engine = Open(crash.Disk, memory))
        {
            crash.Disk.BeforeOperation = null;
            StepCheck.Run(engine, crash.Model);
        }

        RequireNothingOpen(crash.Disk);
        if (again is null)
            return;
        _where += ", and again while it was opened";
        Verify(crash with { Disk = again }, mayCrashAgain: false, memory);
    }

    private StepEngine Open(SimulatedDisk disk, StepMemory memory) => StepEngine.Open(
        _settings.OptionsFor(disk, _seed + ++_opened * 7919), memory);

    private static void RequireNothingOpen(SimulatedDisk disk)
    {
        if (disk.OpenHandleCount > 0 || disk.HeldLockCount > 0)
        {
            throw new SimulationFailure(
                $"{disk.HeldLockCount} locks are held, and open are: {string.Join(", ", disk.OpenHandlePaths)}.");
        }
    }

    private sealed record Crash(SimulatedDisk Disk, StepModel Model, long Operation, bool IsPowerLoss);
}
