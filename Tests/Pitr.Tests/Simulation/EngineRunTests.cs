using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>The simulation on the level of the engine: the real actors in an order drawn from a seed.</summary>
public sealed class EngineRunTests
{
    [Fact]
    public void A_seed_is_the_same_run_each_time_byte_for_byte()
    {
        var house = new EngineHouse();
        string first = TranscriptOf(3, house);
        TranscriptOf(4, house);
        Assert.Equal(first, TranscriptOf(3, house));
        Assert.Equal(first, TranscriptOf(3, new EngineHouse()));
        Assert.NotEqual(first, TranscriptOf(5, house));
        Assert.Contains("takes Drain", first, StringComparison.Ordinal);
        Assert.Contains("SyncData /db/wal/", first, StringComparison.Ordinal);
        Assert.Contains("timer", first, StringComparison.Ordinal);
    }

    private static string TranscriptOf(long seed, EngineHouse house)
    {
        var run = new EngineRun(seed, house);
        run.Run(keepsTranscript: true);
        return run.Transcript.Text;
    }
}
