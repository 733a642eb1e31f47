using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// The simulation on the level of the engine, some seeds of it: the real actors in an order drawn from the seed, crashed
/// at operations on the disk, compared with an oracle (I1, I2, I6, I7, I9, I11, I12; H1, H4, H8, H12, H13, H21, H23, H26,
/// H31, H32, H37, H40, H43).
/// </summary>
public sealed class EngineRunTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(11)]
    [InlineData(21)]
    public void Whatever_a_crash_leaves_opens_with_all_that_was_acknowledged(long first)
    {
        var house = new EngineHouse();
        long states = 0;
        for (long seed = first; seed < first + 10; seed++)
            states += Run(seed, house).States;
        Assert.True(states > 200, $"Only {states} states.");
    }

    /// <summary>What docs/testing.md tells of each.</summary>
    [Theory]
    [InlineData(55)]
    [InlineData(74)]
    [InlineData(82)]
    [InlineData(92)]
    [InlineData(93)]
    [InlineData(10168)]
    [InlineData(37)]
    public void A_seed_that_found_a_bug_finds_it_no_more(long seed) =>
        Assert.True(Run(seed, new EngineHouse()).States > 0);

    /// <summary>What random clients seldom come to, once each; <c>pitr-sim --level engine --scenarios</c> tells them in more orders.</summary>
    [Fact]
    public void Every_story_ends_as_it_has_to()
    {
        var house = new EngineHouse();
        foreach (EngineStory story in EngineStory.All)
            Assert.True(Run(1, house, Of(story)).States > 0, $"{story.Name} was never crashed.");
        Assert.Equal(EngineStory.All.Count, EngineStory.All.DistinctBy(static story => story.Name).Count());
    }

    [Fact]
    public void A_story_is_the_same_run_each_time()
    {
        EngineStory story = EngineStory.All.Single(static story => story.Name == "sessions");
        Assert.Equal(TranscriptOf(2, new EngineHouse(), Of(story)), TranscriptOf(2, new EngineHouse(), Of(story)));
    }

    [Fact]
    public void A_seed_is_the_same_run_each_time_byte_for_byte()
    {
        var house = new EngineHouse();
        string first = TranscriptOf(3, house);
        Run(4, house);
        Assert.Equal(first, TranscriptOf(3, house));
        Assert.Equal(first, TranscriptOf(3, new EngineHouse()));
        Assert.NotEqual(first, TranscriptOf(5, house));
        Assert.Contains("takes Drain", first, StringComparison.Ordinal);
        Assert.Contains("SyncData /db/wal/", first, StringComparison.Ordinal);
        Assert.Contains("timer", first, StringComparison.Ordinal);
    }

    private static EngineLimits Of(EngineStory story) => EngineLimits.None with { Story = story, Lives = story.Lives };

    private static EngineResult Run(long seed, EngineHouse house, EngineLimits? limits = null)
    {
        var run = new EngineRun(seed, house, limits);
        try
        {
            return run.Run();
        }
        catch (SimulationFailure failure)
        {
            throw new SimulationFailure(
                $"{failure.Message}\nagain: pitr-sim --level engine --seed {seed}{limits?.Options}\n"
                + string.Join('\n', run.Transcript.Last(25)),
                failure);
        }
    }

    private static string TranscriptOf(long seed, EngineHouse house, EngineLimits? limits = null)
    {
        var run = new EngineRun(seed, house, limits);
        run.Run(keepsTranscript: true);
        return run.Transcript.Text;
    }
}
