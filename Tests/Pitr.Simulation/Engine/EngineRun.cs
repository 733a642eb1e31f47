using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What a run of a seed explored.</summary>
/// <param name="States">Crashes, each with its opening, replay and comparison with the oracle.</param>
/// <param name="Distinct">How many of them were different: content of the disk and what the oracle knew.</param>
/// <param name="Steps">Steps taken: messages, pieces of work, timers, steps of clients.</param>
internal readonly record struct EngineResult(long States, long Distinct, long Steps);

/// <summary>
/// One seed on the level of the engine: the real actors in one world, several lives of one database, each crashed at
/// many operations on the disk, also while it is opened or restored, and every crash opened and compared with the
/// oracle.
/// </summary>
/// <remarks>
/// A crash is a copy of the disk, as power loss or a kill leaves it, taken before an operation; the life goes on beside
/// it, so that one life has many ends, and the answers that were under way become known. One of the ends is where the
/// next life begins; or a restore is.
/// </remarks>
internal sealed class EngineRun
{
    private const int CrashesOfALife = 24;
    private const int CrashesOfARestore = 4;

    private readonly long _seed;
    private readonly EngineHouse _house;
    private readonly EngineLimits _limits;
    private EngineStage _stage = null!;
    private World _world = null!;
    private string _folder = "/db";
    private string? _lost; // the datafile that the disk of the next life has lost
    private string _where = "creating";
    private readonly HashSet<ulong> _seen = [];
    private long _states;

    /// <param name="seed">Everything comes from it.</param>
    /// <param name="house">Used again from run to run; null: one of its own.</param>
    /// <param name="limits">What it does at most; null: all.</param>
    public EngineRun(long seed, EngineHouse? house = null, EngineLimits? limits = null) =>
        (_seed, _house, _limits) = (seed, house ?? new EngineHouse(), limits ?? EngineLimits.None);

    /// <summary>What has happened, in order.</summary>
    public Transcript Transcript => _house.World.Transcript;

    /// <exception cref="SimulationFailure">Something is not as it has to be; says where.</exception>
    public EngineResult Run(bool keepsTranscript = false)
    {
        _world = _house.Begin(_seed);
        if (keepsTranscript)
            Transcript.KeepAll();
        try
        {
            _world.Run(LiveAsync);
            return new EngineResult(_states, _seen.Count, _world.Steps);
        }
        catch (Exception error)
        {
            string what = _limits.Story is { } story ? $"Scenario {story.Name}, seed {_seed}" : $"Seed {_seed}";
            throw new SimulationFailure($"{what}, {_where}: {error.Message}", error);
        }
    }

    private async Task LiveAsync()
    {
        _stage = new EngineStage(_seed, _house, _limits.Story);
        var disk = new SimulatedDisk(_seed);
        disk.CreateFolders("/");
        var history = new EngineHistory();
        var created = new WorldDisk(_world, disk, _stage.Settings.Disk);
        await AbandonAsync(await _world.On(PitrDatabase.CreateAsync(_folder, _stage.OptionsFor(created))), created);
        disk = disk.KillCopy();
        for (int number = 1; number <= _limits.Lives; number++)
            (disk, history) = await LiveAsync(disk, history, number);
        await _world.SettleAsync(); // nothing of it may come into the next world
        _stage.Dispose();
    }

    private async Task<(SimulatedDisk Disk, EngineHistory History)> LiveAsync(
        SimulatedDisk disk, EngineHistory history, int number)
    {
        _where = $"opening for life {number}";
        var worldDisk = new WorldDisk(_world, disk, _stage.Settings.Disk);
        PitrDatabase database = await _world.On(PitrDatabase.OpenAsync(_folder, _stage.OptionsFor(worldDisk)));
        Lsn end = database.Actors.End;
        await MendAsync(database, _lost);
        EngineCheck.Compare(database, history, end);
        EngineCheck.NothingIsLeftOfMoves(disk, _folder, _lost);
        history = history.CutAt(end);
        EngineCheck.SettleNames(database, history, end);
        _where = $"life {number}";
        int perMille = _limits.Story is null ? _stage.Settings.CrashesPerMille : EngineStory.CrashesPerMille;
        var crashes = new EngineCrashes(_world, worldDisk, perMille, CrashesOfALife);
        crashes.Acknowledge(end);
        var life = new EngineLife(_stage, worldDisk, database, history, crashes, (_seed * 1009) + number, number, _limits);
        if (number == 1)
            await life.BeginAsync();
        crashes.Begin(_where);
        await life.RunAsync();
        crashes.End();
        crashes.Take(_where);
        SimulatedDisk next = await ExploreAsync(crashes, history);
        if (life.Tars.Count > 0)
            await RequireTarRestoresAsync(life.Tars[_world.Draw(life.Tars.Count)], history, number);
        if (life.PutsBack is { } older)
            PutBack(older, next);
        if (life.Backups.Count == 0 || life.PutsBack is not null)
            return (next, history);
        return await RestoreAsync(worldDisk.Inner.KillCopy(), life, history, number) ?? (next, history);
    }

    // ---- crashes -----------------------------------------------------------------------------------------

    /// <summary>Opens what each crash left; answers one of them, as it was left, for the next life.</summary>
    private async Task<SimulatedDisk> ExploreAsync(EngineCrashes crashes, EngineHistory history)
    {
        int chosen = _limits.Story is null ? _world.Draw(crashes.Taken.Count) : crashes.Taken.Count - 1; // a story goes on
        SimulatedDisk next = crashes.Taken[chosen].Disk.KillCopy();
        _lost = crashes.Taken[chosen].Lost;
        next.CapacityBytes = long.MaxValue;
        foreach (EngineCrash crash in crashes.Taken)
            await VerifyAsync(crash, history, mayCrashAgain: true);
        return next;
    }

    private async Task VerifyAsync(EngineCrash crash, EngineHistory history, bool mayCrashAgain)
    {
        _where = crash.Where;
        Count(crash);
        if (mayCrashAgain)
        {
            EngineCheck.RequireListedFiles(crash.Disk, _folder, crash.Lost);
            EngineCheck.RequireSoundMoves(crash.Disk, _folder, () => _stage.EnvironmentOn(crash.Disk));
            EngineCheck.RequireNoHole(crash.Disk, _folder, EngineLife.Store, _stage.Settings.MayHaveGaps);
            EngineCheck.RequireNoHole(crash.Disk, _folder, EngineLife.Second, mayGiveUp: true);
        }

        var disk = new WorldDisk(_world, crash.Disk, _stage.Settings.Disk);
        SimulatedDisk? again = null;
        if (mayCrashAgain && _world.Draw(100) < 25)
        {
            int crashAt = 1 + _world.Draw(_world.Draw(100) < 50 ? 10 : 40);
            again = await OpenAndCheckAsync(disk, crash, history, crashAt);
        }
        else
        {
            await OpenAndCheckAsync(disk, crash, history, 0);
        }

        if (again is not null)
        {
            await VerifyAsync(
                crash with { Disk = again, Where = crash.Where + ", and again while it was opened" }, history, false);
        }
    }

    private void Count(EngineCrash crash)
    {
        _states++;
        _seen.Add(SparseContent.Mix(crash.Disk.Fingerprint(), crash.Acknowledged.Value));
    }

    /// <summary>Answers the disk as a crash before one of opening's operations left it; null if there was none.</summary>
    private async Task<SimulatedDisk?> OpenAndCheckAsync(
        WorldDisk disk, EngineCrash crash, EngineHistory history, int crashAt)
    {
        SimulatedDisk? again = null;
        int operations = 0;
        bool isPowerLoss = _world.Draw(100) < 75;
        disk.BeforeChange = () =>
        {
            if (++operations == crashAt)
                again = isPowerLoss ? disk.Inner.CrashCopy(_world.Draw(int.MaxValue)) : disk.Inner.KillCopy();
        };
        PitrDatabase database = await _world.On(PitrDatabase.OpenAsync(_folder, _stage.OptionsFor(disk)));
        Lsn end = database.Actors.End;
        if (end < crash.Acknowledged)
            throw new SimulationFailure($"The WAL ends at {end}, and {crash.Acknowledged} was acknowledged (I1).");
        await MendAsync(database, crash.Lost);
        EngineCheck.Compare(database, history, end);
        if (disk.Inner.CapacityBytes == long.MaxValue) // else there may be no room for the control file that settles them
        {
            EngineCheck.NothingIsLeftOfMoves(disk.Inner, _folder, crash.Lost);
            EngineCheck.NothingIsLeftOfRecoveries(disk.Inner, _folder);
        }

        disk.BeforeChange = null;
        await CloseAsync(database, disk);
        return again;
    }

    /// <summary>A datafile that its disk has lost comes back out of a set and the WAL: all of the others were there (H40).</summary>
    private async Task MendAsync(PitrDatabase database, string? lost)
    {
        if (database.Engine.Slots.All.Any(slot => slot.Name == lost && slot.State == DatafileState.NeedsRecovery))
            await _world.On(database.RecoverDatafileAsync(new DatafileRecoveryRequest { Datafile = lost! }));
    }

    /// <summary>Mostly at once, sometimes in order.</summary>
    private async Task CloseAsync(PitrDatabase database, WorldDisk disk)
    {
        if (_world.Draw(100) < 85)
        {
            await AbandonAsync(database, disk);
            return;
        }

        DatafileInfo[] files = [.. database.Datafiles];
        await _world.On(database.ShutdownAsync());
        await _stage.RequireNothingLeftAsync(disk.Inner);
        foreach (DatafileInfo file in files)
            EngineCheck.CheckPages(_stage.EnvironmentOn(disk.Inner), LinkedName.Resolve(disk.Inner, file.Path));
    }

    private async Task AbandonAsync(PitrDatabase database, WorldDisk disk)
    {
        if (_world.Errors.Find(error => error.Cause is not null || _stage.Settings.ArchiveLagBytesMax is null) is { } failed)
            throw new SimulationFailure($"An actor has failed: {failed}", failed.Cause);
        disk.Inner.PowerOff();
        try
        {
            await _world.On(database.ShutdownAsync(force: true));
        }
        catch (Exception error) when (error is not BugException and not SimulationFailure)
        {
            _world.Note("ended", error.GetType().Name);
        }

        await _stage.RequireNothingLeftAsync(disk.Inner);
        await _world.Delay(TimeSpan.FromMilliseconds(1)); // all that was said has been noted
        _world.Errors.Clear();
    }

    // ---- restores ----------------------------------------------------------------------------------------

    /// <summary>
    /// Goes back to a commit that is in the store, and compares; crashed on its way it goes on. Sometimes the next life
    /// is that of the restored database, on its new timeline: then answers it.
    /// </summary>
    private async Task<(SimulatedDisk Disk, EngineHistory History)?> RestoreAsync(
        SimulatedDisk disk, EngineLife life, EngineHistory history, int number)
    {
        Lsn first = life.Backups[0].StopLsn;
        Lsn[] targets = [.. history.Commits.Where(at => at >= first && at <= life.Archived)];
        if (targets.Length == 0)
            return null;
        Lsn target = life.GoesBackTo ?? targets[_world.Draw(targets.Length)];
        string into = $"/r{number}";
        _where = $"restoring to {target} after life {number}";
        disk.CapacityBytes = long.MaxValue;
        var worldDisk = new WorldDisk(_world, disk, _stage.Settings.Disk);
        var crashes = new EngineCrashes(_world, worldDisk, 15, CrashesOfARestore);
        crashes.Begin(_where);
        try
        {
            await RestoreAsync(worldDisk, into, target, life.Timeline);
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.WalGap && _stage.Settings.MayHaveGaps)
        {
            _world.Note("refused", "a restore over a gap");
            EngineCheck.RequireGapBelow(worldDisk.Inner, _folder, EngineLife.Store, target);
            return null;
        }

        crashes.End();
        await RequireRestoredAsync(worldDisk, into, target, history);
        foreach (EngineCrash crash in crashes.Taken)
        {
            _where = crash.Where;
            Count(crash);
            var left = new WorldDisk(_world, crash.Disk, _stage.Settings.Disk);
            await GoOnAsync(left, into, target, life.Timeline, history);
        }

        if (number == _limits.Lives || (life.GoesBackTo is null && _world.Draw(100) < 50))
            return null;
        (_folder, _lost) = (into, null);
        return (worldDisk.Inner, history.CutAt(target));
    }

    private Task RestoreAsync(WorldDisk disk, string into, Lsn target, string timeline) => _world.Start(
        "restore", async () => await _world.On(PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = EngineLife.Store,
                Into = into,
                Target = RecoveryTarget.Including(target),
                Timeline = timeline,
            },
            _stage.OptionsFor(disk))));

    /// <summary>A restore that died: opened it goes on; where there is no database yet it is made again.</summary>
    private async Task GoOnAsync(WorldDisk disk, string into, Lsn target, string timeline, EngineHistory history)
    {
        if (disk.Inner.Stat(into + "/pitr.control") is null)
        {
            if (disk.Inner.Stat(into) is not null)
                Remove(disk.Inner, into);
            await RestoreAsync(disk, into, target, timeline);
        }

        await RequireRestoredAsync(disk, into, target, history);
    }

    private async Task RequireRestoredAsync(WorldDisk disk, string into, Lsn target, EngineHistory history)
    {
        PitrDatabase database = await _world.On(PitrDatabase.OpenAsync(into, _stage.OptionsFor(disk)));
        EngineCheck.Compare(database, history, target);
        await _world.On(database.ShutdownAsync());
        await _stage.RequireNothingLeftAsync(disk.Inner);
    }

    /// <summary>A tar that passes for whole restores by itself, on another machine, to exactly its stop.</summary>
    private async Task RequireTarRestoresAsync(MadeTar tar, EngineHistory history, int number)
    {
        string into = $"/t{number}";
        _where = $"restoring a tar of {tar.Stop} after life {number}";
        var disk = new SimulatedDisk(_seed);
        disk.CreateFolders("/tars");
        using (IFileHandle file = disk.Open("/tars/set.tar", FileOpen.CreateNew))
            file.Write(0, tar.Bytes);
        var worldDisk = new WorldDisk(_world, disk, _stage.Settings.Disk);
        await _world.Start("restore of a tar", async () => await _world.On(PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = "/tars/set.tar",
                Into = into,
                Target = RecoveryTarget.Immediate,
                Detached = true,
            },
            _stage.OptionsFor(worldDisk) with { ArchiveStores = [] })));
        PitrDatabase database = await _world.On(
            PitrDatabase.OpenAsync(into, _stage.OptionsFor(worldDisk) with { ArchiveStores = [] }));
        EngineCheck.Compare(database, history, tar.Stop);
        await _world.On(database.ShutdownAsync());
        await _stage.RequireNothingLeftAsync(disk);
        _states++;
    }

    /// <summary>Somebody puts an older copy of the database's folder into its place; the stores stay what they are.</summary>
    private void PutBack(SimulatedDisk older, SimulatedDisk disk)
    {
        Remove(disk, _folder);
        CopyFolder(older, disk, _folder);
        disk.SyncAll();
    }

    private static void CopyFolder(SimulatedDisk from, SimulatedDisk to, string folder)
    {
        to.CreateFolders(folder);
        foreach (string name in from.List(folder))
        {
            string path = $"{folder}/{name}";
            FileEntry entry = from.Stat(path)!;
            if (entry.IsFolder)
            {
                CopyFolder(from, to, path);
            }
            else if (entry.IsSymlink)
            {
                to.Symlink(from.ReadLink(path)!, path);
            }
            else
            {
                using IFileHandle file = to.Open(path, FileOpen.CreateNew);
                file.Write(0, from.ReadAll(path));
            }
        }
    }

    private static void Remove(SimulatedDisk disk, string folder)
    {
        foreach (string name in disk.List(folder))
        {
            string path = $"{folder}/{name}";
            if (disk.Stat(path)!.IsFolder)
                Remove(disk, path);
            else
                disk.Delete(path);
        }

        disk.DeleteFolder(folder);
    }
}
