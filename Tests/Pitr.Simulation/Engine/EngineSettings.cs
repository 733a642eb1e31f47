using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// How large things are in one run with actors, what it does, and how its disk behaves: drawn from the seed, so that a
/// thousand seeds are a thousand configurations.
/// </summary>
internal sealed record EngineSettings
{
    public required StepSettings Sizes { get; init; }

    public required DiskManners Disk { get; init; }

    public required long CheckpointWalBytes { get; init; }

    /// <summary>Clients that commit, and commits of each in a life.</summary>
    public required (int Clients, int Commits) Writers { get; init; }

    /// <summary>A store gets the WAL, and backup sets.</summary>
    public required bool Archives { get; init; }

    /// <summary>Changes of the disk in a thousand before which a crash is taken.</summary>
    public required int CrashesPerMille { get; init; }

    /// <summary>WAL that is kept for files that are fenced or offline, in bytes (H24).</summary>
    public required long FencedWalBytesMax { get; init; }

    /// <summary>What happens at that bound to a file that is offline.</summary>
    public KeptWalChoice KeptWalChoice { get; init; }

    /// <summary>A commit waits for so long at most until the stores have it; null: it does not (A1).</summary>
    public TimeSpan? ArchiveCommitWait { get; init; }

    /// <summary>What a store may lack, in bytes; null: the engine's own bound.</summary>
    public long? ArchiveLagBytesMax { get; init; }

    /// <summary>Beyond it the oldest segments are given up; else commits are refused.</summary>
    public bool GivesArchiveUp { get; init; }

    /// <summary>WAL may be missing in a store, noted as a gap.</summary>
    public bool MayHaveGaps => ArchiveLagBytesMax is not null && GivesArchiveUp;

    public static EngineSettings Drawn(ref SeededRandom random)
    {
        EngineSettings drawn = WithoutArchive(ref random);
        return !drawn.Archives ? drawn : drawn with
        {
            ArchiveCommitWait = random.Chance(25) ? TimeSpan.FromSeconds(45) : null,
            ArchiveLagBytesMax = random.Chance(30) ? (30 << 10) + random.Next(90 << 10) : null,
            GivesArchiveUp = random.Chance(50),
        };
    }

    private static EngineSettings WithoutArchive(ref SeededRandom random) => new()
    {
        Sizes = StepSettings.Drawn(ref random),
        Disk = new DiskManners(random.Next(3) switch { 0 => 0, 1 => 2, _ => 10 }, random.Chance(20) ? 2 : 0),
        CheckpointWalBytes = random.Chance(50) ? 24 << 10 : 200 << 10,
        Writers = (1 + random.Next(4), 4 + random.Next(16)),
        Archives = random.Chance(50),
        CrashesPerMille = 20 + random.Next(100),
        FencedWalBytesMax = random.Chance(50) ? (8 << 10) + random.Next(60 << 10) : 16L << 30,
    };

    /// <summary>What an engine is opened with: everything that it has from outside is the world's.</summary>
    public PitrOptions OptionsFor(EngineHouse house, WorldThreads threads, IFileSystem disk, long seed)
    {
        World world = house.World;
        return Sizes.OptionsFor(null!, seed) with
        {
            FileSystem = disk,
            CheckpointWalBytes = CheckpointWalBytes,
            FencedWalBytesMax = FencedWalBytesMax,
            KeptWalChoice = KeptWalChoice,
            ArchiveCommitWait = ArchiveCommitWait,
            ArchiveLagBytesMax = ArchiveLagBytesMax,
            ArchiveLagChoice = ArchiveLagBytesMax is null ? null
                : GivesArchiveUp ? ArchiveLagChoice.DropAndRecordGap : ArchiveLagChoice.RefuseCommits,
            SpillBytesMin = CrashesPerMille % 2 == 0 ? 3 << 10 : null,
            ArchiveStores = Archives ? [EngineLife.Store] : [],
            DiskReserveBytes = CrashesPerMille % 3 == 0 ? 3L * Sizes.WalSegmentBytes : 0,
            ArchiveSegmentsAtOnce = 1 + (CrashesPerMille % 4),
            ArchiveShutdownWait = TimeSpan.FromSeconds(200),
            Clock = world.Clock,
            Delay = world.Pause,
            Workers = threads,
            Threads = threads,
            Processors = 2,
            ActorSystem = house.System,
            Process = new ThisProcess("simulation", 1, "boot"),
        };
    }
}
