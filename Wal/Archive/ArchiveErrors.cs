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

    /// <summary>A name of an object would leave the store's folder or is not made of the allowed characters.</summary>
    public static BugException NameInvalid(string name) =>
        new($"'{name}' is not a name of an archived object.");

    /// <summary>The store does not honour conditional creates (H27).</summary>
    public static RefusedException WithoutClaims(string store) =>
        new(ErrorCode.StoreWithoutClaims,
            $"Archive store '{store}' does not honour conditional creates, so no timeline can be claimed in it.",
            "Use a store that does: a folder on a local or NFSv4 file system, or a service that honours If-None-Match.");

    /// <summary>WAL is needed and neither a whole segment nor its parts are there (H36).</summary>
    public static RefusedException Gap(string store, TimelineId timeline, Lsn from, Lsn to) =>
        new(ErrorCode.WalGap,
            $"Archive store '{store}' lacks the WAL of timeline {timeline} from {from} to {to}.",
            "Name a store that has it with --archive STORE, or choose a target before the gap.");

    /// <summary>A store has WAL of this timeline beyond the end of the local log (H7).</summary>
    public static RefusedException StoreAhead(string store, TimelineId timeline, Lsn local, Lsn archived) =>
        new(ErrorCode.WalTooShort,
            $"The local WAL of timeline {timeline} ends at {local}, but archive store '{store}' has it up to {archived}.",
            "Restore from a backup set and the archive: pitr restore --from STORE --into DIR");
}
