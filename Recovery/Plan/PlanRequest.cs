using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What a recovery is asked to reach, and where it may look.</summary>
internal sealed record PlanRequest
{
    public required RecoveryTarget Target { get; init; }

    /// <summary>The store that holds the backup sets.</summary>
    public required IArchiveStore SetStore { get; init; }

    /// <summary>The stores that hold WAL and timeline histories; the store of the sets too, if it is one.</summary>
    public required IReadOnlyList<IArchiveStore> Archives { get; init; }

    /// <summary>The set to start from; null: the newest that reaches the target.</summary>
    public string? BackupId { get; init; }

    /// <summary>A number, <c>latest</c> or <c>current</c>; null: by the rule of branches (H28).</summary>
    public string? Timeline { get; init; }

    /// <summary>Folders of datafiles that lay outside the database's folder, from → to.</summary>
    public IReadOnlyDictionary<string, string> Map { get; init; } = new Dictionary<string, string>();

    /// <summary>The database's own WAL, if it is still there.</summary>
    public IWalSource? Local { get; init; }

    /// <summary>
    /// The history in the database's own control file, if that is still there: its timeline is followed.
    /// </summary>
    public TimelineHistory? LocalHistory { get; init; }

    /// <summary>Every file of the set is read and compared with the manifest while planning.</summary>
    public bool VerifiesFiles { get; init; } = true;

    /// <summary>
    /// How far behind the cut the first transaction that is left out is looked for, in bytes of WAL; for a time at least
    /// so far.
    /// </summary>
    public long LookBehindCutBytes { get; init; } = 4 << 20;

    /// <summary>Draws the recovery's id.</summary>
    public required Func<ulong> Random { get; init; }
}

/// <summary>A plan and what it was made from: what a run needs beside the plan.</summary>
/// <param name="Plan">What will be done.</param>
/// <param name="Set">The set that it starts from.</param>
/// <param name="History">The path that is followed.</param>
/// <param name="Sources">Where the WAL is.</param>
/// <param name="Events">Creates, drops and moves between the set's catalogue and the cut.</param>
internal sealed record PlannedRecovery(
    RecoveryPlan Plan, BackupSet Set, TimelineHistory History, WalSources Sources, IReadOnlyList<LoggedEvent> Events)
{
    /// <summary>The records from an LSN to the cut, of what the places have now.</summary>
    public IRecordStream OpenRecords(Lsn from) =>
        WalSources.Open(History, Sources.Along(History, from, Plan.StopsAt.Lsn), from);
}
