using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>
/// The simulation on the level of the steps, some seeds of it: crashes at operations on the disk, compared with an
/// oracle (I1, I2, I3, I6, I9; H1, H2, H4, H5, H9, H10, H12, H16, H21, H22, H23, H43).
/// </summary>
public sealed class StepRunTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(21)]
    [InlineData(41)]
    [InlineData(61)]
    public void Whatever_a_crash_leaves_opens_with_all_that_was_acknowledged(long first)
    {
        long states = 0;
        for (long seed = first; seed < first + 20; seed++)
            states += new StepRun(seed).Run().States;
        Assert.True(states > 500, $"Only {states} states.");
    }

    [Fact]
    public void A_seed_is_the_same_run_each_time()
    {
        Assert.Equal(new StepRun(7).Run(), new StepRun(7).Run());
        Assert.NotEqual(new StepRun(7).Run(), new StepRun(8).Run());
    }
}
