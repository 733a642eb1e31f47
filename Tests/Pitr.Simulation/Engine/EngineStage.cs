using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What all parts of a run stand on: its world, its settings, and how an engine is opened in it.</summary>
internal sealed class EngineStage
{
    private readonly long _seed;
    private readonly EngineHouse _house;
    private readonly DatafileEnvironment _memory;
    private long _opened;

    public EngineStage(long seed, EngineHouse house, EngineStory? story)
    {
        _seed = seed;
        _house = house;
        var random = new SeededRandom(seed);
        EngineSettings drawn = EngineSettings.Drawn(ref random);
        Settings = story?.Set(drawn) ?? drawn;
        Threads = new WorldThreads(World);
        var nowhere = new WorldDisk(World, new SimulatedDisk(), Settings.Disk);
        _memory = EngineFactory.EnvironmentFor(OptionsWithoutMemory(nowhere));
    }

    public World World => _house.World;

    public EngineSettings Settings { get; }

    public WorldThreads Threads { get; }

    /// <summary>What an engine on this disk is opened with.</summary>
    public PitrOptions OptionsFor(WorldDisk disk)
    {
        PitrOptions options = OptionsWithoutMemory(disk);
        return options with
        {
            Environment = _memory with { Files = disk, Writer = EngineFactory.WriterFor(options, _memory.Arenas) },
        };
    }

    /// <summary>Memory and readers of a disk that is looked at without an engine.</summary>
    public DatafileEnvironment EnvironmentOn(IFileSystem disk) => _memory with { Files = disk };

    /// <summary>Everything that engines had is given back (I12).</summary>
    public async Task RequireNothingLeftAsync(SimulatedDisk disk)
    {
        for (int i = 0; i < 20 && IsSomethingLeft(disk) is not null; i++)
        {
            await World.Delay(TimeSpan.FromSeconds(1));
            _memory.Epochs.Collect();
        }

        if (IsSomethingLeft(disk) is { } left)
            throw new SimulationFailure($"After the end of the engine {left}");
    }

    /// <summary>The memory goes back to the system.</summary>
    public void Dispose()
    {
        _memory.Epochs.Collect();
        _memory.Cache.Dispose();
        _memory.Arenas.Dispose();
    }

    private string? IsSomethingLeft(SimulatedDisk disk)
    {
        if (disk.WrittenWithoutLock is { } path)
            return $"it is known that {path} was written without its lock (H13).";
        if (disk.UsedAfterFailedSync is { } used)
            return $"it is known that {used} was written or synced again after a sync of it had failed (H3, H11).";
        if (disk.OpenHandleCount > 0)
            return $"these are open: {string.Join(", ", disk.OpenHandlePaths)}.";
        if (disk.HeldLockCount > 0)
            return $"{disk.HeldLockCount} locks are held.";
        if (Threads.Running > 0)
            return $"{Threads.Running} pieces of work have not ended.";
        if (_memory.Arenas.RentedBytes > 0)
            return $"{_memory.Arenas.RentedBytes} bytes of write buffers were not given back.";
        return _memory.Epochs.Waiting > 0 ? $"{_memory.Epochs.Waiting} releases wait for a reader that is gone." : null;
    }

    private PitrOptions OptionsWithoutMemory(WorldDisk disk) =>
        Settings.OptionsFor(_house, Threads, disk, _seed + (++_opened * 7919));
}
