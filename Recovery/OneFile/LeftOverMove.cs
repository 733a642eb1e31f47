using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// A move or compaction that ended undecided, and what a recovery of its datafile makes of it: which of both files the
/// name leads to, now and after any power loss (H19, H20).
/// </summary>
/// <remarks>
/// ORDER  as at an opening (<see cref="MoveSettlement"/>), for this datafile alone
/// <code>
///   SyncFolders   before the plan: a disk that still fails is told with nothing touched
///   Settle        when the former owner and its workers have ended: the folders once more, then what the name leads to
///                 ── control file, durable: names the winner ──
///                 the file is opened, or put into its place, and replayed
/// </code>
/// The other file stays until the next opening, which removes it once the datafile has opened.
/// THREADS  one.
/// </remarks>
internal static class LeftOverMove
{
    /// <summary>What the names of a move lead to is durable when it returns.</summary>
    /// <exception cref="StorageFailedException">A folder can't be synced.</exception>
    public static void SyncFolders(IFileSystem files, string folder, ControlFile control, PlannedMove move) =>
        new MoveSettlement(files, folder, move.Place, control.SystemId).SyncFolders(control with { Moves = [move] });

    /// <summary>Which file the datafile's name leads to, durably. Nobody has either open.</summary>
    /// <exception cref="StorageFailedException">A folder can't be synced, or the disk can't be read.</exception>
    public static SettledMove Settle(
        IFileSystem files, string folder, ControlFile control, CatalogueFile file, PlannedMove move)
    {
        SyncFolders(files, folder, control, move);
        string path = LinkedName.Resolve(files, Catalogue.FullPath(folder, file.Path));
        string winner = Catalogue.StoredPath(folder, path);
        bool isOfMove = winner == move.Origin || winner == move.To;
        if (move.Incarnation is not { } compacted)
            return new SettledMove(isOfMove ? winner : null, null);
        return MetaOf(files, path) is not { } meta ? new SettledMove(null, null)
            : meta.Incarnation == compacted ? new SettledMove(winner, meta)
            : new SettledMove(isOfMove ? winner : null, null);
    }

    /// <summary>Null of what has none; the recovery says what it makes of that.</summary>
    private static MetaPage? MetaOf(IFileSystem files, string path)
    {
        try
        {
            return files.Stat(path) is null ? null : Datafile.Inspect(files, path);
        }
        catch (PitrException error) when (error is DamageException or RefusedException)
        {
            return null;
        }
    }
}

/// <summary>What became of a move that had ended undecided.</summary>
/// <param name="Winner">
/// Where the name leads, as the control file has it; null: to none of both, or to what can't be told, so that nothing is
/// removed before an opening has decided.
/// </param>
/// <param name="Compacted">The meta page of the compacted file that has the datafile's place; null if none has.</param>
internal sealed record SettledMove(string? Winner, MetaPage? Compacted);
