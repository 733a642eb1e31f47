using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// H47: several segments go into a store side by side, and neither their names nor what counts of them ever has a hole,
/// in whatever order their stages end, and whatever fails.
/// </summary>
public sealed class ShippingSideBySideTests
{
    private const int Segments = 6;
    private readonly FakeTimeProvider _clock = new(Noon);
    private readonly EngineStart _start = new(1, "alpha", "boot", "/db", 8, 100);
    private int _sideBySide; // how many were written and had no name yet, at most

    private static Lsn At(ulong segment, long offset = 0) => new Lsn(segment * (ulong)Payload) + offset;

    private static SegmentName Name(ulong number) => new(TimelineId.First, number);

    private static SimulatedDisk NewDisk(long seed)
    {
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders("/db/wal");
        disk.CreateFolders("/store");
        ArchiveIdentity.SetUp(Store(disk), ArchiveTestData.System, () => 5, Noon);
        for (ulong number = 1; number <= Segments; number++)
        {
            byte[] file = FileOf(number);
            var identity = new WalIdentity(ArchiveTestData.System, TimelineId.First, LineageA);
            SegmentHeader.For(identity, new WalGeometry(SegmentBytes), number).Write(file);
            using IFileHandle handle = disk.Open($"/db/wal/{Name(number)}", FileOpen.CreateNew);
            handle.Write(0, file);
            handle.SyncData();
        }
        disk.SyncFolder("/db/wal");
        return disk;
    }

    private StoreShipper Shipper(SimulatedDisk disk, ulong startId = 1, int width = 4) => new(
        Store(disk, seed: 77 + (long)startId),
        new WalFolder(
            disk, "/db/wal", SegmentBytes, new WalIdentity(ArchiveTestData.System, TimelineId.First, LineageA)),
        First, _start with { StartId = startId }, _clock)
    {
        Width = width,
        Standing = NewStanding(_clock),
    };

    /// <summary>Begins what may begin, and ends it in an order drawn from the seed, until nothing is left or it failed.</summary>
    private ShipStep ShipInAnyOrder(StoreShipper shipper, SimulatedDisk disk, long seed)
    {
        var random = new SeededRandom(seed);
        var begun = new List<ShipWork>();
        while (true)
        {
            while (random.Next(3) > 0 && shipper.TryBegin(At(Segments + 1)) is { } work)
                begun.Add(work);
            if (begun.Count == 0)
                continue;
            ShipWork one = begun[random.Next(begun.Count)];
            begun.Remove(one);
            shipper.Do(one);
            ShipStep step = shipper.End(one);
            RequireNoHole(shipper, disk);
            _sideBySide = Math.Max(_sideBySide, Strays(disk).Length);
            if (step is ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting)
            {
                Assert.Empty(begun);
                return step;
            }
        }
    }

    private static void RequireNoHole(StoreShipper shipper, SimulatedDisk disk)
    {
        ulong[] there = [.. ArchiveCatalog.Load(Store(disk)).Wholes(TimelineId.First)];
        Assert.Equal(Enumerable.Range(1, there.Length).Select(number => (ulong)number), there);
        Assert.True(shipper.LastSegment <= (ulong)there.Length);
        Assert.False(shipper.MayRecycle(Name((ulong)there.Length + 1)));
    }

    private static string[] Strays(SimulatedDisk disk) => disk.Stat("/store/wal") is null
        ? []
        : [.. disk.List("/store/wal").Where(name => name.StartsWith('.'))];

    [Fact]
    public void In_whatever_order_stages_end_the_store_has_no_hole_and_at_last_all()
    {
        for (long seed = 1; seed <= 60; seed++)
        {
            SimulatedDisk disk = NewDisk(seed);
            StoreShipper shipper = Shipper(disk);
            Assert.Equal(ShipStep.Nothing, ShipInAnyOrder(shipper, disk, seed));
            Assert.Equal((ulong)Segments, shipper.LastSegment);
            Assert.Equal(At(Segments + 1), shipper.Progress.LackedFrom);
            shipper.Release();
            Assert.Empty(Strays(disk));
        }
        Assert.True(_sideBySide >= 3, $"At most {_sideBySide} segments were written side by side.");
    }

    [Theory]
    [InlineData(nameof(FileOp.Create))] // while a segment is written
    [InlineData(nameof(FileOp.Link))] // while it gets its name
    public void One_that_fails_in_the_middle_holds_up_those_behind_it_and_is_shipped_again(string operation)
    {
        for (long seed = 1; seed <= 40; seed++)
        {
            SimulatedDisk disk = NewDisk(seed);
            StoreShipper shipper = Shipper(disk);
            Assert.Equal(ShipStep.Prepared, shipper.Ship(At(Segments + 1)));
            disk.Faults.On(Enum.Parse<FileOp>(operation)).Of("/store/wal").Nth((int)(seed % Segments) + 1).Fail(5);
            Assert.Equal(ShipStep.Failed, ShipInAnyOrder(shipper, disk, seed));
            Assert.Equal(ErrorCode.StoreFailed, shipper.Retry.LastError!.Code);
            Assert.True(shipper.LastSegment < Segments);
            _clock.Advance(ShipRetry.PauseMax);
            Assert.Equal(ShipStep.Nothing, ShipInAnyOrder(shipper, disk, seed + 1000));
            Assert.Equal((ulong)Segments, shipper.LastSegment);
            Assert.Empty(Strays(disk));
        }
    }

    [Fact]
    public void One_that_is_damaged_holds_up_those_behind_it_and_none_before_it()
    {
        for (long seed = 1; seed <= 20; seed++)
        {
            SimulatedDisk disk = NewDisk(seed);
            using (IFileHandle handle = disk.Open($"/db/wal/{Name(4)}", FileOpen.ReadWrite))
                handle.Write(SegmentBytes - 1, [0xFF]);
            StoreShipper shipper = Shipper(disk);
            Assert.Equal(ShipStep.Failed, ShipInAnyOrder(shipper, disk, seed));
            Assert.Equal(ErrorCode.WalDamaged, shipper.Retry.LastError!.Code);
            Assert.Equal(3ul, shipper.LastSegment);
            Assert.Equal([1ul, 2ul, 3ul], ArchiveCatalog.Load(Store(disk)).Wholes(TimelineId.First));
        }
    }

    /// <summary>H39: a store that says it has what it has not; those behind are there, and do not count.</summary>
    [Fact]
    public void One_that_is_read_back_otherwise_holds_up_what_counts()
    {
        SimulatedDisk disk = NewDisk(1);
        StoreShipper shipper = Shipper(disk, width: 1);
        shipper.Ship(At(1));
        shipper.Ship(At(2));
        string third = ObjectName.Segment(TimelineId.First, 3);
        Store(disk).Put(third, new byte[500]);
        StoreShipper next = Shipper(disk, startId: 2);
        Assert.Equal(ShipStep.Failed, ShipUntilFailed(next));
        Assert.Equal(2ul, next.LastSegment);
        Assert.False(next.MayRecycle(Name(3)));
        Assert.False(next.MayRecycle(Name(4)));
    }

    private static ShipStep ShipUntilFailed(StoreShipper shipper)
    {
        var begun = new Queue<ShipWork>();
        while (true)
        {
            while (shipper.TryBegin(At(Segments + 1)) is { } work)
                begun.Enqueue(work);
            ShipWork one = begun.Dequeue();
            shipper.Do(one);
            if (shipper.End(one) is var step and (ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting))
                return step;
        }
    }

    /// <summary>H26: what was written already gets no name once another start has taken the timeline.</summary>
    [Fact]
    public void What_is_on_its_way_when_another_start_takes_the_timeline_is_not_published()
    {
        SimulatedDisk disk = NewDisk(1);
        StoreShipper shipper = Shipper(disk);
        shipper.Ship(At(Segments + 1));
        var begun = new Queue<ShipWork>();
        for (int ended = 0; ended < 8; ended++)
        {
            while (shipper.TryBegin(At(Segments + 1)) is { } work)
                begun.Enqueue(work);
            ShipWork one = begun.Dequeue();
            shipper.Do(one);
            shipper.End(one);
        }
        IReadOnlyList<string> there = Store(disk).List(ObjectName.WalPrefix);
        Assert.NotEmpty(Strays(disk));
        TimelineOwner.Take(
            Store(disk), ArchiveTestData.System, TimelineId.First, LineageA, _start with { StartId = 2 }, Noon);
        while (begun.TryDequeue(out ShipWork? one))
        {
            shipper.Do(one);
            shipper.End(one);
            while (shipper.TryBegin(At(Segments + 1)) is { IsAlone: false } work)
                begun.Enqueue(work);
        }
        Assert.Equal(ErrorCode.ArchiveOwned, shipper.Retry.LastError!.Code);
        Assert.Equal(there, Store(disk).List(ObjectName.WalPrefix));
    }

    /// <summary>H36, H39: power goes at each step; what could be recycled is there, and a new start ships the rest.</summary>
    [Fact]
    public void A_crash_at_any_step_leaves_no_hole_and_loses_nothing()
    {
        for (long crashAt = 1; ; crashAt++)
        {
            SimulatedDisk disk = NewDisk(crashAt);
            StoreShipper shipper = Shipper(disk);
            disk.CrashAt(disk.OperationCount + crashAt);
            bool ended = false;
            try
            {
                ended = ShipInAnyOrder(shipper, disk, crashAt) == ShipStep.Nothing;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            foreach (SimulatedDisk after in (SimulatedDisk[])[disk.CrashCopy(crashAt), disk.CrashCopy(crashAt + 1), disk.KillCopy()])
            {
                ulong[] there = [.. ArchiveCatalog.Load(Store(after)).Wholes(TimelineId.First)];
                Assert.Equal(Enumerable.Range(1, there.Length).Select(number => (ulong)number), there);
                for (ulong number = 1; number <= Segments; number++)
                    Assert.True(!shipper.MayRecycle(Name(number)) || there.Contains(number));
                StoreShipper next = Shipper(after, startId: 2);
                Assert.Equal(ShipStep.Nothing, ShipInAnyOrder(next, after, crashAt + 7));
                Assert.Equal((ulong)Segments, next.LastSegment);
                Assert.Empty(Strays(after));
            }
            if (ended)
                return;
        }
    }
}
