using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// A database that goes back, or comes back, where it lies: with the control file of a backup set, since its own is
/// lost, older than its files, or beyond the target.
/// </summary>
internal sealed record InPlaceRequest
{
    /// <summary>The database's folder; absolute.</summary>
    public required string Folder { get; init; }

    public required DatafileEnvironment Environment { get; init; }

    /// <summary>What lies outside of it.</summary>
    public required OutsideFiles Outside { get; init; }

    /// <summary>Its own control file, if it can be read: which timeline it is on, and where its files lie now.</summary>
    public ControlFile? Current { get; init; }

    /// <summary>Its own WAL.</summary>
    public required WalSurvey Local { get; init; }

    public required RecoveryTarget Target { get; init; }

    /// <summary>The store of the set that the control file comes from.</summary>
    public required IArchiveStore SetStore { get; init; }

    public required IReadOnlyList<IArchiveStore> Archives { get; init; }

    /// <summary>The set; null: the newest that reaches the target.</summary>
    public string? BackupId { get; init; }

    /// <summary>A number, <c>latest</c> or <c>current</c>; null: its own, or by the rule of branches (H28).</summary>
    public string? Timeline { get; init; }

    /// <summary>Folders outside in which datafiles of this database lie: as they were known → as they are.</summary>
    public IReadOnlyDictionary<string, string> Moved { get; init; } = new Dictionary<string, string>();

    /// <summary>It stays at its target, for reading only, until it is gone on with.</summary>
    public bool Pause { get; init; }

    /// <summary>The copies that are needed are compared with the manifest while planning; else while they are copied.</summary>
    public bool VerifiesFiles { get; init; }

    /// <summary>What is known already and is to be told with the plan.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];

    /// <summary>Draws ids and incarnations.</summary>
    public required Func<ulong> Random { get; init; }
}

/// <summary>One datafile of the plan: what it begins with, and what the control file will say of it.</summary>
/// <param name="File">As the catalogue at the cut has it, with the path at which it will lie.</param>
/// <param name="Base">What it is brought up from.</param>
/// <param name="Path">Where it will lie; absolute.</param>
internal sealed record InPlaceFile(CatalogueFile File, FileBase Base, string Path);

/// <summary>A plan and what it was made from.</summary>
/// <param name="Plan">What will be done.</param>
/// <param name="Request">What was asked.</param>
/// <param name="Set">The set whose control file is taken.</param>
/// <param name="Control">The control file in recovery, but for what is said of files that are not made yet.</param>
/// <param name="Files">Every datafile at the cut.</param>
internal sealed record PlannedInPlace(
    RecoveryPlan Plan, InPlaceRequest Request, BackupSet Set, ControlFile Control, IReadOnlyList<InPlaceFile> Files)
{
    /// <summary>What makes one of its files.</summary>
    public PlannedFileRecovery FileRecovery(InPlaceFile file) => new(
        Plan,
        new FileRecoveryRequest
        {
            Folder = Request.Folder,
            Environment = Request.Environment,
            Outside = Request.Outside,
            Control = Control,
            File = file.File.Id,
            End = Plan.StopsAt.Lsn,
            SetStores = [Request.SetStore],
            Archives = Request.Archives,
            Local = () => new SurveyedWalSource(Request.Environment.Files, Request.Local),
            Random = Request.Random,
        },
        file.File, file.Base, new FilePlace(file.Path, null), Tables: [], IsBornInWal: false);
}
