using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>WAL of ancestors that is still here, up to the fork (H31).</summary>
internal sealed partial class StoreShipper
{
    private readonly Dictionary<Lineage, SegmentProof> _parentProofs = [];

    private SegmentName? NextParent()
    {
        foreach (SegmentName name in _folder.List())
        {
            if (name.Timeline != _folder.Identity.Timeline && ParentStretch(name) is not null
                && !_parentsDone.Contains(name) && !_parentsWaiting.Contains(name))
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
            _parentsDone = _parentsDone.Add(name); // the store had it, and nobody brings it back
            return;
        }
        _owner?.RequireStillMine();
        if (IsOwnedElsewhere(entry.Timeline))
        {
            // Another database goes on with the parent: its archive is not ours to write. It ships the same bytes
            // itself.
            _parentsAsked = _clock.GetTimestamp();
            bool isThere = IsInStore(Stretch(identity, name.Number, from, to));
            if (isThere)
                _parentsDone = _parentsDone.Add(name);
            else
                _parentsWaiting.Add(name);
            return;
        }
        bool isWhole = to == _folder.Geometry.StartOf(name.Number + 1);
        Lsn fork = _path.LimitOf(entry.Lineage)!.Value;
        byte[] file = FileOf(identity, name.Number);
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
        _parentsDone = _parentsDone.Add(name);
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
