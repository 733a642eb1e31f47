using System.Text;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>What the engine notes in the control file, as functions of its present state (H23).</summary>
internal static class ControlFileChanges
{
    /// <summary>A machine's name of 64, a boot's of 36, two numbers of 20, and what is between them.</summary>
    private const int PlaceCharsMost = 144;

    /// <summary>With what a datafile reported; nothing changes for one that was dropped meanwhile.</summary>
    public static ControlFile WithFile(this ControlFile control, FileClean clean)
    {
        if (control.Catalogue.File(clean.File) is not { } known)
            return control;
        if ((clean.Incarnation == known.Incarnation && clean.Generation < known.Generation)
            || control.Replaced.Contains(clean.Incarnation))
        {
            // A report that waited for other files while a fence had a newer generation noted (H16), or while the file
            // was compacted (H42): what it says of the LSN holds.
            return control with
            {
                Catalogue =
                    control.Catalogue.WithFile(known with { CleanUpTo = Lsn.Max(known.CleanUpTo, clean.CleanUpTo) }),
            };
        }

        CatalogueFile next = known with
        {
            Incarnation = clean.Incarnation,
            Generation = clean.Generation,
            CheckpointLsn = clean.CheckpointLsn,
            CleanUpTo = Lsn.Max(known.CleanUpTo, clean.CleanUpTo),
        };
        return next == known
            ? control
            : control with
            {
                Catalogue = control.Catalogue.WithFile(next),
                Replaced = next.Incarnation == known.Incarnation
                    ? control.Replaced
                    : control.Replaced.Add(known.Incarnation),
            };
    }

    /// <summary>
    /// Without a claim of this file on the WAL: from here on it needs recovery. Nothing changes for one that was dropped.
    /// </summary>
    public static ControlFile WithGivenUp(this ControlFile control, FileId file, string why) =>
        control.Catalogue.File(file) is { } known
        ? control with { Catalogue = control.Catalogue.WithFile(known with { NeedsRecovery = why }) }
        : control;

    /// <summary>
    /// With a datafile that was recovered alone, up to an LSN beyond which it has no changes: what is said of it holds for
    /// its present incarnation from here on (H16, H40). Nothing changes if it was dropped, or if the redo point lies beyond.
    /// </summary>
    /// <param name="control">The present state.</param>
    /// <param name="clean">As it was flushed.</param>
    /// <param name="end">Every change at or below it is in the file, durable.</param>
    /// <param name="storedPath">Where it lies now; null: where it lay.</param>
    public static ControlFile WithRecovered(
        this ControlFile control, FileClean clean, Lsn end, string? storedPath)
    {
        if (control.Catalogue.File(clean.File) is not { } known || end < control.RedoLsn)
            return control;
        return control with
        {
            KnownEndOfWal = Lsn.Max(control.KnownEndOfWal, end),
            Replaced = clean.Incarnation == known.Incarnation
                ? control.Replaced
                : control.Replaced.Add(known.Incarnation),
            Catalogue = control.Catalogue.WithFile(known with
            {
                Path = storedPath ?? known.Path,
                Incarnation = clean.Incarnation,
                Generation = clean.Generation,
                CheckpointLsn = clean.CheckpointLsn,
                CleanUpTo = Lsn.Max(clean.CleanUpTo, end),
                NeedsRecovery = null,
            }),
        };
    }

    /// <summary>
    /// The catalogue as replayed; what it says of a file that was flushed meanwhile is older than what was noted then.
    /// </summary>
    public static ControlFile WithReplayed(this ControlFile control, Catalogue replayed)
    {
        Catalogue next = replayed;
        foreach (CatalogueFile noted in control.Catalogue.Files)
        {
            if (next.File(noted.Id) is not null)
                next = next.WithFile(noted);
        }

        return control with { Catalogue = next };
    }

    /// <summary>
    /// In a replay: the catalogue as replayed, the files as flushed, and the redo point where the next try may begin
    /// (H21: no WAL record says so).
    /// </summary>
    public static ControlFile AfterReplay(
        this ControlFile control, Catalogue replayed, IReadOnlyList<FileClean> clean, Lsn through)
    {
        ControlFile next = control.WithReplayed(replayed);
        foreach (FileClean file in clean)
            next = next.WithFile(file);
        return next with
        {
            RedoLsn = Lsn.Max(control.RedoLsn, Lsn.Min(through, next.Catalogue.LeastCleanUpTo)),
            KnownEndOfWal = Lsn.Max(control.KnownEndOfWal, through),
        };
    }

    /// <summary>
    /// With a checkpoint: what the files reported, and the redo point, which is the least LSN that any file is clean up
    /// to.
    /// </summary>
    public static ControlFile WithCheckpoint(
        this ControlFile control, Lsn checkpointLsn, IReadOnlyList<FileClean> clean, DateTimeOffset time)
    {
        ControlFile next = control;
        foreach (FileClean file in clean)
            next = next.WithFile(file);
        // A file born while the files were reporting is clean up to its birth, which lies above the barrier.
        Lsn redo = Lsn.Min(checkpointLsn, next.Catalogue.LeastCleanUpTo);
        return next with
        {
            CheckpointLsn = checkpointLsn,
            RedoLsn = Lsn.Max(redo, control.RedoLsn),
            CheckpointTime = time,
            Catalogue = next.Catalogue.ForgetDropped(redo),
        };
    }

    /// <summary>
    /// The record of a checkpoint, with the whole table of the control file (H22). Moves that are under way are not in
    /// it: whoever makes a control file of it would remove files by what was true then. Blanks make it as long on every
    /// machine: no LSN depends on the name of one, or on an inode.
    /// </summary>
    public static WalEvent.Checkpoint AsCheckpointRecord(this ControlFile control)
    {
        string content = Encoding.UTF8.GetString(ControlFileStore.EncodePayload(control with { Moves = [] }));
        int blanks = Math.Max(0, PlaceCharsMost - (control.Place?.ToString().Length ?? 0));
        return new WalEvent.Checkpoint(control.RedoLsn, control.CheckpointLsn, content + new string(' ', blanks));
    }

    /// <summary>With a move that begins (H19).</summary>
    /// <exception cref="PitrException">MoveUnderWay, MoveRefused, CompactRefused: another move uses one of its names;
    /// DatafileUnknown.</exception>
    public static ControlFile WithMove(this ControlFile control, PlannedMove move)
    {
        CatalogueFile file = control.Catalogue.File(move.FileId) ?? throw EngineErrors.DatafileUnknown(move.FileId);
        if (control.MoveOf(move.FileId) is { } running)
            throw UnderWay(file, running);
        if (move.From != file.Path && move.Incarnation is not null)
            throw CompactErrors.Moved(file.Name);
        bool isTaken = move.From != file.Path
            || NamesOf(move).Any(name => control.IsNameOfMove(name)
                || control.Catalogue.Files.Any(other => other.Id != move.FileId && other.Path == name));
        return isTaken
            ? throw (move.Incarnation is null
                ? MoveErrors.OfAnotherMove(file.Name, move.To)
                : CompactErrors.InTheWay(file.Name, move.To + CompactPlan.Suffix))
            : control with { Moves = control.Moves.Add(move) };
    }

    /// <summary>What is said of a datafile that is being moved or compacted.</summary>
    public static RefusedException UnderWay(CatalogueFile file, PlannedMove running) => running.Incarnation is null
        ? MoveErrors.UnderWay(file.Name, running.To)
        : CompactErrors.UnderWay(file.Name);

    /// <summary>The move or compaction of a datafile that is not forgotten; null if there is none.</summary>
    public static PlannedMove? MoveOf(this ControlFile control, FileId file) =>
        control.Moves.FirstOrDefault(move => move.FileId == file);

    /// <summary>True for a path, as it is stored, that a move uses.</summary>
    public static bool IsNameOfMove(this ControlFile control, string stored) =>
        control.Moves.Any(move => NamesOf(move).Contains(stored));

    /// <summary>A move has put the datafile where it was to go: from here on the former file may be removed.</summary>
    /// <param name="control">The present state.</param>
    /// <param name="file">The datafile.</param>
    /// <param name="isRecorded">True: this is also what makes the copy the datafile.</param>
    public static ControlFile WithWinner(this ControlFile control, FileId file, bool isRecorded)
    {
        if (control.MoveOf(file) is not { } move || control.Catalogue.File(file) is not { } known)
            return control;
        return control with
        {
            Moves = control.Moves.Replace(move, move with { Winner = move.To }),
            Catalogue = isRecorded ? control.Catalogue.WithFile(known with { Path = move.To }) : control.Catalogue,
        };
    }

    /// <summary>
    /// A move that had ended undecided has its winner, durably under the datafile's name; also if another one was noted
    /// before somebody's hand changed the name.
    /// </summary>
    public static ControlFile WithSettled(this ControlFile control, FileId file, SettledMove settled)
    {
        if (control.MoveOf(file) is not { } move)
            return control;
        return settled.Compacted is { } meta
            ? control.WithCompacted(file, meta)
            : control with { Moves = control.Moves.Replace(move, move with { Winner = settled.Winner }) };
    }

    /// <summary>What a copy that has taken a datafile's place is noted as.</summary>
    public static ControlFile WithSwitched(this ControlFile control, SwitchableCopy copy) => copy switch
    {
        CompactCopy compacted => control.WithCompacted(copy.FileId, compacted.Meta),
        _ => control.WithWinner(copy.FileId, copy.IsSwitchedByRecord),
    };

    /// <summary>
    /// A compacted file has taken a datafile's place: from here on its incarnation is the datafile's (H16), and nothing is
    /// left to be removed.
    /// </summary>
    public static ControlFile WithCompacted(this ControlFile control, FileId file, MetaPage meta)
    {
        if (control.Catalogue.File(file) is not { } known)
            return control;
        return control
            .WithFile(new FileClean(
                file, known.Name, meta.Incarnation, meta.Generation, meta.CheckpointLsn, meta.CheckpointLsn))
            .WithoutMove(file);
    }

    /// <summary>Without a move of which nothing is left.</summary>
    public static ControlFile WithoutMove(this ControlFile control, FileId file) =>
        control.MoveOf(file) is { } move ? control with { Moves = control.Moves.Remove(move) } : control;

    private static string[] NamesOf(PlannedMove move) =>
        [
            move.From, move.To, move.Origin, move.From + MovePlan.AsideSuffix,
            .. move.Incarnation is null ? (string[])[] : [move.Origin + CompactPlan.Suffix],
        ];

    /// <summary>
    /// With what was durable when a checkpoint's record was: below the redo point nobody reads any more which ids and
    /// times were given (I9).
    /// </summary>
    public static ControlFile WithRecorded(
        this ControlFile control, Lsn recordLsn, DateTimeOffset time, TransactionId last) => control with
        {
            KnownEndOfWal = recordLsn,
            LastCommitTime = time,
            NextTransactionId = new TransactionId(last.Value + 1),
        };
}
