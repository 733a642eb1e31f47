namespace Pitr.Actors;

/// <summary>The errors that the engine itself reports: one factory per code, so that a text is written once.</summary>
internal static class EngineErrors
{
    public static NotFoundException TableUnknown(string name) => new(
        ErrorCode.TableUnknown, $"There is no table '{name}'.", "List the tables: pitr table list");

    public static NotFoundException TableGone(TableId table) => new(
        ErrorCode.TableUnknown, $"Table {table} was dropped.",
        "Look the table up again by its name; a dropped table can be had back by recovery to a moment before: pitr restore");

    public static NotFoundException DatafileUnknown(string name) => new(
        ErrorCode.DatafileUnknown, $"There is no datafile '{name}'.", "List the datafiles: pitr datafile list");

    public static NotFoundException DatafileUnknown(FileId file) => new(
        ErrorCode.DatafileUnknown, $"There is no datafile with the number {file}.",
        "List the datafiles: pitr datafile list");

    public static RefusedException NameTaken(string what, string name) => new(
        ErrorCode.NameTaken, $"There is already a {what} '{name}'.", "Choose another name.");

    public static RefusedException PlaceReserved(string path, string why) => new(
        ErrorCode.PlaceReserved, $"A datafile can't lie at '{path}': {why}.", "Choose another path.");

    public static RefusedException MainStays() => new(
        ErrorCode.StillInUse, "The datafile 'main' always exists and can't be dropped.",
        "Drop its tables instead: pitr table drop NAME");

    public static RefusedException DatafileHasTables(string name, int tables) => new(
        ErrorCode.StillInUse, $"Datafile '{name}' still holds {tables} tables.",
        "Drop its tables first: pitr table drop NAME");

    public static RefusedException DatafileIsFenced(string name) => new(
        ErrorCode.DatafileFenced, $"Datafile '{name}' is fenced.",
        $"Wait for its holder, or end the fence: pitr unfence {name}");

    public static RefusedException ShuttingDown() => new(
        ErrorCode.ShuttingDown, "The engine is shutting down.", "Open the database again.");

    public static RefusedException EngineStopped(Problem why) => new(
        ErrorCode.ShuttingDown, $"The engine has stopped: {why.Message}", why.Hint);

    public static BugException CheckpointLost() =>
        new("The Checkpointer died, and the checkpoint with it; another one is there.");

    public static RefusedException CommitRefused(PitrException why) => new(
        ErrorCode.CommitRefused, $"The commit was not taken in, because the engine stopped: {why.Message}",
        "It is not in the WAL. Open the database again, then commit it again.", why);

    public static RefusedException CommitFateUnknown(PitrException why) => new(
        ErrorCode.CommitFateUnknown, $"The engine stopped while the commit was under way: {why.Message}",
        "Open the database again and look whether it is there: its fate is that of the WAL.", why);

    public static RefusedException ReadOnly() => new(
        ErrorCode.ReadOnly, "The database is open for reading only.",
        "It is paused at a recovery target; finish the recovery first: pitr recover DIR --promote");

    public static RefusedException DatafileOffline(string name, Problem why) => new(
        ErrorCode.DatafileOffline, $"Datafile '{name}' is offline, its reads go on: {why.Message}",
        $"Mend the disk, then bring it back while the others serve: pitr datafile recover {name}");

    public static RefusedException DatafileNeedsRecovery(string name, string why) => new(
        ErrorCode.DatafileNeedsRecovery, $"Datafile '{name}' needs recovery: {why}",
        $"Bring it back while the others serve: pitr datafile recover {name} --from STORE");

    public static RefusedException DatafileRecovering(string name, long? secondsLeft = null) => new(
        ErrorCode.DatafileRecovering,
        secondsLeft is null
            ? $"Datafile '{name}' is being recovered."
            : $"Datafile '{name}' is being recovered, and ready in about {secondsLeft} s.",
        "Try again when it is ready.");

    public static RefusedException RecoveryUnderWay(string name) => new(
        ErrorCode.DatafileRecovering, $"Datafile '{name}' is being recovered already.",
        "Wait for it to end: pitr status");

    public static RefusedException NothingToRecover(string name, string state) => new(
        ErrorCode.DatafileServes, $"Datafile '{name}' is {state}: there is nothing to recover.",
        "To go back to an earlier moment, restore into a new folder: pitr restore --from STORE --into DIR --target-time T");

    public static RefusedException FileRecoveryCancelled(string name) => new(
        ErrorCode.FileRecoveryCancelled, $"The recovery of datafile '{name}' was cancelled.",
        $"Begin it again: pitr datafile recover {name}");

    public static RefusedException RecoveryKeepsTooMuchWal(string name, long walBytes, long walBytesMax) => new(
        ErrorCode.FileRecoveryCancelled,
        $"The recovery of datafile '{name}' stood still and was given up: {walBytes} bytes of WAL were kept for it; at most "
        + $"{walBytesMax} may be.",
        $"See that its store answers, and begin it again: pitr datafile recover {name}");

    public static RefusedException SnapshotOfFormerOwner(string name) => new(
        ErrorCode.SnapshotTooOld, $"The snapshot is of a time when datafile '{name}' did not serve, or had not been recovered.",
        "Open a new snapshot.");

    public static RefusedException LeaseOutOfRange(TimeSpan lease) => new(
        ErrorCode.LeaseOutOfRange, $"A lease of {lease} is not allowed.",
        "Ask for more than zero and at most 24 hours.");

    public static RefusedException FenceUnknown(Guid token) => new(
        ErrorCode.FenceUnknown, $"No fence {token} is held: it ended, was broken, or never was.",
        "Throw the copy away, and fence the file again.");

    public static RefusedException LeaseEnded(string datafile) => new(
        ErrorCode.FenceBroken, $"The lease of the fence on datafile '{datafile}' ended.",
        "Throw the copy away, and fence the file again with a longer lease.");

    public static RefusedException HolderDied(string datafile) => new(
        ErrorCode.FenceBroken, $"The holder of the fence on datafile '{datafile}' died.", "Throw the copy away.");

    public static RefusedException FenceMemory(string datafile, long bufferedBytes) => new(
        ErrorCode.FenceBroken,
        $"The fence on datafile '{datafile}' was broken: {bufferedBytes} bytes of changes waited for it in memory, and could not be spilled.",
        "Throw the copy away; make room on the datafile's disk, or fence for a shorter time.");

    public static RefusedException FenceWal(string datafile, long walBytes) => new(
        ErrorCode.FenceBroken,
        $"The fence on datafile '{datafile}' was broken: {walBytes} bytes of WAL were kept for it.",
        "Throw the copy away; fence for a shorter time, or allow more with FencedWalBytesMax.");

    public static RefusedException FenceForced(string datafile) => new(
        ErrorCode.FenceBroken, $"The fence on datafile '{datafile}' was broken by a forced shutdown.",
        "Throw the copy away.");

    public static RefusedException SeveralFences(string datafile, IEnumerable<Guid> fences) => new(
        ErrorCode.StillInUse, $"Datafile '{datafile}' has several fences: {string.Join(", ", fences)}.",
        "Say which one: pitr unfence --fence ID");

    public static RefusedException NotFenced(string datafile) => new(
        ErrorCode.FenceUnknown, $"Datafile '{datafile}' is not fenced.", "See which files are: pitr status");

    public static RefusedException SnapshotTooOld(TimeSpan age) => new(
        ErrorCode.SnapshotTooOld, $"The snapshot is older than {age} and was ended.",
        "Open a new snapshot; SnapshotAgeMax sets the bound.");

    public static RefusedException SnapshotsTooLarge(long keptBytes, long keptBytesMax) => new(
        ErrorCode.SnapshotTooOld,
        $"The snapshot was ended: {keptBytes} bytes of memory were kept for snapshots, at most {keptBytesMax} may be.",
        "Open a new snapshot, and dispose of it sooner; SnapshotBytesMax sets the bound.");

    public static RefusedException FolderNotEmpty(string folder) => new(
        ErrorCode.FolderNotEmpty, $"Folder '{folder}' is not empty.", "Give a folder that is absent or empty.");

    public static NotFoundException NotADatabase(string folder) => new(
        ErrorCode.NotADatabase, $"Folder '{folder}' holds no database: there is no pitr.control.",
        "Create one: pitr init DIR"
        + "\nIf its control file was lost, rebuild it: pitr recover DIR --control-file rebuild");

    public static NotFoundException NothingOfADatabase(string folder) => new(
        ErrorCode.NotADatabase, $"Folder '{folder}' has nothing of a database: no control file, no WAL and no datafile.",
        "Restore into it: pitr restore --from STORE --into DIR");

    public static StorageFailedException TimedOut(string what, TimeSpan after) => new(
        ErrorCode.TimedOut, $"'{what}' was not answered within {after}.",
        "Look at the engine's log and status, then try again.");

    public static DamageException DatafileMissing(string name, string path) => new(
        ErrorCode.DatafileMissing, $"Datafile '{name}' is missing: there is no '{path}'.",
        "Put it back, or restore from a backup set: pitr restore --from STORE --into DIR")
    { Path = path };

    public static RefusedException NotInRecovery(string folder) => new(
        ErrorCode.NotInRecovery, $"The database in '{folder}' is not in recovery.", "Serve it: pitr serve DIR");

    public static RefusedException BackupCancelled() => new(
        ErrorCode.BackupVoid, "The backup was cancelled; nothing of it is left.",
        "Run it again: pitr backup --to STORE");

    public static RefusedException SetLetGo(string reason) => new(
        ErrorCode.BackupVoid,
        $"The engine has let go of the backup set of {reason}: it was not renewed, did not give back a fence that had "
        + "broken, or has ended.",
        "Throw away what was written, and run it again.");

    public static RefusedException SetKeepsTooMuchWal(string what, long walBytes, long walBytesMax) => new(
        ErrorCode.BackupVoid,
        $"The engine has let go of {what}: {walBytes} bytes of WAL were kept for it; at most {walBytesMax} may be.",
        "Throw away what was written. Make it again to where it is taken faster or when less is committed, or allow more "
        + "with FencedWalBytesMax.");

    public static RefusedException SetIsBusy(string reason) => new(
        ErrorCode.StillInUse, $"Another request of the backup set of {reason} is under way, or has to come before.",
        "Wait for its answer.");

    public static RefusedException SetElsewhere(string folder, string machine, string here) => new(
        ErrorCode.NeedsRunningEngine,
        $"The database's folder '{folder}' on machine {machine} is not the one of that path here, on {here}: pgtar reads "
        + "the datafiles from the local disk.",
        "Run pgtar on the engine's machine, as `ssh MACHINE pgtar --host 127.0.0.1:4053 > FILE`, or take a set over the "
        + "network: pitr backup --to STORE");

    public static RefusedException SetWithoutWal() => new(
        ErrorCode.WalGap,
        "The database has no archive, so the WAL that the set needs would be nowhere.",
        "Leave out --no-wal, or set up an archive and open the database again.");

    public static RefusedException BuffersFull(long bytes, long bytesMax) => new(
        ErrorCode.BuffersFull, $"{bytes} bytes of changes wait to be flushed; at most {bytesMax} may.",
        "See with pitr status which datafile does not flush: it may be fenced, offline, or its disk full.");

    public static StorageFailedException CommitNotArchived(Lsn lsn, string why, TimeSpan waited) => new(
        ErrorCode.CommitNotArchived,
        $"The commit that ends at {lsn} is durable and visible, but not in the archive after {waited}: {why}.",
        "Do not commit it again. See with pitr archive status why a store lags; ArchiveCommitWait says how long commits wait.");

    public static RefusedException ArchiveBehind(string store, long lagBytes, long lagBytesMax) => new(
        ErrorCode.ArchiveBehind,
        $"Archive store '{store}' lacks {lagBytes} bytes of WAL; commits are taken while it lacks at most {lagBytesMax}.",
        "See with pitr status why it lags, and mend it: commits are taken again when it has caught up. ArchiveLagBytesMax "
        + "and ArchiveLagChoice set the bound and what happens there.");

    public static RefusedException WalKept(string datafile, string state, long walBytes, long walBytesMax) => new(
        ErrorCode.WalKept,
        $"Datafile '{datafile}' is {state}, and {walBytes} bytes of WAL are kept for it; at most {walBytesMax} may be.",
        $"Bring it back: pitr datafile recover {datafile}; or drop its tables and the datafile. FencedWalBytesMax "
        + "and KeptWalChoice set the bound and what happens there.");

    public static StorageFailedException DiskReserved(string path, long freeBytes, long reserveBytes) => new(
        ErrorCode.DiskFull,
        $"Commits are refused: {freeBytes} bytes are free on the disk of '{path}', and {reserveBytes} are kept so that the "
        + "engine can stop and start again.",
        "Make room on that file system: commits are taken again by themselves. What fills it: pitr status. "
        + "DiskReserveBytes sets how much is kept.")
    { Path = path };

    public static RefusedException SettingsInvalid(string source, string why) => new(
        ErrorCode.SettingsInvalid, $"The settings '{source}' can't be used: {why}",
        "Correct it there. docs/reference/settings.md has every setting and its form.");

    public static RefusedException SettingsInvalid(string path, Exception why) => new(
        ErrorCode.SettingsInvalid, $"The settings '{path}' can't be read: {why.Message}",
        "Correct the file; it is JSON.", why);
}
