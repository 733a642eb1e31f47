using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What an archive store, and what lies in it, can report: one factory per code and situation.</summary>
internal static class ArchiveErrors
{
    /// <summary>A store did not do what was asked; the cause is inside.</summary>
    public static StorageFailedException StoreFailed(string store, string operation, string name, Exception cause) =>
        new(ErrorCode.StoreFailed,
            $"Archive store '{store}' could not {operation} '{name}': {cause.Message}",
            "See that the store can be reached, is mounted and has room; Pitr tries again by itself.", cause)
        { Path = name, Errno = (cause as StorageFailedException)?.Errno ?? 0 };

    /// <summary>A store did not do what was asked, for a reason that Pitr found itself.</summary>
    public static StorageFailedException StoreFailed(string store, string name, string why) =>
        new(ErrorCode.StoreFailed,
            $"Archive store '{store}' is not usable at '{name}': {why}.",
            "See that the store is mounted and is the one that you mean; a running engine shows its own: pitr archive status")
        { Path = name };

    /// <summary>An object that must be there is not.</summary>
    public static NotFoundException ObjectUnknown(string store, string name) =>
        new(ErrorCode.ArchiveObjectUnknown,
            $"Archive store '{store}' has no object '{name}'.",
            "Look into what the store has: pitr wal dump STORE");

    /// <summary>The store holds other plain content under the name that is to be pushed.</summary>
    public static RefusedException Conflict(string store, string name, string local, string archived) =>
        new(ErrorCode.ArchiveConflict,
            $"Archive store '{store}' holds other content under '{name}': here {local}, there {archived}.",
            "Two databases write into one archive: begin a new timeline on the one that is the copy, with pitr recover DIR --promote");

    /// <summary>An object's bytes are not what was written.</summary>
    public static DamageException Damaged(string store, string name, string why, long offset = -1) =>
        new(ErrorCode.ArchiveDamaged,
            $"Object '{name}' in archive store '{store}' is damaged: {why}.",
            "Use another store that has it, or take a new backup; keep the object for inspection.")
        { Path = name, Offset = offset };

    /// <summary>An object was written by a newer program.</summary>
    public static RefusedException FormatVersion(string store, string name, int found, int newest) =>
        new(ErrorCode.FormatVersion,
            $"Object '{name}' in archive store '{store}' has format version {found}; this program reads up to {newest}.",
            "Use the program version that wrote it, or a newer one.");

    /// <summary>The archive belongs to a database with another system identifier.</summary>
    public static RefusedException ForeignSystem(string store, SystemIdentifier expected, SystemIdentifier found) =>
        new(ErrorCode.ForeignSystem,
            $"Archive store '{store}' belongs to the database {found}; this one is {expected}.",
            "Give this database a store of its own: --archive STORE of pitr init, or \"stores\" in its pitr.json.");

    /// <summary>Another engine start has the timeline (H26).</summary>
    public static RefusedException Owned(string store, TimelineId timeline, string mine, string owner) =>
        new(ErrorCode.ArchiveOwned,
            $"Timeline {timeline} in archive store '{store}' is owned by {owner}; this engine is {mine}.",
            "If this database is a copy, restore one from the archive instead, on a timeline of its own: pitr restore --from STORE --into DIR\n"
            + "If it was moved here, stop the other engine in order, then start this one again.");

    /// <summary>The owner is of an earlier boot of this machine, or runs on one that this one is a clone of (H26).</summary>
    public static RefusedException OwnerWatched(
        string store, TimelineId timeline, string mine, string owner, TimeSpan wait) =>
        new(ErrorCode.ArchiveOwned,
            $"Timeline {timeline} in archive store '{store}' was left owned by {owner}; this engine is {mine}, and it is not "
            + $"yet known whether the owner still runs: nothing is shipped before it has not renewed for {wait.TotalMinutes} minutes.",
            "If the machine was booted, nothing is to be done: shipping begins by itself then.\n"
            + "If this machine is a clone of another one, restore from the archive instead, on a timeline of its own: "
            + "pitr restore --from STORE --into DIR");

    /// <summary>The number of the timeline was claimed for another branch (H27).</summary>
    public static RefusedException TimelineTaken(string store, TimelineId timeline, Lineage mine, Lineage there) =>
        new(ErrorCode.ArchiveOwned,
            $"Timeline {timeline} in archive store '{store}' has lineage {there}; this database's has {mine}.",
            "Give this database a store of its own, in \"stores\" of its pitr.json, or restore from the archive: pitr restore");

    /// <summary>A text is not the address of a store.</summary>
    public static RefusedException AddressInvalid(string text, string why) =>
        new(ErrorCode.StoreAddressInvalid,
            $"'{text}' is not the address of an archive store: {why}.",
            "Give a folder, such as /backup/orders, or s3://BUCKET/PREFIX, azblob://CONTAINER/PREFIX, command:NAME.");

    /// <summary>The kind of store is known, but this program was not given it.</summary>
    public static RefusedException KindUnavailable(string text, string kind) =>
        new(ErrorCode.StoreKindUnavailable,
            $"This program has no archive stores of kind '{kind}', so '{text}' cannot be used.",
            "Give it the kind of the package that has it, in PitrOptions.ArchiveStoreKinds; the command pitr has all.");

    /// <summary>The store is one of the database's already, perhaps written in another way.</summary>
    public static RefusedException StoreKnown(string text, string known) =>
        new(ErrorCode.StoreKnown,
            $"The database archives into '{text}' already, as '{known}'.",
            "Nothing is to be done; see how far it is with: pitr archive status");

    /// <summary>The store is none of the database's.</summary>
    public static NotFoundException StoreUnknown(string text, string known) =>
        new(ErrorCode.StoreUnknown,
            $"The database does not archive into '{text}', but into {(known.Length == 0 ? "no store" : known)}.",
            "Name a store as it stands in: pitr archive status");

    /// <summary>What is not said in pitr.json cannot be taken back there.</summary>
    public static RefusedException StoreNotInSettings(string store) =>
        new(ErrorCode.StoreNotInSettings,
            $"Archive store '{store}' is named by the environment (PITR__STORES__…) or by the program that opened the database.",
            "Take it out there, and open the database again.");

    /// <summary>A name of an object would leave the store's folder or is not made of the allowed characters.</summary>
    public static BugException NameInvalid(string name) =>
        new($"'{name}' is not a name of an archived object.");

    /// <summary>The store does not honour conditional creates (H27).</summary>
    public static RefusedException WithoutClaims(string store) =>
        new(ErrorCode.StoreWithoutClaims,
            $"Archive store '{store}' does not honour conditional creates, so no timeline can be claimed in it.",
            "Use a store that does: a folder on a local or NFSv4 file system, or a service that honours If-None-Match.");

    /// <summary>Commands can claim nothing, and the operator has not said that this is known (H27).</summary>
    public static RefusedException CommandNotUnclaimed(string store) =>
        new(ErrorCode.StoreWithoutClaims,
            $"No timeline can be claimed in '{store}': its commands cannot create a file only if it is absent.",
            "If only this database archives there, say so with \"unclaimed\": true beside its commands in pitr.json.");

    /// <summary>No commands of that name are configured.</summary>
    public static RefusedException CommandUnknown(string store, string name) =>
        new(ErrorCode.StoreAddressInvalid,
            $"No commands of the name '{name}' are configured, so '{store}' cannot be used.",
            "Configure \"commands\" in the database's pitr.json; a verb without a database takes the ones of --database DIR.");

    /// <summary>The file of the key is not what it should be.</summary>
    public static RefusedException KeyFileInvalid(string path, string why) =>
        new(ErrorCode.KeyFileInvalid,
            $"'{path}' is no file with a key for the archive: {why}.",
            "Make one that only you can read: (umask 077; openssl rand -hex 32 > FILE), and keep a copy where the archive is not.");

    /// <summary>The object was encrypted with another key.</summary>
    public static RefusedException KeyWrong(string store, string name, string found, string mine) =>
        new(ErrorCode.StoreKeyWrong,
            $"Object '{name}' in archive store '{store}' is encrypted with the key {found}; the key file has {mine}.",
            "Name the file of that key: archiveKeyFile in pitr.json, or PITR__ARCHIVEKEYFILE.");

    /// <summary>The object is encrypted, and there is no key.</summary>
    public static RefusedException KeyMissing(string store, string name) =>
        new(ErrorCode.StoreKeyMissing,
            $"Object '{name}' in archive store '{store}' is encrypted, and no key file is named.",
            "Name it: archiveKeyFile in pitr.json, or PITR__ARCHIVEKEYFILE.");

    /// <summary>The object is in the clear, and what is in the clear is not taken for one's own.</summary>
    public static RefusedException NotSealed(string store, string name) =>
        new(ErrorCode.StoreNotSealed,
            $"Object '{name}' in archive store '{store}' is not encrypted, but archiveKeyFile says that all are.",
            "Archive into a store of its own once a key is used; without archiveKeyFile the former one is read as before.");

    /// <summary>What is asked for needs a store that lists, deletes and claims.</summary>
    public static RefusedException HoldsNoSets(string store) =>
        new(ErrorCode.StoreHoldsNoSets,
            $"'{store}' is a store of commands, which takes WAL but no backup sets.",
            "Back up to a folder, s3://… or azblob://…");

    /// <summary>WAL is needed and neither a whole segment nor its parts are there (H36).</summary>
    public static RefusedException Gap(
        string store, TimelineId timeline, Lsn from, Lsn to, bool isNoted = false) =>
        new(ErrorCode.WalGap,
            $"Archive store '{store}' lacks the WAL of timeline {timeline} from {from} to {to}"
            + (isNoted ? ", and a note in it says that it was given up." : "."),
            "Name a store that has it with --archive STORE, or choose a target before the gap.");

    /// <summary>A store has WAL of this timeline beyond the end of the local log (H7).</summary>
    public static RefusedException StoreAhead(string store, TimelineId timeline, Lsn local, Lsn archived) =>
        new(ErrorCode.WalTooShort,
            $"The local WAL of timeline {timeline} ends at {local}, but archive store '{store}' has it up to {archived}.",
            "Restore from a backup set and the archive: pitr restore --from STORE --into DIR");
}
