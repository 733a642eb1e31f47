using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// Shipping a database's WAL: in order, nothing above the durable LSN, and what may be recycled then.
/// </summary>
public sealed class ArchiveShipperTests
{
    private readonly FakeTimeProvider _clock = new(Noon);
    private readonly EngineStart _start = new(1, "alpha", "boot", "/db", 8, 100);
    private readonly SimulatedDisk _disk = new(seed: 3);
    private readonly FolderStore _store;

    public ArchiveShipperTests()
    {
        _disk.CreateFolders("/db/wal");
        _disk.CreateFolders("/store");
        _store = Store(_disk);
        ArchiveIdentity.SetUp(_store, ArchiveTestData.System, () => 5, Noon);
    }

    private static Lsn At(ulong segment, long offset = 0) => new Lsn(segment * (ulong)Payload) + offset;

    private static WalFolder Folder(SimulatedDisk disk, uint timeline = 1, ulong lineage = 0xA) =>
        new(disk, "/db/wal", SegmentBytes,
            new WalIdentity(ArchiveTestData.System, new TimelineId(timeline), new Lineage(lineage)));

    private static void WriteSegment(SimulatedDisk disk, ulong number, uint timeline = 1, ulong lineage = 0xA)
    {
        byte[] file = FileOf(number, lineage: lineage);
        var identity = new WalIdentity(ArchiveTestData.System, new TimelineId(timeline), new Lineage(lineage));
        SegmentHeader.For(identity, new WalGeometry(SegmentBytes), number).Write(file);
        using IFileHandle handle =
            disk.Open($"/db/wal/{new SegmentName(new TimelineId(timeline), number)}", FileOpen.CreateNew);
        handle.Write(0, file);
        handle.SyncData();
        disk.SyncFolder("/db/wal");
    }

    private StoreShipper Shipper(
        IArchiveStore? store = null, EngineStart? start = null, SimulatedDisk? disk = null, TimelineHistory? path =
            null,
        Lsn? endAtStart = null) =>
        new(store ?? _store,
            Folder(disk ?? _disk, (path ?? First).Last.Timeline.Value, (path ?? First).Last.Lineage.Value),
            path ?? First, start ?? _start, _clock, endAtStart)
        {
            Standing = NewStanding(_clock),
        };

    private static List<ShipStep> ShipAll(StoreShipper shipper, Lsn durable)
    {
        var steps = new List<ShipStep>();
        do
            steps.Add(shipper.Ship(durable));
        while (steps[^1] is not (ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting));
        return steps;
    }

    private static SegmentName Name(ulong number, uint timeline = 1) => new(new TimelineId(timeline), number);

    [Fact]
    public void Finished_segments_go_whole_and_in_order_and_the_tail_as_a_part()
    {
        for (ulong number = 1; number <= 3; number++)
            WriteSegment(_disk, number);
        StoreShipper shipper = Shipper();
        Assert.Equal(
            [ShipStep.Prepared, ShipStep.Segment, ShipStep.Segment, ShipStep.Tail, ShipStep.Nothing],
            ShipAll(shipper, At(3, 256)));
        ArchivedRange range = ArchiveCatalog.Load(_store).Along(First, At(1), Lsn.MaxValue, Payload);
        Assert.Equal(At(3, 256), range.End);
        Assert.Equal([true, true, false], range.Sources.Select(source => source.IsWhole));
        Assert.Equal((At(3, 256), 2ul), (shipper.ShippedLsn, shipper.LastSegment));
        Assert.Equal([true, true, false], new ulong[] { 1, 2, 3 }.Select(number => shipper.MayRecycle(Name(number))));

        using StreamWalBytes bytes = new ArchiveReader(_store, First).Bytes(range.Sources);
        byte[] back = new byte[(2 * Payload) + 256];
        Assert.Equal(back.Length, bytes.Read(At(1), back));
        Assert.Equal([.. StreamOf(1), .. StreamOf(2), .. StreamOf(3).AsSpan(0, 256)], back);
    }

    /// <summary>H25: only what is below the durable LSN is in the store.</summary>
    [Fact]
    public void Nothing_above_the_durable_LSN_is_shipped()
    {
        WriteSegment(_disk, 1);
        StoreShipper shipper = Shipper();
        for (int durable = 0; durable <= 3456; durable += 128)
        {
            ShipAll(shipper, At(1, durable));
            Assert.Equal(At(1, durable),
                Lsn.Max(At(1), ArchiveCatalog.Load(_store).HighestEnd(TimelineId.First, Payload)));
        }
        Assert.True(ArchiveCatalog.Load(_store).Parts(TimelineId.First, 1).Count < ArchivePush.PartsBeforeJoin);
        ShipAll(shipper, At(2));
        Assert.Empty(ArchiveCatalog.Load(_store).Parts(TimelineId.First, 1));
    }

    /// <summary>H39: what an earlier start shipped counts only after this one has read it back.</summary>
    [Fact]
    public void A_new_start_reads_back_before_it_lets_a_segment_go()
    {
        WriteSegment(_disk, 1);
        ShipAll(Shipper(), At(2));
        StoreShipper next = Shipper(start: _start with { StartId = 2 });
        next.Ship(At(2));
        Assert.False(next.MayRecycle(Name(1)));
        ShipAll(next, At(2));
        Assert.True(next.MayRecycle(Name(1)));
    }

    /// <summary>A crash while segments are let go may bring back an older one, and not the one behind it.</summary>
    [Fact]
    public void A_segment_that_was_let_go_after_it_was_shipped_is_not_missed()
    {
        for (ulong number = 1; number <= 3; number++)
            WriteSegment(_disk, number);
        ShipAll(Shipper(), At(4));
        Folder(_disk).Remove([Name(2)]);
        WriteSegment(_disk, 4);

        StoreShipper next = Shipper(start: _start with { StartId = 2 });
        ShipAll(next, At(5));

        Assert.Null(next.Retry.LastError);
        Assert.Equal(4ul, next.LastSegment);
    }

    /// <summary>H26: a copy with the same lineage is refused, and the source goes on.</summary>
    [Fact]
    public void A_copy_of_the_database_does_not_ship()
    {
        WriteSegment(_disk, 1);
        StoreShipper source = Shipper();
        ShipAll(source, At(1, 128));
        StoreShipper copy = Shipper(start: new EngineStart(9, "alpha", "boot", "/copy", 8, 777));
        Assert.Equal(ShipStep.Failed, copy.Ship(At(1, 128)));
        Assert.Equal(ErrorCode.ArchiveOwned, copy.Retry.LastError!.Code);
        Assert.Equal(ShipStep.Waiting, copy.Ship(At(1, 256)));
        Assert.Equal(ShipStep.Tail, source.Ship(At(1, 256)));
    }

    /// <summary>
    /// H26: a start from which another one has taken the timeline since pushes neither tail nor segment.
    /// </summary>
    [Theory]
    [InlineData(1, 256)] // the tail
    [InlineData(2, 128)] // a segment
    public void A_start_that_was_overtaken_pushes_nothing_more(ulong segment, long offset)
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        StoreShipper before = Shipper();
        ShipAll(before, At(1, 128));
        TimelineOwner.Take(
            _store, ArchiveTestData.System, TimelineId.First, LineageA, _start with { StartId = 2 }, Noon);
        IReadOnlyList<string> there = _store.List("");

        Assert.Equal(ShipStep.Failed, before.Ship(At(segment, offset)));
        Assert.Equal(ErrorCode.ArchiveOwned, before.Retry.LastError!.Code);
        Assert.Equal(there, _store.List(""));
    }

    /// <summary>H7: a log that ends before the store's end does not ship.</summary>
    [Fact]
    public void A_log_that_is_shorter_than_the_store_is_refused()
    {
        WriteSegment(_disk, 1);
        ShipAll(Shipper(), At(1, 512));
        StoreShipper shorter = Shipper(start: _start with { StartId = 2 });
        Assert.Equal(ShipStep.Failed, shorter.Ship(At(1, 256)));
        Assert.Equal(ErrorCode.WalTooShort, shorter.Retry.LastError!.Code);
    }

    /// <summary>
    /// H31: a parent's WAL up to the fork is shipped by its child, the fork's segment as a part only.
    /// </summary>
    [Fact]
    public void A_parents_local_WAL_is_kept_until_the_store_has_it_up_to_the_fork()
    {
        for (ulong number = 1; number <= 3; number++)
            WriteSegment(_disk, number);
        WriteSegment(_disk, 3, timeline: 2, lineage: 0xB);
        TimelineHistory path = First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "recovered", Noon);
        StoreShipper shipper = Shipper(path: path);
        Assert.Equal([false, false, true],
            new ulong[] { 1, 2, 3 }.Select(number => shipper.MayRecycle(Name(number))));
        ShipAll(shipper, At(3, 128));
        Assert.True(shipper.MayRecycle(Name(1)) && shipper.MayRecycle(Name(2)));
        ArchiveCatalog catalog = ArchiveCatalog.Load(_store);
        Assert.True(catalog.HasWhole(TimelineId.First, 1));
        Assert.False(catalog.HasWhole(TimelineId.First, 2));
        Assert.Equal(At(2, 1024), Assert.Single(catalog.Parts(TimelineId.First, 2)).To);
        Assert.Equal(At(3, 128), catalog.Along(path, At(1), Lsn.MaxValue, Payload).End);
    }

    /// <summary>P4: what a parent lacks below the fork is told; what lies behind the fork is nobody's.</summary>
    [Theory]
    [InlineData(1, 70, true)]
    [InlineData(1, Payload - 1, true)]
    [InlineData(2, 70, true)]
    [InlineData(2, 1023, true)]
    [InlineData(2, 1024, false)]
    [InlineData(2, Payload - 1, false)]
    public void A_parents_WAL_that_is_damaged_below_the_fork_is_reported_and_not_shipped(
        ulong segment, int at, bool isTold)
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        WriteSegment(_disk, 3, timeline: 2, lineage: 0xB);
        Turn(_disk, segment, SegmentHeaderBytes + at);
        TimelineHistory path = First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "recovered", Noon);
        StoreShipper shipper = Shipper(path: path);
        ShipAll(shipper, At(3, 128));
        Assert.Equal(isTold ? ErrorCode.WalDamaged : null, shipper.Progress.LastError?.Code);
        Assert.Equal(!isTold, shipper.MayRecycle(Name(segment)));
        Assert.Equal(segment == 2, shipper.MayRecycle(Name(1)));
    }

    /// <summary>H31, H26: while the source owns the parent's timeline, its copy ships its own branch only.</summary>
    [Fact]
    public void A_parents_WAL_that_another_database_owns_is_waited_for_and_never_pushed()
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        TimelineOwner.Take(
            _store, ArchiveTestData.System, TimelineId.First, LineageA, new EngineStart(4, "beta", "boot", "/src", 8, 1), Noon);
        WriteSegment(_disk, 3, timeline: 2, lineage: 0xB);
        TimelineHistory path = First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "copy", Noon);
        StoreShipper shipper = Shipper(path: path);
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(3, 128))[^1]);
        Assert.False(shipper.MayRecycle(Name(1)));
        Assert.Empty(ArchiveCatalog.Load(_store).Wholes(TimelineId.First));

        byte[] sourceFile = new byte[SegmentBytes];
        using (IFileHandle handle = _disk.Open("/db/wal/" + Name(1), FileOpen.Read))
            handle.Read(0, sourceFile);
        ArchivePush.Push(_store, ArchivedSegment.Whole(Identity(1), At(1), SegmentHeaderBytes, sourceFile));
        _clock.Advance(TimeSpan.FromMinutes(2));
        ShipAll(shipper, At(3, 128));
        ShipAll(shipper, At(3, 128));
        Assert.True(shipper.MayRecycle(Name(1)));
        Assert.False(shipper.MayRecycle(Name(2)));
    }

    /// <summary>H31, H26: the machine was booted between the parent's last start and its child's first.</summary>
    [Fact]
    public void A_parents_WAL_whose_owner_is_of_an_earlier_boot_is_shipped_once_it_is_known_to_be_over()
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        TimelineOwner.Take(
            _store, ArchiveTestData.System, TimelineId.First, LineageA, _start with { StartId = 4, BootId = "earlier" }, Noon);
        WriteSegment(_disk, 3, timeline: 2, lineage: 0xB);
        StoreShipper shipper = Shipper(
            path: First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "recovered", Noon));
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(3, 128))[^1]);
        Assert.Empty(ArchiveCatalog.Load(_store).Wholes(TimelineId.First));

        _clock.Advance(OwnerWatch.Wait);
        ShipAll(shipper, At(3, 128));
        ShipAll(shipper, At(3, 128));
        Assert.True(shipper.MayRecycle(Name(1)));
        Assert.True(ArchiveCatalog.Load(_store).HasWhole(TimelineId.First, 1));
    }

    /// <summary>Nobody brings back what an expire has removed: a child that waited for it would keep its WAL for ever.</summary>
    [Fact]
    public void A_parents_WAL_that_an_expire_has_removed_is_not_waited_for()
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        TimelineOwner.Take(
            _store, ArchiveTestData.System, TimelineId.First, LineageA, new EngineStart(4, "beta", "boot", "/src", 8, 1), Noon);
        WriteSegment(_disk, 3, timeline: 2, lineage: 0xB);
        TimelineHistory path = First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "copy", Noon);
        StoreShipper shipper = Shipper(path: path);
        ShipAll(shipper, At(3, 128));
        Assert.False(shipper.MayRecycle(Name(1)));

        ExpiredNote.Write(_store, ArchiveTestData.System, new ArchiveGap(TimelineId.First, At(0), At(1)), Noon);
        ExpiredNote.Write(_store, ArchiveTestData.System, new ArchiveGap(TimelineId.First, At(1), At(2)), Noon);
        Assert.Single(_store.List(ObjectName.ExpiredPrefix)); // the two touch
        _clock.Advance(TimeSpan.FromMinutes(2));
        ShipAll(shipper, At(3, 128));
        ShipAll(shipper, At(3, 128));
        Assert.True(shipper.MayRecycle(Name(1)));
        Assert.False(shipper.MayRecycle(Name(2))); // of it nothing has expired
        Assert.Empty(ArchiveCatalog.Load(_store).Wholes(TimelineId.First));
    }

    [Fact]
    public void A_store_that_is_down_is_tried_again_after_growing_pauses_and_the_lag_is_told()
    {
        WriteSegment(_disk, 1);
        StoreShipper shipper = Shipper();
        ShipAll(shipper, At(1, 128));
        _disk.Faults.On(FileOp.Create).Of("/store").From(1).Fail(5);
        TimeSpan waited = TimeSpan.Zero;
        for (int failure = 1; failure <= 9; failure++)
        {
            Assert.Equal(ShipStep.Failed, shipper.Ship(At(1, 256)));
            Assert.Equal(ErrorCode.StoreFailed, shipper.Retry.LastError!.Code);
            TimeSpan pause = shipper.Retry.Pause;
            Assert.Equal(TimeSpan.FromSeconds(Math.Min(60, Math.Pow(2, failure - 1))), pause);
            Assert.Equal(ShipStep.Waiting, shipper.Ship(At(1, 256)));
            waited += pause;
            _clock.Advance(pause);
        }
        Assert.Equal(new ArchiveLag(0, 128, waited), new ArchiveShipper([shipper]).Lag(At(1, 256)));
        Assert.Equal(1, shipper.Lag(At(2, 8)).Segments);
        _disk.Faults.Clear();
        Assert.Equal(ShipStep.Tail, shipper.Ship(At(1, 256)));
        Assert.Equal(new ArchiveLag(0, 0, TimeSpan.Zero), shipper.Lag(At(1, 256)));
        Assert.Null(shipper.Retry.LastError);
    }

    [Fact]
    public void A_segment_goes_only_when_every_store_has_it()
    {
        _disk.CreateFolders("/second");
        FolderStore second = Store(_disk, "/second", seed: 9);
        ArchiveIdentity.SetUp(second, ArchiveTestData.System, () => 6, Noon);
        WriteSegment(_disk, 1);
        StoreShipper one = Shipper(), other = Shipper(second);
        var shipper = new ArchiveShipper([one, other]);
        ShipAll(one, At(2));
        Assert.Empty(shipper.Recyclable([Name(1)]));
        ShipAll(other, At(2));
        Assert.Equal([Name(1)], shipper.Recyclable([Name(1), Name(2)]));
    }

    [Fact]
    public void What_is_dropped_by_choice_is_a_gap_that_is_told()
    {
        for (ulong number = 1; number <= 3; number++)
            WriteSegment(_disk, number);
        StoreShipper shipper = Shipper();
        shipper.GiveUpBelow(3);
        ShipAll(shipper, At(4));
        Assert.Equal([new ArchiveGap(TimelineId.First, At(1), At(3))], shipper.Dropped);
        Assert.Equal([3ul], ArchiveCatalog.Load(_store).Wholes(TimelineId.First));
    }

    /// <summary>P4: what went bad on the local disk does not take the place of what was logged.</summary>
    [Theory]
    [InlineData(100, ErrorCode.SegmentHeaderDamaged)] // in the header
    [InlineData(SegmentHeaderBytes + 70, ErrorCode.WalDamaged)] // in the body of the first record
    [InlineData(SegmentHeaderBytes + 1280 + 4, ErrorCode.WalDamaged)] // in a header further on
    [InlineData(SegmentBytes - 1, ErrorCode.WalDamaged)] // in the last byte
    public void A_damaged_segment_is_reported_and_not_shipped(long offset, ErrorCode code)
    {
        WriteSegment(_disk, 1);
        WriteSegment(_disk, 2);
        WriteSegment(_disk, 3);
        StoreShipper shipper = Shipper();
        shipper.Ship(At(3));
        Assert.Equal(ShipStep.Segment, shipper.Ship(At(3)));
        Turn(_disk, 2, offset);
        Assert.Equal(ShipStep.Failed, shipper.Ship(At(3)));
        Assert.Equal(code, shipper.Progress.LastError!.Code);
        Assert.Equal([1ul], ArchiveCatalog.Load(_store).Wholes(TimelineId.First));
        Assert.False(shipper.MayRecycle(Name(2)));
        Turn(_disk, 2, offset);
        _clock.Advance(ShipRetry.PauseMax);
        ShipAll(shipper, At(3));
        Assert.Equal([1ul, 2ul], ArchiveCatalog.Load(_store).Wholes(TimelineId.First));
    }

    [Fact]
    public void A_start_in_the_middle_of_the_log_proves_what_follows_the_first_good_record()
    {
        WriteSegment(_disk, 2);
        WriteSegment(_disk, 3);
        StoreShipper shipper = Shipper();
        Turn(_disk, 2, SegmentBytes - 1);
        Assert.Equal(ShipStep.Failed, ShipAll(shipper, At(3))[^1]);
        Assert.Equal(ErrorCode.WalDamaged, shipper.Progress.LastError!.Code);
    }

    /// <summary>H7: the local log lost what the store has, and went on before the store was reached.</summary>
    [Fact]
    public void A_store_that_is_reached_late_is_compared_with_the_end_that_opening_found()
    {
        WriteSegment(_disk, 1);
        ShipAll(Shipper(), At(1, 256));
        StoreShipper late = Shipper(start: _start with { StartId = 2 }, endAtStart: At(1, 128));
        Assert.Equal(ShipStep.Failed, ShipAll(late, At(1, 512))[^1]);
        Assert.Equal(ErrorCode.WalTooShort, late.Progress.LastError!.Code);

        EngineStart third = _start with { StartId = 3 };
        ShipAll(Shipper(start: third, endAtStart: At(1, 256)), At(1, 512));
        Assert.Equal(ShipStep.Nothing, ShipAll(Shipper(start: third, endAtStart: At(1, 256)), At(1, 512))[^1]);
    }

    /// <summary>
    /// What is left of commits that the local log has lost does not go because other bytes cover it (H7, H36).
    /// </summary>
    [Fact]
    public void A_part_with_other_bytes_than_what_covers_it_stays()
    {
        WriteSegment(_disk, 1);
        SegmentIdentity identity = new(ArchiveTestData.System, TimelineId.First, new Lineage(0xA), 1);
        var lost = ArchivedSegment.Part(identity, At(1, 64), new byte[64]);
        ArchivePush.Push(_store, lost);
        StoreShipper shipper = Shipper();
        ShipAll(shipper, At(1, 512));
        Assert.Equal(ErrorCode.ArchiveConflict, shipper.Progress.LastError!.Code);
        Assert.Contains(lost.Name, _store.List(lost.Name));
        _clock.Advance(ShipRetry.PauseMax);
        ShipAll(shipper, At(2));
        Assert.Equal(ErrorCode.ArchiveConflict, shipper.Progress.LastError!.Code);
        Assert.Contains(lost.Name, _store.List(lost.Name));
    }

    private static void Turn(SimulatedDisk disk, ulong number, long offset)
    {
        using IFileHandle handle = disk.Open($"/db/wal/{Name(number)}", FileOpen.ReadWrite);
        byte[] one = new byte[1];
        handle.Read(offset, one);
        handle.Write(offset, [(byte)(one[0] ^ 0x40)]);
    }

    /// <summary>
    /// H36, H39, I13: power goes at each step of shipping, a new start goes on; what could be recycled is in the store
    /// after any power loss, and the store holds nothing but the database's bytes.
    /// </summary>
    [Fact]
    public void A_crash_at_any_step_of_shipping_loses_nothing_and_blocks_nothing()
    {
        for (long crashAt = 1; ; crashAt++)
        {
            var disk = new SimulatedDisk(crashAt);
            disk.CreateFolders("/db/wal");
            disk.CreateFolders("/store");
            WriteSegment(disk, 1);
            WriteSegment(disk, 2);
            FolderStore store = Store(disk);
            ArchiveIdentity.SetUp(store, ArchiveTestData.System, () => 5, Noon);
            StoreShipper shipper = Shipper(store, disk: disk);
            disk.CrashAt(disk.OperationCount + crashAt);
            bool ended = false;
            try
            {
                ShipAll(shipper, At(1, 512));
                ShipAll(shipper, At(2));
                ShipAll(shipper, At(2, 256));
                shipper.Release();
                ended = true;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            for (int seed = 0; seed < 4; seed++)
            {
                SimulatedDisk after = disk.CrashCopy((crashAt * 10) + seed);
                FolderStore again = Store(after, seed: 1000 + seed);
                if (shipper.MayRecycle(Name(1)))
                    Assert.True(ArchiveCatalog.Load(again).HasWhole(TimelineId.First, 1));
                StoreShipper next = Shipper(again, _start with { StartId = 2 }, after);
                Assert.Equal(ShipStep.Nothing, ShipAll(next, At(2, 256))[^1]);
                ArchivedRange range = ArchiveCatalog.Load(again).Along(First, At(1), Lsn.MaxValue, Payload);
                Assert.Equal(At(2, 256), range.End);
                var reader = new ArchiveReader(again, First);
                Assert.Equal(StreamOf(1), reader.Fetch(range.Sources[0]).Stream.ToArray());
                Assert.Equal(StreamOf(2).AsSpan(0, 256).ToArray(), reader.Fetch(range.Sources[1]).Stream.ToArray());
                Assert.Empty(ArchiveCatalog.Load(again).LeftOverParts);
            }
            if (ended)
                return;
        }
    }
}
