using MoveSettlement = Pitr.Recovery.MoveSettlement;
using RecoveredFile = Pitr.Recovery.RecoveredFile;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Actors;

/// <summary>
/// Opens what a database consists of, in an order in which nothing is believed before what proves it: lock, control
/// file, datafiles, and the WAL, which must reach what all of them know (H7).
/// </summary>
/// <remarks>
/// A datafile that is missing, old, foreign or damaged does not keep the others from serving: it is NeedsRecovery. One
/// that is ahead of the WAL keeps the database from opening, since then the WAL is not the one that the file was
/// written from.
/// A datafile outside of the folder is opened only if this is still the place of the database (<see cref="OutsideFiles"/>).
/// A datafile that was moved is opened where its link leads; moves that a crash cut off are settled
/// (<see cref="MoveSettlement"/>) before anything is flushed.
/// THREADS  one worker. FAILURE  what was opened is closed again; trying again does no harm.
/// </remarks>
internal static class EngineOpening
{
    /// <exception cref="PitrException">See <see cref="PitrDatabase.OpenAsync"/>.</exception>
    public static OpenedEngine Open(EngineContext engine)
    {
        if (engine.Options.FileSystem is null)
            PlatformCheck.RequireSystem();
        IFileSystem files = engine.FileSystem;
        var store = new ControlFileStore(files, engine.Folder);
        if (!store.Exists)
            throw EngineErrors.NotADatabase(engine.Folder);
        DatabaseLock databaseLock = DatabaseLock.Take(files, engine.Folder, engine.Options.Process.Words(engine.Clock));
        var datafiles = new List<OpenedDatafile>();
        WalFolder? folder = null;
        WalOpened? wal = null;
        try
        {
            ControlFile control = store.ReadLive();
            folder = new WalFolder(
                files, Path.Combine(engine.Folder, EngineCreation.WalFolderName), (int)control.WalSegmentBytes,
                new WalIdentity(control.SystemId, control.Timeline, control.Lineage), WriteThrough(engine));
            TimelineHistory history = TimelineHistory.Of(control.SystemId, control.History);
            bool isRecovering = control.Recovery is not null;
            engine.Outside = OutsideFiles.Of(files, engine.Folder, control.Place, engine.Options.Process);
            if (isRecovering && control.Place is null)
                control = WithPlace(engine, store, control);
            var moves = new MoveSettlement(files, engine.Folder, engine.Outside.Here, control.SystemId);
            moves.SyncFolders(control);
            foreach (CatalogueFile file in control.Catalogue.Files)
                datafiles.Add(OpenDatafile(engine, control, history, file));
            DatabaseSettings settings = DatabaseSettings.Read(files, engine.Folder);
            IReadOnlyList<IArchiveStore> stores = EngineFactory.StoresOf(engine, settings);
            wal = isRecovering ? null : WalOpening.Open(RequestFor(control, history, folder, datafiles));
            foreach (OpenedDatafile file in datafiles)
                Register(engine, file);
            if (wal is not null)
            {
                RequireNoStoreAhead(stores, history, folder.Geometry, wal.End);
                UnlessFull(() => folder.EnsureReady(), () => true); // WalWriter refuses commits until there is room
                ulong next = Math.Max(control.NextTransactionId.Value, wal.LastTransactionId.Value + 1);
                ControlFile found = control;
                control = control with
                {
                    State = EngineState.Running,
                    KnownEndOfWal = wal.End,
                    NextTransactionId = new TransactionId(next),
                    // One that does not fit is written when replay has shown that nothing is left outside.
                    Place = engine.Outside.AreOwn ? engine.Outside.Here : control.Place,
                };
                control = moves.Decide(control, id => datafiles.Find(file => file.Id == id)?.File?.Meta);
                UnlessFull(() => store.Replace(control), () => store.Holds(found));
                control = SettleMoves(moves, store, control, HasOpened);
            }

            bool HasOpened(FileId id) => datafiles.Any(file => file.Id == id && file.File is not null);

            FolderPlace place = engine.Outside.Here;
            return new OpenedEngine(
                databaseLock, store, control, folder, wal, datafiles, new StoreSet(stores),
                new EngineStart(
                    engine.Draw(), place.Machine, place.BootId, engine.Folder, place.Device, place.Inode))
            {
                Standings = new StoreStandings(
                    engine.Clock, new OwnerNotes(files, engine.Folder, engine.Options.Process.BootId)),
                ArchiveBound = ArchiveBound.Of(engine.Options, settings),
                Restore = isRecovering ? RestoreSources.Of(engine, control) : null,
                ToldOfMoves = moves.Told,
            };
        }
        catch
        {
            foreach (OpenedDatafile file in datafiles)
                file.File?.Dispose();
            wal?.Appender.Dispose();
            folder?.Dispose();
            databaseLock.Dispose();
            throw;
        }
    }

    /// <summary>Of a recovery that was begun by a program that knew of no places.</summary>
    private static ControlFile WithPlace(EngineContext engine, ControlFileStore store, ControlFile control)
    {
        ControlFile placed = engine.Outside.Settled(control);
        UnlessFull(() => store.Replace(placed), () => store.Holds(control));
        return placed;
    }

    /// <summary>
    /// Moves that a crash cut off: what they left over goes, once the control file on the disk names the winners (H19).
    /// </summary>
    private static ControlFile SettleMoves(
        MoveSettlement moves, ControlFileStore store, ControlFile control, Predicate<FileId> hasOpened)
    {
        if (control.Moves.IsEmpty || !store.Holds(control))
            return control;
        ControlFile settled = control with
        {
            Moves = [.. control.Moves.Where(
                move => !hasOpened(move.FileId) || !moves.Remove(move, control.Catalogue))],
        };
        if (settled.Moves.Length < control.Moves.Length)
            UnlessFull(() => store.Replace(settled), () => store.Holds(control));
        return settled;
    }

    /// <summary>
    /// H7: a store that knows more of this timeline than the local WAL: going on would give LSNs twice. A store that
    /// can't be asked, or is not this database's, keeps nothing from opening: nothing is pushed there before it was
    /// asked.
    /// </summary>
    internal static void RequireNoStoreAhead(
        IReadOnlyList<IArchiveStore> stores, TimelineHistory history, WalGeometry geometry, Lsn end)
    {
        foreach (IArchiveStore store in stores)
        {
            try
            {
                if (ArchiveIdentity.Read(store)?.System == history.System)
                    StoreShipper.RequireNotAhead(store, history, geometry, end);
            }
            catch (PitrException error) when (error is not BugException && error.Code != ErrorCode.WalTooShort)
            {
                // The Archiver asks again, and tells it in the status.
            }
        }
    }

    /// <summary>
    /// A full disk does not keep a database from opening, as long as what is there stands: what is not written says
    /// less than is true, and the WAL says the rest.
    /// </summary>
    private static void UnlessFull(Action step, Func<bool> stands)
    {
        try
        {
            step();
        }
        catch (StorageFailedException full) when (full.IsDiskFull && stands())
        {
            // commits say so as long as there is no room
        }
    }

    /// <summary>One datafile; a typed failure of it alone is kept as the reason why it needs recovery.</summary>
    private static OpenedDatafile OpenDatafile(
        EngineContext engine, ControlFile control, TimelineHistory history, CatalogueFile file)
    {
        string name = Catalogue.FullPath(engine.Folder, file.Path);
        string path = LinkedName.Resolve(engine.FileSystem, name);
        if (engine.Outside.Bars(name))
            return new OpenedDatafile(
                file.Id, file.Name, path, null, file.CleanUpTo, Problem.From(engine.Outside.Refusal(file)));
        RemoveLeftOverOfRecovery(engine.FileSystem, path, control.SystemId, file.Id);
        try
        {
            if (file.NeedsRecovery is not null)
                throw EngineErrors.DatafileNeedsRecovery(file.Name, file.NeedsRecovery);
            Datafile opened = Datafile.Open(
                engine.Environment, path, file.Name, ExpectationOf(engine.FileSystem, control, file, path),
                keepVersions: false);
            if (!history.PathContains(opened.Meta.Lineage, opened.CheckpointLsn))
            {
                opened.Dispose();
                throw EngineErrors.DatafileNeedsRecovery(
                    file.Name,
                    $"its checkpoint LSN {opened.CheckpointLsn} is of lineage {opened.Meta.Lineage}, "
                    + "which is not on this database's path there.");
            }

            RemoveLeftOverOfSpill(engine.FileSystem, path);
            return new OpenedDatafile(
                file.Id, file.Name, path, opened, Lsn.Max(file.CleanUpTo, opened.CheckpointLsn), null);
        }
        catch (PitrException error) when (error.Code is not (ErrorCode.DatabaseLocked or ErrorCode.FormatVersion))
        {
            return new OpenedDatafile(file.Id, file.Name, path, null, file.CleanUpTo, Problem.From(error));
        }
    }

    /// <summary>What a file has to say of itself to be the datafile that the control file names.</summary>
    internal static DatafileExpectation ExpectationOf(
        IFileSystem files, ControlFile control, CatalogueFile file, string path)
    {
        // A restore that crashed after it had stamped this file, and before the control file knew its new incarnation
        // (H32).
        bool isStamped = control.Recovery is { } recovery
            && files.Stat(path) is not null && Datafile.Inspect(files, path).RestoreStamp == recovery.Id;
        CatalogueFile expected = control.Expected(file, IncarnationIfCompacted(files, control, file, path));
        return isStamped
            ? new DatafileExpectation(control.SystemId, file.Id)
            : new DatafileExpectation(
                control.SystemId, file.Id, DatafileKind.Datafile, expected.Generation, expected.Incarnation,
                expected.CheckpointLsn);
    }

    /// <summary>
    /// What the file says of itself, if a compaction of it is noted: a crash may have come between its rename and the
    /// control file (H16, H42).
    /// </summary>
    private static Incarnation? IncarnationIfCompacted(
        IFileSystem files, ControlFile control, CatalogueFile file, string path) =>
        control.MoveOf(file.Id) is { Incarnation: not null } && files.Stat(path) is not null
            ? Datafile.Inspect(files, path).Incarnation
            : null;

    /// <summary>At most an empty file, which keeps nothing from opening.</summary>
    private static void RemoveLeftOverOfSpill(IFileSystem files, string datafile)
    {
        try
        {
            SpillFile.RemoveLeftOver(files, datafile);
        }
        catch (StorageFailedException)
        {
            // the next spill tries again, and tells it
        }
    }

    /// <summary>A copy that was being made when the engine ended; it keeps nothing from opening.</summary>
    private static void RemoveLeftOverOfRecovery(
        IFileSystem files, string datafile, SystemIdentifier system, FileId file)
    {
        try
        {
            RecoveredFile.RemoveLeftOver(files, datafile, system, file);
        }
        catch (StorageFailedException)
        {
            // the next recovery of the file tries again, and tells it
        }
    }

    private static void Register(EngineContext engine, OpenedDatafile file)
    {
        FileSlot slot = engine.Slots.Add(file.Id, file.Name);
        if (file.File is not null)
            return;
        slot.Why = file.Why;
        slot.State = DatafileState.NeedsRecovery;
    }

    private static WalOpeningRequest RequestFor(
        ControlFile control, TimelineHistory history, WalFolder folder, List<OpenedDatafile> datafiles) =>
        RequestFor(control, history, folder) with
        {
            MustReach = [.. datafiles.Where(file => file.File is not null)
                .Select(file => new KnownPosition(file.File!.CheckpointLsn, $"datafile '{file.Name}'"))],
        };

    /// <summary>Of a log that is opened or looked at; what it must reach is the caller's.</summary>
    internal static WalOpeningRequest RequestFor(ControlFile control, TimelineHistory history, WalFolder folder) => new()
    {
        Folder = folder,
        TimelineStart = history.Last.StartLsn,
        RedoLsn = control.RedoLsn,
        KnownEnd = control.KnownEndOfWal,
        LastCommitTime = control.LastCommitTime ?? default,
        Parents = [.. Stretches(history)],
    };

    private static IEnumerable<WalStretch> Stretches(TimelineHistory history)
    {
        for (int i = 0; i + 1 < history.Path.Count; i++)
        {
            TimelineEntry entry = history.Path[i];
            yield return new WalStretch(entry.Timeline, entry.Lineage, entry.StartLsn, history.Path[i + 1].ForkLsn);
        }
    }

    private static Action<IFileHandle, long, ReadOnlySpan<byte>> WriteThrough(EngineContext engine) =>
        (handle, offset, bytes) => engine.PacedWriter.WriteUrgent(handle, offset, bytes);
}
