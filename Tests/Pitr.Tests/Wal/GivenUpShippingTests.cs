using System.Collections.Immutable;
using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// H36: what is given up counts at once, whatever a worker is at, and is noted as a gap before anything beyond it.
/// </summary>
public sealed class GivenUpShippingTests
{
    private const ulong Segments = 8;
    private readonly FakeTimeProvider _clock = new(Noon);
    private readonly EngineStart _start = new(1, "alpha", "boot", "/db", 8, 100);
    private readonly SimulatedDisk _disk = NewDisk(3);

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
            SegmentHeader.For(Folder(disk).Identity, new WalGeometry(SegmentBytes), number).Write(file);
            using IFileHandle handle = disk.Open($"/db/wal/{Name(number)}", FileOpen.CreateNew);
            handle.Write(0, file);
            handle.SyncData();
        }
        disk.SyncFolder("/db/wal");
        return disk;
    }

    private static WalFolder Folder(SimulatedDisk disk) =>
        new(disk, "/db/wal", SegmentBytes, new WalIdentity(ArchiveTestData.System, TimelineId.First, LineageA));

    private StoreShipper Shipper(SimulatedDisk disk, ulong startId = 1, int width = 1) => new(
        Store(disk, seed: 70 + (long)startId), Folder(disk), First, _start with { StartId = startId }, _clock)
    {
        Width = width,
        Standing = NewStanding(_clock),
    };

    private static void GiveUp(StoreShipper shipper, SimulatedDisk disk, ulong number)
    {
        shipper.GiveUpBelow(number);
        Assert.True(shipper.MayRecycle(Name(number - 1)));
        Recycle(shipper, disk);
    }

    /// <summary>What may go has gone, and its file is of another segment.</summary>
    private static void Recycle(StoreShipper shipper, SimulatedDisk disk)
    {
        WalFolder folder = Folder(disk);
        folder.ContinueAt(1000);
        folder.Recycle([.. folder.List().Where(shipper.MayRecycle)]);
        folder.EnsureReady();
        folder.Remove([.. folder.List().Where(name => name.Number >= 1000)]);
    }

    private ShipStep ShipAll(StoreShipper shipper, Lsn durable)
    {
        while (true)
        {
            if (shipper.Ship(durable) is var step and (ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting))
                return step;
        }
    }

    [Fact]
    public void Before_its_first_step_a_store_lacks_all_local_WAL()
    {
        StoreShipper shipper = Shipper(_disk);
        Assert.False(shipper.Progress.IsKnown);
        Assert.Equal(At(Segments, 8) - At(1), shipper.Lag(At(Segments, 8)).Bytes);
        ShipAll(shipper, At(Segments, 8));
        Assert.Equal(0, Shipper(_disk, startId: 2).Lag(At(1)).Bytes);
    }

    /// <summary>A worker that hangs holds up no recycling, and the bound counts from what is kept.</summary>
    [Theory]
    [InlineData(0)] // in the preparation
    [InlineData(1)] // in the next step
    [InlineData(3)]
    public void What_is_given_up_counts_while_a_worker_hangs(int steps)
    {
        StoreShipper shipper = Shipper(_disk);
        for (int i = 0; i < steps; i++)
            shipper.Ship(At(7));
        ulong lacked = Math.Max(1, shipper.LastSegment + 1);
        ShipWork hanging = shipper.TryBegin(At(7))!;

        GiveUp(shipper, _disk, 5);
        Assert.Equal(At(7) - At(5), shipper.Lag(At(7)).Bytes);
        Assert.Equal([new ArchiveGap(TimelineId.First, At(lacked), At(5))], shipper.Dropped);
        Assert.False(shipper.MayRecycle(Name(5)));

        shipper.Do(hanging);
        shipper.End(hanging);
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(7)));
        Assert.Null(shipper.Retry.LastError);
        ArchiveGap gap = Assert.Single(GapNote.Of(Store(_disk), TimelineId.First, new WalGeometry(SegmentBytes)));
        Assert.Equal((At(5), 6ul), (gap.To, shipper.LastSegment));
        RequireGapsNoted(_disk);
    }

    /// <summary>P5: the tail, too: what was read of a file that was recycled meanwhile is not pushed.</summary>
    [Fact]
    public async Task A_tail_that_is_given_up_while_it_is_read_is_not_pushed()
    {
        StoreShipper shipper = Shipper(_disk);
        ShipAll(shipper, At(2));
        FaultGate gate = _disk.Faults.On(FileOp.Read).Of($"/db/wal/{Name(2)}").Nth(2).Hold();
        ShipWork tail = shipper.TryBegin(At(2, 256))!;
        Task hanging = Task.Run(() => shipper.Do(tail));
        await gate.Reached.WaitAsync(TimeSpan.FromSeconds(60));
        GiveUp(shipper, _disk, 4);
        gate.Release();
        await hanging.WaitAsync(TimeSpan.FromSeconds(60));
        shipper.End(tail);
        Assert.Empty(ArchiveCatalog.Load(Store(_disk)).Parts(TimelineId.First, 2));
        ShipAll(shipper, At(5, 256));
        Assert.Equal(At(5, 256), shipper.ShippedLsn);
        RequireGapsNoted(_disk);
    }

    /// <summary>
    /// O3, O4: at any moment, with workers that end in any order, some of which fail; never is there a hole that is not noted.
    /// </summary>
    [Theory]
    [InlineData(null)]
    [InlineData(nameof(FileOp.Create))]
    [InlineData(nameof(FileOp.Link))]
    public void Whenever_it_is_given_up_no_hole_is_hidden(string? failing)
    {
        int gaps = 0;
        for (long seed = 1; seed <= 60; seed++)
        {
            SimulatedDisk disk = NewDisk(seed);
            var random = new SeededRandom(seed);
            StoreShipper shipper = Shipper(disk, width: 4);
            if (failing is not null)
                disk.Faults.On(Enum.Parse<FileOp>(failing)).Of("/store/wal").Nth((int)(seed % 5) + 1).Fail(Errno.EIO);
            var begun = new List<ShipWork>();
            int giveUpAfter = random.Next(30);
            for (bool isDone = false; !isDone;)
            {
                if (giveUpAfter-- == 0)
                    GiveUp(shipper, disk, 2 + (ulong)random.Next((int)Segments - 1));
                while (random.Next(3) > 0 && shipper.TryBegin(At(Segments, 256)) is { } work)
                    begun.Add(work);
                if (begun.Count == 0)
                    continue;
                ShipWork one = begun[random.Next(begun.Count)];
                begun.Remove(one);
                shipper.Do(one);
                ShipStep step = shipper.End(one);
                RequireGapsNoted(disk);
                Recycle(shipper, disk);
                if (step is ShipStep.Failed or ShipStep.Waiting)
                    _clock.Advance(ShipRetry.PauseMax);
                isDone = step == ShipStep.Nothing && giveUpAfter < 0;
            }
            Assert.Equal(At(Segments, 256), shipper.ShippedLsn);
            gaps += shipper.Dropped.Count;
        }
        Assert.InRange(gaps, 10, 60);
    }

    /// <summary>
    /// An earlier start gave up WAL and died before it could note that; this one gives up more before the store answers.
    /// </summary>
    [Fact]
    public void The_gap_of_an_earlier_start_is_noted_by_one_that_gives_up_too()
    {
        StoreShipper first = Shipper(_disk);
        ShipAll(first, At(3, 256)); // 1 and 2, and a part of 3
        GiveUp(first, _disk, 5);

        StoreShipper second = Shipper(_disk, startId: 2);
        _disk.Faults.On(FileOp.Open).Of("/store").Always().Fail(Errno.EIO);
        Assert.Equal(ShipStep.Failed, ShipAll(second, At(Segments, 256)));
        GiveUp(second, _disk, 7);
        Assert.Equal([new ArchiveGap(TimelineId.First, At(5), At(7))], second.Dropped);
        _clock.Advance(ShipRetry.PauseMax);
        Assert.Equal(ShipStep.Failed, ShipAll(second, At(Segments, 256)));
        Assert.Equal([new ArchiveGap(TimelineId.First, At(5), At(7))], second.Dropped);

        _disk.Faults.Clear();
        _clock.Advance(ShipRetry.PauseMax);
        Assert.Equal(ShipStep.Nothing, ShipAll(second, At(Segments, 256)));
        Assert.Equal([new ArchiveGap(TimelineId.First, At(3, 256), At(7))], second.Dropped);
        RequireGapsNoted(_disk);

        StoreShipper third = Shipper(_disk, startId: 3);
        ShipAll(third, At(Segments, 256));
        Assert.Equal(second.Dropped, third.Dropped);
    }

    /// <summary>What the store has already of what is given up before it answers is no gap.</summary>
    [Fact]
    public void What_the_store_has_is_no_gap()
    {
        ShipAll(Shipper(_disk), At(5));
        StoreShipper second = Shipper(_disk, startId: 2);
        GiveUp(second, _disk, 4);
        Assert.Equal(ShipStep.Nothing, ShipAll(second, At(Segments)));
        Assert.Empty(second.Dropped);
        Assert.Empty(Store(_disk).List(ObjectName.GapPrefix));
        Assert.Equal(Segments - 1, second.LastSegment);
    }

    /// <summary>H31: it is kept here for the store, so it counts; and it is the oldest, so it is given up first.</summary>
    [Fact]
    public void WAL_of_a_parent_that_another_database_is_to_ship_counts_and_can_be_given_up()
    {
        SimulatedDisk disk = Forked(1, 2);
        TimelineOwner.Take(
            Store(disk), ArchiveTestData.System, TimelineId.First, LineageA, new EngineStart(4, "beta", "boot", "/src", 8, 1), Noon);
        StoreShipper shipper = OfChild(disk);
        Assert.Equal(Payload + 1024 + 128, shipper.Lag(At(3, 128)).Bytes);
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(3, 128)));
        Assert.Equal((2L, Payload + 1024), (shipper.Lag(At(3, 128)).Segments, shipper.Lag(At(3, 128)).Bytes));
        Assert.False(shipper.MayRecycle(Name(1)));

        shipper.GiveUpBelow(2);
        Assert.Equal(1024, shipper.Lag(At(3, 128)).Bytes);
        Assert.Equal((true, false), (shipper.MayRecycle(Name(1)), shipper.MayRecycle(Name(2))));
        Folder(disk).Remove([Name(1)]);
        var gap = new ArchiveGap(TimelineId.First, At(1), At(2));
        Assert.Equal([gap], shipper.Dropped);
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(3, 128)));
        Assert.Equal(gap, Assert.Single(GapNote.Of(Store(disk), TimelineId.First, new WalGeometry(SegmentBytes))));
        Assert.Equal([gap], shipper.Dropped);

        StoreShipper next = OfChild(disk, startId: 2);
        ShipAll(next, At(3, 128));
        Assert.Equal([gap], next.Dropped);
        Assert.Equal(1024, next.Lag(At(3, 128)).Bytes);
    }

    /// <summary>What the store lists of a parent it does not lack, though it may go only when it was read back.</summary>
    [Fact]
    public void WAL_of_a_parent_that_the_store_lists_is_not_lacked()
    {
        SimulatedDisk disk = Forked(1, 2);
        ArchivePush.Push(Store(disk), Whole(1));
        StoreShipper shipper = OfChild(disk);
        Assert.Equal(ShipStep.Prepared, shipper.Ship(At(3)));
        Assert.Equal(1024, shipper.Lag(At(3)).Bytes);
        Assert.False(shipper.MayRecycle(Name(1)));
    }

    [Fact]
    public void The_gap_of_an_earlier_start_in_a_parents_WAL_is_noted()
    {
        SimulatedDisk disk = Forked(2);
        ArchivePush.Push(Store(disk), Part(1, 0, 512));
        StoreShipper shipper = OfChild(disk);
        Assert.Equal(ShipStep.Nothing, ShipAll(shipper, At(3, 128)));
        var gap = new ArchiveGap(TimelineId.First, At(1, 512), At(2));
        Assert.Equal([gap], shipper.Dropped);
        Assert.Equal(gap, Assert.Single(GapNote.Of(Store(disk), TimelineId.First, new WalGeometry(SegmentBytes))));
        Assert.Equal(0, shipper.Lag(At(3, 128)).Bytes);
    }

    /// <summary>Timeline 2, forked in segment 2, begins in segment 3; of timeline 1 these segments are here.</summary>
    private static SimulatedDisk Forked(params ulong[] parents)
    {
        SimulatedDisk disk = NewDisk(5);
        WalFolder folder = Folder(disk);
        folder.Remove([.. folder.List().Where(name => !parents.Contains(name.Number))]);
        var identity = new WalIdentity(ArchiveTestData.System, new TimelineId(2), LineageB);
        byte[] file = FileOf(3, lineage: 0xB);
        SegmentHeader.For(identity, new WalGeometry(SegmentBytes), 3).Write(file);
        using IFileHandle handle = disk.Open($"/db/wal/{new SegmentName(identity.Timeline, 3)}", FileOpen.CreateNew);
        handle.Write(0, file);
        handle.SyncData();
        return disk;
    }

    private StoreShipper OfChild(SimulatedDisk disk, ulong startId = 1) => new(
        Store(disk, seed: 70 + (long)startId),
        new WalFolder(
            disk, "/db/wal", SegmentBytes, new WalIdentity(ArchiveTestData.System, new TimelineId(2), LineageB)),
        First.Fork(new TimelineId(2), LineageB, At(2, 1024), At(3), "copy", Noon), _start with { StartId = startId }, _clock)
    {
        Standing = NewStanding(_clock),
    };

    /// <summary>Every hole in what the store has lies in one that is noted there.</summary>
    private static void RequireGapsNoted(SimulatedDisk disk)
    {
        FolderStore store = Store(disk);
        ArchivedRange range = ArchiveCatalog.Load(store).Along(First, At(1), Lsn.MaxValue, Payload);
        ImmutableArray<ArchiveGap> noted = GapNote.Of(store, TimelineId.First, new WalGeometry(SegmentBytes));
        foreach (ArchiveGap hole in range.Gaps)
            Assert.Contains(noted, gap => gap.From <= hole.From && hole.To <= gap.To);
    }
}
