using System.Globalization;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// How large things are in one run, and what happens in it: drawn from its seed, so that a thousand seeds are a thousand
/// configurations.
/// </summary>
internal sealed record StepSettings
{
    /// <summary>The archive, on the same disk.</summary>
    public const string Store = "/store";

    /// <summary>Where datafiles lie that are not in their database's folder.</summary>
    public const string Outside = "/outside";

    /// <summary>The key of an encrypted archive.</summary>
    public const string KeyFile = "/key";

    /// <summary>What it is called lies in the stores, and where in the control file.</summary>
    public static readonly ThisProcess Process = new("simulation", 1, "boot");

    public required int WalSegmentBytes { get; init; }

    public required long WriteBufferBytesMax { get; init; }

    /// <summary>Datafiles besides main, at the beginning.</summary>
    public required int MoreFiles { get; init; }

    /// <summary>Different keys in a table.</summary>
    public required int Keys { get; init; }

    /// <summary>The longest value, but for the few that are longer than a page.</summary>
    public required int ValueBytes { get; init; }

    /// <summary>Of a value now and then that needs several parts and segments; 0: none.</summary>
    public int HugeValueBytes { get; init; }

    /// <summary>Where a group is cut into parts (H1): the engine's own bound, or so few that most are cut.</summary>
    public int PartBytesMax { get; init; } = GroupParts.PartBytesMax;

    /// <summary>WAL is shipped into a store, and kept until it was.</summary>
    public bool HasArchive { get; init; }

    /// <summary>What is in the store is encrypted.</summary>
    public bool IsSealed { get; init; }

    public int BackupWeight { get; init; }

    public int RestoreWeight { get; init; }

    /// <summary>Of sets that are written as tars, beside the database.</summary>
    public int TarWeight { get; init; }

    public bool FillsDisk { get; init; }

    /// <summary>Every second datafile lies outside of its database's folder (H30).</summary>
    public bool HasFilesOutside { get; init; }

    /// <summary>Of a hundred values, how many need several parts and segments.</summary>
    public int LargePercent { get; init; }

    /// <summary>Of flushes that no checkpoint asks for: with many of them pages are reused soon.</summary>
    public int FlushWeight { get; init; }

    /// <summary>The page cache has the least room that there is.</summary>
    public bool HasTinyCache { get; init; }

    /// <summary>
    /// Former files that are longer are cut, in steps of so many bytes: nearly every one, or, as in an engine whose
    /// datafiles are small, none.
    /// </summary>
    public long CutBytes => HasTinyCache ? PacedWriter.CutBytesDefault : 2 * PageLayout.PageBytes;

    public int LivesMax { get; init; } = 4;

    public int StepsMax { get; init; } = 60;

    /// <summary>Of a hundred operations, before how many a crash is taken at most.</summary>
    public int CrashPercentMax { get; init; } = 20;

    /// <summary>Kinds of activities, by their place in <see cref="StepLife"/>, that are left out: for minimising.</summary>
    public int[] Without { get; init; } = [];

    public static StepSettings Drawn(ref SeededRandom random)
    {
        bool hasArchive = random.Chance(45);
        bool hasBackups = hasArchive && random.Chance(70);
        return new StepSettings
        {
            WalSegmentBytes = random.Next(3) switch { 0 => 8 << 10, 1 => 16 << 10, _ => 64 << 10 },
            WriteBufferBytesMax = random.Chance(50) ? 256 << 10 : 2 << 20,
            MoreFiles = random.Chance(5) ? 8 : random.Next(3),
            Keys = random.Next(3) switch { 0 => 8, 1 => 60, _ => 400 },
            ValueBytes = random.Next(3) switch { 0 => 20, 1 => 200, _ => 1500 },
            HugeValueBytes = random.Chance(10) ? 600 << 10 : 0,
            HasArchive = hasArchive,
            BackupWeight = hasBackups ? 1 + random.Next(3) : 0,
            RestoreWeight = hasBackups ? 1 + random.Next(6) : 0,
            FillsDisk = random.Chance(20),
            PartBytesMax = random.Chance(50) ? GroupParts.PartBytesMax : 60 + random.Next(1500),
            FlushWeight = random.Chance(30) ? 25 : 0,
            HasTinyCache = random.Chance(20),
            HasFilesOutside = random.Chance(35),
            LargePercent = random.Chance(20) ? 10 : 0,
            TarWeight = random.Chance(25) ? 2 : 0,
        };
    }

    /// <summary>What of it differs from another one, as options of the program.</summary>
    public string Against(StepSettings drawn)
    {
        var words = new List<string>();
        if (LivesMax != drawn.LivesMax)
            words.Add(string.Create(CultureInfo.InvariantCulture, $"--lives {LivesMax}"));
        if (StepsMax != drawn.StepsMax)
            words.Add(string.Create(CultureInfo.InvariantCulture, $"--steps {StepsMax}"));
        if (Without.Length > 0)
            words.Add($"--without {string.Join(',', Without)}");
        return string.Join(' ', words);
    }

    /// <summary>
    /// What the engine's plain parts are made with; chance comes from the seed, time goes on by itself.
    /// </summary>
    public PitrOptions OptionsFor(SimulatedDisk disk, long seed)
    {
        SeededRandom random = SeededRandom.For(seed, 3);
        return new PitrOptions
        {
            FileSystem = disk,
            WalSegmentBytes = WalSegmentBytes,
            WriteBufferBytesMax = WriteBufferBytesMax,
            MemoryBudgetBytes = 8 << 20,
            ArchiveStores = HasArchive ? [Store] : [],
            ArchiveKeyFile = IsSealed ? KeyFile : null,
            Clock = new StepClock(disk, seed),
            Delay = static _ => { },
            CutBytes = CutBytes,
            Threads = new StepThreads(),
            Processors = 2,
            DrawRandom = () => random.NextBits(),
            Process = Process,
        };
    }
}

/// <summary>
/// Time that goes on by a millisecond with each look and by what a slow disk took; the wall clock steps back now and
/// then, and seldom jumps ahead for a moment (H8).
/// </summary>
internal sealed class StepClock(SimulatedDisk disk, long seed) : TimeProvider
{
    private SeededRandom _random = SeededRandom.For(seed, 4);
    private DateTimeOffset _now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddSeconds(seed % 1_000_000);
    private long _timestamp;

    /// <summary>How often it stepped back.</summary>
    public int StepsBack { get; private set; }

    public override long TimestampFrequency => 1000;

    /// <summary>Somebody sets it back.</summary>
    public void StepBack(TimeSpan by)
    {
        StepsBack++;
        _now -= by;
    }

    public override DateTimeOffset GetUtcNow()
    {
        int chance = _random.Next(4000);
        if (chance == 0)
            return _now + disk.Elapsed + TimeSpan.FromDays(3650);
        if (chance <= 40)
            StepsBack++;
        return (_now += TimeSpan.FromMilliseconds(chance <= 40 ? -5000 : 1)) + disk.Elapsed;
    }

    public override long GetTimestamp() => ++_timestamp + (long)disk.Elapsed.TotalMilliseconds;
}
