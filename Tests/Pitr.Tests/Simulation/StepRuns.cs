using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>Seeds and stories that several tests ask something of: each is run once, when the first one asks.</summary>
public sealed class StepRuns
{
    private readonly Dictionary<long, (StepResult, StepHazards)> _seeds = [];
    private readonly Dictionary<string, (StepResult, StepHazards)> _stories = [];

    internal (StepResult Result, StepHazards Hazards) Of(long seed)
    {
        if (!_seeds.TryGetValue(seed, out (StepResult, StepHazards) run))
        {
            var made = new StepRun(seed);
            run = (made.Run(), made.Hazards);
            _seeds.Add(seed, run);
        }

        return run;
    }

    internal (StepResult Result, StepHazards Hazards) Of(string story)
    {
        if (!_stories.TryGetValue(story, out (StepResult, StepHazards) run))
        {
            var hazards = new StepHazards();
            run = (StepScenario.All.Single(one => one.Name == story).Run(seed: 1, hazards, again: 40), hazards);
            _stories.Add(story, run);
        }

        return run;
    }
}
