using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A tar that passes for a backup set is one, whole: by its name on any disk that a crash leaves, and wherever a stream
/// of it was cut off (H13, H39).
/// </summary>
internal static class StepTarCheck
{
    private const int BlockBytes = 512;
    private const int LastBlocks = 16;
    private const int OtherCuts = 4;

    /// <summary>What was published is there, and what has such a name is whole.</summary>
    public static void Published(SimulatedDisk disk, StepModel model, StepMemory memory)
    {
        if (disk.Stat(StepDiskCheck.Tars) is null)
            return;
        foreach (string path in model.Tars)
        {
            if (disk.Stat(path) is null)
                throw new SimulationFailure($"{path} was whole and durable, and is gone (H39).");
        }

        foreach (string name in disk.List(StepDiskCheck.Tars))
        {
            string path = $"{StepDiskCheck.Tars}/{name}";
            if (name.StartsWith('.') || memory.SoundTars.Contains(disk.Fingerprint(path)))
                continue;
            RequireWhole(disk, path, "It has its name");
            memory.SoundTars.Add(disk.Fingerprint(path));
        }
    }

    /// <summary>What is left of a stream that ended anywhere: no set, or all of one.</summary>
    public static void CutOff(byte[] tar, Func<int, int> next)
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders(StepDiskCheck.Tars);
        string path = $"{StepDiskCheck.Tars}/cut.tar";
        IEnumerable<int> ends = Enumerable.Range(0, Math.Min(LastBlocks, tar.Length / BlockBytes))
            .Select(blocks => tar.Length - (blocks * BlockBytes))
            .Concat(Enumerable.Range(0, OtherCuts).Select(_ => next(tar.Length)));
        foreach (int end in ends)
        {
            Put(disk, path, tar.AsSpan(0, end));
            if (StoreOf(disk, path).Stat(BackupSet.ManifestName) is not null)
                RequireWhole(disk, path, $"Its first {end} of {tar.Length} bytes have a manifest");
            disk.Delete(path);
        }
    }

    /// <summary>Restores it by itself, on another machine, to its stop, and compares.</summary>
    public static void Restore(byte[] tar, StepModel model, StepSettings settings, StepMemory memory, long seed)
    {
        const string folder = "/t";
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders(StepDiskCheck.Tars);
        disk.CreateFolders(StepSettings.Outside);
        string path = $"{StepDiskCheck.Tars}/set.tar";
        Put(disk, path, tar);
        PitrOptions options = settings.OptionsFor(disk, seed) with { ArchiveStores = [] };
        PlannedRecovery planned = RecoveryPlanner.Plan(new PlanRequest
        {
            Target = RecoveryTarget.Immediate,
            SetStore = StoreOf(disk, path),
            Archives = [],
            Timeline = "current",
            Random = options.DrawRandom!,
        });
        new RestoreWriter(disk, folder, StepSettings.Process).Restore(planned, isPaused: false, CancellationToken.None);
        Lsn cut = planned.Plan.StopsAt.Lsn;
        using StepEngine engine = StepEngine.Open(folder, options, memory);
        StepCheck.Run(engine, model.Fork(cut, engine.Wal.Geometry.BoundaryAtOrAbove(cut)));
    }

    private static void RequireWhole(SimulatedDisk disk, string path, string why)
    {
        VerifyReport report = Verify(disk, path);
        if (!report.Restores)
            throw new SimulationFailure($"{path} is no whole set. {why} (H13, H39).", report.Problems[0]);
    }

    private static VerifyReport Verify(SimulatedDisk disk, string path)
    {
        try
        {
            return BackupVerifier.Verify(StoreOf(disk, path), [], null, static () => 1, CancellationToken.None)[0];
        }
        catch (DamageException damage)
        {
            return new VerifyReport("", [damage], 0, 0);
        }
    }

    private static TarStore StoreOf(SimulatedDisk disk, string path) => new(disk, path, path);

    private static void Put(SimulatedDisk disk, string path, ReadOnlySpan<byte> bytes)
    {
        using IFileHandle file = disk.Open(path, FileOpen.CreateNew);
        file.Write(0, bytes);
    }
}
