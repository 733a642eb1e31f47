using System.Diagnostics;
using Pitr.Simulation;

var watch = Stopwatch.StartNew();
long from = args.Length > 0 ? long.Parse(args[0]) : 1;
long count = args.Length > 1 ? long.Parse(args[1]) : 100;
long states = 0, steps = 0, failures = 0;
for (long seed = from; seed < from + count; seed++)
{
    try
    {
        StepResult result = new StepRun(seed).Run();
        states += result.States;
        steps += result.Steps;
    }
    catch (SimulationFailure failure)
    {
        failures++;
        Console.WriteLine(args.Length > 2 ? failure.ToString() : failure.Message);
        if (failures > 10) break;
    }
}
Console.WriteLine($"{states} states, {steps} steps, {failures} failures, {watch.Elapsed.TotalSeconds:F1} s, {states / watch.Elapsed.TotalSeconds:F0}/s");
Console.WriteLine($"gc {GC.CollectionCount(0)} {GC.CollectionCount(1)} {GC.CollectionCount(2)} alloc {GC.GetTotalAllocatedBytes() / Math.Max(1, states) / 1024} KiB/state pause {GC.GetTotalPauseDuration()}");
