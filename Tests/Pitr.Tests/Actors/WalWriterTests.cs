using Akka.Actor;
using Akka.TestKit;
using Akka.TestKit.Xunit2;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Tests;

/// <summary>WalWriter beside a datafile's actor that the test plays: it says when a group is applied.</summary>
public sealed class WalWriterTests : TestKit
{
    private static readonly Table Table = new("t", new TableId(1), FileId.Main);

    private readonly SimulatedDisk _disk = TestEngine.NewDisk();
    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly TestProbe _datafile;
    private readonly IActorRef _writer;

    public WalWriterTests()
        : base(EngineConfig.OwnSystem)
    {
        PitrOptions options = TestEngine.OptionsFor(_disk);
        EngineCreation.Create(TestEngine.Folder, options);
        _engine = EngineFactory.ContextFor(TestEngine.Folder, options);
        _opened = EngineOpening.Open(_engine);
        _engine.Catalogue = new CatalogueView(
            _opened.ControlFile.Catalogue.CreateTable(Table.Id, Table.Name, FileId.Main, _opened.Wal!.End + 8));
        _engine.Visibility.Start(_opened.Wal.End);
        _engine.DurableLsn = _opened.Wal.End;
        _datafile = CreateTestProbe();
        var path = TimelineHistory.Of(_opened.ControlFile.SystemId, _opened.ControlFile.History);
        IActorRef folder = Sys.ActorOf(WalFolderActor.PropsFor(_opened.WalFolder, path));
        _writer = Sys.ActorOf(WalWriter.PropsFor(_engine, _opened.WalStart(_engine.Clock), folder));
        _writer.Tell(new OpenFile(FileId.Main, "main", _datafile), ActorRefs.NoSender);
    }

    /// <summary>H1: a seal never stands between the parts of a group.</summary>
    [Fact]
    public async Task A_large_group_is_cut_into_parts_and_a_seal_comes_after_the_last_of_them()
    {
        Task<CommitResult> first = Commit(BatchOf(operations: 100, valueBytes: 8000));
        _writer.Tell(new RequestSeal([FileId.Main]), TestActor);

        List<ApplyPart> parts = await PartsOfOneGroup();
        Assert.True(parts.Count >= 3, $"{parts.Count} parts");
        Assert.All(parts.SkipLast(1), part => Assert.False(part.IsLast));
        Seal seal = await _datafile.ExpectMsgAsync<Seal>();
        Assert.Equal(parts[0].Group.Lsn, seal.Lsn);
        Task<CommitResult> second = Commit(BatchOf(operations: 100, valueBytes: 8000));
        List<ApplyPart> next = await PartsOfOneGroup();
        Assert.True(next[0].Group.Lsn > seal.Lsn);

        _engine.Visibility.Applied(parts[0].Group, FileId.Main);
        _engine.Visibility.Applied(next[0].Group, FileId.Main);
        Assert.Equal(seal.Lsn, (await first.Within()).Lsn);
        Assert.True((await second.Within()).Lsn > seal.Lsn);
    }

    /// <summary>H37: what was stamped before a registration is in the transaction's snapshot.</summary>
    [Fact]
    public async Task A_transaction_begins_only_when_what_was_stamped_before_it_is_visible()
    {
        Task<CommitResult> put = Commit(BatchOf(1, 10));
        ApplyPart part = await _datafile.ExpectMsgAsync<ApplyPart>();
        var begin = new PendingCommit(new WriteBatch());
        begin.PrepareBegin(PoolThreads.Instance, CancellationToken.None);
        Task<CommitResult> begun = Hand(begin);
        await Barrier();
        Assert.False(begun.IsCompleted);

        _engine.Visibility.Applied(part.Group, FileId.Main);
        await begun.Within();
        Assert.Equal((await put.Within()).Lsn, begin.Ticket!.Begin);
        Assert.True(_engine.Visibility.Visible >= begin.Ticket.Begin);
    }

    /// <summary>I8: visible LSN moves in group order, whoever has applied first.</summary>
    [Fact]
    public async Task A_later_group_that_is_applied_first_waits_for_the_one_before_it()
    {
        Lsn start = _engine.Visibility.Visible;
        Task<CommitResult> first = Commit(BatchOf(1, 10));
        ApplyPart one = await _datafile.ExpectMsgAsync<ApplyPart>();
        Task<CommitResult> second = Commit(BatchOf(1, 10));
        ApplyPart two = await _datafile.ExpectMsgAsync<ApplyPart>();

        _engine.Visibility.Applied(two.Group, FileId.Main);
        Assert.Equal(start, _engine.Visibility.Visible);
        Assert.False(second.IsCompleted);
        _engine.Visibility.Applied(one.Group, FileId.Main);
        Assert.True((await first.Within()).Lsn < (await second.Within()).Lsn);
        Assert.Equal((await second).Lsn, _engine.Visibility.Visible);
    }

    /// <summary>W5</summary>
    [Fact]
    public async Task It_is_at_most_four_groups_ahead_of_a_datafile()
    {
        var groups = new List<CommitGroup>();
        var commits = new List<Task<CommitResult>>();
        for (int i = 0; i < VisibilityTracker.GroupsMax; i++)
        {
            commits.Add(Commit(BatchOf(1, 10)));
            groups.Add((await _datafile.ExpectMsgAsync<ApplyPart>()).Group);
        }

        Lsn fourth = groups[^1].Lsn;
        commits.Add(Commit(BatchOf(1, 10)));
        Assert.Equal(fourth, (await Barrier()).Lsn);
        _engine.Visibility.Applied(groups[0], FileId.Main);
        ApplyPart fifth = await _datafile.FishForMessageAsync<ApplyPart>(static _ => true);
        Assert.True(fifth.Group.Lsn > fourth);
        foreach (CommitGroup group in (CommitGroup[])[.. groups.Skip(1), fifth.Group])
            _engine.Visibility.Applied(group, FileId.Main);
        await Task.WhenAll(commits).Within();
    }

    /// <summary>H43: the catalogue is looked at when a record is stamped, not when it was encoded.</summary>
    [Fact]
    public async Task A_put_that_was_encoded_before_the_drop_of_its_table_and_stamped_after_it_is_refused()
    {
        PendingCommit put = BatchOf(1, 10).Pending;
        put.Prepare(PoolThreads.Instance, CancellationToken.None);
        _writer.Tell(new LogEvent(new WalEvent.DropTable(Table.Id, FileId.Main, Table.Name)), TestActor);
        Task<CommitResult> refused = Hand(put);
        EventLogged dropped = await ExpectMsgAsync<EventLogged>();
        NotFoundException gone = await Assert.ThrowsAsync<NotFoundException>(() => refused.Within());
        Assert.Equal(ErrorCode.TableUnknown, gone.Code);
        Assert.Equal(dropped.Lsn, (await Barrier()).Lsn);
    }

    /// <summary>H43: also a transaction that only read the table.</summary>
    [Fact]
    public async Task A_transaction_that_read_a_table_conflicts_with_its_drop()
    {
        var other = new Table("u", new TableId(2), FileId.Main);
        _engine.Catalogue = new CatalogueView(_engine.Catalogue.Catalogue.CreateTable(
            other.Id, other.Name, FileId.Main, _engine.DurableLsn + 16));
        var begin = new PendingCommit(new WriteBatch());
        begin.PrepareBegin(PoolThreads.Instance, CancellationToken.None);
        await Hand(begin).Within();
        var reads = new ReadSet { SnapshotLsn = _engine.Visibility.Visible };
        reads.AddKey(TreeKey.Of(other.Id, TestEngine.Bytes("k")));

        _writer.Tell(new LogEvent(new WalEvent.DropTable(other.Id, FileId.Main, other.Name)), TestActor);
        await ExpectMsgAsync<EventLogged>();
        PendingCommit commit = BatchOf(1, 10).Pending;
        commit.Prepare(PoolThreads.Instance, CancellationToken.None);
        commit.Reads = reads;
        commit.Ticket = begin.Ticket;
        await Assert.ThrowsAsync<ConflictException>(() => Hand(commit).Within());
    }

    private static WriteBatch BatchOf(int operations, int valueBytes)
    {
        var batch = new WriteBatch();
        for (int i = 0; i < operations; i++)
            batch.Put(Table, BitConverter.GetBytes(i), new byte[valueBytes]);
        return batch;
    }

    private Task<CommitResult> Commit(WriteBatch batch)
    {
        batch.Pending.Prepare(PoolThreads.Instance, CancellationToken.None);
        return Hand(batch.Pending);
    }

    private Task<CommitResult> Hand(PendingCommit commit)
    {
        Task<CommitResult> task = commit.Task.AsTask();
        if (_engine.Intake.Enqueue(commit))
            _writer.Tell(Drain.Instance, ActorRefs.NoSender);
        return task;
    }

    /// <summary>All that was told to the writer before was handled.</summary>
    private Task<SealSent> Barrier() => _writer.Ask<SealSent>(new RequestSeal([]), TimeSpan.FromSeconds(30));

    private async Task<List<ApplyPart>> PartsOfOneGroup()
    {
        var parts = new List<ApplyPart>();
        do
            parts.Add(await _datafile.ExpectMsgAsync<ApplyPart>());
        while (!parts[^1].IsLast);
        Assert.All(parts, part => Assert.Same(parts[0].Group, part.Group));
        return parts;
    }

    protected override void AfterAll()
    {
        base.AfterAll();
        _opened.LetGo();
    }
}
