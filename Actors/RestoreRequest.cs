using Pitr.Recovery;

namespace Pitr;

/// <summary>A restore that was asked for: from which store, into which folder, to which moment.</summary>
public sealed record RestoreRequest
{
    /// <summary>The store that holds the backup set.</summary>
    public required string Store { get; init; }

    /// <summary>The new database's folder: absent or empty.</summary>
    public required string Into { get; init; }

    /// <summary>The store that holds the WAL; null: the same store.</summary>
    public string? Archive { get; init; }

    /// <summary>The set to start from; null: the one that the planner picks.</summary>
    public string? BackupId { get; init; }

    /// <summary>Where replay stops.</summary>
    public required RecoveryTarget Target { get; init; }

    /// <summary>A timeline's number, <c>latest</c> or <c>current</c>; null: by the branch rule.</summary>
    public string? Timeline { get; init; }

    /// <summary>Folders of datafiles that lay outside the database's folder: from → to.</summary>
    public IReadOnlyDictionary<string, string> Map { get; init; } = new Dictionary<string, string>();

    /// <summary>Stay at the target, for reading only, instead of beginning a new timeline.</summary>
    public bool Pause { get; init; }

    /// <summary>Do not archive into the store that it was restored from.</summary>
    public bool Detached { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}
