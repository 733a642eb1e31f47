using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>What holds of moves on a disk: which files there are, and who may need them (H17, H19).</summary>
internal static class MoveCheck
{
    /// <summary>What files that were moved are called; nothing else is.</summary>
    public const string Ending = ".moved";

    /// <summary>What the names of a database's files begin with where several databases have theirs.</summary>
    public static string OwnPrefix(string folder) => Path.GetFileName(folder) + "-";

    public static bool IsOfMove(string name) => name.EndsWith(Ending, StringComparison.Ordinal)
        || name.EndsWith(MovePlan.AsideSuffix, StringComparison.Ordinal)
        || name.EndsWith(CompactPlan.Suffix, StringComparison.Ordinal);

    /// <summary>After an opening no move and no compacting is under way, and each datafile has one file.</summary>
    public static void NothingIsLeft(SimulatedDisk disk, string folder, ControlFile control)
    {
        if (!control.Moves.IsEmpty)
            throw new SimulationFailure($"After the opening {control.Moves.Length} moves are under way (H19).");
        HashSet<string> own = [.. control.Catalogue.Files
            .Select(file => Catalogue.FullPath(folder, file.Path))
            .SelectMany(path => (string[])[path, LinkedName.Resolve(disk, path)])];
        foreach (string path in Files(disk, folder))
        {
            if (!own.Contains(path))
                throw new SimulationFailure($"{path} is left over from a move (H19).");
        }
    }

    /// <summary>
    /// Another move had ended between the plan of this one and its note: the name leads to a file that this one does not
    /// know, and it is given up.
    /// </summary>
    private static bool HasMovedOn(SimulatedDisk disk, string folder, PlannedMove move)
    {
        string leadsTo = LinkedName.Resolve(disk, Catalogue.FullPath(folder, move.From));
        return disk.Stat(leadsTo) is not null
            && !MoveSettlement.NamesOf(move).Any(name => Catalogue.FullPath(folder, name) == leadsTo);
    }

    /// <summary>
    /// On a disk that a crash left: while the control file does not name the winner, the former file is there, wherever
    /// the name leads.
    /// </summary>
    public static void FormerFilesAreThere(SimulatedDisk disk, string folder, ControlFile control)
    {
        foreach (PlannedMove move in control.Moves)
        {
            // One that lay under its name went with the rename.
            if (move is { Winner: null, LinkedTo: { } former } && disk.Stat(Catalogue.FullPath(folder, former)) is null
                && !HasMovedOn(disk, folder, move))
                throw new SimulationFailure($"{former} is gone, and the control file names no winner of its move (H19).");
        }
    }

    /// <summary>A file that a move uses, and that says it is a datafile, is one: a copy has a kind of its own until then.</summary>
    public static void CopiesAreWhole(
        SimulatedDisk disk, string folder, ControlFile control, Func<DatafileEnvironment> environment)
    {
        foreach (PlannedMove move in control.Moves)
        {
            string[] copies = move.Incarnation is null
                ? [move.To, move.From + MovePlan.AsideSuffix]
                : [move.Origin + CompactPlan.Suffix];
            foreach (string stored in copies)
            {
                string path = Catalogue.FullPath(folder, stored);
                if (disk.Stat(path) is { IsSymlink: false } && KindOf(disk, path) == DatafileKind.Datafile)
                    RequireWhole(path, environment());
            }
        }
    }

    /// <summary>In the database's folder, and those of it that went out.</summary>
    public static IEnumerable<string> Files(SimulatedDisk disk, string folder)
    {
        foreach (string name in disk.List(folder))
        {
            if (IsOfMove(name))
                yield return $"{folder}/{name}";
        }

        if (disk.Stat(StepSettings.Outside) is null)
            yield break;
        foreach (string name in disk.List(StepSettings.Outside))
        {
            if (IsOfMove(name) && name.StartsWith(OwnPrefix(folder), StringComparison.Ordinal))
                yield return $"{StepSettings.Outside}/{name}";
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
