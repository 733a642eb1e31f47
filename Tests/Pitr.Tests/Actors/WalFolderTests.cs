using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.WalFolderProtocol;

namespace Pitr.Tests;

/// <summary>When a segment may go: older than the redo point, archived, and not held by a backup (design §7).</summary>
public sealed class WalFolderTests : TestKit
{
    private const string Wal = "/wal";

    private readonly SimulatedDisk _disk = TestEngine.NewDisk();
    private readonly WalFolder _segments;
    private readonly IActorRef _folder;

    public WalFolderTests()
        : base(EngineConfig.OwnSystem)
    {
        _disk.CreateFolders(Wal);
        _segments =
            new WalFolder(_disk, Wal, 4096, new WalIdentity(new SystemIdentifier(1), TimelineId.First, new Lineage(1)));
        _segments.ContinueAt(1);
        _segments.EnsureReady(6);
        _folder = Sys.ActorOf(WalFolderActor.PropsFor(_segments, HistoryOf(_segments.Identity)));
    }

    [Fact]
    public async Task Without_a_store_segments_below_the_redo_point_go_and_no_other()
    {
        _folder.Tell(new RedoMoved(EndOf(2)));
        Assert.Equal("3 4 5 6", await LeftAsync());
        _folder.Tell(new RedoMoved(EndOf(1))); // it never moves back
        _folder.Tell(new RedoMoved(EndOf(3) + -8));
        Assert.Equal("3 4 5 6", await LeftAsync());
    }

    [Fact]
    public async Task A_segment_that_a_backup_holds_stays_until_it_is_released()
    {
        var holder = Guid.Parse("11111111-1111-1111-1111-111111111111");
        _folder.Tell(new HoldWal(holder, EndOf(1)), TestActor);
        await ExpectMsgAsync<WalHeld>();
        _folder.Tell(new RedoMoved(EndOf(4)));
        Assert.Equal("2 3 4 5 6", await LeftAsync());
        _folder.Tell(new ReleaseWal(holder));
        Assert.Equal("5 6", await LeftAsync());
    }

    [Fact]
    public async Task With_a_store_only_what_the_archiver_lets_go_goes()
    {
        TestProbe archiver = CreateTestProbe();
        _folder.Tell(new UseArchiver(archiver));
        _folder.Tell(new RedoMoved(EndOf(3)));
        WhichMayGo asked = await archiver.ExpectMsgAsync<WhichMayGo>();
        Assert.Equal("1 2 3", string.Join(' ', asked.Segments.Select(name => name.Number)));
        Assert.Equal("1 2 3 4 5 6", await LeftAsync());
        _folder.Tell(new MayGo([asked.Segments[0]]));
        Assert.Equal("2 3 4 5 6", await LeftAsync());
    }

    [Fact]
    public async Task A_hold_that_came_while_the_archiver_was_asked_counts()
    {
        TestProbe archiver = CreateTestProbe();
        _folder.Tell(new UseArchiver(archiver));
        _folder.Tell(new RedoMoved(EndOf(3)));
        WhichMayGo asked = await archiver.ExpectMsgAsync<WhichMayGo>();
        _folder.Tell(new HoldWal(Guid.Empty, EndOf(1)), TestActor);
        await ExpectMsgAsync<WalHeld>();
        _folder.Tell(new MayGo(asked.Segments));
        Assert.Equal("2 3 4 5 6", await LeftAsync());
    }

    [Fact]
    public async Task A_folder_that_cannot_be_listed_keeps_its_segments_and_its_actor()
    {
        _folder.Tell(new HoldWal(Guid.Empty, EndOf(1)), TestActor);
        await ExpectMsgAsync<WalHeld>();
        _disk.Faults.On(FileOp.List).Of(Wal).Fail(Errno.EIO);
        _folder.Tell(new RedoMoved(EndOf(2)));
        Assert.Equal("1 2 3 4 5 6", await LeftAsync());
        _folder.Tell(new RedoMoved(EndOf(2)));
        Assert.Equal("2 3 4 5 6", await LeftAsync()); // it still knows who holds what
    }

    private static TimelineHistory HistoryOf(WalIdentity identity) => TimelineHistory.First(
        identity.System, identity.Lineage, Lsn.Zero, "created", new DateTimeOffset(2026, 11, 22, 14, 5, 0, TimeSpan.Zero));

    private Lsn EndOf(ulong number) => _segments.Geometry.StartOf(number + 1);

    /// <summary>The segments that are there when all that was told before was handled.</summary>
    private async Task<string> LeftAsync()
    {
        await _folder.Ask<WalHeld>(new HoldWal(Guid.NewGuid(), Lsn.MaxValue), TimeSpan.FromSeconds(30));
        return string.Join(' ', _segments.List().Select(name => name.Number));
    }

    protected override void AfterAll()
    {
        base.AfterAll();
        _segments.Dispose();
    }
}
