using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>Finished segments on their way: the stages of each, several side by side (H47).</summary>
internal sealed partial class StoreShipper
{
    private ShipWork? BeginNext(Lsn durable, bool withTail, bool mayAdd, int width)
    {
        if (_isAlone)
            return null;
        if (_isStreaming || !_window.IsEmpty)
        {
            NoteDurable(durable, _clock.GetUtcNow());
            bool isRenewalDue = _owner is not null && _clock.GetElapsedTime(_renewed) >= TimelineOwner.RenewEvery;
            if (_window.Startable() is { } startable)
                return Begin(startable);
            ulong number = _next + (ulong)_window.Count;
            if (mayAdd && !IsGivingUp && _isStreaming && !isRenewalDue && _window.HasRoom(width) && IsFinished(number, durable))
            {
                var added = new SegmentShipment(number, _clock.GetTimestamp(), _entriesExpected);
                _window.Add(added);
                return Begin(added);
            }
            if (!_window.IsEmpty)
                return null;
        }
        (_isAlone, _isStreaming) = (true, false);
        return new ShipWork(null, durable, withTail);

        ShipWork Begin(SegmentShipment shipment)
        {
            _window.Begin(shipment);
            return new ShipWork(shipment, durable, withTail);
        }
    }

    private bool IsFinished(ulong number, Lsn durable) => _folder.Geometry.StartOf(number + 1) <= durable;

    private void Advance(SegmentShipment shipment, Lsn durable)
    {
        switch (shipment.Stage)
        {
            case ShipStage.Prove:
                Prove(shipment, durable);
                break;
            case ShipStage.Write:
                shipment.Whole = ArchivedSegment.Whole(
                    IdentityOf(_folder.Identity, shipment.Number), _folder.Geometry.StartOf(shipment.Number),
                    SegmentHeader.Bytes, shipment.File, shipment.After);
                _staged.Add(shipment.Number, ArchivePush.Write(
                    _store, shipment.Whole, _buffers, isFast: IsFinished(shipment.Number + SegmentsWaiting, durable)));
                break;
            case ShipStage.Publish:
                Publish(shipment);
                break;
            case ShipStage.Check:
                if (!shipment.IsTaken)
                    ArchivePush.Check(_store, shipment.Whole!, _buffers);
                if (!IsUnclaimed)
                    shipment.Index.PutInto(_store, shipment.Whole!.Identity);
                if (TakesParts)
                    ArchivePush.DeleteParts(_store, shipment.Whole!);
                break;
            default:
                throw new InvalidOperationException($"A shipment has no stage {shipment.Stage}.");
        }
    }

    private void Prove(SegmentShipment shipment, Lsn durable)
    {
        ulong number = shipment.Number;
        if (WasLetGo(number))
        {
            shipment.IsThere = true;
            return;
        }
        shipment.Buffer = _buffers.Rent();
        shipment.File = shipment.Buffer.AsMemory(0, _folder.Geometry.SegmentBytes);
        ReadFile(_folder.Identity, number, shipment.Buffer.AsSpan(0, _folder.Geometry.SegmentBytes));
        shipment.After = After(_folder.Identity, _folder.Geometry.StartOf(number + 1), durable);
        _proof.Require(number, shipment.File, _path.Last.StartLsn, durable, shipment.Index);
        RequireNotGivenUp(new SegmentName(_folder.Identity.Timeline, number));
        shipment.IsThere = _cameFromStore(new SegmentName(_folder.Identity.Timeline, number));
    }

    private void Publish(SegmentShipment shipment)
    {
        _owner?.RequireStillMine();
        using IStagedObject written = _staged.Take(shipment.Number)
            ?? throw ArchiveErrors.StoreFailed(_store.Name, shipment.Whole!.Name, "the engine has ended");
        shipment.IsTaken = !written.TryPublish();
        if (shipment.IsTaken)
            ArchivePush.Check(_store, shipment.Whole!, _buffers); // nothing goes behind what is somebody else's
    }

    private ShipStep EndStage(ShipWork work, SegmentShipment shipment, Exception? failure)
    {
        _window.End(shipment, failure);
        var shipped = new List<long>();
        while (_window.TakeShipped() is { } done)
        {
            ContinueAt(done.Number + 1);
            shipped.Add(done.Began);
            _entriesExpected = done.Index.EntryCount;
            if (done.Buffer is { } buffer)
                _buffers.Return(buffer);
        }
        work.Shipped = shipped;
        if (shipped.Count > 0)
            Retry.Succeeded();
        ShipStep step = shipped.Count > 0 ? ShipStep.Segment : ShipStep.UnderWay;
        if (_window.TakeFailure() is { } failed)
        {
            bool isTyped = failed is PitrException and not BugException;
            bool counts = !isTyped || !IsGivingUp; // if not: the next step goes on behind it
            if (isTyped && counts)
                Retry.Failed((PitrException)failed);
            _isStreaming = false;
            step = counts ? ShipStep.Failed : ShipStep.UnderWay;
        }
        if (_window.IsEmpty)
            _buffers.Free();
        if (step != ShipStep.UnderWay)
            Publish(work.Durable, _clock.GetUtcNow());
        return step;
    }
}
