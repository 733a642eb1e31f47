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

    /// <summary>All of them. True if a move is under way.</summary>
    public static bool Run(SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory)
    {
        Segments(disk, database.Folder);
        Spills(disk, database.Folder);
        Spills(disk, StepSettings.Outside);
        StepTarCheck.Published(disk, database.Model, memory);
        return Moves(disk, database.Folder, () => memory.For(settings.OptionsFor(disk, seed: 0)));
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

    /// <summary>The files of the moves that are under way (H17, H19). True if there is a move.</summary>
    private static bool Moves(SimulatedDisk disk, string folder, Func<DatafileEnvironment> environment)
    {
        if (!MoveCheck.Files(disk, folder).Any())
            return false;
        ControlFile control = new ControlFileStore(disk, folder).ReadLive();
        MoveCheck.CopiesAreWhole(disk, folder, control, environment);
        MoveCheck.FormerFilesAreThere(disk, folder, control);
        return !control.Moves.IsEmpty;
    }

    /// <summary>A scratch file has no name once it has a byte (H17, H45).</summary>
    private static void Spills(SimulatedDisk disk, string folder)
    {
        foreach (string name in disk.List(folder))
        {
            if (name.EndsWith(SpillFile.Suffix, StringComparison.Ordinal)
                && disk.Stat($"{folder}/{name}") is { LengthBytes: > 0 })
                throw new SimulationFailure($"{folder}/{name} has bytes, and a name (H45).");
        }
    }
}
