using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// How large things are in one run with actors, and how its disk behaves: drawn from the seed, so that a thousand seeds
/// are a thousand configurations.
/// </summary>
internal sealed record EngineSettings
{
    public required StepSettings Sizes { get; init; }

    public required DiskManners Disk { get; init; }

    public required long CheckpointWalBytes { get; init; }

    public static EngineSettings Drawn(ref SeededRandom random) => new()
    {
        Sizes = StepSettings.Drawn(ref random),
        Disk = new DiskManners(random.Next(3) switch { 0 => 0, 1 => 3, _ => 25 }, random.Chance(20) ? 2 : 0),
        CheckpointWalBytes = random.Chance(50) ? 24 << 10 : 200 << 10,
    };

    /// <summary>What an engine is opened with: everything that it has from outside is the world's.</summary>
    public PitrOptions OptionsFor(EngineHouse house, WorldThreads threads, IFileSystem disk, long seed)
    {
        World world = house.World;
        return Sizes.OptionsFor(null!, seed) with
        {
            FileSystem = disk,
            CheckpointWalBytes = CheckpointWalBytes,
            Clock = world.Clock,
            Delay = world.Pause,
            Workers = threads,
            Threads = threads,
            ActorSystem = house.System,
            Process = new ThisProcess("simulation", 1),
        };
    }
}
