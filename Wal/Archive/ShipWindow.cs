using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The finished segments that are on their way into one store at a time, side by side, and which of their stages may
/// begin.
/// </summary>
/// <remarks>
/// INVARIANTS (H47)
///   O2  A segment is proved when the one before it was: the chain of its records goes on from there.
///   O3  A segment gets its name in the store when the one before it has its own, durably: at no moment is there a hole.
///   O4  A segment counts, and may be recycled, when it and all before it were read back.
///   O5  Behind a segment that failed nothing begins. Those before it go on, and count; then those behind it are given
///       up, and shipping begins again with the one that failed.
/// Everything else goes side by side: compressing, writing, reading back.
/// THREADS  one, the owner's. State only: no disk, no store.
/// </remarks>
internal sealed class ShipWindow
{
    private readonly List<SegmentShipment> _shipments = []; // by number, without a hole
    private int _busy;

    /// <summary>No segment is on its way.</summary>
    public bool IsEmpty => _shipments.Count == 0;

    /// <summary>No worker is at one.</summary>
    public bool IsQuiet => _busy == 0;

    /// <summary>Segments on their way.</summary>
    public int Count => _shipments.Count;

    /// <summary>
    /// True if one more may begin: there is room, and the last one is proved. The caller sees that it is finished.
    /// </summary>
    public bool HasRoom(int width) => _shipments.Count == 0
        || (_shipments.Count < width && _shipments[^1].Stage > ShipStage.Prove
            && _shipments.TrueForAll(static one => one.Failure is null));

    /// <summary>Adds the segment behind the last one.</summary>
    public void Add(SegmentShipment next)
    {
        Invariant.Require(
            _shipments.Count == 0 || (next.Number == _shipments[^1].Number + 1 && HasRoom(int.MaxValue)), "O2",
            $"Segment {next.Number} does not follow a proved one.");
        _shipments.Add(next);
    }

    /// <summary>The first segment of which a stage may begin; null if none may.</summary>
    public SegmentShipment? Startable()
    {
        for (int i = 0; i < _shipments.Count && _shipments[i].Failure is null; i++)
        {
            SegmentShipment one = _shipments[i];
            ShipStage before = i == 0 ? ShipStage.Done : _shipments[i - 1].Stage;
            bool may = one.Stage switch
            {
                ShipStage.Done => false,
                ShipStage.Publish => before > ShipStage.Publish, // O3
                _ => true,
            };
            if (may && !one.IsBusy)
                return one;
        }
        return null;
    }

    /// <summary>A worker begins with the stage of a segment.</summary>
    public void Begin(SegmentShipment one)
    {
        one.IsBusy = true;
        _busy++;
    }

    /// <summary>It has ended.</summary>
    public void End(SegmentShipment one, Exception? failure)
    {
        one.IsBusy = false;
        _busy--;
        one.Failure = failure;
        if (failure is null)
            one.Stage = one.IsThere ? ShipStage.Done : one.Stage + 1;
    }

    /// <summary>O4: the segment that counts from now on; null if none does.</summary>
    public SegmentShipment? TakeShipped()
    {
        if (_shipments.Count == 0 || _shipments[0].Stage < ShipStage.Done)
            return null;
        SegmentShipment first = _shipments[0];
        _shipments.RemoveAt(0);
        return first;
    }

    /// <summary>
    /// O5: the failure of the first segment, once no worker is at one behind it: then all of them are given up.
    /// </summary>
    public Exception? TakeFailure()
    {
        if (_shipments.Count == 0 || _busy > 0 || _shipments[0].Failure is not { } failure)
            return null;
        GiveUp();
        return failure;
    }

    /// <summary>No segment is on its way any more; nothing may be under way.</summary>
    public void GiveUp() => _shipments.Clear();
}
