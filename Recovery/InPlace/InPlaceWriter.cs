using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Makes a database's folder what a recovery in place begins with; opening then carries the plan out.</summary>
/// <remarks>
/// ORDER
/// <code>
///   1  the database's own WAL, as far as it is used     last group written again, every segment synced, folder synced (H3)
///      the meta page of each file that is kept          (H10)
///   2  each file that comes from the set, or is born    as RecoveredFile says: under its name, synced, with a new
///                                                       incarnation; what lay there gets another name
///   3  a second name for the control file that is there   folder synced
///   4  the control file, in recovery                    one rename, folder synced: from here on a crash goes on with the
///                                                       same target
/// </code>
/// A crash before 4 leaves the control file that was there, for which a file that came from the set is another
/// incarnation: it needs recovery, the others serve as if nothing had been (H16); or none, if there was none. Either way
/// the same recovery can be begun again, and finds what it made.
/// INVARIANTS
///   IW1  Nothing of the former database is written over or removed before 4, nor afterwards but for what replay changes
///        in files that are kept: former files and the former control file lie beside the new ones, with the ending
///        '.aside'. An unfinished copy of an earlier try is removed.
///   IW2  The control file says of each file what its meta page says at that moment.
/// THREADS  one; the database's lock is held. FAILURE  as the disk's; begin again.
/// </remarks>
internal static class InPlaceWriter
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>All steps.</summary>
    /// <param name="planned">What to do.</param>
    /// <param name="copied">Called with the bytes of each chunk.</param>
    /// <param name="cancellation">Until the control file is written.</param>
    public static void Run(PlannedInPlace planned, Action<int> copied, CancellationToken cancellation)
    {
        InPlaceRequest request = planned.Request;
        IFileSystem disk = request.Environment.Files;
        MakeDurable(disk, request.Local, planned.Plan);
        foreach (InPlaceFile kept in planned.Files.Where(file => file.Base is FileBase.InPlace))
            Datafile.MakeDurable(disk, kept.Path);
        Catalogue catalogue = planned.Control.Catalogue;
        foreach (InPlaceFile file in planned.Files.Where(file => file.Base is not FileBase.InPlace))
        {
            cancellation.ThrowIfCancellationRequested();
            using Datafile made = RecoveredFile.Make(
                planned.FileRecovery(file), copied, cancellation, keepsFormer: true);
            catalogue = catalogue.WithFile(file.File with
            {
                Incarnation = made.Incarnation,
                Generation = made.Generation,
                CheckpointLsn = made.CheckpointLsn,
                CleanUpTo = made.CheckpointLsn,
                NeedsRecovery = null,
            });
        }

        cancellation.ThrowIfCancellationRequested();
        var store = new ControlFileStore(disk, request.Folder);
        KeepFormer(disk, store);
        store.Replace(planned.Control with { Catalogue = catalogue });
    }

    /// <summary>Step 3: under a second name, so that there is one at each instant.</summary>
    public static void KeepFormer(IFileSystem disk, ControlFileStore store)
    {
        if (!store.Exists)
            return;
        disk.Link(store.FilePath, AsideName.Free(disk, store.FilePath));
        disk.SyncFolder(DurableReplace.FolderOf(store.FilePath));
    }

    /// <summary>
    /// Step 1. The last group may lie in the page cache alone, marked clean by a sync that failed: it is written again.
    /// </summary>
    private static void MakeDurable(IFileSystem disk, WalSurvey survey, RecoveryPlan plan)
    {
        PlannedWal[] own = [.. plan.Wal.Where(wal => wal.Source == survey.Folder)];
        foreach (PlannedWal part in own)
        {
            WalRun run = survey.Runs.First(run =>
                run.Identity.Timeline == part.Timeline && run.From <= part.FromLsn && part.FromLsn < run.To);
            var folder = new WalFolder(disk, survey.Folder, survey.SegmentBytes, run.Identity);
            using IFileHandle handle = folder.Open(part.Number, run.Identity, FileOpen.ReadWrite);
            WriteAgain(
                handle, folder.Geometry, Lsn.Max(run.LastGroupStart, folder.Geometry.StartOf(part.Number)),
                Lsn.Min(run.To, folder.Geometry.StartOf(part.Number + 1)));
            handle.SyncData();
        }

        if (own.Length > 0)
            disk.SyncFolder(survey.Folder);
    }

    private static void WriteAgain(IFileHandle handle, WalGeometry geometry, Lsn from, Lsn to)
    {
        byte[] chunk = new byte[(int)Math.Clamp(to - from, 0, ChunkBytes)];
        while (from < to)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(chunk.Length, to - from));
            int read = handle.Read(geometry.OffsetOf(from), part);
            Invariant.Require(read == part.Length, "W2", $"'{handle.Path}' became shorter.");
            handle.Write(geometry.OffsetOf(from), part);
            from += part.Length;
        }
    }
}
