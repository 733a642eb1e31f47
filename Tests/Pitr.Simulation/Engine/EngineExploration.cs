using System.Diagnostics;
using System.Text.Json;

namespace Pitr.Simulation;

/// <summary>
/// One seed after the other on the level of the engine, until there are enough or the time is over; the stories first, if they
/// are asked for.
/// </summary>
internal static class EngineExploration
{
    private const int LastLines = 25;

    /// <summary>Prints failures to standard error, and the sum as the last line of standard output.</summary>
    public static int Run(ExplorationRequest request, EngineLimits limits)
    {
        var exploration = new Sum(request, limits);
        if (request.WithScenarios)
            exploration.TellStories(request.Only is null ? EngineStory.SeedsOfEach : request.Count);
        for (long ran = 0; ran < request.Count && !exploration.IsOver && request.Only is null; ran++)
            exploration.Take(request.First + ran, limits);
        return exploration.End();
    }

    private sealed class Sum(ExplorationRequest request, EngineLimits limits)
    {
        private readonly Stopwatch _watch = Stopwatch.StartNew();
        private EngineHouse? _house;
        private long _ran;
        private long _distinct;
        private long _failures;

        public long States { get; private set; }

        public bool IsOver =>
            _failures >= request.FailuresMax || States >= request.StatesMax || _watch.Elapsed >= request.Time;

        public void TellStories(long seedsOfEach)
        {
            foreach (EngineStory story in EngineStory.All.Where(story => request.Only?.Contains(story.Name) != false))
            {
                for (long seed = request.First; seed < request.First + seedsOfEach && !IsOver; seed++)
                    Take(seed, limits with { Story = story, Lives = story.Lives });
            }
        }

        public void Take(long seed, EngineLimits of)
        {
            _ran++;
            var run = new EngineRun(seed, _house ??= new EngineHouse(), of);
            try
            {
                EngineResult explored = run.Run(keepsTranscript: request.Transcript is not null);
                (States, _distinct) = (States + explored.States, _distinct + explored.Distinct);
            }
            catch (SimulationFailure failure)
            {
                _failures++;
                _house = null; // something of the failed run may be left in it
                foreach (string line in run.Transcript.Last(LastLines))
                    Console.Error.WriteLine($"  {line}");
                Console.Error.WriteLine(failure.Message);
                EngineLimits least = request.Minimises && of.Story is null ? EngineMinimiser.Least(seed, of) : of;
                Console.Error.WriteLine($"  again: pitr-sim --level engine --seed {seed}{least.Options}");
                if (request.Count == 1)
                    Console.Error.WriteLine(failure.InnerException);
            }

            if (request.Transcript is { } path)
                File.WriteAllText(path, run.Transcript.Text);
        }

        public int End()
        {
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                seeds = _ran,
                states = States,
                distinct = _distinct,
                seconds = Math.Round(_watch.Elapsed.TotalSeconds, 1),
                failures = _failures,
            }));
            return _failures == 0 ? 0 : 1;
        }
    }
}
