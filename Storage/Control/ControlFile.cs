using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace Pitr.Storage;

/// <summary>What a control file is of.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ControlFileKind>))]
internal enum ControlFileKind
{
    /// <summary>A database's own.</summary>
    [JsonStringEnumMemberName("live")]
    Live,

    /// <summary>That of a backup set: its files are copies and never open as if they had crashed.</summary>
    [JsonStringEnumMemberName("backup")]
    Backup,
}

/// <summary>Whether the engine that wrote it last had ended in order.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<EngineState>))]
internal enum EngineState
{
    /// <summary>An engine runs, or its end was a crash.</summary>
    [JsonStringEnumMemberName("running")]
    Running,

    /// <summary>Everything is in the datafiles; the WAL ends where the control file says.</summary>
    [JsonStringEnumMemberName("cleanShutdown")]
    CleanShutdown,
}

/// <summary>
/// A recovery that is not finished: what it does, so that it goes on after a crash with the same target.
/// </summary>
/// <param name="Id">The restore stamp of its files.</param>
/// <param name="Plan">The plan as Recovery wrote it (JSON).</param>
/// <param name="Target">The target in words, for people.</param>
/// <param name="IsPaused">It stands at its target and waits for a word.</param>
internal sealed record UnfinishedRecovery(Guid Id, string Plan, string Target, bool IsPaused = false);

/// <summary>A timeline that is about to begin: noted before its number is claimed in any store (H32).</summary>
internal sealed record PromotionIntent(
    Guid RecoveryId, TimelineId Timeline, Lineage Lineage, TimelineId Parent, Lsn ForkLsn, Lsn StartLsn, string Reason);

/// <summary>
/// A move that was begun, or a compaction: noted before the first byte of the copy, and forgotten when what it left over
/// is gone (H19). Paths as in the catalogue.
/// </summary>
/// <param name="FileId">The datafile.</param>
/// <param name="From">The catalogue's path of it when the move began.</param>
/// <param name="To">Where it goes; equal to <paramref name="From"/> if it comes back to a name that is a link. Of a
/// compaction: where it lies and stays.</param>
/// <param name="Place">The database's folder when the move began: a copy of the folder elsewhere has the same note, and must
/// not touch the files outside that are its source's.</param>
/// <param name="LinkedTo">Where its bytes lay when From was a symbolic link; null if they lay there.</param>
/// <param name="Winner">Where its bytes lie, once that is decided: what else the move names may be removed. Null
/// before.</param>
/// <param name="Incarnation">Of the file that takes its place, if it is compacted: until the control file names it, this
/// says that it is no foreign one (H16). Null for a move.</param>
internal sealed record PlannedMove(
    FileId FileId, string From, string To, FolderPlace Place,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? LinkedTo = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Winner = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Incarnation? Incarnation = null)
{
    /// <summary>Where its bytes lay when the move began.</summary>
    [JsonIgnore]
    public string Origin => LinkedTo ?? From;
}

/// <summary>
/// What a database knows of itself: its files, its timeline, its last checkpoint, and what is unfinished.
/// </summary>
/// <remarks>
/// Immutable; <see cref="ControlFileStore"/> reads and replaces it as a whole. Two are equal if their bytes are
/// (<see cref="ControlFileStore.Encode"/>): as a record with lists it compares those by reference.
/// INVARIANTS
///   CF1  One owner writes it, always from the present state (H23).
///   CF2  <see cref="KnownEndOfWal"/> and every other LSN in it was durable in the WAL when it was written (H21).
///   CF3  The redo point is at or below what every file that serves needs (I5). (asserted in ControlFileStore.Replace)
///   CF4  The last entry of <see cref="History"/> is <see cref="Timeline"/> and <see cref="Lineage"/>.
///   CF5  The catalogue's invariants CA1–CA3.
/// </remarks>
internal sealed record ControlFile
{
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>Fixed at creation.</summary>
    public required long WalSegmentBytes { get; init; }

    public required TimelineId Timeline { get; init; }
    public required Lineage Lineage { get; init; }

    /// <summary>The path from the first timeline to this one.</summary>
    public required ImmutableArray<TimelineEntry> History { get; init; }

    public ControlFileKind Kind { get; init; }

    /// <summary>The set, if it is of one.</summary>
    public string? BackupId { get; init; }

    public EngineState State { get; init; }

    /// <summary>
    /// The folder whose datafiles outside of it are this database's (<see cref="OutsideFiles"/>); null in a backup set, and
    /// if nothing that knows of places has opened it yet.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public FolderPlace? Place { get; init; }

    /// <summary>A place that the WAL is known to have reached, synced; a bad record below it is damage.</summary>
    public Lsn KnownEndOfWal { get; init; }

    /// <summary>The last commit time known; null before the first.</summary>
    public DateTimeOffset? LastCommitTime { get; init; }

    /// <summary>D of the last checkpoint.</summary>
    public Lsn CheckpointLsn { get; init; }

    /// <summary>Where replay begins to read.</summary>
    public Lsn RedoLsn { get; init; }

    public DateTimeOffset? CheckpointTime { get; init; }

    /// <summary>At the last checkpoint; WAL behind it may have used more.</summary>
    public TransactionId NextTransactionId { get; init; } = new(1);

    public Catalogue Catalogue { get; init; } = Catalogue.Empty;

    public UnfinishedRecovery? Recovery { get; init; }

    public PromotionIntent? PromotionIntent { get; init; }

    /// <summary>Stamps that are void: their recovery was finished in the rename that first listed it (H32).</summary>
    public ImmutableArray<Guid> FinishedRecoveries { get; init; } = [];

    public ImmutableArray<PlannedMove> Moves { get; init; } = [];

    /// <summary>
    /// Incarnations that were replaced since this was read: what is reported of one of them later is old. Not in the file.
    /// </summary>
    [JsonIgnore]
    public ImmutableHashSet<Incarnation> Replaced { get; init; } = [];

    /// <summary>The control file of a database that was just created, without datafiles yet.</summary>
    public static ControlFile ForNew(
        SystemIdentifier system, Lineage lineage, long walSegmentBytes, Lsn startLsn, DateTimeOffset now) => new()
        {
            SystemId = system,
            WalSegmentBytes = walSegmentBytes,
            Timeline = TimelineId.First,
            Lineage = lineage,
            History = [new TimelineEntry(TimelineId.First, lineage, null, Lsn.Zero, startLsn, "created", now)],
            KnownEndOfWal = startLsn,
            CheckpointLsn = startLsn,
            RedoLsn = startLsn,
        };

    /// <summary>What of CF4, CF5 and the kinds does not hold; null if all do.</summary>
    public string? Fault()
    {
        if (SystemId.Value == 0 || Lineage.Value == 0)
            return "its system identifier or lineage is zero";
        if (History.IsDefaultOrEmpty || History[^1].Timeline != Timeline || History[^1].Lineage != Lineage)
            return $"its history does not end with timeline {Timeline}, lineage {Lineage}";
        if (TimelineEntry.Fault(History.AsSpan()) is { } fault)
            return fault;
        if (Kind == ControlFileKind.Backup && string.IsNullOrEmpty(BackupId))
            return "it is of a backup set and does not say of which";
        if (WalSegmentBytes is < 4096 or > (1L << 40) || WalSegmentBytes % 4096 != 0)
            return $"its WAL segments have {WalSegmentBytes} bytes";
        return Catalogue.Fault();
    }

    /// <summary>
    /// What a datafile must be whose meta page was found: what is noted of it, or, if a compaction that was cut off behind
    /// its rename has left it, the new incarnation that is noted for it, one generation on.
    /// </summary>
    public CatalogueFile Expected(CatalogueFile file, Incarnation? found) =>
        found is { } incarnation && incarnation != file.Incarnation
        && Moves.Any(move => move.FileId == file.Id && move.Incarnation == incarnation && move.Winner is null)
            ? file with { Incarnation = incarnation, Generation = file.Generation + 1 }
            : file;

    /// <summary>The file that keeps the redo point back too little (CF3); null if none does.</summary>
    public CatalogueFile? FileBelowRedo() =>
        Catalogue.Files.FirstOrDefault(file => file.NeedsRecovery is null && file.CleanUpTo < RedoLsn);
}
