using System.Text;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>What the engine notes in the control file, as functions of its present state (H23).</summary>
internal static class ControlFileChanges
{
    /// <summary>With what a datafile reported; nothing changes for one that was dropped meanwhile.</summary>
    public static ControlFile WithFile(this ControlFile control, FileClean clean)
    {
        if (control.Catalogue.File(clean.File) is not { } known)
            return control;
        if (clean.Incarnation == known.Incarnation && clean.Generation < known.Generation)
        {
            // A report that waited for other files while a fence had a newer generation noted (H16): what it says of
            // the LSN holds.
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
        return next == known ? control : control with { Catalogue = control.Catalogue.WithFile(next) };
    }

    /// <summary>
    /// Without a claim of this file on the WAL: from here on it needs recovery. Nothing changes for one that was dropped.
    /// </summary>
    public static ControlFile WithGivenUp(this ControlFile control, FileId file, string why) =>
        control.Catalogue.File(file) is { } known
        ? control with { Catalogue = control.Catalogue.WithFile(known with { NeedsRecovery = why }) }
        : control;

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

    /// <summary>The record of a checkpoint, with the whole table of the control file (H22).</summary>
    public static WalEvent.Checkpoint AsCheckpointRecord(this ControlFile control) => new(
        control.RedoLsn, control.CheckpointLsn, Encoding.UTF8.GetString(ControlFileStore.EncodePayload(control)));

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
