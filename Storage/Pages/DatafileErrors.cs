using System.Globalization;

namespace Pitr.Storage;

/// <summary>The failures that opening and writing a datafile can have: one factory a code.</summary>
internal static class DatafileErrors
{
    private const string Recover =
        "Bring this file back while the others serve: pitr datafile recover NAME --from STORE";

    public static RefusedException Closed(string name) =>
        new(ErrorCode.SnapshotTooOld,
            $"Datafile '{name}' was closed; what was opened on it is no longer valid.",
            "Open a new snapshot. If the engine is stopping, open the database again.");

    public static RefusedException Locked(string path) =>
        new(ErrorCode.DatabaseLocked,
            $"Datafile '{path}' is in use by another engine or by a former owner that has not ended yet.",
            "Stop the other engine, or wait until the former owner has ended. A copy of a database needs files of its own.");

    public static DamageException Missing(string path, Exception inner) =>
        new(ErrorCode.DatafileMissing, $"Datafile '{path}' is missing.",
            "Mount what it lies on. If it is lost, bring it back: pitr datafile recover NAME --from STORE", inner)
        { Path = path };

    public static DamageException NoMetaPage(string path, string why0, string why1) =>
        new(ErrorCode.MetaPageDamaged,
            $"No meta page of '{path}' is valid: page 0 {why0}; page 1 {why1}.", Recover)
        { Path = path, Offset = 0 };

    public static RefusedException FormatVersion(string path, uint version) =>
        new(ErrorCode.FormatVersion,
            string.Create(CultureInfo.InvariantCulture,
                $"Datafile '{path}' has format version {version}; this program reads up to {MetaPage.FormatVersionNewest}."),
            "Open it with the newer version of Pitr that wrote it.");

    public static RefusedException ForeignSystem(string path, SystemIdentifier expected, SystemIdentifier found) =>
        new(ErrorCode.ForeignSystem,
            $"Datafile '{path}' belongs to database {found}; this is database {expected}.",
            "Put the right file in its place, or restore: pitr restore --from STORE --into DIR");

    public static RefusedException OtherFile(string path, FileId expected, FileId found) =>
        new(ErrorCode.ForeignSystem,
            $"'{path}' is datafile {found} of this database; datafile {expected} was expected there.",
            "Put the right file in its place, or restore: pitr restore --from STORE --into DIR");

    public static RefusedException OtherKind(string path, DatafileKind expected, DatafileKind found) =>
        new(ErrorCode.DatafileOtherKind,
            $"'{path}' is of the kind {found}; {expected} was expected.",
            "A spill file or an unfinished copy never opens as a datafile. Put the right file in its place, "
            + "or restore: pitr restore --from STORE --into DIR");

    public static RefusedException NeedsRecovery(string path, string why) =>
        new(ErrorCode.DatafileNeedsRecovery, $"Datafile '{path}' needs recovery: {why}.", Recover);

    public static DamageException TooShort(string path, long expectedBytes, long foundBytes) =>
        new(ErrorCode.DatafileTooShort,
            string.Create(CultureInfo.InvariantCulture,
                $"Datafile '{path}' has {foundBytes} bytes; its meta page speaks of {expectedBytes}."),
            Recover)
        { Path = path, Offset = foundBytes };

    public static DamageException FreeChain(string path, uint page, string what) =>
        new(ErrorCode.FreeChainInvalid,
            string.Create(
                CultureInfo.InvariantCulture, $"Page {page} of '{path}', in its chain of free pages, {what}."),
            Recover)
        { Path = path, Offset = (long)page * PageLayout.PageBytes };

    public static DamageException FreeAndInUse(string path, uint page) =>
        new(ErrorCode.FreeChainInvalid,
            string.Create(
                CultureInfo.InvariantCulture,
                $"Page {page} of '{path}' is in use by its tree, and not so by its chain of free pages."),
            Recover)
        { Path = path, Offset = (long)page * PageLayout.PageBytes };

    public static DamageException CompactedDiffers(string path, string what) =>
        new(ErrorCode.PageChecksum,
            $"The compacted file '{path}' is not what was written there. {what}",
            "Look at that disk; the file was removed, and the datafile is as it was.")
        { Path = path };

    public static StorageFailedException WriteFailed(string path, Exception inner) =>
        new(ErrorCode.DatafileWriteFailed,
            $"A write or sync of datafile '{path}' failed; nothing is written to it any more.",
            "Look at the disk. What is committed is safe in the WAL, and replayed when the engine starts: pitr serve DIR", inner)
        { Path = path, Errno = (inner as StorageFailedException)?.Errno ?? 0 };

    public static RefusedException Offline(string name) =>
        new(ErrorCode.DatafileOffline,
            $"Datafile '{name}' is offline, because a write or sync of it failed.",
            "Look at the disk, then start the engine again, which replays what the file lacks: pitr serve DIR");
}
