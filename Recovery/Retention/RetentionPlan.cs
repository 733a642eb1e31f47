using System.Globalization;
using System.Text;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What an expire is asked to keep, and where it may look.</summary>
internal sealed record RetentionRequest
{
    /// <summary>The store whose sets are gone through.</summary>
    public required IArchiveStore SetStore { get; init; }

    /// <summary>The stores whose WAL is; the store of the sets too, if it is an archive.</summary>
    public required IReadOnlyList<IArchiveStore> Archives { get; init; }

    /// <summary>The promise: any moment of so much time up to the last one that is known; more than zero.</summary>
    public required TimeSpan Window { get; init; }

    public required DateTimeOffset Now { get; init; }

    /// <summary>Opens another store of sets by the name that a registration gives it; null if that can't be.</summary>
    public required Func<string, IArchiveStore?> OpenStore { get; init; }
}

/// <summary>A set, and what becomes of it.</summary>
/// <param name="BackupId">The set.</param>
/// <param name="State">complete, partial, unfinished or damaged.</param>
/// <param name="StopTime">Its stop; null if it has none.</param>
/// <param name="Bytes">Of its objects, as its manifest says; 0 if it has none.</param>
/// <param name="IsRemoved">False: it is kept.</param>
/// <param name="Why">For people.</param>
internal sealed record RetainedSet(
    string BackupId, string State, DateTimeOffset? StopTime, long Bytes, bool IsRemoved, string Why);

/// <summary>WAL of one timeline in one store that goes, oldest first.</summary>
/// <param name="Store">The archive.</param>
/// <param name="Timeline">Whose.</param>
/// <param name="From">The first segment of it.</param>
/// <param name="To">The last one.</param>
/// <param name="Objects">Segments, parts and indexes, in the order in which they go.</param>
internal sealed record RemovedWal(
    string Store, TimelineId Timeline, ulong From, ulong To, IReadOnlyList<string> Objects)
{
    /// <summary>What of the timeline is not there any more then, without what stays in between.</summary>
    public IReadOnlyList<ArchiveGap> Stretches { get; init; } = [];
}

/// <summary>A set's registration in an archive.</summary>
internal sealed record Registration(string Store, string BackupId);

/// <summary>
/// What an expire will remove, decided and shown before anything goes: the run carries out exactly this.
/// </summary>
/// <remarks>Immutable data. <see cref="RetentionPlanner"/> makes it, <see cref="RetentionRun"/> carries it out.</remarks>
internal sealed record RetentionPlan
{
    /// <summary>The store of the sets.</summary>
    public required string Store { get; init; }

    public required TimeSpan Window { get; init; }

    /// <summary>The first moment that is promised.</summary>
    public required DateTimeOffset From { get; init; }

    /// <summary>Every set of the store, the oldest first.</summary>
    public required IReadOnlyList<RetainedSet> Sets { get; init; }

    /// <summary>What of the WAL goes.</summary>
    public required IReadOnlyList<RemovedWal> Wal { get; init; }

    /// <summary>Registrations of sets that are no more, or go.</summary>
    public required IReadOnlyList<Registration> Registrations { get; init; }

    /// <summary>Timelines of which no moment beyond their forks is promised.</summary>
    public required IReadOnlyList<TimelineId> Unpromised { get; init; }

    /// <summary>The registrations and intents that were there when it was made: another one voids it (H35).</summary>
    public required IReadOnlyList<Registration> Seen { get; init; }

    /// <summary>Restores that ended long ago without saying so.</summary>
    public IReadOnlyList<Registration> EndedRestores { get; init; } = [];

    /// <summary>The restores that were there when it was made: another one voids it (H48).</summary>
    public IReadOnlyList<Registration> SeenRestores { get; init; } = [];

    /// <summary>The database; null if no set says it.</summary>
    public SystemIdentifier? SystemId { get; init; }

    /// <summary>What the operator should know.</summary>
    public required IReadOnlyList<string> Findings { get; init; }

    public bool RemovesNothing => Wal.Count == 0 && Registrations.Count == 0 && EndedRestores.Count == 0 && Sets.All(set => !set.IsRemoved);

    /// <summary>For people: what <c>--plan</c> prints.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        Line(text, "promised", $"any moment from {UtcText.Of(From)} on");
        foreach (RetainedSet set in Sets)
        {
            string stop = set.StopTime is { } time ? $", stop {UtcText.Of(time)}" : "";
            Line(
                text, set.IsRemoved ? "removes set" : "keeps set",
                $"{set.BackupId} ({set.State}{stop}, {set.Bytes} bytes): {set.Why}");
        }
        foreach (RemovedWal wal in Wal)
        {
            Line(
                text, "removes WAL",
                $"of timeline {wal.Timeline} in {wal.Store}, segments {wal.From:X} to {wal.To:X}: {wal.Objects.Count} objects");
        }
        foreach (Registration gone in Registrations)
            Line(text, "forgets set", $"{gone.BackupId} in {gone.Store}");
        foreach (Registration gone in EndedRestores)
            Line(text, "forgets restore", $"{gone.BackupId} in {gone.Store}");
        if (RemovesNothing)
            Line(text, "removes", "nothing");
        foreach (string finding in Findings)
            Line(text, "note", finding);
        return text.ToString();
    }

    private static void Line(StringBuilder text, string label, string what) =>
        text.Append(CultureInfo.InvariantCulture, $"{label,-14}{what}\n");
}
