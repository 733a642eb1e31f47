using System.Globalization;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>What moving a datafile can report: one factory per situation.</summary>
internal static class MoveErrors
{
    private const string OtherPlace = "Name a path where nothing is yet, in a folder that is there: pitr datafile move NAME FILE";

    public static RefusedException OntoItself(string datafile, string to) =>
        Refused(datafile, to, "it lies there already");

    public static RefusedException Taken(string datafile, string to) =>
        Refused(datafile, to, "there is something already, and a move replaces nothing");

    public static RefusedException IsFolder(string datafile, string to) =>
        Refused(datafile, to, "that is a folder, and a move names the file");

    public static RefusedException InTheWay(string datafile, string to, string path) =>
        Refused(datafile, to, $"'{path}', which the move needs for a moment, is taken");

    public static RefusedException OfAnotherMove(string datafile, string to) =>
        Refused(datafile, to, "another move is using that path");

    public static NotFoundException NothingToDrain(string folder) => new(
        ErrorCode.FolderUnknown, $"There is no folder '{folder}' to drain.",
        "See in which folders the datafiles lie: pitr status");

    public static RefusedException OnlyNamedThere(string datafile, string folder, string to) => new(
        ErrorCode.MoveRefused,
        $"Datafile '{datafile}' lies at '{to}' already, and its name, a link to there, lies in '{folder}'.",
        "Drain to another folder; or give it a name of its own first: pitr datafile move NAME FILE --no-symlink");

    public static RefusedException UnderWay(string datafile, string to) => new(
        ErrorCode.MoveUnderWay, $"Datafile '{datafile}' is being moved to '{to}'.",
        "Wait until that has ended. One that a failure left unfinished is ended when the database is opened again.");

    public static RefusedException Cancelled(string datafile) => new(
        ErrorCode.MoveCancelled, $"The move of datafile '{datafile}' was cancelled; it lies where it lay.",
        "Move it again when it suits: pitr datafile move NAME FILE");

    public static RefusedException Undecided(string datafile, string why) => new(
        ErrorCode.MoveUndecided,
        $"The move of datafile '{datafile}' failed while its name was changed, and the file is offline: {why}",
        $"Mend the disk, then bring it back while the others serve: pitr datafile recover {datafile}. That, or the next "
        + "opening, finds which of both places counts. Nothing is lost.");

    public static StorageFailedException NoRoom(string datafile, string folder, long freeBytes, long lengthBytes) => new(
        ErrorCode.DiskFull,
        string.Create(
            CultureInfo.InvariantCulture,
            $"There is no room for datafile '{datafile}' in '{folder}': {freeBytes} bytes are free, it has {lengthBytes}."),
        "Make room there, or name another folder. Nothing was copied.")
    { Path = folder, Errno = Errno.ENOSPC };

    public static DamageException NotAsFenced(string datafile, string path) => new(
        ErrorCode.MetaPageDamaged,
        $"What lies at '{path}' is not datafile '{datafile}' as it was fenced.",
        "See what else writes to the file; then move it again.")
    { Path = path, Offset = 0 };

    public static DamageException CopyDiffers(string datafile, string path) => new(
        ErrorCode.PageChecksum,
        $"The copy of datafile '{datafile}' at '{path}' is not what was written there.",
        "Look at that disk; the copy was removed, and the datafile lies where it lay.")
    { Path = path };

    public static DamageException PageDamaged(string datafile, string path, uint page) => new(
        ErrorCode.PageChecksum,
        string.Create(
            CultureInfo.InvariantCulture,
            $"Page {page} of datafile '{datafile}' at '{path}' fails its checksum, so it can't be moved."),
        "Restore from a backup set: pitr restore --from STORE --into DIR")
    { Path = path, Offset = (long)page * PageLayout.PageBytes };

    private static RefusedException Refused(string datafile, string to, string why) => new(
        ErrorCode.MoveRefused, $"Datafile '{datafile}' can't be moved to '{to}': {why}.", OtherPlace);
}
