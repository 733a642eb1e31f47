using System.Collections.Immutable;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What a store will never have: given up by choice, or lacking below where the local WAL begins (H36).</summary>
/// <remarks>
/// GIVING UP counts at once, however long a worker hangs: for the lag, for what may be recycled, and as a gap that is told.
/// What is under way goes on as far as it comes, in order (H47). The next step that needs the store alone makes a gap of
/// what it lacks then, which is noted before anything beyond it is shipped; of a store that was not prepared yet, only once
/// it was: before that nobody knows what it has.
/// </remarks>
internal sealed partial class StoreShipper
{
    private readonly ulong? _firstAtStart; // of the local segments; null if they could not be listed
    private ulong _givenUpBelow; // the owner's to set; any thread looks at it
    private ImmutableArray<ArchiveGap> _dropped = [];
    private ImmutableArray<ArchiveGap> _toNote = [];

    /// <summary>What the store will never have.</summary>
    public IReadOnlyList<ArchiveGap> Dropped => Progress.Dropped;

    /// <summary>
    /// Gives up what the store lacks of the segments below a number, by the operator's choice. It does no I/O, and the
    /// owner may call it while workers are at the store.
    /// </summary>
    public void GiveUpBelow(ulong number)
    {
        if (number > _givenUpBelow)
            Volatile.Write(ref _givenUpBelow, number);
    }

    private ulong GivenUpBelow => Volatile.Read(ref _givenUpBelow);

    /// <summary>What was given up is to be made a gap of; not before the store was prepared.</summary>
    private bool IsGivingUp => _next > 0 && Math.Min(_next, FirstParentLacked) < GivenUpBelow;

    /// <summary>P5.</summary>
    private void RequireNotGivenUp(SegmentName name)
    {
        if (name.Number < GivenUpBelow)
        {
            throw ArchiveErrors.StoreFailed(
                _store.Name, ObjectName.Segment(name.Timeline, name.Number), "it was given up while it was shipped");
        }
    }

    private void MakeGapOfGivenUp()
    {
        if (!IsGivingUp)
            return;
        ulong number = GivenUpBelow;
        GiveUpParentsBelow(number);
        if (number <= _next)
            return;
        Lsn begin = Lsn.Max(Lsn.Max(_shipped, _listed), _folder.Geometry.StartOf(_next));
        Lsn end = _folder.Geometry.StartOf(number);
        if (begin < end)
            Miss(new ArchiveGap(_folder.Identity.Timeline, begin, end));
        ContinueAt(number);
    }

    /// <summary>
    /// The local WAL begins above what the store has: an earlier start gave up what is between, and died before it could
    /// note that; or the store was none of the database's for a while.
    /// </summary>
    private void MissBelow(ulong first)
    {
        if (!_store.Lists())
            return;
        TimelineId timeline = _folder.Identity.Timeline;
        ArchiveCatalog catalog = ArchiveCatalog.Load(_store);
        Lsn end = Lsn.Zero;
        foreach (ulong whole in catalog.Wholes(timeline).Where(number => number < first))
            end = _folder.Geometry.StartOf(whole + 1);
        foreach (string name in _store.List(ObjectName.TimelinePrefix(timeline)))
        {
            if (ObjectName.TryParsePart(name, out _, out ulong number, out _, out Lsn to) && number < first)
                end = Lsn.Max(end, to);
        }
        Lsn begin = _folder.Geometry.StartOf(first);
        bool isKnown = _dropped.Any(gap => gap.Timeline == timeline && gap.From <= end && begin <= gap.To);
        var hole = new ArchiveGap(timeline, end, begin);
        if (end > Lsn.Zero && end < begin && !isKnown && !HasExpired(hole))
            Miss(hole);
    }

    private void Miss(ArchiveGap gap)
    {
        _dropped = GapNote.Joined(_dropped, gap);
        _toNote = GapNote.Joined(_toNote, gap);
    }

    private Lineage LineageOf(TimelineId timeline) => _path.Path.First(entry => entry.Timeline == timeline).Lineage;

    /// <summary>The gaps that the store knows of on the path.</summary>
    private IEnumerable<ArchiveGap> GapsNoted()
    {
        foreach (TimelineEntry entry in _path.Path)
        {
            Lsn limit = _path.LimitOf(entry.Lineage) ?? Lsn.MaxValue;
            foreach (ArchiveGap gap in GapNote.Of(_store, entry.Timeline, _folder.Geometry).Where(gap => gap.From < limit))
                yield return gap with { To = Lsn.Min(gap.To, limit) };
        }
    }

    private void NoteGaps(DateTimeOffset now)
    {
        _owner?.RequireStillMine();
        foreach (ArchiveGap gap in _toNote)
            GapNote.Write(_store, _folder.Identity.System, LineageOf(gap.Timeline), gap, now);
        _toNote = [];
    }

    private static ImmutableArray<ArchiveGap> Merged(
        IEnumerable<ArchiveGap> noted, ImmutableArray<ArchiveGap> known)
    {
        ImmutableArray<ArchiveGap> merged = [];
        foreach (ArchiveGap gap in noted.Concat(known).OrderBy(gap => gap.From))
            merged = GapNote.Joined(merged, gap);
        return merged;
    }
}
