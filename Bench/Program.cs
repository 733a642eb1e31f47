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
        FenceBench.Run(options);
        return 0;
    case "move":
        MoveBench.Run(options);
        return 0;
    case "pgtar":
        TarBench.Run(options);
        return 0;
    case "backup":
        BackupBench.Run(options);
        return 0;
    case "restore":
        RestoreBench.Run(options);
        return 0;
    case "recovery":
        OnlineRecoveryBench.Run(options);
        return 0;
    case "archive":
        ArchiveBench.Run(options);
        return 0;
    case "memory":
        MemoryBench.Run(options);
        return 0;
    default:
        Console.Error.WriteLine(BenchOptions.Usage);
        return 2;
}
