using System.Diagnostics;
using System.Text.Json;

namespace Pitr.Simulation;

/// <summary>One seed after the other on the level of the engine, until there are enough or the time is over.</summary>
internal static class EngineExploration
{
    private const int LastLines = 25;

    /// <summary>Prints failures to standard error, and the sum as the last line of standard output.</summary>
    public static int Run(ExplorationRequest request, EngineLimits limits)
    {
        var watch = Stopwatch.StartNew();
        EngineHouse? house = null;
        (long ran, long states, long distinct, long failures) = (0, 0, 0, 0);
        while (ran < request.Count && failures < request.FailuresMax && states < request.StatesMax
            && !(watch.Elapsed >= request.Time))
        {
            long seed = request.First + ran++;
            var run = new EngineRun(seed, house ??= new EngineHouse(), limits);
            try
            {
                EngineResult explored = run.Run();
                (states, distinct) = (states + explored.States, distinct + explored.Distinct);
            }
            catch (SimulationFailure failure)
            {
                failures++;
                house = null; // something of the failed run may be left in it
                foreach (string line in run.Transcript.Last(LastLines))
                    Console.Error.WriteLine($"  {line}");
                Console.Error.WriteLine(failure.Message);
                EngineLimits least = request.Minimises ? EngineMinimiser.Least(seed, limits) : limits;
                Console.Error.WriteLine($"  again: pitr-sim --level engine --seed {seed}{least.Options}");
                if (request.Count == 1)
                    Console.Error.WriteLine(failure.InnerException);
            }
        }

        Console.WriteLine(JsonSerializer.Serialize(new
        {
            seeds = ran,
            states,
            distinct,
            seconds = Math.Round(watch.Elapsed.TotalSeconds, 1),
            failures,
        }));
        return failures == 0 ? 0 : 1;
    }
}
