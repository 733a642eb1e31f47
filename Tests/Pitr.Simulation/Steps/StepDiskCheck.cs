using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// What holds of every disk that a crash leaves, before anybody opens what is on it: names stand for what they say.
/// </summary>
internal static class StepDiskCheck
{
    /// <summary>Where sets are written to as tars.</summary>
    public const string Tars = "/tars";

    /// <summary>All of them.</summary>
    public static void Run(SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory)
    {
        Segments(disk, database.Folder);
        Copies(disk, database.Folder, () => memory.For(settings.OptionsFor(disk, seed: 0)));
        StepTarCheck.Published(disk, database.Model, memory);
    }

    /// <summary>What has the name of a segment is that segment: its content was durable before its name was (H5).</summary>
    private static void Segments(SimulatedDisk disk, string folder)
    {
        string wal = $"{folder}/wal";
        if (disk.Stat(wal) is null)
            return;
        Span<byte> bytes = stackalloc byte[SegmentHeader.Bytes];
        foreach (string name in disk.List(wal))
        {
            if (!SegmentName.TryParse(name, out SegmentName segment))
                continue;
            string path = $"{wal}/{name}";
            using IFileHandle handle = disk.Open(path, FileOpen.Read);
            int read = handle.Read(0, bytes);
            SegmentName says = SegmentHeader.Read(bytes[..read], path).Name;
            if (says != segment)
                throw new SimulationFailure($"{path} says that it is segment {says} (H5).");
        }
    }

    /// <summary>
    /// A file that a move uses, and that says it is a datafile, is one: a copy has a kind of its own until it is whole
    /// (H17, H18).
    /// </summary>
    private static void Copies(SimulatedDisk disk, string folder, Func<DatafileEnvironment> environment)
    {
        if (!disk.List(folder).Any(static name => name.EndsWith(StepMove.Ending, StringComparison.Ordinal)
            || name.EndsWith(MovePlan.AsideSuffix, StringComparison.Ordinal))
            && disk.List(StepSettings.Outside).Count == 0)
            return;
        foreach (PlannedMove move in new ControlFileStore(disk, folder).ReadLive().Moves)
        {
            foreach (string stored in (string[])[move.To, move.From + MovePlan.AsideSuffix])
            {
                string path = Catalogue.FullPath(folder, stored);
                if (disk.Stat(path) is { IsSymlink: false } && KindOf(disk, path) == DatafileKind.Datafile)
                    RequireWhole(path, environment());
            }
        }
    }

    private static DatafileKind? KindOf(SimulatedDisk disk, string path)
    {
        try
        {
            return Datafile.Inspect(disk, path).Kind;
        }
        catch (PitrException none) when (none is DamageException or RefusedException)
        {
            return null; // a crash came while it was made
        }
    }

    private static void RequireWhole(string path, DatafileEnvironment environment)
    {
        try
        {
            DatafileReport report = DatafileCheck.Run(environment, path);
            if (report.IsSound)
                return;
            throw new SimulationFailure($"{path} says that it is a datafile, and is not whole (H17): {report.Problems[0]}");
        }
        catch (DamageException damage)
        {
            throw new SimulationFailure($"{path} says that it is a datafile, and is not whole (H17).", damage);
        }
    }
}
