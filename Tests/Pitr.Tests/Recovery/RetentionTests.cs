using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// Retention is a promise of a window: expire removes what no moment of it needs, and nothing else (H35).
/// </summary>
public sealed class RetentionTests
{
    private readonly RecoveryFixture _fixture = new();
    private readonly Dictionary<string, IArchiveStore?> _others = [];

    private DateTimeOffset Now => _fixture.Wal.Time.AddHours(2);

    [Fact]
    public void What_is_older_than_the_set_that_the_window_begins_with_goes()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        BackupSet third = _fixture.Backup("b3");
        Lsn inWindow = Commits(60);
        _fixture.Ship(_fixture.Wal);

        RetentionPlan plan = Expire(TimeSpan.FromSeconds(100)); // it begins between b2 and b3

        Assert.Equal(["b1"], Removed(plan));
        Assert.Equal(["b2", "b3"], Sets());
        Assert.Equal(
            RecoveryFixture.Geometry.NumberOf(Set("b2").Label.StartLsn),
            ArchiveCatalog.Load(_fixture.Store).Wholes(TimelineId.First).First());
        Assert.Equal("b3", _fixture.Plan(RecoveryTarget.Including(inWindow)).BackupId);
        Assert.Equal("b2", _fixture.Plan(RecoveryTarget.Before(third.Label.StopLsn)).BackupId);
        Assert.Equal("b2", _fixture.Plan(RecoveryTarget.Including(plan.From)).BackupId);
        Assert.True(Make(TimeSpan.FromSeconds(100)).RemovesNothing);
    }

    [Fact]
    public void The_only_set_and_a_window_before_all_sets_keep_everything()
    {
        Commits(60);
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        string[] before = [.. ObjectsBesideWal()];
        RetentionPlan plan = Expire(TimeSpan.FromSeconds(1));
        Assert.Empty(Removed(plan));
        Assert.NotEmpty(plan.Wal); // what lies before the only set
        Assert.Equal(before, ObjectsBesideWal());
        _fixture.Plan(RecoveryTarget.Latest);
        Assert.True(Make(TimeSpan.FromDays(365_000)).RemovesNothing);
    }

    /// <summary>A clock that is years ahead makes nothing older: the window ends with the last known commit.</summary>
    [Fact]
    public void A_clock_that_is_ahead_expires_nothing()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        RetentionPlan plan = RetentionPlanner.Plan(Request(TimeSpan.FromHours(1)) with { Now = Now.AddYears(10) });
        Assert.True(plan.RemovesNothing);
    }

    [Fact]
    public void A_pinned_set_stays_with_its_own_WAL_and_goes_when_it_is_unpinned()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Backup("b3");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        Assert.True(SetPins.Pin(_fixture.Store, "b1", Now));
        Assert.False(SetPins.Pin(_fixture.Store, "b1", Now));

        Expire(TimeSpan.FromSeconds(30));

        Assert.Equal(["b1", "b3"], Sets());
        Assert.Equal(
            "b1", RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Immediate) with { BackupId = "b1" })
                .Plan.BackupId);
        Assert.Equal( // what lies between needs nobody
            ErrorCode.WalGap, Assert.ThrowsAny<PitrException>(() => RecoveryPlanner.Plan(
                _fixture.Request(RecoveryTarget.Latest) with { BackupId = "b1" })).Code);
        Assert.True(SetPins.Unpin(_fixture.Store, "b1"));
        Assert.False(SetPins.Unpin(_fixture.Store, "b1"));
        Assert.Equal(["b1"], Removed(Expire(TimeSpan.FromSeconds(30))));
    }

    /// <summary>H35: the WAL of a slow backup, and a set that a running one builds on.</summary>
    [Fact]
    public void A_backup_that_is_being_made_keeps_its_WAL_its_base_and_itself()
    {
        _fixture.Backup("b1");
        Lsn hold = Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        PutIntent("slow", hold, _fixture.Wal.Time, baseId: "b1");

        RetentionPlan plan = Expire(TimeSpan.FromSeconds(1));

        Assert.Empty(Removed(plan));
        Assert.Equal(
            RecoveryFixture.Geometry.NumberOf(hold),
            ArchiveCatalog.Load(_fixture.Store).Wholes(TimelineId.First).First());
        Assert.NotNull(_fixture.Store.Stat("backups/slow/intent.json"));

        PutIntent("tar", hold, _fixture.Wal.Time, baseId: null, "tar:");
        Assert.Empty(Make(TimeSpan.FromSeconds(1)).Registrations);
        RetentionPlan later =
            RetentionPlanner.Plan(Request(TimeSpan.FromSeconds(1)) with { Now = Now.AddDays(3) });
        Assert.Equal([new Registration("/store", "tar")], later.Registrations);
        Assert.Equal(["b1", "slow"], Removed(later).Order());
    }

    /// <summary>H35: WAL in store A that sets in store B need.</summary>
    [Fact]
    public void WAL_that_a_registered_set_in_another_store_needs_stays()
    {
        FolderStore elsewhere = NewStore("/elsewhere");
        BackupSet far = BackupTo(elsewhere, "far");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Backup("b3");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        _others["/elsewhere"] = elsewhere;

        Expire(TimeSpan.FromSeconds(30));

        Assert.Equal(["b3"], Sets());
        ulong first = RecoveryFixture.Geometry.NumberOf(far.Label.StartLsn);
        Assert.True(ArchiveCatalog.Load(_fixture.Store).HasWhole(TimelineId.First, first));
        RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Immediate) with { SetStore = elsewhere });

        // A store that can't be read keeps all from where its sets hold it.
        _others["/elsewhere"] = null;
        RetentionPlan unread = Make(TimeSpan.FromSeconds(30));
        Assert.Empty(unread.Wal);
        Assert.Contains(unread.Findings, finding => finding.Contains("/elsewhere", StringComparison.Ordinal));

        // A set that is no more is forgotten.
        _others["/elsewhere"] = NewStore("/empty");
        RetentionPlan gone = RetentionPlanner.Plan(Request(TimeSpan.FromSeconds(30)) with { Now = Now.AddDays(3) });
        Assert.Equal([new Registration("/store", "far")], gone.Registrations);
        Assert.Contains(gone.Wal, wal => wal.From == first);
    }

    [Fact]
    public void An_archive_beside_the_store_of_the_sets_loses_WAL_and_registrations_with_them()
    {
        FolderStore sets = NewStore("/sets");
        BackupTo(sets, "s1");
        Commits(60);
        BackupTo(sets, "s2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        RetentionRequest request = Request(TimeSpan.FromSeconds(1)) with { SetStore = sets };
        RetentionPlan plan = RetentionPlanner.Plan(request);
        RetentionRun.CarryOut(plan, request, CancellationToken.None);
        Assert.Equal(["s2"], BackupCatalog.Read(sets).Sets.Select(set => set.Id));
        Assert.Equal(["s2"], BackupCatalog.Intents(_fixture.Store).Select(intent => intent.BackupId));
        RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest) with { SetStore = sets });
    }

    /// <summary>Of an abandoned future nothing is promised once it is older than the window; its end stays known.</summary>
    [Fact]
    public void An_abandoned_future_goes_and_nobody_takes_what_is_left_for_its_end()
    {
        Commits(5);
        _fixture.Backup("b1");
        Lsn fork = Commits(5);
        Commits(100);
        Lsn end = _fixture.Wal.End;
        _fixture.Ship(_fixture.Wal);
        MemoryWal second = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        second.Time = second.Time.AddHours(1);
        Commits(200, second);
        _fixture.Ship(second, _fixture.Wal.Timeline);

        Assert.True(Make(TimeSpan.FromHours(2)).RemovesNothing); // the first one's end lies in the window
        RetentionPlan plan = Expire(TimeSpan.FromSeconds(50));

        Assert.Empty(Removed(plan));
        Assert.Equal(TimelineId.First, Assert.Single(plan.Wal).Timeline);
        Assert.Contains(plan.Findings, finding => finding.Contains("Timeline 1", StringComparison.Ordinal));
        Assert.Equal(second.End, _fixture.Plan(RecoveryTarget.Latest, "2").StopsAt.Lsn);
        Assert.Equal(ErrorCode.WalGap, _fixture.RefusalOf(RecoveryTarget.Latest, "1"));
        Assert.Equal(ErrorCode.WalGap, _fixture.RefusalOf(RecoveryTarget.Including(end), "1"));
        Assert.Equal(2, ArchiveCatalog.Load(_fixture.Store).Histories.Count);
    }

    /// <summary>H28: then nobody has to say any more that it is not meant.</summary>
    [Fact]
    public void An_abandoned_future_that_has_expired_is_not_meant_any_more()
    {
        Commits(5);
        _fixture.Backup("b1");
        Lsn fork = Commits(5);
        Commits(100);
        _fixture.Ship(_fixture.Wal);
        MemoryWal second = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        second.Time = second.Time.AddHours(1);
        Commits(100, second);
        _fixture.Backup("b2", second);
        Commits(100, second);
        _fixture.Ship(second, _fixture.Wal.Timeline);
        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Latest));

        Assert.Equal(["b1"], Removed(Expire(TimeSpan.FromSeconds(50))));

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Latest);
        Assert.Equal((new TimelineId(2), second.End), (plan.Timeline, plan.StopsAt.Lsn));
        Assert.Contains(plan.Findings, finding => finding.Contains("Timeline 1", StringComparison.Ordinal));
    }

    /// <summary>The state of a database that nobody uses any more is its last one: it stays, whatever its age.</summary>
    [Fact]
    public void The_end_of_each_branch_that_nobody_went_on_from_stays()
    {
        Commits(5);
        _fixture.Backup("b1");
        Lsn fork = Commits(100);
        _fixture.Ship(_fixture.Wal);
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        Lsn last = Commits(50, drill);
        _fixture.Ship(drill, _fixture.Wal.Timeline);
        MemoryWal live = RecoveryFixture.Fork(_fixture.Wal, 3, fork);
        live.Time = live.Time.AddDays(30);
        Commits(100, live);
        _fixture.Ship(live, _fixture.Wal.Timeline);

        Expire(TimeSpan.FromSeconds(50));

        Assert.Equal(last, _fixture.Plan(RecoveryTarget.Latest, "2").StopsAt.Lsn);
        Assert.Equal(live.End, _fixture.Plan(RecoveryTarget.Latest, "3").StopsAt.Lsn);
    }

    /// <summary>H29: a partial set does not count, so what is before it stays.</summary>
    [Fact]
    public void A_partial_set_is_no_base_of_the_window()
    {
        _fixture.Backup("b1");
        Commits(60);
        BackupTo(_fixture.Store, "partial", isPartial: true);
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        RetentionPlan plan = Expire(TimeSpan.FromSeconds(1));
        Assert.Equal(["partial"], Removed(plan));
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Latest).BackupId);
    }

    /// <summary>H35: of what can't be restored no promise is kept; the set before it is the last good one.</summary>
    [Theory]
    [InlineData("not there")]
    [InlineData("7 bytes instead of")]
    public void A_set_that_lacks_an_object_is_no_base_of_the_window(string says)
    {
        Commits(5);
        _fixture.Backup("b0");
        Commits(60);
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        Assert.Equal(["b0", "b1"], Removed(Make(TimeSpan.FromSeconds(1))));
        const string lost = "backups/b2/datafiles/main.pitr";
        _fixture.Store.Delete(lost);
        if (says != "not there")
            _fixture.Store.Put(lost, new byte[7]);

        RetentionPlan plan = Expire(TimeSpan.FromSeconds(1));

        Assert.Equal(["b0"], Removed(plan));
        Assert.Equal(["complete", "complete", "damaged"], plan.Sets.Select(set => set.State));
        Assert.Equal("the window begins with it", plan.Sets[1].Why);
        string finding = Assert.Single(plan.Findings);
        Assert.Contains($"'{lost}'", finding, StringComparison.Ordinal);
        Assert.Contains(says, finding, StringComparison.Ordinal);
        Assert.Equal("b1", RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Latest) with { BackupId = "b1" }).Plan.BackupId);
    }

    /// <summary>H35: nor one that builds on such a set.</summary>
    [Fact]
    public void A_set_whose_base_lacks_an_object_is_no_base_of_the_window()
    {
        _fixture.Backup("b0");
        Commits(60);
        BackupSet older = _fixture.Backup("b1");
        Commits(60);
        BackupSet newer = _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        BuildOn(older, newer);
        Assert.Equal(["b0"], Removed(Make(TimeSpan.FromSeconds(1))));
        _fixture.Store.Delete("backups/b1/datafiles/main.pitr");

        RetentionPlan plan = Expire(TimeSpan.FromSeconds(1));

        Assert.Empty(Removed(plan));
        Assert.Equal("the window begins with it", plan.Sets[0].Why);
        Assert.Equal("b0", RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Latest) with { BackupId = "b0" }).Plan.BackupId);
    }

    /// <summary>H35: WAL that a set does not bring itself, and that is gone, makes it none to begin with.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_set_whose_WAL_has_a_gap_is_no_base_of_the_window_unless_it_brings_it(bool includesWal)
    {
        Commits(5);
        BackupTo(_fixture.Store, "b1", includesWal: true);
        Commits(60);
        BackupSet second = BackupTo(_fixture.Store, "b2", includesWal: includesWal);
        Commits(200);
        _fixture.Ship(_fixture.Wal);
        ulong lost = RecoveryFixture.Geometry.NumberOf(second.Label.StartLsn);
        _fixture.Store.Delete(ObjectName.Segment(TimelineId.First, lost));
        foreach (string part in _fixture.Store.List(ObjectName.PartPrefix(TimelineId.First, lost)))
            _fixture.Store.Delete(part);

        RetentionPlan plan = Make(TimeSpan.FromSeconds(1));

        Assert.Equal(includesWal ? ["b1"] : [], Removed(plan));
        Assert.Equal(includesWal ? 0 : 1, plan.Findings.Count);
        Assert.All(plan.Findings, finding => Assert.Contains("b2", finding, StringComparison.Ordinal));
    }

    [Fact]
    public void A_set_that_another_one_builds_on_stays()
    {
        BackupSet first = _fixture.Backup("b1");
        Commits(60);
        BackupSet second = _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        BuildOn(first, second);

        RetentionPlan plan = Make(TimeSpan.FromSeconds(1));

        Assert.Empty(Removed(plan));
        Assert.Equal("set b2 builds on it", plan.Sets[0].Why);
    }

    [Fact]
    public void A_damaged_set_stays_and_does_not_count_and_a_damaged_intent_or_history_refuses()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        _fixture.Store.Put("backups/b2/manifest.json", "{}"u8.ToArray());
        RetentionPlan plan = Make(TimeSpan.FromSeconds(1));
        Assert.Empty(Removed(plan));
        Assert.Equal(["complete", "damaged"], plan.Sets.Select(set => set.State));

        _fixture.Store.Put("backups/b3/intent.json", "{}"u8.ToArray());
        Assert.Equal(ErrorCode.BackupDamaged, CodeOf(() => Make(TimeSpan.FromSeconds(1))));
        _fixture.Store.Delete("backups/b3/intent.json");
        _fixture.Store.Put(ObjectName.History(TimelineId.First), "{}"u8.ToArray());
        Assert.Equal(ErrorCode.ArchiveDamaged, CodeOf(() => Make(TimeSpan.FromSeconds(1))));
    }

    [Fact]
    public void Nothing_is_removed_if_a_backup_was_begun_or_a_set_pinned_since_the_plan()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        RetentionRequest request = Request(TimeSpan.FromSeconds(1));
        RetentionPlan plan = RetentionPlanner.Plan(request);
        Assert.Equal(["b1"], Removed(plan));

        PutIntent("new", Lsn.Zero, Now, baseId: "b1");
        Assert.Equal(
            ErrorCode.RetentionOutdated,
            CodeOf(() => RetentionRun.CarryOut(plan, request, CancellationToken.None)));
        _fixture.Store.Delete("backups/new/intent.json");
        SetPins.Pin(_fixture.Store, "b1", Now);
        Assert.Equal(
            ErrorCode.RetentionOutdated,
            CodeOf(() => RetentionRun.CarryOut(plan, request, CancellationToken.None)));
        Assert.Equal(["b1", "b2"], Sets());
    }

    /// <summary>H35: a backup that expire takes for dead has ended since the plan: its set stays, the plan is void.</summary>
    [Fact]
    public void A_backup_that_has_ended_since_the_plan_keeps_its_set()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        RetentionRequest request = Request(TimeSpan.FromSeconds(1)) with { Now = Now.AddDays(3) };
        RetentionPlan? plan = null;
        _fixture.Backup("slow", afterBegin: _ => plan = RetentionPlanner.Plan(request)); // begun three days ago
        Assert.Equal(["slow"], Removed(plan!));
        string[] there = [.. _fixture.Store.List("backups/slow/").Except(["backups/slow/intent.json"])];

        Assert.Equal(
            ErrorCode.RetentionOutdated,
            CodeOf(() => RetentionRun.CarryOut(plan!, request, CancellationToken.None)));

        Assert.Equal(there, _fixture.Store.List("backups/slow/").Except(["backups/slow/intent.json"]));
        Assert.Equal(["b1", "slow"], Sets());
    }

    /// <summary>H14, H35: the newest set before the window is that of each branch alone.</summary>
    [Fact]
    public void A_set_of_another_branch_is_no_base_of_this_one()
    {
        Commits(5);
        _fixture.Backup("b1");
        Lsn fork = Commits(60);
        _fixture.Ship(_fixture.Wal);
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        Commits(60, drill);
        _fixture.Backup("b2", drill);
        Commits(60, drill);
        _fixture.Ship(drill, _fixture.Wal.Timeline);
        MemoryWal live = RecoveryFixture.Fork(_fixture.Wal, 3, fork);
        live.Time = drill.Time;
        Lsn last = Commits(100, live);
        _fixture.Ship(live, _fixture.Wal.Timeline);

        RetentionPlan plan = RetentionPlanner.Plan(Request(TimeSpan.FromSeconds(1)) with { Now = live.Time });
        RetentionRun.CarryOut(plan, Request(TimeSpan.FromSeconds(1)), CancellationToken.None);

        Assert.Empty(Removed(plan));
        RecoveryPlan latest = _fixture.Plan(RecoveryTarget.Latest, "3");
        Assert.Equal(("b1", last), (latest.BackupId, latest.StopsAt.Lsn));
    }

    /// <summary>H35: a backup that expire takes for dead, and that ends just then, is void.</summary>
    [Fact]
    public void A_backup_whose_intent_goes_while_it_writes_its_manifest_is_void()
    {
        Lsn c = Commits(3);
        ControlFile control = RecoveryFixture.ControlOf(_fixture.Wal, c);
        var writer = new BackupWriter(
            _fixture.Disk, _fixture.Store, [], new BackupStart("b1", control, c, Now), new RecoveryFixture.EveryPage());
        writer.Begin();
        writer.Copy(
            _fixture.WriteDatafile("/db/main.pitr", FileId.Main, c, _fixture.Wal.Timeline.Lineage),
            CancellationToken.None);
        Lsn stop = _fixture.Wal.Log(new WalEvent.BackupEnd("b1", writer.StartLsn));
        bool isGone = false;
        _fixture.Disk.BeforeOperation = _ =>
        {
            if (isGone || _fixture.Disk.Stat("/store/backups/b1/manifest.json") is null)
                return;
            isGone = true;
            _fixture.Store.Delete("backups/b1/intent.json");
        };
        Assert.Equal(ErrorCode.BackupVoid, CodeOf(() => writer.Complete(new BackupStop(
            stop, Now, new TransactionId(3), new HashSet<FileId> { FileId.Main }))));
        Assert.True(isGone);
        Assert.Null(_fixture.Store.Stat("backups/b1/manifest.json"));
    }

    [Fact]
    public void A_set_of_another_database_an_unknown_set_and_an_empty_store_are_told()
    {
        Assert.Equal(ErrorCode.BackupUnknown, CodeOf(() => Make(TimeSpan.FromSeconds(1))));
        Assert.Equal(ErrorCode.BackupUnknown, CodeOf(() => SetPins.Pin(_fixture.Store, "b1", Now)));
        _fixture.Backup("b1");
        Assert.Equal(ErrorCode.BackupUnknown, CodeOf(() => SetPins.Unpin(_fixture.Store, "../b1")));
        PutIntent("half", Lsn.Zero, Now, baseId: null);
        Assert.Equal(ErrorCode.BackupVoid, CodeOf(() => SetPins.Pin(_fixture.Store, "half", Now)));
        ArchiveIdentity.SetUp(_fixture.Store, new SystemIdentifier(0xBAD), _fixture.Random, Now);
        Assert.Equal(ErrorCode.ForeignSystem, CodeOf(() => Make(TimeSpan.FromSeconds(1))));
    }

    [Fact]
    public void The_documents_of_a_plan_are_as_they_were()
    {
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Ship(_fixture.Wal);
        PutIntent("half", Lsn.Zero, Now.AddDays(-9), baseId: null);
        GoldenFile.Check("cli/expire-plan.txt", Make(TimeSpan.FromSeconds(1)).ToText());
    }

    /// <summary>
    /// H35: power loss or a kill before each operation of an expire leaves each promised moment, no set that is not
    /// whole, and what a second expire removes.
    /// </summary>
    [Fact]
    public void An_expire_that_ends_at_any_operation_keeps_the_promise_and_can_be_made_again()
    {
        BackupTo(_fixture.Store, "b1", includesWal: true);
        Commits(40);
        BackupTo(_fixture.Store, "b2", includesWal: true);
        Commits(40);
        BackupTo(_fixture.Store, "b3", includesWal: true);
        Lsn last = Commits(40);
        _fixture.Ship(_fixture.Wal);
        PutIntent("dead", Lsn.Zero, Now.AddDays(-9), baseId: null);
        RetentionRequest request = Request(TimeSpan.FromSeconds(60)) with { Now = Now.AddDays(3) };
        RetentionPlan plan = RetentionPlanner.Plan(request);
        Assert.Equal(["b1", "dead"], Removed(plan).Order());

        var copies = new List<SimulatedDisk>();
        _fixture.Disk.BeforeOperation = _ =>
        {
            copies.Add(_fixture.Disk.CrashCopy(copies.Count));
            copies.Add(_fixture.Disk.KillCopy());
        };
        RetentionRun.CarryOut(plan, request, CancellationToken.None);
        _fixture.Disk.BeforeOperation = null;
        string[] end = Objects();
        Assert.True(copies.Count > 20, $"Only {copies.Count} ends.");
        foreach (SimulatedDisk copy in copies)
        {
            var store = new FolderStore(copy, "/store", _fixture.Random);
            PlanRequest ask = _fixture.Request(RecoveryTarget.Including(last)) with
            {
                SetStore = store,
                Archives = [store],
            };
            Assert.Equal("b3", RecoveryPlanner.Plan(ask).Plan.BackupId);
            Assert.Equal(
                "b2", RecoveryPlanner.Plan(ask with { Target = RecoveryTarget.Including(plan.From) }).Plan.BackupId);
            Assert.All(BackupCatalog.Read(store).Sets, set =>
                Assert.All(set.Manifest.Objects, entry => set.Verify(entry.Name, CancellationToken.None)));
            Assert.All(BackupCatalog.Read(store).Others, other => Assert.Null(other.Damage));
            RetentionRequest again = request with { SetStore = store, Archives = [store] };
            RetentionRun.CarryOut(RetentionPlanner.Plan(again), again, CancellationToken.None);
            Assert.Equal(end, store.List(""));
        }
    }

    /// <summary>The WAL of a pinned set lies apart from that of the window, and what is between has expired.</summary>
    [Fact]
    public void A_check_of_the_archive_tells_what_was_lost_and_not_what_has_expired()
    {
        ArchiveIdentity.SetUp(_fixture.Store, RecoveryFixture.System, _fixture.Random, Now);
        _fixture.Backup("b1");
        Commits(60);
        _fixture.Backup("b2");
        Commits(60);
        _fixture.Backup("b3");
        Commits(90);
        _fixture.Ship(_fixture.Wal);
        SetPins.Pin(_fixture.Store, "b1", Now);
        Expire(TimeSpan.FromSeconds(30));
        ArchivedRange range = ArchiveCatalog.Load(_fixture.Store).Along(
            _fixture.History, Set("b1").Label.StartLsn, _fixture.Wal.End, RecoveryFixture.Geometry.PayloadBytes);
        Assert.NotEmpty(range.Gaps); // a segment each

        StoreCheck check = Assert.Single(CheckArchive());
        Assert.Equal((range.Gaps[^1].To, _fixture.Wal.End), (check.From, check.To));

        ulong lost = RecoveryFixture.Geometry.NumberOf(Set("b3").Label.StartLsn) + 1;
        _fixture.Store.Delete(ObjectName.Segment(TimelineId.First, lost));
        RefusedException gap = Assert.Throws<RefusedException>(() => CheckArchive());
        Assert.Equal(ErrorCode.WalGap, gap.Code);
        Assert.Contains(RecoveryFixture.Geometry.StartOf(lost).ToString(), gap.Message, StringComparison.Ordinal);
        _fixture.Ship(_fixture.Wal); // all of it is there again: the notes tell nothing
        Assert.Equal(_fixture.Wal.End, Assert.Single(CheckArchive()).To);
    }

    private IReadOnlyList<StoreCheck> CheckArchive() => ArchiveCheck.Run(
        [
            (_fixture.Store, new ShipProgress(
                Now, RecoveryFixture.Geometry, IsKnown: true, _fixture.Wal.End, Next: 2, null, null, [], [])),
        ],
        _fixture.History, RecoveryFixture.Geometry, _fixture.Wal.End, CancellationToken.None);

    // ---- by hand -----------------------------------------------------------------------------------

    /// <summary>And beside the notes of what has expired of it.</summary>
    private IEnumerable<string> ObjectsBesideWal() => Objects().Where(static name =>
        !name.StartsWith(ObjectName.WalPrefix, StringComparison.Ordinal)
        && !name.StartsWith(ObjectName.ExpiredPrefix, StringComparison.Ordinal));

    private Lsn Commits(int count, MemoryWal? on = null)
    {
        MemoryWal wal = on ?? _fixture.Wal;
        Lsn last = wal.End;
        for (int n = 0; n < count; n++)
            last = wal.Put(1, 1, "key"u8, new byte[100]).Commit();
        return last;
    }

    private FolderStore NewStore(string folder)
    {
        _fixture.Disk.CreateFolders(folder);
        return new FolderStore(_fixture.Disk, folder, _fixture.Random);
    }

    /// <summary>A set in any store, registered in the fixture's archive.</summary>
    private BackupSet BackupTo(FolderStore store, string id, bool isPartial = false, bool includesWal = false)
    {
        MemoryWal wal = _fixture.Wal;
        Lsn c = wal.End;
        var writer = new BackupWriter(
            _fixture.Disk, store, [_fixture.Store],
            new BackupStart(id, RecoveryFixture.ControlOf(wal, c), c, wal.Time), new RecoveryFixture.EveryPage());
        writer.Begin();
        if (!isPartial)
        {
            writer.Copy(
                _fixture.WriteDatafile("/db/main.pitr", FileId.Main, c, wal.Timeline.Lineage), CancellationToken.None);
        }
        Lsn stop = wal.Log(new WalEvent.BackupEnd(id, writer.StartLsn));
        if (includesWal)
        {
            _fixture.Ship(wal);
            var source = new ArchiveWalSource(
                _fixture.Store, ArchiveCatalog.Load(_fixture.Store), RecoveryFixture.Geometry);
            writer.IncludeWal(
                _fixture.History, new WalSources([source], RecoveryFixture.Geometry), stop, CancellationToken.None);
        }
        return writer.Complete(new BackupStop(
            stop, wal.Time, new TransactionId(wal.LastTransactionId), new HashSet<FileId> { FileId.Main }));
    }

    /// <summary>The newer set says that it builds on the older one.</summary>
    private void BuildOn(BackupSet older, BackupSet newer)
    {
        byte[] label = (newer.Label with { BaseId = older.Id, BaseDigest = older.Manifest.Digest }).ToBytes();
        string sha = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(label));
        _fixture.Store.Put(newer.Prefix + BackupSet.LabelName, label);
        _fixture.Store.Put(
            newer.Prefix + BackupSet.ManifestName, BackupManifest.Of(newer.Id, newer.Manifest.Objects.Select(entry =>
                entry.Name == BackupSet.LabelName ? new ManifestEntry(entry.Name, label.Length, sha) : entry)).ToBytes());
    }

    private void PutIntent(
        string id, Lsn hold, DateTimeOffset began, string? baseId, string setStore = "/store") => _fixture.Store.Put(
        $"backups/{id}/intent.json", new BackupIntent
        {
            BackupId = id,
            SystemId = RecoveryFixture.System,
            Timeline = TimelineId.First,
            Lineage = _fixture.Wal.Timeline.Lineage,
            HoldFromLsn = hold,
            BeganAt = began,
            BaseId = baseId,
            SetStore = setStore,
        }.ToBytes());

    private RetentionRequest Request(TimeSpan window) => new()
    {
        SetStore = _fixture.Store,
        Archives = [_fixture.Store],
        Window = window,
        Now = Now,
        OpenStore = name => _others.GetValueOrDefault(name),
    };

    private RetentionPlan Make(TimeSpan window) => RetentionPlanner.Plan(Request(window));

    private RetentionPlan Expire(TimeSpan window)
    {
        RetentionPlan plan = Make(window);
        RetentionRun.CarryOut(plan, Request(window), CancellationToken.None);
        return plan;
    }

    private static string[] Removed(RetentionPlan plan) =>
        [.. plan.Sets.Where(set => set.IsRemoved).Select(set => set.BackupId)];

    private string[] Sets() => [.. BackupCatalog.Read(_fixture.Store).Sets.Select(set => set.Id)];

    private BackupSet Set(string id) => BackupCatalog.Read(_fixture.Store).Get(id);

    private string[] Objects() => [.. _fixture.Store.List("")];

    private static ErrorCode CodeOf(Action act) => Assert.ThrowsAny<PitrException>(act).Code;
}
