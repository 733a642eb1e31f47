using System.Collections.Immutable;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// What becomes of the moves and compactions that a control file notes: which file won, and what of the others is removed
/// (H19).
/// </summary>
/// <remarks>
/// At an opening, in this order; the caller writes the control file between
/// <code>
///   SyncFolders   before any datafile is opened: what a name leads to stays so, whatever the power does
///   Decide        after they were opened: the file that the name leads to, and that opened, is the winner; if it is the
///                 compacted one, the control file names its incarnation from here on (H42)
///                 ── control file, durable ──
///   Remove        the others, each only if it is provably this datafile's and nobody has it open; their folders synced
///                 ── control file without the moves that are settled ──
/// </code>
/// A move whose datafile did not open stays as it is: the other file may be the better one. One whose name leads to a
/// third file was somebody's hand: nothing is removed, and it is told. The same holds for files outside the database's
/// folder if this folder is not the one in which the move began: they may be those of the database that this one is a
/// copy of (H26).
/// A running engine, which knows the winner, calls <see cref="Remove"/> alone; one that recovers the datafile of a move which
/// ended undecided syncs and notes for that one (<see cref="LeftOverMove"/>).
/// THREADS  one.
/// </remarks>
internal sealed class MoveSettlement
{
    private readonly IFileSystem _files;
    private readonly string _folder;
    private readonly FolderPlace _place;
    private readonly SystemIdentifier _system;
    private readonly List<string> _told = [];

    public MoveSettlement(IFileSystem files, string folder, FolderPlace place, SystemIdentifier system) =>
        (_files, _folder, _place, _system) = (files, folder, place, system);

    /// <summary>
    /// True for the engine that has just moved the file, which may still have the former one open for its readers.
    /// </summary>
    public bool IsOwner { get; init; }

    /// <summary>
    /// Gets each large file whose name is gone, to be cut and disposed of; null: they are removed at once.
    /// </summary>
    public Action<NamelessFile>? TakesNameless { get; init; }

    /// <summary>A file that is longer is large.</summary>
    public long CutBytes { get; init; } = PacedWriter.CutBytesDefault;

    /// <summary>What was removed, and what was left and why; for the log.</summary>
    public IReadOnlyList<string> Told => _told;

    /// <summary>Makes what the names lead to durable. A folder that is not there has no name to lose.</summary>
    /// <exception cref="StorageFailedException">A folder can't be synced: nothing in it may be relied on.</exception>
    public void SyncFolders(ControlFile control)
    {
        foreach (string folder in control.Moves
            .SelectMany(move => (string[])[FullPath(move.From), FullPath(move.To), FullPath(move.Origin)])
            .Select(DurableReplace.FolderOf)
            .Distinct(StringComparer.Ordinal))
        {
            if (_files.Stat(folder) is { IsFolder: true })
                _files.SyncFolder(folder);
        }
    }

    /// <summary>With the winner of each move whose datafile has opened.</summary>
    /// <param name="control">As it was read.</param>
    /// <param name="opened">The meta page of a datafile that has opened; null of any other.</param>
    public ControlFile Decide(ControlFile control, Func<FileId, MetaPage?> opened)
    {
        var moves = ImmutableArray.CreateBuilder<PlannedMove>();
        Catalogue catalogue = control.Catalogue;
        foreach (PlannedMove move in control.Moves)
        {
            if (control.Catalogue.File(move.FileId) is not { } file)
            {
                _told.Add($"The move of datafile {move.FileId} to '{move.To}' is void: the datafile was dropped.");
                continue;
            }

            if (move.Winner is not null || opened(move.FileId) is not { } meta)
            {
                moves.Add(move);
                continue;
            }

            if (meta.Incarnation == move.Incarnation)
                catalogue = catalogue.WithFile(file with
                {
                    Incarnation = meta.Incarnation,
                    Generation = meta.Generation,
                    CheckpointLsn = meta.CheckpointLsn,
                });

            string winner = Catalogue.StoredPath(_folder, LinkedName.Resolve(_files, FullPath(file.Path)));
            if (winner == move.Origin || winner == move.To)
                moves.Add(move with { Winner = winner });
            else
                _told.Add($"Datafile '{file.Name}' lies at '{winner}', where no move was to bring it; nothing is removed.");
        }

        return control with { Moves = moves.ToImmutable(), Catalogue = catalogue };
    }

    /// <summary>
    /// Removes what a decided move has left over; durable when it returns. True if the move may be forgotten.
    /// </summary>
    public bool Remove(PlannedMove move, Catalogue catalogue)
    {
        if (move.Winner is null || catalogue.File(move.FileId) is not { } file)
            return false;
        string name = FullPath(file.Path);
        string[] kept = [FullPath(move.Winner), name, LinkedName.Resolve(_files, name)];
        try
        {
            foreach (string path in NamesOf(move).Select(FullPath).Where(path => !kept.Contains(path)))
                RemoveOne(move, catalogue, path);
            return true;
        }
        catch (StorageFailedException error)
        {
            _told.Add($"What the move of datafile '{file.Name}' left over could not be removed: {error.Message}");
            return false;
        }
    }

    /// <summary>
    /// Every name that a move has used, as it is stored; the former file first, a link to it after it.
    /// </summary>
    public static IEnumerable<string> NamesOf(PlannedMove move) => move.Incarnation is not null
        ? [move.Origin + CompactPlan.Suffix]
        : new[] { move.Origin, move.To, move.From, move.From + MovePlan.AsideSuffix }.Distinct(StringComparer.Ordinal);

    private void RemoveOne(PlannedMove move, Catalogue catalogue, string path)
    {
        string folder = DurableReplace.FolderOf(path);
        if (_files.Stat(folder) is not { IsFolder: true })
        {
            _told.Add($"'{path}' may be left over from {WordsOf(move)}, but its folder is not there.");
            return;
        }

        if (_files.Stat(path) is { } entry)
        {
            if (move.Place.ComparedWith(_place) == PlaceComparison.Other
                && !SameFolder.HoldsName(_files, _folder, path))
            {
                _told.Add($"'{path}' is left as it is: {WordsOf(move)} began in another folder than this one.");
                return;
            }

            if (!(entry.IsSymlink ? IsLinkOf(move, path) : !entry.IsFolder && IsFileOf(move, catalogue, path)))
            {
                _told.Add($"'{path}' is left as it is: it is not what {WordsOf(move)} has put there.");
                return;
            }

            if (TakesNameless is not { } take)
                _files.Delete(path);
            else if (GentleRemoval.Unlink(_files, path, CutBytes) is { } nameless)
                take(nameless);
            _told.Add($"'{path}', left over from {WordsOf(move)}, was removed.");
        }

        _files.SyncFolder(folder); // also if it is gone: a crash before this sync may bring it back
    }

    private static string WordsOf(PlannedMove move) => move.Incarnation is null ? "a move" : "compacting";

    private bool IsLinkOf(PlannedMove move, string path) =>
        LinkedName.Resolve(_files, path) is var target
        && (target == FullPath(move.To) || target == FullPath(move.Origin));

    /// <summary>
    /// A copy of this datafile, whole or not, or what a crash left of making one; and no engine has it open.
    /// </summary>
    private bool IsFileOf(PlannedMove move, Catalogue catalogue, string path)
    {
        if (!StrayFile.MeansNothing(_files, _folder, path, catalogue, _system))
        {
            try
            {
                MetaPage meta = Storage.Datafile.Inspect(_files, path);
                if (meta.SystemId != _system || meta.FileId != move.FileId)
                    return false;
            }
            catch (PitrException error) when (error is DamageException or RefusedException)
            {
                return false;
            }
        }

        if (IsOwner)
            return true;
        using IDisposable? free = _files.TryLock(path);
        return free is not null;
    }

    private string FullPath(string stored) => Catalogue.FullPath(_folder, stored);
}
