using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>One segment's bytes of a path, in one place.</summary>
/// <param name="Source">The store or folder, for people.</param>
/// <param name="Timeline">Whose segment.</param>
/// <param name="Number">Which.</param>
/// <param name="From">The first LSN that is needed.</param>
/// <param name="To">Just past the last that is needed and there.</param>
/// <param name="IsParts">Parts stand in for the whole segment (H36).</param>
/// <param name="Open">The stream's bytes from a position at or below <paramref name="From"/>, which it returns.</param>
/// <param name="LeastRawClock">The least raw clock in it, or 0 if that is not known.</param>
internal sealed record WalStretch(
    string Source, TimelineId Timeline, ulong Number, Lsn From, Lsn To, bool IsParts,
    Func<(Lsn From, ReadOnlyMemory<byte> Stream)> Open, Func<long> LeastRawClock);

/// <summary>A place with WAL: an archive store, a backup set's own, a local folder.</summary>
internal interface IWalSource
{
    string Name { get; }

    /// <summary>True if all that it holds was durable in the database that wrote it (H25).</summary>
    bool IsDurable { get; }

    /// <summary>Just past the highest LSN of a timeline that is there, gaps or not; zero if there is nothing.</summary>
    Lsn HighestEnd(TimelineId timeline);

    /// <summary>What there is of one segment of a path from an LSN on; null if nothing.</summary>
    WalStretch? Find(TimelineHistory path, ulong number, Lsn from, Lsn to);
}

/// <summary>The WAL of an archive store, or of a backup set seen as one.</summary>
internal sealed class ArchiveWalSource(IArchiveStore store, ArchiveCatalog catalog, WalGeometry geometry) : IWalSource
{
    public string Name => store.Name;

    public bool IsDurable => true;

    public Lsn HighestEnd(TimelineId timeline) => catalog.HighestEnd(timeline, geometry.PayloadBytes);

    public WalStretch? Find(TimelineHistory path, ulong number, Lsn from, Lsn to)
    {
        ArchivedRange range = catalog.Along(path, from, to, geometry.PayloadBytes);
        if (range.Sources.Count == 0 || range.Sources[0].Number != number)
            return null;
        SegmentSource source = range.Sources[0];
        var reader = new ArchiveReader(store, path);
        return new WalStretch(
            Name, source.Timeline, number, source.From, source.To, !source.IsWhole,
            () =>
            {
                FetchedSegment fetched = reader.Fetch(source);
                return (fetched.From, fetched.Stream);
            },
            () => reader.FetchTimes(source).LeastRawClockTicks);
    }
}

/// <summary>A database's own WAL folder: its bytes count up to where their chain of records ends.</summary>
/// <param name="folder">The folder.</param>
/// <param name="name">For people.</param>
/// <param name="durableEnd">Of a running engine: all of it is durable up to here, and nothing beyond counts.</param>
internal sealed class FolderWalSource(WalFolder folder, string name, Lsn? durableEnd = null) : IWalSource
{
    private readonly IReadOnlyList<SegmentName> _names = folder.List();

    public string Name => name;

    public bool IsDurable => durableEnd is not null;

    public Lsn HighestEnd(TimelineId timeline) => _names
        .Where(segment => segment.Timeline == timeline)
        .Select(segment => folder.Geometry.StartOf(segment.Number + 1)).DefaultIfEmpty().Max();

    public WalStretch? Find(TimelineHistory path, ulong number, Lsn from, Lsn to)
    {
        TimelineEntry owner = path.OwnerOf(folder.Geometry.StartOf(number));
        to = Lsn.Min(to, durableEnd ?? Lsn.MaxValue);
        if (to <= from || !_names.Contains(new SegmentName(owner.Timeline, number)))
            return null;
        var identity = new WalIdentity(path.System, owner.Timeline, owner.Lineage);
        return new WalStretch(Name, owner.Timeline, number, from, to, IsParts: false,
            () =>
            {
                using IFileHandle handle = folder.Open(number, identity, FileOpen.Read);
                byte[] bytes = new byte[to - from];
                int read = handle.Read(folder.Geometry.OffsetOf(from), bytes);
                return (from, bytes.AsMemory(0, read));
            },
            () => 0);
    }
}

/// <summary>WAL that is needed and in none of the places: [From, To).</summary>
internal sealed record WalHole(TimelineId Timeline, Lsn From, Lsn To);

/// <summary>What all places together have of a path.</summary>
/// <param name="Stretches">Segment by segment, up to the first hole.</param>
/// <param name="End">Just past the last LSN that is there without a hole before it.</param>
/// <param name="DurableEnd">The same, as far as every byte is known to have been durable.</param>
/// <param name="Hole">The first hole: there is WAL of the path beyond it, or it was asked for; null if there is
/// none.</param>
internal sealed record WalCoverage(IReadOnlyList<WalStretch> Stretches, Lsn End, Lsn DurableEnd, WalHole? Hole);

/// <summary>Several places with WAL as one: for each segment the best of them.</summary>
/// <remarks>
/// A whole segment goes before a local one, a local one before parts, and longer parts before shorter ones. Where the
/// best can't be read, the next that holds as much is, and <see cref="Findings"/> says so. Where the best ends in the middle
/// of a segment another place may go on: a folder whose first record begins behind that segment's start, with an archive that
/// has a part of it. Only what is on the path counts: an ancestor's WAL up to the fork (I10).
/// THREADS  one at a time.
/// </remarks>
internal sealed class WalSources(IReadOnlyList<IWalSource> sources, WalGeometry geometry)
{
    public WalGeometry Geometry => geometry;

    private readonly SortedSet<string> _findings = new(StringComparer.Ordinal);

    /// <summary>What was found unreadable while it was read, and had another copy.</summary>
    public IReadOnlyCollection<string> Findings => _findings;

    public string Names => string.Join(", ", sources.Select(source => $"'{source.Name}'"));

    /// <summary>Just past the highest LSN of a timeline in any place.</summary>
    public Lsn HighestEnd(TimelineId timeline) =>
        sources.Select(source => source.HighestEnd(timeline)).DefaultIfEmpty().Max();

    /// <summary>What there is of a path.</summary>
    /// <param name="path">Whose timelines to follow.</param>
    /// <param name="from">Where reading begins.</param>
    /// <param name="to">Where it may end; MaxValue: with the last that there is.</param>
    public WalCoverage Along(TimelineHistory path, Lsn from, Lsn to)
    {
        Lsn highest = Lsn.Zero;
        foreach (TimelineEntry entry in path.Path)
            highest = Lsn.Max(highest, Lsn.Min(HighestEnd(entry.Timeline), path.LimitOf(entry.Lineage)!.Value));
        Lsn last = to < Lsn.MaxValue ? to : Lsn.Max(from, highest);

        var stretches = new List<WalStretch>();
        Lsn end = from;
        Lsn durableEnd = from;
        bool isDurable = true;
        for (ulong number = geometry.NumberOf(from); geometry.StartOf(number) < last; number++)
        {
            Lsn start = geometry.StartOf(number);
            TimelineEntry owner = path.OwnerOf(start);
            Lsn needFrom = Lsn.Max(from, start);
            Lsn needTo = Lsn.Min(Lsn.Min(last, start + geometry.PayloadBytes), path.LimitOf(owner.Lineage)!.Value);
            if (needTo <= needFrom)
            {
                // Between a fork and the start of the next timeline there is nothing to need.
                end = Lsn.Max(end, needFrom);
                durableEnd = isDurable ? end : durableEnd;
                continue;
            }
            Lsn reached = needFrom;
            while (reached < needTo && Best(path, number, reached, needTo) is ({ } best, var bestIsDurable) && best.To > reached)
            {
                stretches.Add(best);
                end = reached = best.To;
                isDurable &= bestIsDurable;
                durableEnd = isDurable ? end : durableEnd;
            }
            if (reached < needTo)
            {
                // Nothing is needed that lies beyond all there is, unless it was asked for: so it is a hole.
                return new WalCoverage(stretches, end, durableEnd, new WalHole(owner.Timeline, reached, needTo));
            }
        }
        return new WalCoverage(stretches, end, durableEnd, Hole: null);
    }

    /// <summary>Reads what is covered.</summary>
    public static PathReader Open(TimelineHistory path, WalCoverage coverage, Lsn from)
    {
        var legs = new List<PathLeg>();
        for (int n = 0; n < path.Path.Count; n++)
        {
            TimelineEntry entry = path.Path[n];
            Lsn legFrom = Lsn.Max(from, entry.StartLsn);
            Lsn legTo = path.LimitOf(entry.Lineage)!.Value;
            bool isLast = n == path.Path.Count - 1;
            if (legFrom >= legTo && !isLast)
                continue;
            WalStretch[] stretches = [.. coverage.Stretches.Where(stretch => stretch.Timeline == entry.Timeline)];
            if (stretches.Length == 0 && legs.Count > 0)
                break;
            Lsn known = Lsn.Min(legTo, Lsn.Max(legFrom, coverage.DurableEnd));
            legs.Add(new PathLeg(entry, () => new StretchWalBytes(stretches), legFrom, legTo, known));
        }
        return new PathReader(legs);
    }

    private (WalStretch? Best, bool IsDurable) Best(TimelineHistory path, ulong number, Lsn from, Lsn to)
    {
        var found = new List<(WalStretch Stretch, bool IsDurable)>();
        foreach (IWalSource source in sources)
        {
            if (source.Find(path, number, from, to) is { } stretch)
                found.Add((stretch, source.IsDurable));
        }

        if (found.Count == 0)
            return (null, true);
        (WalStretch Stretch, bool IsDurable)[] ordered = [.. found
            .OrderByDescending(one => one.IsDurable && !one.Stretch.IsParts)
            .ThenByDescending(one => one.Stretch.To)];
        (WalStretch best, bool isDurable) = ordered[0];
        WalStretch[] others = [.. ordered.Skip(1).Select(one => one.Stretch)
            .Where(other => other.From <= best.From && other.To >= best.To)];
        return others.Length == 0
            ? (best, isDurable)
            : (best with { Open = () => OpenFirst([best, .. others]) }, isDurable);
    }

    /// <summary>The first that can be read; if none can, what is wrong with the best.</summary>
    private (Lsn From, ReadOnlyMemory<byte> Stream) OpenFirst(IReadOnlyList<WalStretch> copies)
    {
        PitrException? first = null;
        foreach (WalStretch copy in copies)
        {
            try
            {
                (Lsn From, ReadOnlyMemory<byte> Stream) opened = copy.Open();
                if (first is not null)
                    _findings.Add($"{first.Message} The copy in '{copy.Source}' is read instead.");
                return opened;
            }
            catch (PitrException error) when (error is DamageException or NotFoundException)
            {
                first ??= error;
            }
        }

        throw first!;
    }
}

/// <summary>
/// The bytes of one timeline out of several places; the stretch that is read is held, so any LSN in it may be read
/// again.
/// </summary>
/// <remarks>
/// A stretch that can't be read fails only the read that begins in it: bytes before it are given first, so that the
/// damage is told at its own place. THREADS  one.
/// </remarks>
internal sealed class StretchWalBytes(IReadOnlyList<WalStretch> stretches) : IWalBytes
{
    private WalStretch? _held;
    private Lsn _heldFrom;
    private ReadOnlyMemory<byte> _bytes;

    public bool MayEndInRecord => true;

    public int Read(Lsn at, Span<byte> to)
    {
        int total = 0;
        while (total < to.Length && Find(at) is { } stretch)
        {
            try
            {
                Hold(stretch);
            }
            catch (PitrException) when (total > 0)
            {
                return total;
            }
            ReadOnlySpan<byte> from = _bytes.Span[(int)(at - _heldFrom)..];
            int part = (int)Math.Min(Math.Min(from.Length, to.Length - total), stretch.To - at);
            if (part == 0)
                break;
            from[..part].CopyTo(to[total..]);
            total += part;
            at += part;
        }
        return total;
    }

    public Lsn NextAfter(Lsn hole)
    {
        foreach (WalStretch stretch in stretches)
        {
            if (hole < stretch.To)
                return Lsn.Max(hole, stretch.From);
        }
        return Lsn.MaxValue;
    }

    public (string Path, long Offset) Place(Lsn at)
    {
        WalStretch? stretch = Find(at) ?? (stretches.Count > 0 ? stretches[^1] : null);
        return stretch is null
            ? ("archive", -1)
            : ($"segment {stretch.Number:X} of timeline {stretch.Timeline} in {stretch.Source}", at - stretch.From);
    }

    public void Dispose()
    {
    }

    private WalStretch? Find(Lsn at)
    {
        if (_held is { } held && at >= held.From && at < held.To)
            return held;
        return stretches.FirstOrDefault(stretch => at >= stretch.From && at < stretch.To);
    }

    private void Hold(WalStretch stretch)
    {
        if (ReferenceEquals(_held, stretch))
            return;
        (_heldFrom, _bytes) = stretch.Open();
        _held = stretch;
    }
}
