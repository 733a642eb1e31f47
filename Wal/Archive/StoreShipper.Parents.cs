using System.Collections.Immutable;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>WAL of ancestors that is still here, up to the fork (H31).</summary>
/// <remarks>
/// It counts as what the store lacks, and is given up first: it is the oldest. What the store lists it does not lack, though
/// it may be recycled only when it was read back. What another database is to ship is lacked as long as it has not come.
/// </remarks>
internal sealed partial class StoreShipper
{
    private readonly Dictionary<Lineage, SegmentProof> _parentProofs = [];

    private readonly ImmutableArray<(SegmentName Name, ArchiveGap Stretch)> _parentsAtStart; // no more come; the oldest first

    /// <summary>Of those, what the store lacks; as far as is known.</summary>
    private ImmutableArray<(SegmentName Name, ArchiveGap Stretch)> _parentsLacked;

    /// <summary>The oldest segment of an ancestor that the store lacks; greater than any if it lacks none.</summary>
    private ulong FirstParentLacked => _parentsLacked.IsEmpty ? ulong.MaxValue : _parentsLacked[0].Name.Number;

    private ImmutableArray<(SegmentName Name, ArchiveGap Stretch)> LocalParents()
    {
        try
        {
            return
            [
                .. _folder.List().Select(name => (Name: name, Stretch: ParentStretch(name)))
                    .Where(static one => one.Stretch is not null)
                    .Select(static one => (
                        one.Name, new ArchiveGap(one.Name.Timeline, one.Stretch!.Value.From, one.Stretch.Value.To)))
                    .OrderBy(static one => one.Name.Number),
            ];
        }
        catch (StorageFailedException)
        {
            return []; // the folder tells when it is shipped from
        }
    }

    /// <summary>
    /// What of ancestors the store lists it does not lack, though it counts only when it was read back. Where the local WAL of
    /// one begins above what it has, an earlier start gave that up and died before it could note it.
    /// </summary>
    private void MissOfParents()
    {
        if (!_store.Lists())
            return;
        ArchiveCatalog catalog = ArchiveCatalog.Load(_store);
        foreach (TimelineEntry entry in _path.Path.Where(entry => entry != _path.Last))
        {
            Lsn end = catalog.HighestEnd(entry.Timeline, _folder.Geometry.PayloadBytes);
            Lsn begin = _path.LimitOf(entry.Lineage)!.Value;
            foreach ((SegmentName name, ArchiveGap stretch) in _parentsAtStart)
                begin = name.Timeline == entry.Timeline ? Lsn.Min(begin, stretch.From) : begin;
            var hole = new ArchiveGap(entry.Timeline, end, begin);
            bool isKnown = _dropped.Any(gap => gap.Timeline == entry.Timeline && gap.From <= end && begin <= gap.To);
            if (end > Lsn.Zero && end < begin && !isKnown && !IsOwnedElsewhere(entry.Timeline) && !HasExpired(hole))
                Miss(hole);
        }
        _parentsLacked = _parentsLacked.RemoveAll(one => catalog.Source(
            one.Name.Timeline, one.Name.Number, one.Stretch.From, one.Stretch.To) is { } there && there.To >= one.Stretch.To);
    }

    private void GiveUpParentsBelow(ulong number)
    {
        foreach ((SegmentName name, ArchiveGap stretch) in _parentsLacked)
        {
            if (name.Number < number)
                Miss(stretch);
        }
        _parentsLacked = _parentsLacked.RemoveAll(one => one.Name.Number < number);
    }

    private void DoneWith(SegmentName parent)
    {
        _parentsDone = _parentsDone.Add(parent);
        _parentsLacked = _parentsLacked.RemoveAll(one => one.Name == parent);
    }

    private SegmentName? NextParent()
    {
        foreach (SegmentName name in _folder.List())
        {
            if (name.Timeline != _folder.Identity.Timeline && ParentStretch(name) is not null
                && !_parentsDone.Contains(name) && !_parentsWaiting.Contains(name) && name.Number >= GivenUpBelow)
                return name;
        }
        return null;
    }

    /// <summary>What of an ancestor's segment lies on the path: null if nothing, or if it came from a store.</summary>
    private (TimelineEntry Entry, Lsn From, Lsn To)? ParentStretch(SegmentName name)
    {
        TimelineEntry? entry = _path.Path.FirstOrDefault(ancestor => ancestor.Timeline == name.Timeline);
        if (entry is null || entry == _path.Last || _cameFromStore(name))
            return null;
        Lsn from = _folder.Geometry.StartOf(name.Number);
        Lsn to = Lsn.Min(_folder.Geometry.StartOf(name.Number + 1), _path.LimitOf(entry.Lineage)!.Value);
        return to > from ? (entry, from, to) : null;
    }

    private void ShipParent(SegmentName name)
    {
        (TimelineEntry entry, Lsn from, Lsn to) = ParentStretch(name)!.Value;
        var identity = new WalIdentity(_folder.Identity.System, entry.Timeline, entry.Lineage);
        if (HasExpired(new ArchiveGap(entry.Timeline, from, to)))
        {
            DoneWith(name); // the store had it, and nobody brings it back
            return;
        }
        _owner?.RequireStillMine();
        if (IsOwnedElsewhere(entry.Timeline))
        {
            // Another database goes on with the parent: its archive is not ours to write. It ships the same bytes
            // itself.
            _parentsAsked = _clock.GetTimestamp();
            ArchivedSegment local = Stretch(identity, name.Number, from, to);
            RequireNotGivenUp(name);
            if (IsInStore(local))
                DoneWith(name);
            else
                _parentsWaiting.Add(name);
            return;
        }
        bool isWhole = to == _folder.Geometry.StartOf(name.Number + 1);
        Lsn fork = _path.LimitOf(entry.Lineage)!.Value;
        byte[] file = FileOf(identity, name.Number);
        RequireNotGivenUp(name);
        var index = new KeyIndexBuilder();
        ParentProof(identity).Require(name.Number, file, entry.StartLsn, fork, index);
        ArchivedSegment stretch = isWhole
            ? Whole(identity, name.Number, file, fork)
            : ArchivedSegment.Part(
                IdentityOf(identity, name.Number), from, file.AsMemory(SegmentHeader.Bytes, (int)(to - from)));
        ArchivePush.Push(_store, stretch);
        if (isWhole && !IsUnclaimed)
            index.PutInto(_store, stretch.Identity);
        if (isWhole && TakesParts)
            ArchivePush.DeleteParts(_store, stretch);
        DoneWith(name);
    }

    /// <summary>One for each ancestor: the chain of its records goes on from segment to segment.</summary>
    private SegmentProof ParentProof(WalIdentity identity)
    {
        if (!_parentProofs.TryGetValue(identity.Lineage, out SegmentProof? proof))
            _parentProofs[identity.Lineage] = proof = new SegmentProof(_folder, identity);
        return proof;
    }

    /// <summary>Another place owns it, or may do so.</summary>
    private bool IsOwnedElsewhere(TimelineId timeline) =>
        _store.Abilities.HasFlag(StoreAbilities.Claims)
        && TimelineOwner.Read(_store, timeline) is { } owner
        && Standing.Owners.Look(owner, _start) != OwnerVerdict.Over;

    private bool HasExpired(ArchiveGap stretch) => _store.Lists()
        && !ExpiredNote.Without(stretch, ExpiredNote.Of(_store, stretch.Timeline)).Any();

    private bool IsInStore(ArchivedSegment local)
    {
        ArchivedRange range = ArchiveCatalog.Load(_store).Along(
            _path, local.From, local.To, _folder.Geometry.PayloadBytes);
        if (range.Sources is not [SegmentSource source] || range.Gaps.Count > 0)
            return false;
        FetchedSegment there = new ArchiveReader(_store, _path).Fetch(source);
        ReadOnlySpan<byte> bytes = there.Stream.Span.Slice((int)(local.From - there.From), local.Stream.Length);
        return bytes.SequenceEqual(local.Stream.Span)
            ? true
            : throw ArchiveErrors.Conflict(_store.Name, local.Name, local.Describe(), "other bytes of the same LSNs");
    }
}
