namespace Pitr;

/// <summary>Where a commit stands in the WAL. It is durable and visible when a caller gets this.</summary>
/// <param name="Lsn">Position just past its record.</param>
/// <param name="Time">Its commit time, UTC, growing along the timeline.</param>
/// <param name="TransactionId">Its number.</param>
public readonly record struct CommitResult(Lsn Lsn, DateTimeOffset Time, TransactionId TransactionId);

/// <summary>
/// A table: a named ordered key space in one datafile. A handle stays valid until the table is dropped.
/// </summary>
/// <param name="Name">Unique in the database.</param>
/// <param name="Id">Never given twice.</param>
/// <param name="DatafileId">The file that it lies in.</param>
public sealed record Table(string Name, TableId Id, FileId DatafileId);

/// <summary>A key and its value.</summary>
/// <param name="Key">The key.</param>
/// <param name="Value">The value.</param>
public readonly record struct KeyValue(byte[] Key, byte[] Value);

/// <summary>What to read of a table, in which direction. Intervals are half open: [from, to).</summary>
public sealed record ScanRange
{
    /// <summary>First key that may be returned; null: the table's first.</summary>
    public byte[]? From { get; init; }

    /// <summary>First key beyond; null: none.</summary>
    public byte[]? To { get; init; }

    /// <summary>Only keys that begin with this; null: all.</summary>
    public byte[]? Prefix { get; init; }

    /// <summary>From the last key to the first.</summary>
    public bool Reverse { get; init; }

    /// <summary>At most so many rows; null: all.</summary>
    public long? RowsMax { get; init; }

    /// <summary>The whole table, forwards.</summary>
    public static ScanRange All { get; } = new();
}

/// <summary>What a checkpoint did.</summary>
/// <param name="RedoLsn">Where a replay would begin to read now.</param>
/// <param name="CheckpointLsn">Every change at or below it is in the files that were not skipped.</param>
/// <param name="Flushed">Datafiles that are clean up to it.</param>
/// <param name="Skipped">Datafiles that are fenced, offline or need recovery.</param>
public sealed record CheckpointResult(
    Lsn RedoLsn, Lsn CheckpointLsn, IReadOnlyList<string> Flushed, IReadOnlyList<string> Skipped);

/// <summary>A named LSN.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Lsn">Its position.</param>
/// <param name="Time">Its commit time.</param>
public sealed record RestorePoint(string Name, Lsn Lsn, DateTimeOffset Time);

/// <summary>A fence that was granted: until it ends, any tool may copy the file.</summary>
/// <param name="FenceId">The token that proves it.</param>
/// <param name="Datafile">Name of the datafile.</param>
/// <param name="Path">The file to copy.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="CheckpointLsn">The copy holds every change at or below this LSN and none above.</param>
/// <param name="Until">When the lease ends unless renewed.</param>
public sealed record FenceGrant(
    Guid FenceId, string Datafile, string Path, long LengthBytes, Lsn CheckpointLsn, DateTimeOffset Until);

/// <summary>
/// Told to the actor that holds a fence, when it was broken: whatever was copied under it is void, throw it away.
/// </summary>
/// <param name="FenceId">Which fence.</param>
/// <param name="Datafile">Of which datafile.</param>
/// <param name="Why">What broke it: FenceBroken.</param>
public sealed record BrokenFence(Guid FenceId, string Datafile, PitrException Why);

/// <summary>What a fence that was taken from afar ends with.</summary>
public enum FenceBond
{
    /// <summary>Its lease or an unfence; it outlives the session and the program that took it.</summary>
    Lease,

    /// <summary>
    /// Also the session's end: the program has disposed of it, has died, or is not heard any more. The copy is void then.
    /// </summary>
    Session,
}

/// <summary>A fence that ended well: the copy is good.</summary>
/// <param name="Datafile">Name of the datafile.</param>
/// <param name="FlushedLsn">Every change at or below it is in the file and durable.</param>
/// <param name="HoldersRemaining">Other fences that still hold the file.</param>
public sealed record UnfenceResult(string Datafile, Lsn FlushedLsn, int HoldersRemaining);

/// <summary>A backup that was asked for.</summary>
public sealed record BackupRequest
{
    /// <summary>The store to put the set into.</summary>
    public required string Store { get; init; }

    /// <summary>
    /// True: only what changed since the newest set of the store that it can build on; a set that finds none has all.
    /// Building on another, it restores only as long as that one is there: expire sees to it.
    /// </summary>
    public bool Incremental { get; init; }

    /// <summary>Bytes a second at most, of all datafiles that are copied; null: as fast as commits allow.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Datafiles copied at the same time, each under a fence of its own.</summary>
    public int Jobs { get; init; } = 1;

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}

/// <summary>A datafile that is to lie elsewhere, while it is in use.</summary>
public sealed record MoveRequest
{
    /// <summary>Its name.</summary>
    public required string Datafile { get; init; }

    /// <summary>The file it becomes; nothing may be there, but its folder. A relative path is one in the database's folder.</summary>
    public required string Path { get; init; }

    /// <summary>
    /// False: a symbolic link under the former path leads to the file. True: the database notes the new path instead.
    /// </summary>
    public bool WithoutLink { get; init; }

    /// <summary>Bytes a second at most; null: as fast as commits allow.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}

/// <summary>A datafile that was moved.</summary>
/// <param name="Datafile">Its name.</param>
/// <param name="From">Where its bytes lay.</param>
/// <param name="To">Where they lie.</param>
/// <param name="Bytes">What was copied.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="FencedSeconds">How long the file was held still; commits and reads went on.</param>
public sealed record MoveResult(
    string Datafile, string From, string To, long Bytes, double Seconds, double FencedSeconds);

/// <summary>A datafile that is to be made anew with its live pages only, while it is in use.</summary>
public sealed record CompactRequest
{
    /// <summary>Its name.</summary>
    public required string Datafile { get; init; }

    /// <summary>Bytes a second at most, more than 0; null: as fast as commits allow.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}

/// <summary>A datafile that was compacted.</summary>
/// <param name="Datafile">Its name.</param>
/// <param name="Path">Where its bytes lie, as before.</param>
/// <param name="BytesBefore">Its length before. That file's room on the disk is free when the last snapshot of before has
/// ended.</param>
/// <param name="BytesAfter">Its length when it was done.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="FencedSeconds">How long the file was held still; commits and reads went on.</param>
public sealed record CompactResult(
    string Datafile, string Path, long BytesBefore, long BytesAfter, double Seconds, double FencedSeconds);

/// <summary>Every datafile of a folder is to lie in another one.</summary>
public sealed record DrainRequest
{
    /// <summary>The folder that they lie in, not one below it.</summary>
    public required string Folder { get; init; }

    /// <summary>The folder that they go to, under their present file names.</summary>
    public required string To { get; init; }

    /// <summary>Bytes a second at most, for all of them together; null: as fast as commits allow.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}

/// <summary>A datafile that is to serve again, while the others do.</summary>
public sealed record DatafileRecoveryRequest
{
    /// <summary>Its name. It is offline or needs recovery.</summary>
    public required string Datafile { get; init; }

    /// <summary>
    /// The store of backup sets that it is brought back from; null: what lies in its place if that is whole, else the
    /// newest set in the database's own stores.
    /// </summary>
    public string? Store { get; init; }

    /// <summary>A store with WAL that neither the database's folder nor its own stores have; null: none.</summary>
    public string? Archive { get; init; }

    /// <summary>Called with what is done so far.</summary>
    public IProgress<JobProgress>? Progress { get; init; }
}

/// <summary>A datafile that serves again.</summary>
/// <param name="Datafile">Its name.</param>
/// <param name="Path">Where it lies.</param>
/// <param name="BackupId">The set that it came from; null: from what lay in its place, or from the WAL alone.</param>
/// <param name="StartLsn">What it had to begin with.</param>
/// <param name="Lsn">Every change at or below it is in the file, durable; it has none above.</param>
/// <param name="RecordsReplayed">WAL records that were read.</param>
/// <param name="Bytes">What was copied.</param>
/// <param name="Seconds">How long it took.</param>
public sealed record DatafileRecoveryResult(
    string Datafile, string Path, string? BackupId, Lsn StartLsn, Lsn Lsn, long RecordsReplayed, long Bytes,
    double Seconds)
{
    /// <summary>What was not used, and why; what was kept under another name.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];
}

/// <summary>How far a long job is.</summary>
/// <param name="Step">What it is doing, in words.</param>
/// <param name="DoneBytes">Bytes done.</param>
/// <param name="TotalBytes">Bytes in all; 0 if not known.</param>
public readonly record struct JobProgress(string Step, long DoneBytes, long TotalBytes);

/// <summary>A backup set that is complete.</summary>
/// <param name="BackupId">Its name in the store.</param>
/// <param name="StartLsn">Replay of it begins here.</param>
/// <param name="StopLsn">The earliest moment it can be restored to.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Files">Its datafiles.</param>
/// <param name="Seconds">How long it took.</param>
public sealed record BackupResult(string BackupId, Lsn StartLsn, Lsn StopLsn, long Bytes, int Files, double Seconds)
{
    /// <summary>The set that it builds on; null: it has all of itself.</summary>
    public string? BaseId { get; init; }

    /// <summary>Why it builds on none though that was asked for; null: it does, or was not to.</summary>
    public string? WhyFull { get; init; }

    /// <summary>Datafiles whose copies a backup that was cut off had left: they were not copied again.</summary>
    public int FilesResumed { get; init; }
}

/// <summary>What an engine is doing.</summary>
public sealed record EngineStatus(
    SystemIdentifier SystemId,
    string State,
    TimelineId Timeline,
    Lsn CurrentLsn,
    Lsn FlushedLsn,
    Lsn RedoLsn,
    IReadOnlyList<DatafileStatus> Datafiles,
    IReadOnlyList<ArchiveStatus> Archive,
    RecoveryWindow? RecoveryWindow)
{
    /// <summary>The room on the disks that the database writes to; empty if it is not looked at.</summary>
    public IReadOnlyList<DiskStatus> Disks { get; init; } = [];

    /// <summary>What is done at times of its own (<see cref="PitrOptions.Schedules"/>); empty if nothing is.</summary>
    public IReadOnlyList<ScheduleStatus> Schedules { get; init; } = [];
}

/// <summary>One schedule of an <see cref="EngineStatus"/>.</summary>
/// <param name="Run">What is done.</param>
/// <param name="Cron">When.</param>
/// <param name="Store">The store of the backup sets.</param>
/// <param name="NextAt">The next time; null while it runs, or if there is none any more.</param>
/// <param name="LastBeganAt">When the last run began; null if there was none.</param>
/// <param name="LastSeconds">How long it took; null if there was none, or it was cut off.</param>
/// <param name="LastError">Why it failed; null if it did not.</param>
/// <param name="IsRunning">True while it runs.</param>
public sealed record ScheduleStatus(
    ScheduledWork Run, string Cron, string Store, DateTimeOffset? NextAt, DateTimeOffset? LastBeganAt, double? LastSeconds,
    string? LastError, bool IsRunning);

/// <summary>One disk of an <see cref="EngineStatus"/>, a second ago at most.</summary>
/// <param name="Path">A folder on it.</param>
/// <param name="FreeBytes">What can still be written to it.</param>
/// <param name="ReserveBytes">What commits leave free: see <see cref="PitrOptions.DiskReserveBytes"/>.</param>
/// <param name="RefusesCommits">True while commits are refused because less is free.</param>
public sealed record DiskStatus(string Path, long FreeBytes, long ReserveBytes, bool RefusesCommits);

/// <summary>One datafile of an <see cref="EngineStatus"/>.</summary>
public sealed record DatafileStatus(
    string Name,
    string Path,
    string State,
    Lsn CheckpointLsn,
    long Bytes,
    int Tables,
    long BufferedBytes,
    long LiveBytes,
    long FreeBytes,
    long PinnedBytes,
    IReadOnlyList<FenceStatus> Fences);

/// <summary>One fence of a <see cref="DatafileStatus"/>.</summary>
public sealed record FenceStatus(
    Guid FenceId, string Holder, string Reason, DateTimeOffset Since, DateTimeOffset Until);

/// <summary>One store of an <see cref="EngineStatus"/>.</summary>
public sealed record ArchiveStatus(
    string Store, string? LastSegment, long LagSegments, long LagBytes, double LagSeconds, string? LastError)
{
    /// <summary>The bound of <see cref="LagBytes"/>: see <see cref="PitrOptions.ArchiveLagBytesMax"/>.</summary>
    public long LagBytesMax { get; init; }

    /// <summary>True while commits are refused because this store is above the bound.</summary>
    public bool RefusesCommits { get; init; }

    /// <summary>
    /// True of a store of commands, in which no timeline can be claimed: that no other database pushes there is the
    /// operator's care.
    /// </summary>
    public bool IsUnclaimed { get; init; }

    /// <summary>LSNs that this engine has given up for this store: a gap in it. Null if there are none.</summary>
    public string? Dropped { get; init; }
}

/// <summary>A store that the database archives into no longer.</summary>
/// <param name="Store">Its address. What lies in it stays there.</param>
/// <param name="LackedSegments">Finished segments that it lacked; they are kept no longer for it.</param>
/// <param name="LackedBytes">All of the WAL that it lacked.</param>
/// <param name="StoresLeft">Stores that the database still archives into; with 0 WAL goes once no datafile needs
/// it.</param>
public sealed record StoreRemoval(string Store, long LackedSegments, long LackedBytes, int StoresLeft);

/// <summary>The moments that can be restored to.</summary>
public sealed record RecoveryWindow(DateTimeOffset From, DateTimeOffset To, DateTimeOffset? VerifiedAt);

/// <summary>A restore that stands exactly at its target.</summary>
public sealed record RestoreResult(
    string BackupId, TimelineId Timeline, Lsn StartLsn, StoppedAt StoppedAt, long RecordsReplayed, double Seconds)
{
    /// <summary>What its plan noted: what was not used, and why; what is kept under another name; what no store has.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];
}

/// <summary>The last transaction that was replayed.</summary>
public sealed record StoppedAt(Lsn Lsn, DateTimeOffset Time, TransactionId TransactionId);

/// <summary>A table as an operator sees it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Datafile">The datafile that it lies in.</param>
public sealed record TableEntry(string Name, string Datafile);

/// <summary>A datafile as an operator sees it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Path">Where it lies.</param>
public sealed record DatafileEntry(string Name, string Path);

/// <summary>A key that was found.</summary>
/// <param name="Value">Its value.</param>
/// <param name="Lsn">The state that it was read from: every change at or below this LSN counts.</param>
public sealed record FoundValue(byte[] Value, Lsn Lsn);
