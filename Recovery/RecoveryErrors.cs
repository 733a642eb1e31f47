using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What backup, restore and recovery can report: one factory per code and situation.</summary>
internal static class RecoveryErrors
{
    /// <summary>No backup set of that id.</summary>
    public static NotFoundException BackupUnknown(string store, string backupId) =>
        new(ErrorCode.BackupUnknown,
            $"Store '{store}' has no backup set '{backupId}'.",
            $"List the sets that it has: pitr backups {store}");

    /// <summary>The store has no complete set at all.</summary>
    public static NotFoundException NoBackup(string store) =>
        new(ErrorCode.BackupUnknown,
            $"Store '{store}' has no complete backup set.",
            $"Name the store that has one, or take one: pitr backup --to {store}");

    /// <summary>A set exists but can't be used.</summary>
    public static RefusedException BackupVoid(string backupId, string why) =>
        new(ErrorCode.BackupVoid,
            $"Backup set '{backupId}' is void: {why}.",
            "Take a new backup, and let it end before the next one begins: pitr backup --to STORE");

    /// <summary>What an incremental set builds on is not there, or is not what it was.</summary>
    public static RefusedException BackupBaseLost(string backupId, string baseId, string why) =>
        new(ErrorCode.BackupBaseLost,
            $"Backup set '{backupId}' builds on set '{baseId}', and {why}.",
            "Put that set back, or restore from another one: pitr restore --backup ID\nTake a full backup: pitr backup "
            + "--to STORE");

    /// <summary>The world has changed since an expire was planned.</summary>
    public static RefusedException RetentionOutdated(string why) =>
        new(ErrorCode.RetentionOutdated,
            $"What was to be removed was planned before {why}; it is not removed.",
            "Make the plan again: pitr expire STORE --window DURATION --plan");

    /// <summary>A set that is not in a folder of its own, and was never finished: a tar that was cut off.</summary>
    public static RefusedException SetUnfinished(string store) =>
        new(ErrorCode.BackupVoid,
            $"'{store}' has no {BackupSet.ManifestName}: the making of that backup set did not end, or it is cut off.",
            "Make it again to its end, and see that all of it arrives: pgtar -f FILE");

    /// <summary>A file is no tar, or not that far.</summary>
    public static DamageException TarDamaged(string path, long offset, string why) =>
        new(ErrorCode.BackupDamaged,
            $"'{path}' is no tar at byte {offset}: {why}.",
            "Name the tar or the folder of a backup set; of a damaged one, see what `tar -tvf` still lists, and take "
            + "another one.")
        { Path = path, Offset = offset };

    /// <summary>A file of a set is not what its manifest says.</summary>
    public static DamageException BackupDamaged(string backupId, string name, string why, long offset = -1) =>
        new(ErrorCode.BackupDamaged,
            $"File '{name}' of backup set '{backupId}' is damaged: {why}.",
            "Restore from another set: pitr restore --backup ID; keep this one for inspection.")
        { Path = name, Offset = offset };

    /// <summary>A page that counts is damaged in the database itself.</summary>
    public static DamageException PageOfCopy(string path, string name, uint page) =>
        new(ErrorCode.PageChecksum,
            $"Page {page} of datafile '{name}' at '{path}' fails its checksum, so no backup of it can be made.",
            "Restore from an earlier backup set: pitr restore --from STORE --into DIR")
        { Path = path, Offset = (long)page * Storage.PageLayout.PageBytes };

    /// <summary>A fenced file ended before its length.</summary>
    public static DamageException CopyTooShort(string path, string name, long found, long expected) =>
        new(ErrorCode.BackupDamaged,
            $"Datafile '{name}' at '{path}' ends at byte {found} instead of {expected}, though it is fenced.",
            "See what else writes to the file; then take the backup again.")
        { Path = path, Offset = found };

    /// <summary>What lies at a fenced file's path is not the file that was fenced.</summary>
    public static DamageException CopyOfAnother(
        string path, string name, ulong generation, Lsn checkpoint, ulong expected, Lsn expectedCheckpoint) =>
        new(ErrorCode.BackupDamaged,
            $"What lies at '{path}' is not datafile '{name}' as it was fenced: it is of generation {generation} at "
            + $"{checkpoint} "
            + $"instead of {expected} at {expectedCheckpoint}.",
            "See what else writes to the file; then take the backup again.")
        { Path = path, Offset = 0 };

    /// <summary>A newer program wrote it.</summary>
    public static RefusedException FormatVersion(string name, int found, int newest) =>
        new(ErrorCode.FormatVersion,
            $"'{name}' has format version {found}; this program reads up to {newest}.",
            "Use the program version that wrote it, or a newer one.");

    /// <summary>The target lies before the first moment that a set can reach.</summary>
    public static RefusedException TargetBeforeSet(RecoveryTarget target, string backupId, Lsn stop, string stopTime) =>
        new(ErrorCode.TargetUnreachable,
            $"The target, {target}, lies before the stop of backup set '{backupId}' at {stop}, {stopTime}.",
            "Choose a later target, or a store with an older backup set: pitr backups STORE");

    /// <summary>A recovery does not go back.</summary>
    public static RefusedException TargetBehind(RecoveryTarget target, Lsn at) =>
        new(ErrorCode.TargetUnreachable,
            $"The target, {target}, lies before {at}, where this recovery stands already.",
            "Choose a later target, or restore anew for this one: pitr restore --from STORE --into DIR");

    /// <summary>The new timeline of a recovery may be in the store already.</summary>
    public static RefusedException PromotionHasBegun(string folder) =>
        new(ErrorCode.TargetUnreachable,
            $"The recovery of '{folder}' has begun its new timeline, and goes to no other target.",
            $"Finish it: pitr recover {folder} --promote");

    /// <summary>The WAL ends before the target is reached.</summary>
    public static RefusedException TargetBeyondEnd(
        RecoveryTarget target, TimelineId timeline, Lsn end, string lastTime) =>
        new(ErrorCode.TargetUnreachable,
            $"The target, {target}, is not reached: the WAL of timeline {timeline} ends at {end}, {lastTime}.",
            "Choose an earlier target or none (the end of the WAL), or name the store that has the rest: --archive "
            + "STORE");

    /// <summary>No set lies on the path.</summary>
    public static RefusedException NoSetOnPath(RecoveryTarget target, TimelineId timeline) =>
        new(ErrorCode.TargetUnreachable,
            $"No backup set that timeline {timeline} goes on from lies at or before the target, {target}.",
            "List the sets and their timelines: pitr backups STORE");

    /// <summary>A timeline that was asked for is not known.</summary>
    public static RefusedException TimelineUnknown(string timeline, string known) =>
        new(ErrorCode.TargetUnreachable,
            $"Timeline {timeline} is not in the archive; it has {known}.",
            "Give one of those with --timeline, or name the store that has it: --archive STORE");

    /// <summary>WAL that is needed is not there.</summary>
    public static RefusedException WalGap(TimelineId timeline, Lsn from, Lsn to, string where) =>
        new(ErrorCode.WalGap,
            $"The WAL of timeline {timeline} from {from} to {to} is missing in {where}.",
            "Name the store that has it: --archive STORE\nOr choose a target before the gap: --target-lsn "
            + $"{from}");

    /// <summary>WAL that is needed is there, and an expire has noted that it goes.</summary>
    public static RefusedException WalExpiring(TimelineId timeline, Lsn from, Lsn to, string store) =>
        new(ErrorCode.WalGap,
            $"The WAL of timeline {timeline} from {from} to {to} is about to go: an expire of the last day has noted in {store} "
            + "that it removes it.",
            $"Choose a newer backup set: pitr backups {store}\nIf that expire did not get to its end, what it has left can be "
            + "restored a day later.");

    /// <summary>More than one branch could be meant (H28).</summary>
    public static RefusedException BranchAmbiguous(RecoveryTarget target, string branches) =>
        new(ErrorCode.BranchAmbiguous,
            $"The target, {target}, is another moment on each of several timelines: {branches}.",
            "Say which one is meant: --timeline N");

    /// <summary>Where the target may be meant, no set leads (H28).</summary>
    public static RefusedException BranchWithoutSet(RecoveryTarget target, string lost, string branches) =>
        new(ErrorCode.BranchAmbiguous,
            $"The target, {target}, may be meant on timeline {lost}, which has transactions of its own, and no usable backup "
            + $"set leads there. There are several timelines: {branches}.",
            "Name the store that has a set of it: --from STORE\nOr leave out what was committed there, and say which one is "
            + "meant: --timeline N");

    /// <summary>WAL of a branch of which nothing says where it was forked (H28).</summary>
    public static RefusedException TimelineWithoutHistory(string store, TimelineId timeline, string known) =>
        new(ErrorCode.BranchAmbiguous,
            $"Archive '{store}' has WAL of timeline {timeline}, and neither a history nor a backup set says what it was forked "
            + "from: the target may be meant on it.",
            $"Put '{ObjectName.History(timeline)}' back into it, or name the store that has it: --archive STORE\nOr leave out "
            + $"what was committed there, and say which one is meant: --timeline N, of {known}");

    /// <summary>The clock had stepped (H8).</summary>
    public static RefusedException TimeAmbiguous(RecoveryTarget target, Lsn cut, string earlier) =>
        new(ErrorCode.TimeAmbiguous,
            $"The target, {target}, is ambiguous: it stops at {cut}, but the clock had stepped, and records beyond "
            + "were made "
            + $"at or before that time: {earlier}.",
            $"Choose by LSN: --target-lsn {cut} leaves them out. See what they are: pitr wal dump STORE --from {cut}");

    /// <summary>A time at the very end of the WAL: more of the same moment may be missing (H34).</summary>
    public static RefusedException TimeAtEnd(RecoveryTarget target, TimelineId timeline, Lsn end, string lastTime) =>
        new(ErrorCode.TargetUnreachable,
            $"The target, {target}, is not reached for certain: the last record of timeline {timeline}, at {end}, is "
            + $"of {lastTime}, "
            + "and more of that moment may be missing.",
            $"Leave the target out to go to the end of the WAL, or say the position: --target-lsn {end}");

    /// <summary>A record names a file or table that nothing made.</summary>
    public static DamageException UnknownId(string what, uint id, Lsn lsn) =>
        new(ErrorCode.WalDamaged,
            $"The record at {lsn} names {what} {id}, which neither the catalogue nor the WAL before it knows.",
            "Restore from another backup set, and report this text: the WAL does not belong to these files.")
        { Path = "wal", Offset = -1 };

    /// <summary>A transaction's body is none.</summary>
    public static DamageException BodyMalformed(Lsn lsn) =>
        new(ErrorCode.WalDamaged,
            $"The body of the record at {lsn} is not a run of operations, though its CRC matches.",
            "Report this text; restore to a target before it: pitr restore --target-lsn LSN --exclusive")
        { Path = "wal", Offset = -1 };

    /// <summary>A datafile lies above the cut (H34).</summary>
    public static RefusedException FileAboveCut(string name, Lsn checkpoint, Lsn cut) =>
        new(ErrorCode.TargetUnreachable,
            $"Datafile '{name}' has every change up to {checkpoint}, which is beyond the target at {cut}.",
            "Restore it from a backup set whose stop lies at or before the target: pitr restore --from STORE --into "
            + "DIR");

    /// <summary>The catalogue that replay would begin with lies above the cut (H43).</summary>
    public static RefusedException CatalogueAboveCut(Lsn catalogue, Lsn cut) =>
        new(ErrorCode.TargetUnreachable,
            $"The catalogue of files and tables is of {catalogue}, which is beyond the target at {cut}.",
            "Restore from a backup set whose stop lies at or before the target: pitr restore --from STORE --into DIR");

    /// <summary>Replay did not stand where the plan said (I11).</summary>
    public static RefusedException CutMissed(Lsn cut, Lsn at, string why) =>
        new(ErrorCode.TargetUnreachable,
            $"Replay ended at {at}, before the planned target at {cut}: {why}.",
            "The WAL changed since the plan was made; make a new one: pitr restore --plan");

    /// <summary>A file of the catalogue has no content to begin with.</summary>
    public static DamageException FileWithoutContent(string name, string path) =>
        new(ErrorCode.DatafileMissing,
            $"Datafile '{name}' is not at '{path}', and replay can't begin without it.",
            "Restore from a backup set: pitr restore --from STORE --into DIR")
        { Path = path };

    /// <summary>The datafile was dropped.</summary>
    public static NotFoundException FileUnknown(FileId file) =>
        new(ErrorCode.DatafileUnknown,
            $"There is no datafile with the number {file}.",
            "List the datafiles: pitr datafile list");

    /// <summary>Nothing was found that a datafile could be brought back from.</summary>
    public static RefusedException FileWithoutBase(string name, IEnumerable<string> why) =>
        new(ErrorCode.DatafileNeedsRecovery,
            $"Nothing was found that datafile '{name}' could be brought back from. {string.Join(' ', why)}",
            $"Name the store that has a backup set of it: pitr datafile recover {name} --from STORE");

    /// <summary>The WAL from there on does not make the file.</summary>
    public static RefusedException NotBornInWal(string name, Lsn from) =>
        new(ErrorCode.DatafileNeedsRecovery,
            $"The WAL from {from} on does not have the creation of datafile '{name}'.",
            $"Name the store that has a backup set of it: pitr datafile recover {name} --from STORE");

    /// <summary>A restore goes only into a folder that is absent or empty.</summary>
    public static RefusedException FolderNotEmpty(string folder) =>
        new(ErrorCode.FolderNotEmpty,
            $"Folder '{folder}' is not empty.",
            "Give a folder that is absent or empty: --into DIR");

    /// <summary>A file would be restored over another one (H30).</summary>
    public static RefusedException TargetFileExists(string path) =>
        new(ErrorCode.FolderNotEmpty,
            $"'{path}' exists; a restore writes over nothing.",
            "Map it to another folder: --map OLD=NEW");

    /// <summary>The files belong to another database.</summary>
    public static RefusedException ForeignSystem(string what, SystemIdentifier expected, SystemIdentifier found) =>
        new(ErrorCode.ForeignSystem,
            $"{what} belongs to the database {found}; this one is {expected}.",
            "Name the store and the files of one database.");

    /// <summary>A datafile has what the WAL that is there does not reach (H7).</summary>
    public static RefusedException FileAheadOfWal(string name, string path, Lsn found, Lsn end) =>
        new(ErrorCode.WalTooShort,
            $"Datafile '{name}' at '{path}' has every change up to {found}, but the WAL that was found ends at {end}.",
            "Name the store that has the rest: --archive STORE\nOr go back to that end, and leave what lies behind it: "
            + $"--target-lsn {end}");

    /// <summary>The folder's own WAL is of a branch that would be left out (H28).</summary>
    public static RefusedException OtherBranchInFolder(string folder, TimelineId found, TimelineId followed) =>
        new(ErrorCode.BranchAmbiguous,
            $"The WAL in '{folder}' is of timeline {found} too, which timeline {followed} does not go on from.",
            $"Make the control file anew from what lies in the folder: pitr recover DIR --control-file rebuild\nOr leave "
            + $"that branch: --timeline {followed}");

    /// <summary>A folder has WAL of several branches, and nothing says which was in use.</summary>
    public static RefusedException BranchesInFolder(string folder, IEnumerable<TimelineId> branches) =>
        new(ErrorCode.BranchAmbiguous,
            $"The WAL in '{folder}' is of several branches, and without control file nothing says which one was in use: "
            + $"timelines {string.Join(" and ", branches)}.",
            "Say which one is meant: --timeline N");

    /// <summary>There is nothing to rebuild.</summary>
    public static RefusedException ControlFileWhole(string path, Lsn checkpoint) =>
        new(ErrorCode.ControlFileWhole,
            $"Control file '{path}' is whole, and as new as the last checkpoint in the WAL, at {checkpoint}.",
            "Serve the database: pitr serve DIR\nIf datafiles are lost, bring them back: pitr recover DIR");

    /// <summary>It is needed for what is under way.</summary>
    public static RefusedException ControlFileInRecovery(string path) =>
        new(ErrorCode.ControlFileWhole,
            $"Control file '{path}' is of a recovery that is not finished, and has its plan.",
            "Go on with it: pitr recover DIR");

    /// <summary>What the control file said is nowhere else.</summary>
    public static RefusedException ControlFileUnknowable(string folder, string why) =>
        new(ErrorCode.ControlFileUnknowable,
            $"The control file of '{folder}' can't be rebuilt: {why}.",
            "Take it from a backup set: pitr recover DIR --control-file backup --from STORE\nOr restore into a new folder: "
            + "pitr restore --from STORE --into DIR");
}
