using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>
/// H26: an owner of another boot, with the same machine and inode: of this database before a power loss, or of the one that
/// this machine is a clone of.
/// </summary>
public sealed class OwnerWatchTests
{
    private readonly FakeTimeProvider _clock = new(Noon);
    private readonly SimulatedDisk _disk = new(seed: 3);
    private readonly FolderStore _store;
    private readonly EngineStart _source = new(1, "alpha", "boot-1", "/db", 8, 100);
    private readonly EngineStart _next = new(2, "alpha", "boot-2", "/db", 9, 100);

    public OwnerWatchTests()
    {
        _disk.CreateFolders("/db/wal");
        _disk.CreateFolders("/store");
        _store = Store(_disk);
        ArchiveIdentity.SetUp(_store, ArchiveTestData.System, () => 5, Noon);
    }

    [Fact]
    public void An_owner_of_another_boot_that_renews_is_elsewhere_until_it_is_released()
    {
        TimelineOwner source = Take();
        StoreShipper clone = Shipper(_next);
        Assert.Contains("not yet known", RefusalOf(clone), StringComparison.Ordinal);
        _clock.Advance(TimelineOwner.RenewEvery);
        source.Renew(_clock.GetUtcNow());
        Assert.Contains("is owned by", RefusalOf(clone), StringComparison.Ordinal);

        _clock.Advance(TimeSpan.FromDays(1)); // it is paused, or its store is out of its reach
        Assert.Contains("is owned by", RefusalOf(clone), StringComparison.Ordinal);
        source.RequireStillMine();
        source.Release(_clock.GetUtcNow());
        _clock.Advance(ShipRetry.PauseMax);
        Assert.Equal(ShipStep.Prepared, Ship(clone));
    }

    [Fact]
    public void An_owner_of_another_boot_that_does_not_renew_is_taken_over_after_the_wait()
    {
        TimelineOwner before = Take();
        StoreShipper next = Shipper(_next);
        RefusalOf(next);
        _clock.Advance(OwnerWatch.Wait - TimeSpan.FromSeconds(1));
        RefusalOf(next);
        before.RequireStillMine();
        _clock.Advance(ShipRetry.PauseMax);
        Assert.Equal(ShipStep.Prepared, Ship(next));
        Assert.Null(next.Retry.LastError);
        Assert.Throws<RefusedException>(before.RequireStillMine);
    }

    [Fact]
    public void Starts_that_are_too_short_to_wait_wait_together()
    {
        Take();
        RefusalOf(Shipper(_next));
        _clock.Advance(OwnerWatch.Wait);
        Assert.Equal(ShipStep.Prepared, Ship(Shipper(_next with { StartId = 3 })));
    }

    /// <summary>The clock of one boot says nothing in another one.</summary>
    [Fact]
    public void What_another_boot_has_watched_does_not_count()
    {
        TimelineOwner source = Take();
        RefusalOf(Shipper(_next));
        _clock.Advance(OwnerWatch.Wait);
        RefusalOf(Shipper(_next with { StartId = 3, BootId = "boot-3" }));
        source.RequireStillMine();
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("""{ "format": 2, "boot": "boot-2", "seen": [] }""")]
    [InlineData("""{ "format": 1, "boot": "boot-2", "seen": [ { "store": "/store", "timeline": 1, "start": "x", "renewed": "y", "since": 1 } ] }""")]
    public void Notes_that_can_not_be_read_say_nothing(string text)
    {
        TimelineOwner source = Take();
        using (IFileHandle file = _disk.Open("/db/" + OwnerNotes.FileName, FileOpen.CreateNew))
            file.Write(0, global::System.Text.Encoding.UTF8.GetBytes(text));
        RefusalOf(Shipper(_next));
        source.RequireStillMine();
        _clock.Advance(OwnerWatch.Wait);
        Assert.Equal(ShipStep.Prepared, Ship(Shipper(_next with { StartId = 3 })));
    }

    [Fact]
    public void A_disk_that_takes_no_notes_costs_only_the_wait()
    {
        Take();
        _disk.Faults.On(FileOp.Create).Of("/db/pitr.owners").Always().Fail(Errno.ENOSPC);
        StoreShipper next = Shipper(_next);
        RefusalOf(next);
        _clock.Advance(OwnerWatch.Wait);
        Assert.Equal(ShipStep.Prepared, Ship(next));
    }

    /// <summary>A kernel that tells no boot, or an owner object of before it was noted: nobody knows.</summary>
    [Fact]
    public void An_owner_of_a_boot_that_is_not_known_is_watched()
    {
        TimelineOwner source = Take(_source with { BootId = "" });
        Assert.Equal("", TimelineOwner.Read(_store, TimelineId.First)!.Start.BootId);
        StoreShipper next = Shipper(_source with { StartId = 2, BootId = "" });
        RefusalOf(next);
        source.RequireStillMine();
        _clock.Advance(OwnerWatch.Wait);
        Assert.Equal(ShipStep.Prepared, Ship(next));
    }

    [Fact]
    public void Another_machine_or_inode_is_elsewhere_however_long_it_is_watched()
    {
        Take();
        foreach (EngineStart other in (EngineStart[])[_next with { Machine = "beta" }, _next with { Inode = 101 }])
        {
            StoreShipper shipper = Shipper(other);
            Assert.Contains("is owned by", RefusalOf(shipper), StringComparison.Ordinal);
            _clock.Advance(OwnerWatch.Wait);
            Assert.Contains("is owned by", RefusalOf(shipper), StringComparison.Ordinal);
        }
    }

    private TimelineOwner Take(EngineStart? start = null) => TimelineOwner.Take(
        _store, ArchiveTestData.System, TimelineId.First, LineageA, start ?? _source, _clock.GetUtcNow());

    private StoreShipper Shipper(EngineStart start) => new(
        _store,
        new WalFolder(
            _disk, "/db/wal", SegmentBytes, new WalIdentity(ArchiveTestData.System, TimelineId.First, LineageA)),
        First, start, _clock)
    {
        Standing = new StoreStandings(_clock, new OwnerNotes(_disk, "/db", start.BootId)).In(_store),
    };

    private static ShipStep Ship(StoreShipper shipper) => shipper.Ship(new Lsn(Payload));

    private static string RefusalOf(StoreShipper shipper)
    {
        Assert.Equal(ShipStep.Failed, Ship(shipper));
        Assert.Equal(ErrorCode.ArchiveOwned, shipper.Retry.LastError!.Code);
        return shipper.Retry.LastError.Message;
    }
}
