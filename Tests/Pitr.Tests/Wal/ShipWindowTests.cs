using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>H47: the order of segments that are on their way into a store side by side.</summary>
public sealed class ShipWindowTests
{
    private readonly ShipWindow _window = new();

    private SegmentShipment Add(ulong number)
    {
        var one = new SegmentShipment(number, 0);
        _window.Add(one);
        return one;
    }

    private void Advance(SegmentShipment one, ShipStage to)
    {
        while (one.Stage < to)
        {
            _window.Begin(one);
            _window.End(one, null);
        }
    }

    private void Fail(SegmentShipment one)
    {
        _window.Begin(one);
        _window.End(one, ArchiveErrors.StoreFailed("/store", "wal/x", "it is away"));
    }

    [Fact]
    public void One_more_begins_when_the_last_one_is_proved_and_there_is_room()
    {
        Assert.True(_window.HasRoom(2));
        SegmentShipment first = Add(7);
        Assert.False(_window.HasRoom(2));
        Advance(first, ShipStage.Write);
        Assert.True(_window.HasRoom(2));
        Assert.False(_window.HasRoom(1));
        Advance(Add(8), ShipStage.Write);
        Assert.False(_window.HasRoom(2));
        Assert.Throws<BugException>(() => Add(10));
    }

    [Fact]
    public void A_segment_gets_its_name_when_the_one_before_it_has_its_own()
    {
        SegmentShipment first = Add(7);
        Advance(first, ShipStage.Write);
        SegmentShipment second = Add(8);
        Advance(second, ShipStage.Publish);
        _window.Begin(first); // it is being written
        Assert.Null(_window.Startable());
        _window.End(first, null);
        Assert.Same(first, _window.Startable());
        _window.Begin(first); // it gets its name
        Assert.Null(_window.Startable());
        _window.End(first, null);
        _window.Begin(first); // it is read back
        Assert.Same(second, _window.Startable());
    }

    [Fact]
    public void A_segment_counts_when_all_before_it_were_read_back()
    {
        SegmentShipment first = Add(7);
        Advance(first, ShipStage.Check);
        SegmentShipment second = Add(8);
        Advance(second, ShipStage.Done);
        Assert.Null(_window.TakeShipped());
        Advance(first, ShipStage.Done);
        Assert.Same(first, _window.TakeShipped());
        Assert.Same(second, _window.TakeShipped());
        Assert.True(_window.IsEmpty);
    }

    [Theory]
    [InlineData(nameof(ShipStage.Write))]
    [InlineData(nameof(ShipStage.Publish))]
    [InlineData(nameof(ShipStage.Check))]
    public void Of_segments_behind_one_that_failed_none_counts_and_those_before_it_do(string stage)
    {
        SegmentShipment first = Add(7);
        Advance(first, ShipStage.Write);
        SegmentShipment second = Add(8);
        Advance(second, ShipStage.Write);
        SegmentShipment third = Add(9);
        Advance(third, ShipStage.Write);
        _window.Begin(third);
        Advance(first, ShipStage.Check);
        Advance(second, Enum.Parse<ShipStage>(stage));
        Fail(second);

        Assert.Same(first, _window.Startable());
        Assert.False(_window.HasRoom(9));
        Advance(first, ShipStage.Done);
        Assert.Same(first, _window.TakeShipped());
        Assert.Null(_window.TakeShipped());
        Assert.Null(_window.TakeFailure()); // somebody is at the third one
        _window.End(third, null);
        Assert.Null(_window.Startable());
        Assert.Null(_window.TakeShipped());
        Assert.Equal(ErrorCode.StoreFailed, Assert.IsType<StorageFailedException>(_window.TakeFailure()).Code);
        Assert.True(_window.IsEmpty && _window.IsQuiet);
    }
}
