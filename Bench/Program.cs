using Pitr.Bench;

if (BenchOptions.Parse(args) is not { } options)
{
    Console.Error.WriteLine(BenchOptions.Usage);
    return 2;
}

switch (options.Question)
{
    case "commit":
        CommitBench.Run(options);
        return 0;
    case "allocation":
        CommitBench.RunAllocation(options);
        return 0;
    case "read":
        ReadBench.RunGets(options);
        return 0;
    case "scan":
        ReadBench.RunScans(options);
        return 0;
    case "replay":
        ReplayBench.Run(options);
        return 0;
    case "stall":
        StallBench.Run(options);
        return 0;
    case "fence":
        FenceBench.RunFence(options);
        return 0;
    case "move":
        FenceBench.RunMove(options);
        return 0;
    case "memory":
        MemoryBench.Run(options);
        return 0;
    default:
        Console.Error.WriteLine(BenchOptions.Usage);
        return 2;
}
