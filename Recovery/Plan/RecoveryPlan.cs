using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>
/// What a recovery will do, decided before anything is touched: which set, which files, which WAL along which
/// timelines, and where it stops. The run carries out exactly this; the control file keeps it while the recovery lasts.
/// </summary>
/// <remarks>
/// Immutable data, as JSON and as text. A plan exists only if its target can be reached and nothing is missing.
/// </remarks>
public sealed record RecoveryPlan
{
    /// <summary>Names this recovery in restore stamps; random.</summary>
    public required string RecoveryId { get; init; }

    /// <summary>The backup set; null if the files that are there are enough.</summary>
    public string? BackupId { get; init; }

    /// <summary>What that set builds on, the nearest first; null: on none.</summary>
    public IReadOnlyList<string>? BaseIds { get; init; }

    /// <summary>The one datafile that is recovered, while the others may serve; null: the database.</summary>
    public string? Datafile { get; init; }

    /// <summary>
    /// True if the database is recovered where it lies: its own WAL counts, and datafiles of it are kept.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool IsInPlace { get; init; }

    /// <summary>The database.</summary>
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>What was asked for.</summary>
    public required RecoveryTarget Target { get; init; }

    /// <summary>Where replay reads from.</summary>
    public required Lsn StartLsn { get; init; }

    /// <summary>The stop of the set: nothing before it is a result.</summary>
    public required Lsn SetStopLsn { get; init; }

    /// <summary>The last transaction at or below the stop of the set; 0 if there was none.</summary>
    public TransactionId SetStopTransactionId { get; init; }

    /// <summary>The cut: the last record that is applied.</summary>
    public required PlannedRecord StopsAt { get; init; }

    /// <summary>The last transaction that will be there; null if there is none above the start.</summary>
    public PlannedRecord? LastTransaction { get; init; }

    /// <summary>The first transaction that will not be there; null if none is known.</summary>
    public PlannedRecord? NextTransaction { get; init; }

    /// <summary>The timeline that is followed, and how the path leads to it.</summary>
    public required TimelineId Timeline { get; init; }

    /// <summary>From the first timeline to the one that is followed.</summary>
    public required IReadOnlyList<PlannedTimeline> Path { get; init; }

    /// <summary>The datafiles that are copied from the set.</summary>
    public required IReadOnlyList<PlannedFile> Files { get; init; }

    /// <summary>Datafiles that are there, and are brought up from what they have.</summary>
    public IReadOnlyList<KeptFile> KeptFiles { get; init; } = [];

    /// <summary>Datafiles that replay makes, because they were created after the set's catalogue was read.</summary>
    public required IReadOnlyList<string> MadeByReplay { get; init; }

    /// <summary>Where they go, in the same order: relative to the new folder, or absolute by a mapping.</summary>
    public IReadOnlyList<string> MadePaths { get; init; } = [];

    /// <summary>
    /// The stores that hold the set and the WAL: absolute paths or addresses, so that a run can be continued.
    /// </summary>
    public IReadOnlyList<string> Places { get; init; } = [];

    /// <summary>
    /// Where datafiles go that lay outside the database's folder, from → to: also those that replay makes.
    /// </summary>
    public IReadOnlyDictionary<string, string> Map { get; init; } = new Dictionary<string, string>();

    /// <summary>Where the WAL comes from, segment by segment.</summary>
    public required IReadOnlyList<PlannedWal> Wal { get; init; }

    /// <summary>Bytes of a WAL segment of the database.</summary>
    public required long WalSegmentBytes { get; init; }

    /// <summary>Records between start and cut, all of them read and proven.</summary>
    public required long Records { get; init; }

    /// <summary>
    /// About how many seconds the run takes: bytes that are copied and bytes of WAL, by the rates of
    /// <see cref="ToText"/>. 0 if it was not estimated.
    /// </summary>
    public long EstimatedSeconds { get; init; }

    /// <summary>
    /// True if the result begins a new timeline (a stop before the end of the WAL, or a control file from a set).
    /// </summary>
    public required bool BeginsTimeline { get; init; }

    /// <summary>
    /// What the operator should know: parts that stand in for whole segments, WAL that could not be looked at.
    /// </summary>
    public required IReadOnlyList<string> Findings { get; init; }

    /// <summary>The last transaction that will be there, also if it lies below the start; 0 if there is none.</summary>
    [JsonIgnore]
    public TransactionId LastTransactionId => LastTransaction?.TransactionId ?? SetStopTransactionId;

    /// <summary>Bytes that are copied.</summary>
    [JsonIgnore]
    public long BytesToCopy => Files.Sum(file => file.LengthBytes);

    /// <summary>The same plan with the time that it may take.</summary>
    internal RecoveryPlan Estimated() =>
        this with { EstimatedSeconds = RecoveryEstimate.SecondsFor(BytesToCopy, StopsAt.Lsn - StartLsn) };

    /// <summary>The document of <c>--plan --json</c>, and what the control file keeps.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, RecoveryJson.Default.RecoveryPlan);

    /// <summary>The same, with neighbouring segments of one source as one stretch: short enough for a message.</summary>
    internal RecoveryPlan Condensed()
    {
        var wal = new List<PlannedWal>();
        foreach (PlannedWal next in Wal)
        {
            if (wal.Count > 0 && wal[^1] is var last && last.Source == next.Source && last.Timeline == next.Timeline
                && last.IsParts == next.IsParts && last.ToLsn == next.FromLsn)
                wal[^1] = last with { ToLsn = next.ToLsn };
            else
                wal.Add(next);
        }

        return this with { Wal = wal };
    }

    /// <summary>Reads <see cref="ToJson"/>.</summary>
    /// <param name="json">As it was written.</param>
    /// <exception cref="FormatException">It is no plan.</exception>
    public static RecoveryPlan Parse(string json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, StrictJson.Of(RecoveryJson.Default.RecoveryPlan))
                ?? throw new FormatException("The text is no recovery plan.");
        }
        catch (JsonException bad)
        {
            throw new FormatException($"The text is no recovery plan: {bad.Message}", bad);
        }
    }

    /// <summary>The plan of a recovery that is not finished.</summary>
    /// <exception cref="DamageException">ControlFileDamaged: the control file keeps another text.</exception>
    internal static RecoveryPlan Of(UnfinishedRecovery recovery)
    {
        try
        {
            return Parse(recovery.Plan);
        }
        catch (FormatException bad)
        {
            throw StorageErrors.ControlFileDamaged(ControlFileStore.FileName, $"of its recovery, {bad.Message}");
        }
    }

    /// <summary>For people: what <c>--plan</c> prints.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        if (Datafile is not null)
            Line(text, "datafile", $"{Datafile}, alone; the others serve meanwhile");
        if (IsInPlace)
            Line(text, "control file", $"of backup set {BackupId}, with what the WAL made and dropped since");
        Line(text, "target", Target.ToString());
        Line(text, "from", BackupId is null || IsInPlace
            ? $"the files that are there, from {StartLsn}"
            : $"backup set {BackupId}, WAL from {StartLsn}");
        if (BaseIds is not null)
            Line(text, "builds on", string.Join(", ", BaseIds));
        foreach (PlannedTimeline step in Path)
        {
            Line(text, "timeline", step.ToLsn is { } fork
                ? $"{step.Timeline} ({step.Lineage}) up to its fork at {fork}"
                : $"{step.Timeline} ({step.Lineage})");
        }
        Line(text, "stops at", StopsAt.ToString());
        Line(text, "last transaction in", LastTransaction?.ToString() ?? "none after the start");
        Line(text, "first transaction out", NextTransaction?.ToString() ?? "none known");
        foreach (PlannedFile file in Files)
            Line(text, "copies", $"{file.Name}, {file.LengthBytes} bytes, as of {file.CheckpointLsn}, to {file.Path}");
        foreach (KeptFile file in KeptFiles)
            Line(text, "brings up", $"{file.Name}, as of {file.CheckpointLsn}, at {file.Path}");
        foreach (string name in MadeByReplay)
            Line(text, "makes by replay", name);
        Line(text, "WAL", $"{Wal.Count} segments, {Records} records, all read and proven");
        Line(text, "takes about", string.Create(
            CultureInfo.InvariantCulture,
            $"{EstimatedSeconds} s: {BytesToCopy / 1e6:0.#} MB copied at {RecoveryEstimate.CopyBytesPerSecond / 1e6:0} MB/s, "
            + $"{(StopsAt.Lsn - StartLsn) / 1e6:0.#} MB of WAL at {RecoveryEstimate.WalBytesPerSecond / 1e6:0} MB/s"));
        Line(text, "then", BeginsTimeline ? "begins a new timeline" : $"goes on with timeline {Timeline}");
        foreach (string finding in Findings)
            Line(text, "note", finding);
        return text.ToString();
    }

    private static void Line(StringBuilder text, string label, string what) =>
        text.Append(CultureInfo.InvariantCulture, $"{label,-22}{what}\n");
}

/// <summary>A record at the cut.</summary>
/// <param name="Lsn">Its LSN.</param>
/// <param name="Time">Its commit time.</param>
/// <param name="TransactionId">Its transaction; 0 if it is none.</param>
public sealed record PlannedRecord(Lsn Lsn, DateTimeOffset Time, TransactionId TransactionId)
{
    /// <inheritdoc/>
    public override string ToString() => TransactionId.Value == 0
        ? $"{Lsn}, {UtcText.Of(Time)}"
        : $"{Lsn}, {UtcText.Of(Time)}, transaction {TransactionId}";
}

/// <summary>A timeline on the way.</summary>
/// <param name="Timeline">Its number.</param>
/// <param name="Lineage">Its lineage.</param>
/// <param name="Parent">Where it forked from; null for the first.</param>
/// <param name="ForkLsn">Where it forked from its parent.</param>
/// <param name="StartLsn">Where its own records begin.</param>
/// <param name="Reason">Why it was begun.</param>
/// <param name="Time">When it was begun.</param>
/// <param name="ToLsn">Where the next one on the path forks from it; null for the last.</param>
public sealed record PlannedTimeline(
    TimelineId Timeline, Lineage Lineage, TimelineId? Parent, Lsn ForkLsn, Lsn StartLsn, string Reason,
    DateTimeOffset Time,
    Lsn? ToLsn);

/// <summary>A datafile that is copied from the set.</summary>
/// <param name="FileId">Its id.</param>
/// <param name="Name">Its name.</param>
/// <param name="ObjectName">The object in the set.</param>
/// <param name="Path">Where it goes: relative to the new folder, or absolute by a mapping.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="CheckpointLsn">The LSN that it is the state of.</param>
public sealed record PlannedFile(
    FileId FileId, string Name, string ObjectName, string Path, long LengthBytes, Lsn CheckpointLsn);

/// <summary>A datafile that is there, and is brought up from what it has.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Path">Where it lies.</param>
/// <param name="CheckpointLsn">The LSN that it is the state of.</param>
public sealed record KeptFile(string Name, string Path, Lsn CheckpointLsn);

/// <summary>Where a stretch of WAL comes from.</summary>
/// <param name="Source">The store or folder.</param>
/// <param name="Timeline">Its timeline.</param>
/// <param name="Number">Its segment.</param>
/// <param name="FromLsn">From here.</param>
/// <param name="ToLsn">To here, exclusive.</param>
/// <param name="IsParts">Parts stand in for the whole segment.</param>
public sealed record PlannedWal(string Source, TimelineId Timeline, ulong Number, Lsn FromLsn, Lsn ToLsn, bool IsParts);
