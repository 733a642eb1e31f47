using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Pitr.Simulation;

/// <summary>What an exploration is asked to do.</summary>
/// <param name="First">The first seed.</param>
/// <param name="Count">How many seeds.</param>
/// <param name="Time">For how long at most; null: no bound.</param>
/// <param name="StatesMax">How many states at most.</param>
/// <param name="Change">What is different from the settings that a seed draws; null: nothing.</param>
/// <param name="WithScenarios">
/// The fixed scenarios, first; or, of a bounded number of states, a quarter after the first third.
/// </param>
/// <param name="WithHazards">Prints the table of hazards.</param>
/// <param name="Minimises">Looks for the least that still fails.</param>
/// <param name="FailuresMax">Ends after so many.</param>
internal sealed record ExplorationRequest(
    long First, long Count, TimeSpan? Time, long StatesMax, Func<StepSettings, StepSettings>? Change,
    bool WithScenarios, bool WithHazards, bool Minimises, int FailuresMax)
{
    /// <summary>Of the scenarios those of these names; null: all.</summary>
    public IReadOnlyList<string>? Only { get; init; }

    /// <summary>Gets all that happened in the last run of the engine's level; null: nothing is written.</summary>
    public string? Transcript { get; init; }
}

/// <summary>One seed after the other, until there are enough or the time is over.</summary>
internal sealed class Exploration(ExplorationRequest request)
{
    private readonly StepHazards _hazards = new();
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private long _states;
    private long _distinct;
    private long _failures;
    private long _ran;
    private ulong _digest;

    private bool IsOver =>
        _failures >= request.FailuresMax || _watch.Elapsed >= request.Time || _states >= request.StatesMax;

    /// <summary>Prints failures to standard error, and the sum as the last line of standard output.</summary>
    public int Run()
    {
        bool isInTheMiddle = request.StatesMax < long.MaxValue && request.Count > 0;
        if (request.WithScenarios && !isInTheMiddle)
            RunScenarios(share: long.MaxValue);
        bool isLeft = request.WithScenarios && isInTheMiddle;
        for (; _ran < request.Count && !IsOver; _ran++)
        {
            if (isLeft && _states >= request.StatesMax / 3)
            {
                RunScenarios(share: request.StatesMax / StepScenario.PartsOfStates);
                isLeft = false;
            }

            long seed = request.First + _ran;
            var run = new StepRun(seed, request.Change);
            if (!Take(run.Run, $"seed {seed}", seed))
                _states += run.States;
            _hazards.Add(run.Hazards);
        }

        if (request.WithHazards)
            Console.WriteLine(_hazards.Table());
        Console.WriteLine(JsonSerializer.Serialize(new
        {
            seeds = _ran,
            states = _states,
            distinct = _distinct,
            seconds = Math.Round(_watch.Elapsed.TotalSeconds, 1),
            failures = _failures,
            digest = _digest.ToString("X16", CultureInfo.InvariantCulture),
        }));
        return _failures == 0 ? 0 : 1;
    }

    private void RunScenarios(long share)
    {
        foreach (StepScenario scenario in StepScenario.All)
        {
            if (IsOver)
                break;
            if (request.Only?.Contains(scenario.Name) == false)
                continue;
            Take(() => scenario.Run(request.First, _hazards, again: 5, ShareOf(scenario, share)), scenario.Name, seed: null);
        }
    }

    private static long ShareOf(StepScenario scenario, long share) =>
        share == long.MaxValue ? share : share * scenario.Share;

    private bool Take(Func<StepResult> run, string what, long? seed)
    {
        try
        {
            StepResult explored = run();
            _states += explored.States;
            _distinct += explored.Distinct;
            _digest = SparseContent.Mix(_digest, explored.Digest);
            return true;
        }
        catch (SimulationFailure failure)
        {
            _failures++;
            Console.Error.WriteLine(failure.Message);
            if (request.Count == 1 || seed is null)
                Console.Error.WriteLine(failure.InnerException);
            Console.Error.WriteLine(seed is { } number
                ? $"  again: {StepMinimiser.CommandFor(number, request.Change, request.Minimises)}"
                : $"  again: pitr-sim --scenarios --seeds 0 --seed {request.First}   ({what})");
            return false;
        }
    }
}
