using System.Globalization;

namespace Pitr.Storage;

/// <summary>
/// The failures of files, names and the control file, one factory per code; pages and datafiles have their own.
/// </summary>
/// <remarks>
/// A message is one sentence with the object in quotes, found and expected; a hint says what the reader can do now,
/// with the command where there is one, and following it never destroys data. No side effects.
/// </remarks>
internal static class StorageErrors
{
    // 1xxx  the disk said no

    /// <summary>A system call failed; DiskFull for ENOSPC and EDQUOT, else FileOperationFailed.</summary>
    public static StorageFailedException FileOperation(string operation, string path, int errno) =>
        errno is Errno.ENOSPC or Errno.EDQUOT
            ? DiskFull(operation, path, errno)
            : new(ErrorCode.FileOperationFailed,
                $"The file system refused to {operation} '{path}': {Errno.Text(errno)}.",
                HintFor(errno))
            { Path = path, Errno = errno };

    public static StorageFailedException DiskFull(string operation, string path, int errno) =>
        new(ErrorCode.DiskFull,
            $"There was no room to {operation} '{path}': {Errno.Text(errno)}.",
            "Make room on that file system or raise the quota; work goes on by itself. What fills it: pitr status")
        { Path = path, Errno = errno };

    // 3xxx  not found

    public static NotFoundException TableUnknown(string name) =>
        new(ErrorCode.TableUnknown, $"There is no table '{name}'.", "Which there are: pitr table list");

    public static NotFoundException DatafileUnknown(string name) =>
        new(ErrorCode.DatafileUnknown, $"There is no datafile '{name}'.", "Which there are: pitr datafile list");

    public static NotFoundException NotADatabase(string folder) =>
        new(ErrorCode.NotADatabase,
            $"'{folder}' is not a database: it has no control file.",
            $"Is the path right? A new database is made with: pitr init {folder}\nIf its control file was lost, rebuild it: "
            + $"pitr recover {folder} --control-file rebuild");

    // 4xxx  refused

    public static RefusedException DatabaseLocked(string folder, string holder) =>
        new(ErrorCode.DatabaseLocked,
            $"Database '{folder}' is open in another engine ({holder}).",
            "Stop that engine, or talk to it instead of opening the folder.");

    public static RefusedException FormatVersion(string path, uint found, uint newest) =>
        new(ErrorCode.FormatVersion,
            $"'{path}' has format version {Text(found)}, this program reads up to version {Text(newest)}.",
            "Open it with the newer program that wrote it; a newer program reads older formats.");

    public static RefusedException PlatformUnsupported(string what) =>
        new(ErrorCode.PlatformUnsupported,
            $"Pitr does not run here: {what}.",
            "Use 64-bit Linux on x64 or arm64 (macOS for development) and a local file system: ext4, xfs or btrfs.");

    public static RefusedException NameTaken(string what, string name) =>
        new(ErrorCode.NameTaken, $"There is a {what} '{name}' already.",
            "Choose another name, or use the one there is.");

    public static RefusedException StillInUse(string what, string name, string by) =>
        new(ErrorCode.StillInUse,
            $"The {what} '{name}' is in use by {by}.",
            "Wait for it to end, or end it; then ask again.");

    public static RefusedException ForeignSystem(string path, SystemIdentifier found, SystemIdentifier expected) =>
        new(ErrorCode.ForeignSystem,
            $"'{path}' belongs to database {found}, this is database {expected}.",
            "Put this database's own file back, or restore: pitr restore --from STORE --into DIR");

    public static RefusedException DatafileElsewhere(string name, string path, string folder) =>
        new(ErrorCode.DatafileElsewhere,
            $"Datafile '{name}' lies at '{path}', outside of the database's folder '{folder}', and that folder was moved or "
            + "copied since: the file may be that of the database it was copied from, and is neither opened nor written.",
            $"If the folder was moved, its datafiles are its own again with: pitr recover {folder} --moved\nIf it is a copy, "
            + $"drop the datafile here, its file stays: pitr datafile drop {name}");

    public static RefusedException ControlFileOfBackup(string path, string backupId) =>
        new(ErrorCode.ControlFileOfBackup,
            $"'{path}' is the control file of backup set '{backupId}': the files around it are a copy, not a database.",
            "Restore the set into a new folder, it stays as it is: pitr restore --help");

    // 5xxx  damage

    public static DamageException DatafileAhead(string name, string path, Lsn found, Lsn walEnd) =>
        new(ErrorCode.DatafileAhead,
            $"Datafile '{name}' at '{path}' has changes up to {found}, but the WAL ends at {walEnd}.",
            "WAL was lost, or the file is another copy's. Put the newest WAL back, or restore from a "
            + "backup set and the archive: pitr restore --from STORE --into DIR")
        { Path = path };

    public static DamageException ControlFileDamaged(string path, string why, long offset = -1) =>
        new(ErrorCode.ControlFileDamaged,
            $"Control file '{path}' is damaged: {why}.",
            "Rebuild that of a database from its datafiles and its WAL: pitr recover DIR --control-file rebuild\nOr restore "
            + "from a backup set and the archive: pitr restore --from STORE --into DIR")
        { Path = path, Offset = offset };

    private static string HintFor(int errno) => errno switch
    {
        Errno.EACCES or Errno.EPERM =>
            "Does the path belong to the user that runs the engine? Files are 0600, folders 0700.",
        Errno.EROFS => "The file system is mounted read-only, perhaps after an error: look at the kernel log.",
        Errno.EIO => "The device reports an error: look at the kernel log and the disk's health before going on.",
        Errno.EMFILE or Errno.ENFILE => "Raise the limit of open files (ulimit -n, or LimitNOFILE of the service).",
        Errno.ENOENT => "Is the path right, and its disk mounted?",
        Errno.EEXIST => "Look at what is there; Pitr replaces nothing that it did not make.",
        Errno.EXDEV => "Both names must lie on one file system.",
        Errno.EOPNOTSUPP or Errno.ENOSYS or Errno.ENOLCK => "Use a local file system: ext4, xfs or btrfs.",
        _ => "Look at the path, its permissions and the kernel log.",
    };

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
