namespace Pitr.Wal;

/// <summary>Why a transaction cannot be serialized.</summary>
internal static class ValidationErrors
{
    /// <summary>Something that it read was written after its snapshot.</summary>
    public static ConflictException Conflict(string what, Lsn snapshot, Lsn written) =>
        new(ErrorCode.Conflict,
            $"{what} that the transaction read as of {snapshot} was changed by a commit at {written}.",
            "Run the transaction again; it then reads the new state.");

    /// <summary>What was written since its snapshot is no longer known.</summary>
    public static ConflictException SnapshotTooOld(Lsn snapshot, Lsn known) =>
        new(ErrorCode.SnapshotTooOld,
            $"The transaction read as of {snapshot}, and what was written is known only from {known} on.",
            "Run the transaction again, and make it shorter: it stayed open while very much was written.");
}
