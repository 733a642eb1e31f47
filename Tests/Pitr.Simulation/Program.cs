using System.CommandLine;
using Pitr.Simulation;

var seed = new Option<long>("--seed") { Description = "The first seed.", DefaultValueFactory = _ => 1 };
var seeds = new Option<long?>("--seeds") { Description = "How many seeds; one if only --seed is given." };
var minutes = new Option<double?>("--minutes") { Description = "Seed after seed, for so long." };
var states = new Option<long?>("--states") { Description = "Ends after so many states." };
var scenarios = new Option<bool>("--scenarios")
{
    Description = "The fixed scenarios first, each crashed before each of its operations; with --states some of each.",
};
var only = new Option<string?>("--only") { Description = "With --scenarios: those of these names alone, with commas." };
var hazards = new Option<bool>("--hazards") { Description = "Prints how often the schedule of each hazard came about." };
var lives = new Option<int?>("--lives") { Description = "Lives of a seed, as a minimised failure says." };
var steps = new Option<int?>("--steps") { Description = "Steps of a life at most, as a minimised failure says." };
var without = new Option<string?>("--without") { Description = "Kinds of activities to leave out, as a minimised failure says." };
var asItIs = new Option<bool>("--as-it-is") { Description = "Does not look for the least that still fails." };
var failures = new Option<int>("--failures") { Description = "Ends after so many failures.", DefaultValueFactory = _ => 20 };
var transcript = new Option<string?>("--transcript")
{
    Description = "With --level engine: all that happened in the last run, written to this file.",
};
var level = new Option<string>("--level")
{
    Description = "steps: plain parts in the actors' orders, the faster; engine: the real actors.",
    DefaultValueFactory = _ => "steps",
};
level.AcceptOnlyFromAmong("steps", "engine");
var root = new RootCommand(
    "Runs the engine's parts in a simulation: a disk that crashes and fails, and an oracle that knows what must be there.")
{
    seed, seeds, minutes, states, scenarios, only, hazards, lives, steps, without, asItIs, failures, level, transcript,
};
root.SetAction(parsed =>
{
    long first = parsed.GetValue(seed);
    TimeSpan? time = parsed.GetValue(minutes) is { } given ? TimeSpan.FromMinutes(given) : null;
    bool isOpen = time is not null || parsed.GetValue(states) is not null;
    long count =
        parsed.GetValue(seeds) ?? (isOpen ? long.MaxValue - first : parsed.GetResult(seed) is null ? 100 : 1);
    StepSettings Change(StepSettings drawn) => drawn with
    {
        LivesMax = parsed.GetValue(lives) ?? drawn.LivesMax,
        StepsMax = parsed.GetValue(steps) ?? drawn.StepsMax,
        Without = parsed.GetValue(without) is { } list
            ? [.. list.Split(',').Select(static kind => int.Parse(kind, System.Globalization.CultureInfo.InvariantCulture))]
            : drawn.Without,
    };
    var request = new ExplorationRequest(
        first, count, time, parsed.GetValue(states) ?? long.MaxValue, Change, parsed.GetValue(scenarios) || parsed.GetValue(only) is not null,
        parsed.GetValue(hazards), !parsed.GetValue(asItIs), parsed.GetValue(failures))
    {
        Only = parsed.GetValue(only)?.Split(','),
        Transcript = parsed.GetValue(transcript),
    };
    if (parsed.GetValue(level) == "steps")
        return new Exploration(request).Run();
    var limits = new EngineLimits(
        parsed.GetValue(lives) ?? EngineLimits.None.Lives, parsed.GetValue(without)?.Split(',') ?? []);
    if (limits.Without.FirstOrDefault(static kind => !EngineLimits.Kinds.Contains(kind)) is { } unknown)
    {
        Console.Error.WriteLine($"'{unknown}' is none of {string.Join(", ", EngineLimits.Kinds)}.");
        return 2;
    }

    return EngineExploration.Run(request, limits);
});
return root.Parse(args).Invoke();
