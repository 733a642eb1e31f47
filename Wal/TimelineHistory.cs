using System.Text.Json;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// Which timeline owned which LSN: the path from the first timeline to this one, with the forks between.
/// </summary>
/// <remarks>
/// <code>
///   lineage A  |=========+--------------     abandoned beyond the fork
///                        |fork   |start
///                        +-------[=========  lineage B: its own records from the start on
/// </code>
/// INVARIANTS
///   T1  The first entry has no parent; each later one's parent is the entry before it, its start is not below its
///       fork, nor its fork below the parent's start (a fork below it forks from an earlier timeline of the path).
///   T2  A position (lineage, LSN) is on the path if and only if the lineage is, and the LSN is at or below every fork
///       that comes after it (H14, H33). An LSN of a lineage below its own start is the state of its ancestor there.
///   T3  Numbers grow along the path, and no lineage is there twice.
///
/// Immutable. The text form is an archive object (docs/formats/archive.md) whose creation claims the number (H27).
/// </remarks>
internal sealed class TimelineHistory
{
    private const int Format = 1;
    private readonly TimelineEntry[] _path;

    private TimelineHistory(SystemIdentifier system, TimelineEntry[] path)
    {
        (System, _path) = (system, path);
        if (TimelineEntry.Fault(path) is { } fault)
            throw new FormatException(fault);
    }

    /// <summary>The database.</summary>
    public SystemIdentifier System { get; }

    /// <summary>From the first timeline to this one.</summary>
    public IReadOnlyList<TimelineEntry> Path => _path;

    /// <summary>This timeline.</summary>
    public TimelineEntry Last => _path[^1];

    /// <summary>The history of a database that was just created.</summary>
    public static TimelineHistory First(
        SystemIdentifier system, Lineage lineage, Lsn startLsn, string reason, DateTimeOffset time) =>
        new(system, [new TimelineEntry(TimelineId.First, lineage, null, Lsn.Zero, startLsn, reason, time)]);

    /// <summary>From entries that were kept elsewhere (the control file).</summary>
    /// <exception cref="FormatException">T1 or T3 does not hold.</exception>
    public static TimelineHistory Of(SystemIdentifier system, IEnumerable<TimelineEntry> path) =>
        new(system, [.. path]);

    /// <summary>The history of a new timeline that forks from this path.</summary>
    /// <param name="timeline">Its number; above all that the path has.</param>
    /// <param name="lineage">Newly drawn.</param>
    /// <param name="forkLsn">Where this path ends for it.</param>
    /// <param name="startLsn">Where its records will begin.</param>
    /// <param name="reason">For people.</param>
    /// <param name="time">Now.</param>
    public TimelineHistory Fork(
        TimelineId timeline, Lineage lineage, Lsn forkLsn, Lsn startLsn, string reason, DateTimeOffset time)
    {
        // A fork below this timeline's own start is one from an ancestor: what lies between is not on the new path.
        int kept = _path.Length;
        while (kept > 1 && forkLsn < _path[kept - 1].StartLsn)
            kept--;
        Invariant.Require(timeline.Value > Last.Timeline.Value, "T3",
            $"Timeline {timeline} does not follow {Last.Timeline}.");
        return new TimelineHistory(System,
            [.. _path.AsSpan(0, kept),
                new TimelineEntry(timeline, lineage, _path[kept - 1].Timeline, forkLsn, startLsn, reason, time)]);
    }

    /// <summary>T2.</summary>
    public bool PathContains(Lineage lineage, Lsn lsn) => LimitOf(lineage) is { } limit && lsn <= limit;

    /// <summary>T2, for a position from outside.</summary>
    public bool PathContains(Position position) => PathContains(position.Lineage, position.Lsn);

    /// <summary>The highest LSN of a lineage that is on the path; null if the lineage is not on it.</summary>
    public Lsn? LimitOf(Lineage lineage)
    {
        int at = Array.FindIndex(_path, entry => entry.Lineage == lineage);
        if (at < 0)
            return null;
        Lsn limit = Lsn.MaxValue;
        for (int later = at + 1; later < _path.Length; later++)
            limit = Lsn.Min(limit, _path[later].ForkLsn);
        return limit;
    }

    /// <summary>The timeline whose segments hold the record that begins at an LSN.</summary>
    public TimelineEntry OwnerOf(Lsn startLsn)
    {
        int at = _path.Length - 1;
        while (at > 0 && startLsn < _path[at].StartLsn)
            at--;
        return _path[at];
    }

    /// <summary>
    /// The last state that both paths share: the timeline there and the LSN; null if they have nothing in common.
    /// </summary>
    public (TimelineEntry Entry, Lsn Lsn)? CommonWith(TimelineHistory other)
    {
        int shared = 0;
        while (shared < _path.Length && shared < other._path.Length
            && _path[shared].Lineage == other._path[shared].Lineage)
            shared++;
        if (System != other.System || shared == 0)
            return null;
        Lineage last = _path[shared - 1].Lineage;
        return (_path[shared - 1], Lsn.Min(LimitOf(last)!.Value, other.LimitOf(last)!.Value));
    }

    /// <summary>
    /// True if lineage, parent, fork and start are equal: the same branch, whoever wrote it down when (H32).
    /// </summary>
    public bool IsSameBranch(TimelineHistory other) =>
        System == other.System && Last.Timeline == other.Last.Timeline && Last.Lineage == other.Last.Lineage
        && Last.Parent == other.Last.Parent && Last.ForkLsn == other.Last.ForkLsn
        && Last.StartLsn == other.Last.StartLsn;

    /// <summary>The archive object.</summary>
    public ReadOnlyMemory<byte> Encode() => SealedText.Seal(JsonSerializer.SerializeToUtf8Bytes(
        new HistoryJson
        {
            Format = Format,
            System = System.ToString(),
            Path = Array.ConvertAll(_path, entry => new HistoryJson.EntryJson
            {
                Timeline = entry.Timeline.Value,
                Lineage = entry.Lineage.ToString(),
                Parent = entry.Parent?.Value,
                ForkLsn = entry.ForkLsn.ToString(),
                StartLsn = entry.StartLsn.ToString(),
                Reason = entry.Reason,
                Time = ArchiveJson.Text(entry.Time),
            }),
        }, ArchiveJson.Default.HistoryJson));

    /// <summary>Reads an archive object, and that it is the one that its name says.</summary>
    /// <exception cref="DamageException">ArchiveDamaged.</exception>
    /// <exception cref="RefusedException">FormatVersion.</exception>
    public static TimelineHistory Decode(string store, string name, ReadOnlySpan<byte> bytes)
    {
        TimelineHistory history = ArchiveJson.Read(
            store, name, bytes, ArchiveJson.Default.HistoryJson, Format, static json => json.Format, static json =>
                new TimelineHistory(
                    new SystemIdentifier(ArchiveJson.Id(json.System)), Array.ConvertAll(json.Path, static entry =>
                    new TimelineEntry(
                        new TimelineId(entry.Timeline), new Lineage(ArchiveJson.Id(entry.Lineage)),
                        entry.Parent is { } parent ? new TimelineId(parent) : null, Lsn.Parse(entry.ForkLsn),
                        Lsn.Parse(entry.StartLsn), entry.Reason, ArchiveJson.Time(entry.Time)))));
        if (ObjectName.History(history.Last.Timeline) != name)
            throw ArchiveErrors.Damaged(store, name, $"it is the history of timeline {history.Last.Timeline}");
        return history;
    }
}
