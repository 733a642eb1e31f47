namespace Pitr.Wal;

/// <summary>The text of every failure that the WAL reports, one factory a code.</summary>
internal static class WalErrors
{
    public static StorageFailedException WalFailed(string path, Exception cause) =>
        new(ErrorCode.WalFailed,
            $"A write or sync of the WAL segment '{path}' did not succeed, and no commit is taken any more: {cause.Message}",
            "Look after the disk, then open the database again: everything that was acknowledged is there.", cause)
        { Path = path, Errno = (cause as StorageFailedException)?.Errno ?? 0 };

    public static StorageFailedException WalClosed(string folder) =>
        new(ErrorCode.WalFailed,
            $"The WAL in '{folder}' is not written any more, because an earlier write or sync did not succeed.",
            "Look after the disk, then open the database again: everything that was acknowledged is there.")
        { Path = folder };

    public static DamageException WalDamaged(string path, long offset, Lsn at, string why) =>
        new(ErrorCode.WalDamaged,
            $"The WAL is damaged at LSN {at} (segment '{path}', byte {offset}): {why}.",
            "Keep the folder as it is, and restore from a backup set and the archive: pitr restore --from STORE --into DIR")
        { Path = path, Offset = offset };

    public static DamageException EventDamaged(WalRecordKind kind, Lsn lsn, Exception? cause) =>
        new(ErrorCode.WalDamaged,
            $"The record of kind {kind} with LSN {lsn} passes its checksum, but its body is none of that kind.",
            "A newer version of Pitr may have written it: use that version; otherwise report this text.", cause)
        { Path = "wal" };

    public static RefusedException Gap(Lsn from, string where) =>
        new(ErrorCode.WalGap,
            $"The WAL has a gap: from LSN {from} on it is missing ({where}), and it goes on behind.",
            "Bring the missing segment back, or restore from a backup set and the archive: pitr restore --from STORE --into DIR");

    public static RefusedException TooShort(Lsn end, Lsn known, string knower) =>
        new(ErrorCode.WalTooShort,
            $"The local WAL ends at LSN {end}, but {knower} knows it up to LSN {known}.",
            "Bring the newest WAL back, or restore from a backup set and the archive: pitr restore --from STORE --into DIR");

    public static DamageException SegmentHeaderDamaged(string path, string why) =>
        new(ErrorCode.SegmentHeaderDamaged,
            $"The header of the WAL segment '{path}' is damaged: {why}.",
            "Bring the segment back from the archive, or restore from a backup set: pitr restore --from STORE --into DIR")
        { Path = path, Offset = 0 };

    public static DamageException PieceTooShort(string name, Lsn from, Lsn to) =>
        new(ErrorCode.ArchiveDamaged,
            $"The archived WAL '{name}' ends before the LSNs that it should hold, {from} to {to}.",
            "Verify the archive, and use another store if there is one: pitr verify STORE")
        { Path = name };

    public static RefusedException FormatVersion(string path, uint found, uint known) =>
        new(ErrorCode.FormatVersion,
            $"The WAL segment '{path}' is of format {found}; this program reads format {known}.",
            "Open the database with the version of Pitr that wrote it, or a newer one.");

    public static RefusedException ForeignSegment(string path, string expected, string found) =>
        new(ErrorCode.ForeignSystem,
            $"The WAL segment '{path}' belongs to {found}, not to {expected}.",
            "Look for where the file came from, and put it out of the WAL folder.");

    public static RefusedException TwoSystems(string folder, SystemIdentifier one, SystemIdentifier other) =>
        new(ErrorCode.ForeignSystem,
            $"The WAL folder '{folder}' has segments of two databases: {one} and {other}.",
            "Look for where the segments of the other one came from, and put them out of the WAL folder.");

    public static RefusedException TwoLineages(string folder, TimelineId timeline, Lineage one, Lineage other) =>
        new(ErrorCode.BranchAmbiguous,
            $"The WAL folder '{folder}' has segments of two branches with the number {timeline}: {one} and {other}.",
            "Put the segments of the branch that is not meant out of the WAL folder: pitr wal dump SEGMENT shows whose they "
            + "are.");
}
