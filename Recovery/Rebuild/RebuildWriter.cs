using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Writes a control file that was made anew.</summary>
/// <remarks>
/// ORDER
/// <code>
///   1  the WAL is opened as any opening does         what was read is durable before the control file rests on it (H3, H7),
///      the meta page of each file that serves        (H10)
///   2  a second name for the control file there is   folder synced; it stays, with the ending '.aside'
///   3  the control file                              one rename, folder synced
/// </code>
/// A crash before 3 leaves what was there, and the same can be done again: 1 changes nothing that counts. After 3 the
/// database is one that crashed.
/// INVARIANTS  RW1: of a datafile nothing is changed. RW2: the WAL ends where the plan says.
/// THREADS  one; the database's lock is held.
/// </remarks>
internal static class RebuildWriter
{
    /// <exception cref="RefusedException">TargetUnreachable: the WAL is not what it was when the plan was made.</exception>
    public static void Run(IFileSystem files, PlannedRebuild planned)
    {
        MakeDurable(files, planned);
        foreach (RebuiltFile file in planned.Plan.Files.Where(static file => file.NeedsRecovery is null))
            Datafile.MakeDurable(files, file.Path);
        var store = new ControlFileStore(files, planned.Folder);
        InPlaceWriter.KeepFormer(files, store);
        store.Replace(planned.Control);
    }

    /// <summary>Step 1.</summary>
    private static void MakeDurable(IFileSystem files, PlannedRebuild planned)
    {
        ControlFile control = planned.Control;
        using var folder = new WalFolder(
            files, Path.Combine(planned.Folder, "wal"), (int)control.WalSegmentBytes, planned.Run.Identity);
        WalOpened wal = WalOpening.Open(new WalOpeningRequest
        {
            Folder = folder,
            TimelineStart = control.History[^1].StartLsn,
            RedoLsn = control.RedoLsn,
            KnownEnd = control.KnownEndOfWal,
            LastCommitTime = control.LastCommitTime ?? default,
            MustReach = planned.KnownBy,
        });
        using (wal.Appender)
        {
            if (wal.End != planned.Run.To)
                throw RecoveryErrors.CutMissed(planned.Run.To, wal.End, "the WAL changed"); // RW2
        }
    }
}
