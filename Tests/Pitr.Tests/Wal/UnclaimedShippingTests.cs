using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// Shipping into a store that can do less than others: in which nothing can be claimed (H27), or that does not list or
/// delete.
/// </summary>
public sealed class UnclaimedShippingTests : IDisposable
{
    private readonly FakeTimeProvider _clock = new(Noon);
    private readonly SimulatedDisk _disk = new(seed: 3);
    private readonly FolderStore _store;
    private readonly WalFolder _folder;

    public UnclaimedShippingTests()
    {
        _disk.CreateFolders("/db/wal");
        _disk.CreateFolders("/store");
        _store = Store(_disk);
        _folder = new WalFolder(
            _disk, "/db/wal", SegmentBytes, new WalIdentity(ArchiveTestData.System, TimelineId.First, LineageA));
        for (ulong number = 1; number <= 4; number++)
            WriteSegment(number);
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(nameof(StoreAbilities.None), 0)]
    [InlineData(nameof(StoreAbilities.Lists), 0)]
    [InlineData(nameof(StoreAbilities.Deletes), 0)]
    [InlineData("Lists, Deletes", 1)]
    public void Finished_segments_go_there_and_the_tail_only_where_parts_can_go_again(string abilities, int parts)
    {
        StoreShipper shipper = Shipper(abilities);
        ShipAll(shipper, At(3, 256));
        Assert.Equal(
            [ObjectName.Identity, ObjectName.History(TimelineId.First), ObjectName.Segment(TimelineId.First, 1), ObjectName.Segment(TimelineId.First, 2)],
            _store.List("").Where(name => !name.Contains(".part-", StringComparison.Ordinal)));
        Assert.Equal(parts, _store.List("").Count(name => name.Contains(".part-", StringComparison.Ordinal)));
        Assert.True(shipper.IsUnclaimed);
        Assert.True(shipper.MayRecycle(new SegmentName(TimelineId.First, 2)));
        Assert.False(shipper.MayRecycle(new SegmentName(TimelineId.First, 3)));
        Assert.Equal(parts == 1 ? 0 : 256, shipper.Lag(At(3, 256)).Bytes);
        shipper.Release();
        Assert.False(shipper.IsPrepared);
    }

    [Theory]
    [InlineData(nameof(StoreAbilities.None))]
    [InlineData(nameof(StoreAbilities.Lists))]
    public void The_next_start_finds_what_is_there_and_goes_on(string abilities)
    {
        ShipAll(Shipper(abilities), At(3, 256));
        StoreShipper next = Shipper(abilities, startId: 2);
        ShipAll(next, At(4, 128));
        Assert.Null(next.Retry.LastError);
        Assert.Equal(3ul, next.LastSegment);
        Assert.True(_store.Stat(ObjectName.Segment(TimelineId.First, 3)) is not null);
    }

    /// <summary>H7: the local log was cut back, and the store has the segment whole that is in use here.</summary>
    [Theory]
    [InlineData(nameof(StoreAbilities.None))]
    [InlineData(nameof(StoreAbilities.Lists))]
    public void A_store_that_is_ahead_of_the_log_is_refused_as_far_as_it_can_be_seen(string abilities)
    {
        ShipAll(Shipper(abilities), At(3, 256));
        StoreShipper cutBack = Shipper(abilities, startId: 2, endAtStart: At(2, 128));
        cutBack.Ship(At(2, 512));
        Assert.Equal(ErrorCode.WalTooShort, cutBack.Retry.LastError!.Code);

        StoreShipper late = Shipper(abilities, startId: 3, endAtStart: At(2, 128));
        late.Ship(At(4, 128)); // it has written the same numbers anew before it reached the store
        Assert.Equal(ErrorCode.WalTooShort, late.Retry.LastError!.Code);
    }

    /// <summary>
    /// H7: the store was removed and added again, or the actor that ships was made anew: what is there beyond the end that
    /// opening found was shipped by this start.
    /// </summary>
    [Theory]
    [InlineData(nameof(StoreAbilities.None))]
    [InlineData(nameof(StoreAbilities.Lists))]
    public void A_start_that_has_entered_a_store_enters_it_again_whatever_it_has_shipped_since(string abilities)
    {
        StoreAbilities able = Enum.Parse<StoreAbilities>(abilities);
        StoreStanding standing = NewStanding(_clock);
        StoreShipper first = Shipper(able, endAtStart: At(1, 128), standing: standing);
        ShipAll(first, At(3, 256));
        first.Release();

        StoreShipper again = Shipper(able, endAtStart: At(1, 128), standing: standing);
        ShipAll(again, At(4, 128));
        Assert.Null(again.Retry.LastError);
        Assert.Equal(3ul, again.LastSegment);

        StoreShipper cutBack = Shipper(able, endAtStart: At(1, 128), standing: standing);
        cutBack.Ship(At(2, 512)); // also then not below what is there
        Assert.Equal(ErrorCode.WalTooShort, cutBack.Retry.LastError!.Code);
    }

    [Fact]
    public void Another_branch_and_another_database_are_refused_there_too()
    {
        ShipAll(Shipper(StoreAbilities.None), At(2, 128));
        _store.Delete(ObjectName.History(TimelineId.First));
        TimelineClaim.Claim(_store, TimelineHistory.First(ArchiveTestData.System, LineageB, new Lsn(Payload), "created", Noon));
        StoreShipper other = Shipper(StoreAbilities.None, startId: 2);
        other.Ship(At(2, 128));
        Assert.Equal(ErrorCode.ArchiveOwned, other.Retry.LastError!.Code);

        _store.Delete(ObjectName.Identity);
        ulong next = 5;
        ArchiveIdentity.SetUp(_store, new SystemIdentifier(9), () => next++, Noon);
        StoreShipper foreign = Shipper(StoreAbilities.None, startId: 3);
        foreign.Ship(At(2, 128));
        Assert.Equal(ErrorCode.ForeignSystem, foreign.Retry.LastError!.Code);
    }

    /// <summary>H25: also without claims, other content under a segment's name is left alone.</summary>
    [Fact]
    public void Other_content_is_a_conflict()
    {
        ArchivePush.Push(_store, Whole(2, recordCount: 3));
        StoreShipper shipper = Shipper(StoreAbilities.None);
        ShipAll(shipper, At(4, 128));
        Assert.Equal(ErrorCode.ArchiveConflict, shipper.Retry.LastError!.Code);
        Assert.False(shipper.MayRecycle(new SegmentName(TimelineId.First, 2)));
    }

    private StoreShipper Shipper(string abilities, ulong startId = 1, Lsn? endAtStart = null) =>
        Shipper(Enum.Parse<StoreAbilities>(abilities), startId, endAtStart);

    private StoreShipper Shipper(
        StoreAbilities abilities, ulong startId = 1, Lsn? endAtStart = null, StoreStanding? standing = null)
    {
        var store = new LimitedStore(_store, abilities);
        ulong next = 5;
        if (_store.Stat(ObjectName.Identity) is null)
            ArchiveIdentity.SetUp(store, ArchiveTestData.System, () => next++, Noon);
        return new StoreShipper(
            store, _folder, First, new EngineStart(startId, "alpha", "boot", "/db", 8, 100), _clock, endAtStart)
        {
            Standing = standing ?? NewStanding(_clock),
        };
    }

    private static void ShipAll(StoreShipper shipper, Lsn durable)
    {
        while (shipper.Ship(durable) is not (ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting))
        {
            // until there is nothing
        }
    }

    private static Lsn At(ulong segment, long offset = 0) => new Lsn(segment * (ulong)Payload) + offset;

    private void WriteSegment(ulong number)
    {
        byte[] file = FileOf(number);
        SegmentHeader.For(_folder.Identity, new WalGeometry(SegmentBytes), number).Write(file);
        using IFileHandle handle = _disk.Open($"/db/wal/{new SegmentName(TimelineId.First, number)}", FileOpen.CreateNew);
        handle.Write(0, file);
        handle.SyncData();
        _disk.SyncFolder("/db/wal");
    }
}
