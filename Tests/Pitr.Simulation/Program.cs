using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Pitr.Simulation;

var seed = new Option<long>("--seed") { Description = "The first seed.", DefaultValueFactory = _ => 1 };
var seeds = new Option<long?>("--seeds") { Description = "How many seeds; one if only --seed is given." };
var minutes = new Option<double?>("--minutes") { Description = "Seed after seed, for so long." };
var root = new RootCommand(
    "Runs the engine's parts in a simulation: a disk that crashes and fails, and an oracle that knows what must be there.")
{
    seed, seeds, minutes,
};
root.SetAction(parsed =>
{
    long first = parsed.GetValue(seed);
    TimeSpan? time = parsed.GetValue(minutes) is { } given ? TimeSpan.FromMinutes(given) : null;
    long count =
        parsed.GetValue(seeds) ?? (time is not null ? long.MaxValue - first : parsed.GetResult(seed) is null ? 100 : 1);
    return Exploration.Run(first, count, time);
});
return root.Parse(args).Invoke();

/// <summary>One seed after the other, until there are enough or the time is over.</summary>
internal static class Exploration
{
    private const int FailuresMax = 20;

    public static int Run(long first, long count, TimeSpan? time)
    {
        var watch = Stopwatch.StartNew();
        (long ran, long states, long distinct, long failures) = (0, 0, 0, 0);
        for (; ran < count && failures < FailuresMax && !(watch.Elapsed >= time); ran++)
        {
            try
            {
                StepResult explored = new StepRun(first + ran).Run();
                (states, distinct) = (states + explored.States, distinct + explored.Distinct);
            }
            catch (SimulationFailure failure)
            {
                failures++;
                Console.Error.WriteLine(failure.Message);
                Console.Error.WriteLine($"  again: pitr-sim --seed {first + ran}");
                if (count == 1)
                    Console.Error.WriteLine(failure.InnerException);
            }
        }

        Console.WriteLine(JsonSerializer.Serialize(
            new { seeds = ran, states, distinct, seconds = Math.Round(watch.Elapsed.TotalSeconds, 1), failures }));
        return failures == 0 ? 0 : 1;
    }
}
