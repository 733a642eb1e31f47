using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// What happens to a database that ended in the middle of a move: the file that its name leads to is rotten, or a copy of
/// its folder is started first. The files that it may still need stay (H19, H26).
/// </summary>
internal sealed class StepMoveHand(
    SimulatedDisk disk, StepDatabase database, StepSettings settings, StepMemory memory, StepHazards hazards, long seed)
{
    private readonly ControlFile _control = new ControlFileStore(disk, database.Folder).ReadLive();
    private SeededRandom _random = SeededRandom.For(seed, 7);

    /// <summary>Does one thing; false if no move was under way.</summary>
    /// <param name="open">Opens what may be refused.</param>
    /// <param name="fresh">Opens what has to open.</param>
    public bool Touch(Func<bool> open, Func<StepEngine> fresh)
    {
        if (_control.Recovery is not null || _control.Moves.IsEmpty)
            return false;
        PlannedMove move = _control.Moves[_random.Next(_control.Moves.Length)];
        return _random.Chance(50) ? Spoil(move, open) : CopyFirst(fresh);
    }

    /// <summary>The datafile does not open: the other file of the move may be the better one, and stays (H19).</summary>
    private bool Spoil(PlannedMove move, Func<bool> open)
    {
        if (_control.Catalogue.File(move.FileId) is not { } file)
            return false;
        string used = LinkedName.Resolve(disk, Catalogue.FullPath(database.Folder, file.Path));
        string[] others = [.. ((string[])[move.Origin, move.To])
            .Select(stored => Catalogue.FullPath(database.Folder, stored))
            .Where(path => path != used && disk.Stat(path) is { IsSymlink: false })];
        if (others.Length == 0 || disk.Stat(used) is null)
            return false;
        disk.Damage(used, 0, (int)MetaPage.Slots * PageLayout.PageBytes);
        hazards.Note(19);
        if (open())
            throw new SimulationFailure($"{used} has no meta page, and datafile {file.Name} was opened (H19).");
        if (others.FirstOrDefault(path => disk.Stat(path) is null) is { } gone)
            throw new SimulationFailure($"{used} is damaged, and {gone}, the other file of its move, was removed (H19).");
        return true;
    }

    /// <summary>
    /// Somebody copies the folder, with what its links lead to, and starts the copy: whatever it settles is its own, and the
    /// source opens as it was (H26).
    /// </summary>
    private bool CopyFirst(Func<StepEngine> fresh)
    {
        if (_control.Catalogue.Files.Any(static file => Path.IsPathRooted(file.Path)))
            return false; // the copy would have its source's files
        const string folder = "/copy";
        StepCheck.CopyFolder(disk, database.Folder, folder);
        try
        {
            using StepEngine copy = StepEngine.Open(folder, settings.OptionsFor(disk, seed + 1), memory);
            StepCheck.Run(copy, database.Model);
        }
        catch (RefusedException elsewhere) when (elsewhere.Code == ErrorCode.DatafileElsewhere)
        {
            // The WAL alone knows of a datafile outside: it is the source's, and the copy opens nothing.
        }
        disk.Vanish(folder);
        hazards.Note(26);
        using StepEngine engine = fresh();
        StepCheck.Run(engine, database.Model);
        return true;
    }
}
