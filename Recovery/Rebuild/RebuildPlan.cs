using System.Globalization;
using System.Text;
using System.Text.Json;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What a control file that is made anew will say, and from what that is known; shown before it is written.</summary>
public sealed record RebuildPlan
{
    /// <summary>The database.</summary>
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>The timeline that it goes on with.</summary>
    public required TimelineId Timeline { get; init; }

    /// <summary>The checkpoint whose record the table of datafiles is from; null: from the beginning of the WAL.</summary>
    public Lsn? CheckpointRecord { get; init; }

    /// <summary>Where the next opening begins to replay.</summary>
    public required Lsn RedoLsn { get; init; }

    /// <summary>Where the WAL ends: every record up to here was read and proven.</summary>
    public required Lsn EndOfWal { get; init; }

    /// <summary>The datafiles at that end.</summary>
    public required IReadOnlyList<RebuiltFile> Files { get; init; }

    /// <summary>What the operator should know.</summary>
    public required IReadOnlyList<string> Findings { get; init; }

    /// <summary>The document of <c>--json</c>.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, RecoveryJson.Default.RebuildPlan);

    /// <summary>For people.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        Line(text, "control file", CheckpointRecord is { } checkpoint
            ? $"rebuilt from the checkpoint recorded at {checkpoint}, and the WAL behind it"
            : "rebuilt from the beginning of the WAL");
        Line(text, "timeline", Timeline.ToString());
        Line(text, "WAL", $"from {RedoLsn} to {EndOfWal}, all read and proven");
        foreach (RebuiltFile file in Files)
            Line(text, file.NeedsRecovery is null ? "datafile" : "needs recovery",
                $"{file.Name}, at {file.Path}" + (file.NeedsRecovery is { } why ? $": {why}" : ""));
        foreach (string finding in Findings)
            Line(text, "note", finding);
        return text.ToString();
    }

    private static void Line(StringBuilder text, string label, string what) =>
        text.Append(CultureInfo.InvariantCulture, $"{label,-22}{what}\n");
}

/// <summary>A datafile in a control file that is made anew.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Path">Where it lies; absolute.</param>
/// <param name="NeedsRecovery">Why it will not serve before it is recovered; null if it will.</param>
public sealed record RebuiltFile(string Name, string Path, string? NeedsRecovery);

/// <summary>A plan, and what is written.</summary>
/// <param name="Plan">What will be done.</param>
/// <param name="Folder">The database's.</param>
/// <param name="Control">The control file.</param>
/// <param name="Run">The WAL that it rests on.</param>
/// <param name="KnownBy">Datafiles that the log has to reach (H7).</param>
internal sealed record PlannedRebuild(
    RebuildPlan Plan, string Folder, ControlFile Control, WalRun Run, IReadOnlyList<KnownPosition> KnownBy);
