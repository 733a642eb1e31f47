using Pitr.Recovery;

namespace Pitr;

/// <summary>
/// A database that is recovered where it lies, with the control file of a backup set: its own is lost or older than its
/// files, or the database is to go back to an earlier moment. Files that are whole, and not beyond the target, are kept.
/// </summary>
public sealed record InPlaceRecoveryRequest
{
    /// <summary>The database's folder; it is not running.</summary>
    public required string Folder { get; init; }

    /// <summary>The store that holds the backup set; null: the first of the database's own that has one.</summary>
    public string? Store { get; init; }

    /// <summary>A store with WAL that neither the folder nor the database's own stores have; null: none.</summary>
    public string? Archive { get; init; }

    /// <summary>The set whose control file is taken; null: the newest that reaches the target.</summary>
    public string? BackupId { get; init; }

    /// <summary>Where it stops.</summary>
    public RecoveryTarget Target { get; init; } = RecoveryTarget.Latest;

    /// <summary>A timeline's number, <c>latest</c> or <c>current</c>; null: its own, or by the branch rule.</summary>
    public string? Timeline { get; init; }

    /// <summary>
    /// Folders outside of the database's in which datafiles of it lie: as they were known → as they are now. What lies
    /// outside and is not said here is neither read nor written: the folder may be a copy, and those its source's.
    /// </summary>
    public IReadOnlyDictionary<string, string> Moved { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Stay at the target, for reading only, instead of beginning a new timeline: <see cref="PitrRecovery.RecoverAsync"/> goes
    /// on to a later one, or promotes.
    /// </summary>
    public bool Pause { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}
