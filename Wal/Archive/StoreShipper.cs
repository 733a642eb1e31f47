using System.Collections.Immutable;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What a step of shipping did.</summary>
internal enum ShipStep
{
    /// <summary>Everything up to the durable LSN is in the store.</summary>
    Nothing,
    /// <summary>The store was checked, the timeline claimed and taken.</summary>
    Prepared,
    /// <summary>A whole segment is there, read back.</summary>
    Segment,
    /// <summary>A part of the tail is there, read back.</summary>
    Tail,
    /// <summary>It is not yet time to try again.</summary>
    Waiting,
    /// <summary>The step failed; <see cref="StoreShipper.Retry"/> says why and when it is tried again.</summary>
    Failed,
    /// <summary>Finished segments are on their way.</summary>
    UnderWay,
}

/// <summary>
/// Ships a database's WAL into one store, piece by piece; the actor that drives it owns timers and threads.
/// </summary>
/// <remarks>
/// STEPS  the first of these that there is to do is begun
///   1. prepare    the store is this database's archive; it is not ahead of the local log (H7); the timeline's
///                 number is claimed (H27) and its owner object taken (H26); strays removed; what it will never
///                 have is noted in it (GapNote)
///   2. parents    WAL of ancestors that is still here, up to the fork: whole segments whole, the fork's as a part
///                 (H31); while another database owns the ancestor, only whether that one has shipped it is looked at
///   3. segments   finished ones, several side by side: prove, write, publish, read back, put their key index, delete
///                 their parts (H36). Order and failure: <see cref="ShipWindow"/>; stages: StoreShipper.Segments.cs
///   4. tail       what is durable of the unfinished one, as a part; joined when there are many (H25)
/// Before each push the owner object is read (H26, O1).
///
/// INVARIANTS
///   P1  Nothing above the durable LSN is shipped (H25).
///   P2  A segment may be recycled only if this engine start has pushed it or found it equal, and read it back (H39).
///       What another start says it shipped does not count: it may have died before it was sure.
///   P3  What came from a store is never pushed: the caller says which segments did (H31).
///   P4  A finished segment is shipped only if its header and the chain of its records are good; of an ancestor's last
///       one, the chain up to the fork.
///   P5  Of a segment that is given up no bytes are pushed that were not all read before: its file may have been
///       recycled (StoreShipper.Gaps.cs).
///
/// THREADS  the owner, an actor, begins work (<see cref="TryBegin(Lsn, bool, bool)"/>), has it carried out by
/// workers (<see cref="Do"/>), and ends it (<see cref="End"/>); these two do no I/O. A segment's stages go side by side, every
/// other step alone.
/// <see cref="Ship"/> is all three in one thread. <see cref="Progress"/>, <see cref="MayRecycle"/> and
/// <see cref="Lag"/>: any, they look at what was published last, and at what the owner has given up since.
/// FAILURE  a step that fails leaves the state as it was; <see cref="Retry"/> holds the typed error. Bugs and crashes
///          of the simulated disk pass through.
/// </remarks>
internal sealed partial class StoreShipper
{
    private const int HeaderBytesAhead = 64;

    /// <summary>So many finished segments behind one: it is compressed less, so that they get away.</summary>
    private const ulong SegmentsWaiting = 2;

    private readonly IArchiveStore _store;
    private readonly WalFolder _folder;
    private readonly TimelineHistory _path;
    private readonly EngineStart _start;
    private readonly TimeProvider _clock;
    private readonly Func<SegmentName, bool> _cameFromStore;
    private readonly SegmentProof _proof;
    private readonly ShipWindow _window = new();
    private readonly StagedSegments _staged = new();
    private readonly SegmentBuffers _buffers;
    private int _entriesExpected; // in the key index of a segment: as many as in the last one
    private bool _isAlone; // a step that needs the store alone is under way
    private bool _isStreaming; // nothing but finished segments is to be shipped
    private readonly HashSet<SegmentName> _parentsWaiting = [];
    private readonly List<(Lsn Durable, DateTimeOffset Time)> _seen = [];
    private ImmutableHashSet<SegmentName> _parentsDone = [];
    private ShipProgress _progress;
    private List<ArchivedPart> _parts = [];
    private TimelineOwner? _owner; // null also of a store in which nothing can be claimed
    private bool _isPrepared;
    private readonly Lsn? _endAtStart;
    private readonly DateTimeOffset _began;
    private long _renewed; // timestamps: the clock may step back
    private long _parentsAsked;
    private ulong _next; // the first segment that is not known to be in the store
    private Lsn _shipped;
    private Lsn _listed; // up to here the store had whole segments when it was prepared

    /// <param name="store">Where to.</param>
    /// <param name="folder">The local WAL; its identity is the timeline that is written.</param>
    /// <param name="path">The history of that timeline.</param>
    /// <param name="start">This engine start.</param>
    /// <param name="clock">For renewals, pauses and the age of the lag.</param>
    /// <param name="endAtStart">
    /// The end of the log as this start found it: what it commits must not hide that a store that is reached late knows
    /// more of the timeline (H7). Null: as long as it is at each preparation.
    /// </param>
    /// <param name="cameFromStore">Says of a local segment that it was fetched from a store (P3); none if null.</param>
    public StoreShipper(
        IArchiveStore store, WalFolder folder, TimelineHistory path, EngineStart start, TimeProvider clock,
        Lsn? endAtStart = null, Func<SegmentName, bool>? cameFromStore = null)
    {
        Invariant.Require(
            path.Last.Lineage == folder.Identity.Lineage && path.Last.Timeline == folder.Identity.Timeline, "P1",
            $"The history ends in timeline {path.Last.Timeline}, the WAL is of {folder.Identity.Timeline}.");
        (_store, _folder, _path, _start, _clock) = (store, folder, path, start, clock);
        _endAtStart = endAtStart;
        Retry = new ShipRetry(clock);
        _began = clock.GetUtcNow();
        _cameFromStore = cameFromStore ?? (static _ => false);
        _proof = new SegmentProof(folder, folder.Identity);
        _buffers = new SegmentBuffers(folder.Geometry.SegmentBytes);
        _firstAtStart = FirstLacked();
        _parentsAtStart = _parentsLacked = LocalParents();
        _progress = new ShipProgress(
            _began, folder.Geometry, IsKnown: false,
            _firstAtStart is { } first ? folder.Geometry.StartOf(first) : Lsn.Zero, Next: 0, null, null, _dropped, _parentsDone)
        {
            ParentsLacked = [.. _parentsLacked.Select(static one => one.Stretch)],
        };
    }

    public string StoreName => _store.Name;

    /// <summary>Nothing can be claimed in the store: the operator sees to it that no other database pushes there.</summary>
    public bool IsUnclaimed => !_store.Abilities.HasFlag(StoreAbilities.Claims);

    /// <summary>Failures and when to try again.</summary>
    public ShipRetry Retry { get; }

    /// <summary>What the last step came to, without what is given up; any thread.</summary>
    public ShipProgress Progress =>
        Volatile.Read(ref _progress).GivenUpBelow(GivenUpBelow, _folder.Identity.Timeline);

    /// <summary>True once the timeline is taken in this store.</summary>
    public bool IsPrepared => _isPrepared;

    /// <summary>
    /// Everything of this timeline below it, from where the local WAL begins, is in the store, read back.
    /// </summary>
    public Lsn ShippedLsn => _shipped;

    /// <summary>The last whole segment that is in the store; 0 if none is known.</summary>
    public ulong LastSegment => _next == 0 ? 0 : _next - 1;

    /// <summary>How many segments go side by side.</summary>
    public int Width { get; init; } = 1;

    /// <summary>What this engine start knows of the store, also from other shippers.</summary>
    public required StoreStanding Standing { get; init; }

    /// <summary>Nothing is under way.</summary>
    public bool IsIdle => !_isAlone && _window.IsQuiet;

    /// <summary>Begins the next piece of work; null if none may begin before another one has ended.</summary>
    /// <param name="durable">The durable LSN, read before the call.</param>
    /// <param name="withTail">False to ship finished segments only.</param>
    /// <param name="mayAdd">False so that what needs the store alone comes next.</param>
    public ShipWork? TryBegin(Lsn durable, bool withTail = true, bool mayAdd = true) =>
        BeginNext(durable, withTail, mayAdd, Width);

    /// <summary>On a worker: carries it out.</summary>
    public void Do(ShipWork work)
    {
        if (work.Shipment is not { } shipment)
        {
            work.Step = ShipAlone(work.Durable, work.WithTail);
            return;
        }
        try
        {
            Advance(shipment, work.Durable);
        }
        catch (PitrException failure) when (failure is not BugException)
        {
            work.Failure = failure;
        }
    }

    /// <summary>Ends a piece of work, and says what was done.</summary>
    /// <param name="work">What was begun.</param>
    /// <param name="bug">What <see cref="Do"/> threw; null if it returned.</param>
    public ShipStep End(ShipWork work, Exception? bug = null)
    {
        if (work.Shipment is { } shipment)
            return EndStage(work, shipment, bug ?? work.Failure);
        _isAlone = false;
        _isStreaming = bug is null && work.Step == ShipStep.UnderWay;
        return bug is null ? work.Step : ShipStep.Failed;
    }

    /// <summary>Does one step, whole.</summary>
    /// <param name="durable">The durable LSN, read before the call.</param>
    /// <param name="withTail">False to ship finished segments only.</param>
    public ShipStep Ship(Lsn durable, bool withTail = true)
    {
        while (BeginNext(durable, withTail, mayAdd: true, width: 1) is { } work)
        {
            try
            {
                Do(work);
            }
            catch (Exception passing)
            {
                End(work, passing);
                throw;
            }
            if (End(work) is var step and not ShipStep.UnderWay)
                return step;
        }
        return ShipStep.Waiting; // somebody else has begun something
    }

    /// <summary>P2: true if the store has what of this segment it can ever want, or it is given up.</summary>
    public bool MayRecycle(SegmentName name)
    {
        ShipProgress progress = Progress;
        if (name.Timeline == _folder.Identity.Timeline)
            return name.Number < Math.Max(progress.Next, GivenUpBelow);
        return name.Number < GivenUpBelow || progress.ParentsDone.Contains(name) || ParentStretch(name) is null;
    }

    /// <summary>How far the store is behind.</summary>
    public ArchiveLag Lag(Lsn durable) => Progress.Lag(durable, _clock.GetUtcNow());

    /// <summary>
    /// Notes in the store that this engine was stopped in order (H26); nothing if it had not taken the timeline.
    /// </summary>
    public void Release()
    {
        _window.GiveUp();
        _buffers.Free();
        _staged.Remove();
        _owner?.Release(_clock.GetUtcNow());
        (_owner, _isPrepared) = (null, false);
    }

    /// <summary>
    /// The engine ends, however it does: what is left is the caller's to dispose of, so that nothing stays open. Any
    /// thread, also while a worker is at something.
    /// </summary>
    public IReadOnlyList<IStagedObject> LetGo() => _staged.Close();

    private ShipStep ShipAlone(Lsn durable, bool withTail)
    {
        DateTimeOffset now = _clock.GetUtcNow();
        MakeGapOfGivenUp();
        NoteDurable(durable, now);
        ShipStep step = Retry.IsWaiting ? ShipStep.Waiting : TryShipNext(durable, withTail, now);
        Publish(durable, now);
        return step;
    }

    private ShipStep TryShipNext(Lsn durable, bool withTail, DateTimeOffset now)
    {
        try
        {
            _staged.Remove();
            ShipStep step = ShipNext(durable, withTail, now);
            if (step != ShipStep.UnderWay)
                Retry.Succeeded();
            return step;
        }
        catch (PitrException error) when (error is not BugException)
        {
            if (IsGivingUp)
                return ShipStep.UnderWay; // the next step goes on behind what this one failed at
            Retry.Failed(error);
            return ShipStep.Failed;
        }
    }

    private ShipStep ShipNext(Lsn durable, bool withTail, DateTimeOffset now)
    {
        if (!_isPrepared)
        {
            Prepare(durable, now);
            return ShipStep.Prepared;
        }
        if (!_toNote.IsEmpty)
            NoteGaps(now);
        if (_owner is not null && _clock.GetElapsedTime(_renewed) >= TimelineOwner.RenewEvery)
        {
            _owner.Renew(now);
            _renewed = _clock.GetTimestamp();
        }
        if (NextParent() is { } parent)
        {
            ShipParent(parent);
            return ShipStep.Segment;
        }
        if (IsFinished(_next, durable))
            return ShipStep.UnderWay;
        if (withTail && TakesParts && durable > _shipped)
        {
            ShipTail(durable);
            return ShipStep.Tail;
        }
        if (_clock.GetElapsedTime(_parentsAsked) >= TimelineOwner.RenewEvery)
            _parentsWaiting.Clear();
        return ShipStep.Nothing;
    }

    private void Prepare(Lsn durable, DateTimeOffset now)
    {
        WalIdentity identity = _folder.Identity;
        ArchiveIdentity.Check(_store, identity.System);
        TimelineOwner? owner = _store.Abilities.HasFlag(StoreAbilities.Claims) ? Take(durable, now) : Enter(durable);
        _store.RemoveStrays();
        if (_store.Lists())
            _dropped = Merged(GapsNoted(), _dropped);
        if (_next == 0)
        {
            ulong first = FirstLacked() ?? _folder.Geometry.NumberOf(durable);
            MissOfParents();
            MissBelow(first);
            _listed = EndOfListed(first); // known before anything is given up
            ContinueAt(first);
        }
        else
        {
            _listed = EndOfListed(_next);
        }
        (_owner, _isPrepared, _renewed) = (owner, true, _clock.GetTimestamp());
    }

    /// <summary>H7, H26, H27: the store is not ahead, the number is this branch's, and this start its owner.</summary>
    private TimelineOwner Take(Lsn durable, DateTimeOffset now)
    {
        WalIdentity identity = _folder.Identity;
        bool isTakenByThisStart = TimelineOwner.Read(_store, identity.Timeline)?.Start == _start;
        RequireNotAhead(
            _store, _path, _folder.Geometry, isTakenByThisStart ? durable : _endAtStart ?? durable);
        if (TimelineClaim.Claim(_store, _path) == ClaimOutcome.Taken)
        {
            TimelineHistory there = ArchiveCatalog.Load(_store).History(identity.Timeline)!;
            throw ArchiveErrors.TimelineTaken(_store.Name, identity.Timeline, identity.Lineage, there.Last.Lineage);
        }
        return TimelineOwner.Take(
            _store, identity.System, identity.Timeline, identity.Lineage, _start, now, Standing.Owners);
    }

    /// <summary>
    /// A store in which nothing can be claimed: the operator has said that no other database pushes there. What can be
    /// seen is looked at all the same: the timeline's history, and whether the segment in use is there whole (H7). Once this
    /// start has entered it, what is there beyond the end that opening found is its own.
    /// </summary>
    private TimelineOwner? Enter(Lsn durable)
    {
        Lineage lineage = _folder.Identity.Lineage;
        Lsn end = Standing.HasEntered(lineage) ? durable : Lsn.Min(durable, _endAtStart ?? durable);
        if (_store.Lists())
            RequireNotAhead(_store, _path, _folder.Geometry, end);
        string inUse = ObjectName.Segment(_folder.Identity.Timeline, _folder.Geometry.NumberOf(end));
        if (_store.Stat(inUse) is not null)
        {
            throw ArchiveErrors.StoreAhead(
                _store.Name, _folder.Identity.Timeline, end, _folder.Geometry.StartOf(_folder.Geometry.NumberOf(end) + 1));
        }
        if (TimelineClaim.Claim(_store, _path) == ClaimOutcome.Taken)
        {
            string name = ObjectName.History(_folder.Identity.Timeline);
            Lineage there = TimelineHistory.Decode(_store.Name, name, _store.Get(name).Span).Last.Lineage;
            throw ArchiveErrors.TimelineTaken(
                _store.Name, _folder.Identity.Timeline, lineage, there);
        }
        Standing.Enter(lineage);
        return null;
    }

    /// <summary>Parts come and go: a store that lists nothing or deletes nothing gets finished segments only.</summary>
    public bool TakesParts => _store.Abilities.HasFlag(StoreAbilities.Lists | StoreAbilities.Deletes);

    /// <summary>H7: that a store has nothing of the path's last timeline beyond the end of the local log.</summary>
    /// <exception cref="RefusedException">WalTooShort; ArchiveOwned: the store knows the timeline with another
    /// lineage, so what it has is not this log's.</exception>
    public static void RequireNotAhead(IArchiveStore store, TimelineHistory path, WalGeometry geometry, Lsn localEnd)
    {
        ArchiveCatalog catalog = ArchiveCatalog.Load(store);
        TimelineEntry last = path.Last;
        if (catalog.History(last.Timeline) is { } there && there.Last.Lineage != last.Lineage)
            throw ArchiveErrors.TimelineTaken(store.Name, last.Timeline, last.Lineage, there.Last.Lineage);
        Lsn archived = catalog.HighestEnd(last.Timeline, geometry.PayloadBytes);
        if (archived > localEnd)
            throw ArchiveErrors.StoreAhead(store.Name, last.Timeline, localEnd, archived);
    }

    /// <summary>Where the whole segments end that the store lists without a hole from this number on.</summary>
    private Lsn EndOfListed(ulong number)
    {
        if (!_store.Lists())
            return _folder.Geometry.StartOf(number);
        IReadOnlyCollection<ulong> wholes = ArchiveCatalog.Load(_store).Wholes(_folder.Identity.Timeline);
        while (wholes.Contains(number))
            number++;
        return _folder.Geometry.StartOf(number);
    }

    /// <summary>
    /// It was shipped and read back, and then let go, by an earlier start whose crash brought an older segment back.
    /// </summary>
    private bool WasLetGo(ulong number)
    {
        var name = new SegmentName(_folder.Identity.Timeline, number);
        return _folder.Files.Stat(_folder.PathOf(name)) is null
            && (EndOfListed(number) > _folder.Geometry.StartOf(number)
                || _store.Stat(ObjectName.Segment(name.Timeline, number)) is not null);
    }

    private void ShipTail(Lsn durable)
    {
        Lsn start = _folder.Geometry.StartOf(_next);
        Lsn from = Lsn.Max(start, _shipped);
        _owner?.RequireStillMine();
        ArchivedSegment part = Stretch(_folder.Identity, _next, from, durable);
        RequireNotGivenUp(new SegmentName(_folder.Identity.Timeline, _next));
        ArchivePush.PushPart(_store, part, durable);
        _parts.Add(new ArchivedPart(part.Name, part.Identity.Timeline, part.Identity.Number, part.From, part.To));
        _shipped = durable;
        if (from == start || _parts.Count >= ArchivePush.PartsBeforeJoin)
            TidyParts();
    }

    /// <summary>
    /// Joins many parts, and removes those that an earlier engine start left within the first part of this one.
    /// </summary>
    private void TidyParts()
    {
        TimelineId timeline = _folder.Identity.Timeline;
        List<ArchivedPart> there = ListParts(timeline);
        ArchivePush.JoinParts(_store, there);
        if (_parts is [ArchivedPart mine])
            ArchivePush.DeleteCovered(_store, there, mine);
        _parts = ListParts(timeline);
    }

    private List<ArchivedPart> ListParts(TimelineId timeline)
    {
        var parts = new List<ArchivedPart>();
        foreach (string name in _store.List(ObjectName.PartPrefix(timeline, _next)))
        {
            if (ObjectName.TryParsePart(name, out _, out ulong number, out Lsn from, out Lsn to))
                parts.Add(new ArchivedPart(name, timeline, number, from, to));
        }
        return parts;
    }

    // ---- local bytes -------------------------------------------------------------------------------

    private ArchivedSegment Whole(WalIdentity identity, ulong number, byte[] file, Lsn durable) => ArchivedSegment.Whole(
        IdentityOf(identity, number), _folder.Geometry.StartOf(number), SegmentHeader.Bytes, file,
        After(identity, _folder.Geometry.StartOf(number + 1), durable));

    private byte[] FileOf(WalIdentity identity, ulong number)
    {
        byte[] file = GC.AllocateUninitializedArray<byte>(_folder.Geometry.SegmentBytes);
        ReadFile(identity, number, file);
        return file;
    }

    private void ReadFile(WalIdentity identity, ulong number, Span<byte> file)
    {
        using IFileHandle handle = _folder.Open(number, identity, FileOpen.Read);
        ReadExactly(handle, 0, file);
    }

    private ArchivedSegment Stretch(WalIdentity identity, ulong number, Lsn from, Lsn to)
    {
        byte[] stream = GC.AllocateUninitializedArray<byte>((int)(to - from));
        using (IFileHandle handle = _folder.Open(number, identity, FileOpen.Read))
            ReadExactly(handle, _folder.Geometry.OffsetOf(from), stream);
        return ArchivedSegment.Part(IdentityOf(identity, number), from, stream);
    }

    /// <summary>
    /// The durable bytes that follow a segment's end: they complete the header of a record that the end cuts.
    /// </summary>
    private byte[] After(WalIdentity identity, Lsn end, Lsn durable)
    {
        if (durable < end + HeaderBytesAhead)
            return [];
        byte[] after = new byte[HeaderBytesAhead];
        using var next = new FolderWalBytes(_folder, identity);
        return next.Read(end, after) == after.Length ? after : [];
    }

    private static void ReadExactly(IFileHandle handle, long offset, Span<byte> to)
    {
        int read = handle.Read(offset, to);
        if (read < to.Length)
        {
            throw WalErrors.SegmentHeaderDamaged(
                handle.Path, $"it ends at byte {offset + read}, before {offset + to.Length}");
        }
    }

    private static SegmentIdentity IdentityOf(WalIdentity identity, ulong number) =>
        new(identity.System, identity.Timeline, identity.Lineage, number);

    // ---- state -------------------------------------------------------------------------------------

    private void Publish(Lsn durable, DateTimeOffset now)
    {
        ulong next = FirstLacked() ?? _folder.Geometry.NumberOf(durable);
        Lsn lackedFrom = Lsn.Max(Lsn.Max(_shipped, _listed), _folder.Geometry.StartOf(next));
        DateTimeOffset? since = null;
        foreach ((Lsn seen, DateTimeOffset time) in _seen)
        {
            if (seen > lackedFrom)
            {
                since = time;
                break;
            }
        }
        Volatile.Write(ref _progress, new ShipProgress(
            now, _folder.Geometry, IsKnown: _next > 0, lackedFrom, _next, _parentsLacked.IsEmpty ? since : _began, Retry.LastError,
            _dropped, _parentsDone)
        {
            ParentsLacked = [.. _parentsLacked.Select(static one => one.Stretch)],
        });
    }

    private ulong? FirstLacked()
    {
        try
        {
            return _next > 0 ? _next : _firstAtStart ?? FirstLocal();
        }
        catch (StorageFailedException)
        {
            return null; // the folder tells when it is shipped from
        }
    }

    private void ContinueAt(ulong number)
    {
        _next = number;
        _shipped = Lsn.Max(_shipped, _folder.Geometry.StartOf(number));
        _parts = [];
        _seen.RemoveAll(seen => seen.Durable <= _shipped);
    }

    private ulong? FirstLocal()
    {
        foreach (SegmentName name in _folder.List())
        {
            if (name.Timeline == _folder.Identity.Timeline)
                return name.Number;
        }
        return null;
    }

    /// <summary>Remembers when which LSN became durable, once a second, so that the age of the lag is known.</summary>
    private void NoteDurable(Lsn durable, DateTimeOffset now)
    {
        _seen.RemoveAll(seen => seen.Durable <= _shipped);
        if (durable > _shipped && (_seen.Count == 0
            || (durable > _seen[^1].Durable && now - _seen[^1].Time >= TimeSpan.FromSeconds(1) && _seen.Count < 4096)))
            _seen.Add((durable, now));
    }
}
