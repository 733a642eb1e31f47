using System.Diagnostics;
using System.Text.Json;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// The simulation on the level of the steps, a bounded part of it: crashes at operations on the disk, compared with an
/// oracle (I1, I2, I3, I5, I6, I7, I8, I9, I10, I11, I12, I13, and the hazards that <see cref="StepHazards"/> lists).
/// </summary>
public sealed class StepRunTests : IClassFixture<StepRuns>
{
    private const int FirstSeeds = 80;

    /// <summary>Of a hundred seeds those that together bring the most schedules about, in the least time.</summary>
    private static readonly long[] SoonestSeeds = [1012, 1052, 1014, 1045, 1031, 1028];

    /// <summary>Stories of the schedules that a seed comes to once in a hundred or less (H33, H38, H42, H48).</summary>
    private static readonly string[] RareStories = ["branches", "increments", "former file", "expire beside a restore"];

    private readonly StepRuns _runs;

    public StepRunTests(StepRuns runs) => _runs = runs;

    [Theory]
    [InlineData(1)]
    [InlineData(21)]
    [InlineData(41)]
    [InlineData(61)]
    public void Whatever_a_crash_leaves_opens_with_all_that_was_acknowledged(long first)
    {
        long states = 0;
        for (long seed = first; seed < first + 20; seed++)
            states += _runs.Of(seed).Result.States;
        Assert.True(states > 500, $"Only {states} states.");
    }

    /// <summary>State for state: the digest is of each disk that was opened, in their order.</summary>
    [Theory]
    [InlineData(7)]
    [InlineData(12)]
    [InlineData(19)]
    public void A_seed_is_the_same_run_each_time(long seed)
    {
        Assert.Equal(new StepRun(seed).Run(), new StepRun(seed).Run());
        Assert.NotEqual(new StepRun(seed).Run().Digest, new StepRun(seed + 1).Run().Digest);
    }

    /// <summary>
    /// Nothing of a run comes from its process, such as its number in a store's owner object. Seed 700001 dies while a tar is
    /// written, which has that number in its headers.
    /// </summary>
    [Theory]
    [InlineData("--seed", "7", "--seeds", "2")]
    [InlineData("--seed", "700001", "--seeds", "1", "--lives", "2")]
    public async Task A_seed_is_the_same_run_in_every_process(params string[] run) =>
        Assert.Equal(await DigestAsync(run), await DigestAsync(run));

    /// <summary>
    /// The schedule of each hazard that is in reach comes about: in the seeds and stories that meet it soonest, or in any that is
    /// run here.
    /// </summary>
    [Fact]
    public void Every_hazard_in_reach_comes_about()
    {
        var hazards = new StepHazards();
        foreach (StepHazards some in SoonestSeeds.Select(seed => _runs.Of(seed).Hazards)
            .Concat(RareStories.Select(story => _runs.Of(story).Hazards))
            .Concat(Enumerable.Range(1, FirstSeeds).Select(seed => _runs.Of(seed).Hazards)))
        {
            hazards.Add(some);
            if (!hazards.Missing.Any())
                break;
        }

        Assert.True(!hazards.Missing.Any(), $"In none of the seeds and stories:\n{hazards.Table()}");
        Assert.Equal(StepHazards.Reachable, StepHazards.Words.Keys.Order());
    }

    public static TheoryData<string> Scenarios() => [.. StepScenario.All.Select(static scenario => scenario.Name)];

    /// <summary>Each operation of a short story is the last one once.</summary>
    [Theory]
    [MemberData(nameof(Scenarios))]
    public void A_story_that_ends_before_any_operation_is_whole_at_the_next_opening(string name)
    {
        StepScenario scenario = StepScenario.All.Single(one => one.Name == name);
        StepResult explored = _runs.Of(name).Result;
        Assert.True(explored.Distinct > 50 || scenario.JudgesItself, $"Only {explored.Distinct} states.");
    }

    /// <summary>H22: these seeds met fences whose meta page lay below the redo point.</summary>
    [Theory]
    [InlineData(1037)]
    [InlineData(1048)]
    public void A_fenced_copy_asks_for_no_wal_below_the_redo_point(long seed) => new StepRun(seed).Run();

    /// <summary>
    /// H32: these seeds met restores to a fork which died when all was flushed and nothing promoted, and were refused by
    /// every later opening.
    /// </summary>
    [Theory]
    [InlineData(100476)]
    [InlineData(101438)]
    public void A_restore_to_a_fork_goes_on_from_any_crash(long seed) => new StepRun(seed).Run();

    /// <summary>A smaller run that fails is found, and told with its command.</summary>
    [Fact]
    public void A_command_names_what_a_minimised_run_leaves_out()
    {
        StepSettings drawn = new StepRun(7).Settings;
        StepSettings smaller = drawn with { LivesMax = 1, StepsMax = 5, Without = [1, 12] };
        Assert.Equal("--lives 1 --steps 5 --without 1,12", smaller.Against(drawn));
        StepResult run = new StepRun(7, _ => smaller).Run();
        Assert.True(run.Steps < new StepRun(7).Run().Steps);
    }

    private static async Task<string> DigestAsync(string[] run)
    {
        using Process program = Process.Start(
            new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "pitr-sim"), run)
            {
                RedirectStandardOutput = true,
            })!;
        string output = await program.StandardOutput.ReadToEndAsync();
        await program.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        using JsonDocument sum = JsonDocument.Parse(output.TrimEnd().Split('\n')[^1]);
        return sum.RootElement.GetProperty("digest").GetString()!;
    }
}
