namespace Pitr.Wal;

/// <summary>One part of a segment, by its name.</summary>
internal sealed record ArchivedPart(string Name, TimelineId Timeline, ulong Number, Lsn From, Lsn To)
{
    public long LengthBytes => To - From;

    /// <summary>
    /// The fewest parts that lead from a position on without a gap, in order; parts may overlap (a join that died), and
    /// then the longest is taken. Empty if none holds the position.
    /// </summary>
    public static List<ArchivedPart> Chain(IEnumerable<ArchivedPart> parts, Lsn from)
    {
        var chain = new List<ArchivedPart>();
        List<ArchivedPart> sorted = [.. parts.OrderBy(part => part.From).ThenByDescending(part => part.To)];
        int next = 0;
        for (Lsn at = from; ;)
        {
            ArchivedPart? longest = null;
            for (; next < sorted.Count && sorted[next].From <= at; next++)
            {
                if (sorted[next].To > (longest?.To ?? at))
                    longest = sorted[next];
            }
            if (longest is null)
                return chain;
            chain.Add(longest);
            at = longest.To;
        }
    }
}

/// <summary>Where the bytes of one segment come from.</summary>
/// <param name="Timeline">Whose segment.</param>
/// <param name="Number">Which.</param>
/// <param name="From">The first LSN that is needed.</param>
/// <param name="To">Just past the last that is needed and there.</param>
/// <param name="Parts">The parts that stand in for the whole segment, in order; null if the whole one is there
/// (H36).</param>
internal sealed record SegmentSource(
    TimelineId Timeline, ulong Number, Lsn From, Lsn To, IReadOnlyList<ArchivedPart>? Parts)
{
    public bool IsWhole => Parts is null;
}

/// <summary>WAL that is needed and not there: [From, To).</summary>
internal sealed record ArchiveGap(TimelineId Timeline, Lsn From, Lsn To);

/// <summary>What of a path is in a store.</summary>
/// <param name="Sources">Segment by segment, in LSN order, up to the first gap.</param>
/// <param name="End">Just past the last LSN that is there without a gap before it.</param>
/// <param name="Gaps">Every stretch that is missing below what is asked for, or below the last that is there.</param>
internal sealed record ArchivedRange(
    IReadOnlyList<SegmentSource> Sources, Lsn End, IReadOnlyList<ArchiveGap> Gaps);

/// <summary>
/// What a store has, from one listing of its names: segments and parts by timeline, and the histories.
/// </summary>
/// <remarks>
/// It says what is there by name; whether the content is good shows when it is fetched. Immutable. An object that
/// cannot be read as a history is listed in <see cref="Damaged"/> and otherwise not there.
/// </remarks>
internal sealed class ArchiveCatalog
{
    private readonly Dictionary<TimelineId, SortedSet<ulong>> _wholes = [];
    private readonly Dictionary<(TimelineId, ulong), List<ArchivedPart>> _parts = [];
    private readonly SortedDictionary<uint, TimelineHistory> _histories = [];
    private readonly List<DamageException> _damaged = [];
    private readonly List<string> _unknown = [];

    private ArchiveCatalog(string storeName) => StoreName = storeName;

    /// <summary>The store's address.</summary>
    public string StoreName { get; }

    /// <summary>Every history, by its timeline's number.</summary>
    public IReadOnlyList<TimelineHistory> Histories => [.. _histories.Values];

    /// <summary>Histories that cannot be read.</summary>
    public IReadOnlyList<DamageException> Damaged => _damaged;

    /// <summary>Names below wal/ and history/ that this program does not know.</summary>
    public IReadOnlyList<string> Unknown => _unknown;

    /// <summary>Timelines of which there is WAL.</summary>
    public IReadOnlyList<TimelineId> Timelines =>
        [.. _wholes.Keys.Concat(_parts.Keys.Select(key => key.Item1)).Distinct().OrderBy(timeline => timeline.Value)];

    /// <summary>Parts whose whole segment is there: they only wait to be deleted (H36).</summary>
    public IReadOnlyList<ArchivedPart> LeftOverParts =>
        [.. _parts.Where(pair => HasWhole(pair.Key.Item1, pair.Key.Item2)).SelectMany(pair => pair.Value)];

    /// <summary>Reads a store's names and histories.</summary>
    public static ArchiveCatalog Load(IArchiveStore store)
    {
        var catalog = new ArchiveCatalog(store.Name);
        foreach (string name in store.List(ObjectName.WalPrefix))
            catalog.AddWal(name);
        foreach (string name in store.List(ObjectName.HistoryPrefix))
            catalog.AddHistory(store, name);
        return catalog;
    }

    /// <summary>The history of a timeline; null if it is not there or damaged.</summary>
    public TimelineHistory? History(TimelineId timeline) => _histories.GetValueOrDefault(timeline.Value);

    /// <summary>True if the whole segment is there.</summary>
    public bool HasWhole(TimelineId timeline, ulong number) =>
        _wholes.TryGetValue(timeline, out SortedSet<ulong>? numbers) && numbers.Contains(number);

    /// <summary>The numbers of the whole segments of a timeline, ascending.</summary>
    public IReadOnlyCollection<ulong> Wholes(TimelineId timeline) => _wholes.GetValueOrDefault(timeline) ?? [];

    /// <summary>The numbers of the segments of a timeline of which there are parts.</summary>
    public IEnumerable<ulong> PartNumbers(TimelineId timeline) =>
        _parts.Keys.Where(key => key.Item1 == timeline).Select(key => key.Item2);

    /// <summary>The parts of a segment, as they are.</summary>
    public IReadOnlyList<ArchivedPart> Parts(TimelineId timeline, ulong number) =>
        _parts.GetValueOrDefault((timeline, number)) ?? [];

    /// <summary>
    /// Just past the highest LSN of a timeline that is there, gaps or not; zero if there is nothing (H7).
    /// </summary>
    /// <param name="timeline">The timeline.</param>
    /// <param name="payloadBytes">Bytes of the stream in one segment.</param>
    public Lsn HighestEnd(TimelineId timeline, long payloadBytes)
    {
        Lsn end = Wholes(timeline) is SortedSet<ulong> { Count: > 0 } numbers
            ? new Lsn((numbers.Max + 1) * (ulong)payloadBytes)
            : Lsn.Zero;
        foreach (((TimelineId of, _), List<ArchivedPart> parts) in _parts)
        {
            if (of == timeline)
                end = Lsn.Max(end, parts.Max(part => part.To));
        }
        return end;
    }

    /// <summary>What there is of a path from one LSN on.</summary>
    /// <param name="path">Whose timelines to follow: an ancestor's WAL counts up to the fork.</param>
    /// <param name="from">Where reading begins.</param>
    /// <param name="to">Where it may end; <see cref="Lsn.MaxValue"/> for all there is.</param>
    /// <param name="payloadBytes">Bytes of the stream in one segment.</param>
    public ArchivedRange Along(TimelineHistory path, Lsn from, Lsn to, long payloadBytes)
    {
        ulong payload = (ulong)payloadBytes;
        Lsn last = to < Lsn.MaxValue ? to : Lsn.Max(from, HighestOnPath(path, payloadBytes));
        var sources = new List<SegmentSource>();
        var gaps = new List<ArchiveGap>();
        Lsn end = from;
        for (ulong number = from.Value / payload; number * payload < last.Value; number++)
        {
            var segmentFrom = new Lsn(number * payload);
            TimelineEntry owner = path.OwnerOf(segmentFrom);
            Lsn limit = path.LimitOf(owner.Lineage)!.Value;
            Lsn needFrom = Lsn.Max(from, segmentFrom);
            Lsn needTo = Lsn.Min(Lsn.Min(last, segmentFrom + payloadBytes), limit);
            if (needTo > needFrom)
            {
                SegmentSource? source = Source(owner.Timeline, number, needFrom, needTo);
                Lsn reached = source?.To ?? needFrom;
                if (source is not null && gaps.Count == 0)
                {
                    sources.Add(source);
                    end = reached;
                }
                if (reached < needTo)
                    gaps.Add(new ArchiveGap(owner.Timeline, reached, needTo));
            }
            else if (gaps.Count == 0)
            {
                end = Lsn.Max(end, needFrom); // between a fork and the next timeline's start there is nothing to need
            }
        }
        return new ArchivedRange(sources, end, gaps);
    }

    /// <summary>
    /// What there is of a segment from one LSN on, up to another one at most: the whole, or else parts without a gap; null if
    /// nothing holds the first LSN.
    /// </summary>
    public SegmentSource? Source(TimelineId timeline, ulong number, Lsn from, Lsn to)
    {
        if (HasWhole(timeline, number))
            return new SegmentSource(timeline, number, from, to, Parts: null);
        List<ArchivedPart> chain = ArchivedPart.Chain(Parts(timeline, number), from);
        return chain.Count == 0
            ? null
            : new SegmentSource(timeline, number, from, Lsn.Min(to, chain[^1].To), chain);
    }

    private Lsn HighestOnPath(TimelineHistory path, long payloadBytes)
    {
        Lsn highest = Lsn.Zero;
        foreach (TimelineEntry entry in path.Path)
            highest =
                Lsn.Max(highest, Lsn.Min(HighestEnd(entry.Timeline, payloadBytes), path.LimitOf(entry.Lineage)!.Value));
        return highest;
    }

    private void AddWal(string name)
    {
        if (ObjectName.TryParseSegment(name, out TimelineId timeline, out ulong number))
        {
            if (!_wholes.TryGetValue(timeline, out SortedSet<ulong>? numbers))
                _wholes.Add(timeline, numbers = []);
            numbers.Add(number);
        }
        else if (ObjectName.TryParsePart(name, out timeline, out number, out Lsn from, out Lsn to))
        {
            if (!_parts.TryGetValue((timeline, number), out List<ArchivedPart>? parts))
                _parts.Add((timeline, number), parts = []);
            parts.Add(new ArchivedPart(name, timeline, number, from, to));
        }
        else
        {
            _unknown.Add(name);
        }
    }

    private void AddHistory(IArchiveStore store, string name)
    {
        if (!ObjectName.TryParseHistory(name, out TimelineId timeline))
        {
            _unknown.Add(name);
            return;
        }
        if (store.TryGet(name) is not { } bytes)
            return; // removed since it was listed
        try
        {
            _histories.Add(timeline.Value, TimelineHistory.Decode(store.Name, name, bytes.Span));
        }
        catch (DamageException damage)
        {
            _damaged.Add(damage);
        }
    }
}
