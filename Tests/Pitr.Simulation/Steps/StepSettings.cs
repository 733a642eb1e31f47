using Pitr.Actors;

namespace Pitr.Simulation;

/// <summary>
/// How large things are in one run: drawn from its seed, so that a thousand seeds are a thousand configurations.
/// </summary>
internal sealed record StepSettings
{
    public required int WalSegmentBytes { get; init; }

    public required long WriteBufferBytesMax { get; init; }

    /// <summary>Datafiles besides main, at the beginning.</summary>
    public required int MoreFiles { get; init; }

    /// <summary>Different keys in a table.</summary>
    public required int Keys { get; init; }

    /// <summary>The longest value, but for the few that are longer than a page.</summary>
    public required int ValueBytes { get; init; }

    public static StepSettings Drawn(ref SeededRandom random) => new()
    {
        WalSegmentBytes = random.Next(3) switch { 0 => 8 << 10, 1 => 16 << 10, _ => 64 << 10 },
        WriteBufferBytesMax = random.Chance(50) ? 256 << 10 : 2 << 20,
        MoreFiles = random.Next(3),
        Keys = random.Next(3) switch { 0 => 8, 1 => 60, _ => 400 },
        ValueBytes = random.Next(3) switch { 0 => 20, 1 => 200, _ => 1500 },
    };

    /// <summary>
    /// What the engine's plain parts are made with; chance comes from the seed, time goes on by itself.
    /// </summary>
    public PitrOptions OptionsFor(SimulatedDisk disk, long seed)
    {
        var random = new SeededRandom(seed);
        return new PitrOptions
        {
            FileSystem = disk,
            WalSegmentBytes = WalSegmentBytes,
            WriteBufferBytesMax = WriteBufferBytesMax,
            MemoryBudgetBytes = 8 << 20,
            Clock = new StepClock(seed),
            Delay = static _ => { },
            DrawRandom = () => random.NextBits(),
        };
    }
}

/// <summary>Time that goes on by a millisecond with each look, and seldom steps back.</summary>
internal sealed class StepClock(long seed) : TimeProvider
{
    private SeededRandom _random = new(seed);
    private DateTimeOffset _now = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).AddSeconds(seed % 1_000_000);
    private long _timestamp;

    public override long TimestampFrequency => 1000;

    public override DateTimeOffset GetUtcNow() =>
        _now += TimeSpan.FromMilliseconds(_random.Chance(2) ? -5000 : 1);

    public override long GetTimestamp() => ++_timestamp;
}
