using Microsoft.Extensions.Time.Testing;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>H48: what a restore reads stays while it is carried out, and for a day at most.</summary>
public sealed class RestoreHoldTests
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(30);
    private readonly RecoveryFixture _fixture = new();
    private readonly FakeTimeProvider _clock;

    public RestoreHoldTests()
    {
        for (int n = 1; n <= 3; n++)
        {
            _fixture.Backup($"b{n}");
            for (int i = 0; i < 60; i++)
                _fixture.Wal.Put(1, 1, "key"u8, new byte[100]).Commit();
        }
        _fixture.Ship(_fixture.Wal);
        _clock = new FakeTimeProvider(_fixture.Wal.Time.AddHours(2));
    }

    private RetentionRequest Request => new()
    {
        SetStore = _fixture.Store,
        Archives = [_fixture.Store],
        Window = Window,
        Now = _clock.GetUtcNow(),
        OpenStore = static _ => null,
    };

    private PlannedRecovery OfTheOldest() => RecoveryPlanner.Plan(
        _fixture.Request(RecoveryTarget.Immediate) with { BackupId = "b1" });

    private RestoreHold HoldOf(PlannedRecovery planned) =>
        RestoreHold.Of(planned.Plan, "/restored", [_fixture.Store], _clock);

    private void Require(PlannedRecovery planned) => Require(planned, planned.Set);

    private void Require(PlannedRecovery planned, BackupSet? set) =>
        RestoreHold.Require(set, planned.Plan.Wal, [_fixture.Store], _clock.GetUtcNow());

    private IEnumerable<string> Sets() => BackupCatalog.Read(_fixture.Store).Sets.Select(set => set.Id);

    private void Expire() => RetentionRun.CarryOut(RetentionPlanner.Plan(Request), Request, CancellationToken.None);

    [Fact]
    public void Expire_keeps_the_set_and_the_WAL_of_a_restore_until_it_is_over()
    {
        PlannedRecovery planned = OfTheOldest();
        RestoreHold hold = HoldOf(planned);
        hold.Register();
        Require(planned);
        Expire();
        Assert.Equal(["b1", "b3"], Sets());
        Require(planned);
        _fixture.Plan(RecoveryTarget.Latest); // WAL from there on, since a paused one goes on
        Assert.Equal("b1", OfTheOldest().Plan.BackupId);
        hold.Remove();
        Expire();
        Assert.Equal(["b3"], Sets());
        Assert.Empty(_fixture.Store.List(ObjectName.RestorePrefix));
    }

    [Fact]
    public void One_that_has_not_gone_on_for_a_day_holds_nothing_and_is_forgotten()
    {
        RestoreHold hold = HoldOf(OfTheOldest());
        hold.Register();
        _clock.Advance(TimeSpan.FromHours(23));
        hold.RenewIfDue();
        _clock.Advance(TimeSpan.FromHours(23));
        Expire();
        Assert.Equal(["b1", "b3"], Sets());
        _clock.Advance(TimeSpan.FromHours(2));
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        Assert.Single(plan.EndedRestores);
        Assert.Contains("forgets restore", plan.ToText(), StringComparison.Ordinal);
        Expire();
        Assert.Equal(["b3"], Sets());
        Assert.Empty(_fixture.Store.List(ObjectName.RestorePrefix));
    }

    [Fact]
    public void An_expire_removes_nothing_if_a_restore_that_had_paused_for_a_day_goes_on_after_its_plan()
    {
        RestoreHold hold = HoldOf(OfTheOldest());
        hold.Register();
        _clock.Advance(TimeSpan.FromHours(25));
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        Assert.Single(plan.EndedRestores);
        hold.Register();
        string[] before = [.. _fixture.Store.List("")];
        RefusedException refused = Assert.Throws<RefusedException>(
            () => RetentionRun.CarryOut(plan, Request, CancellationToken.None));
        Assert.Equal(ErrorCode.RetentionOutdated, refused.Code);
        Assert.Equal(before, _fixture.Store.List(""));
    }

    [Fact]
    public void An_expire_that_was_planned_before_a_restore_began_removes_nothing()
    {
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        string[] before = [.. _fixture.Store.List("")];
        HoldOf(OfTheOldest()).Register();
        RefusedException refused = Assert.Throws<RefusedException>(
            () => RetentionRun.CarryOut(plan, Request, CancellationToken.None));
        Assert.Equal(ErrorCode.RetentionOutdated, refused.Code);
        Assert.Equal(before, _fixture.Store.List("").Where(name => !name.StartsWith(ObjectName.RestorePrefix, StringComparison.Ordinal)));
    }

    /// <summary>The set that goes first is taken, and there the expire ends: it was begun before the restore.</summary>
    [Fact]
    public void A_restore_that_begins_while_an_expire_removes_sets_keeps_its_own()
    {
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        PlannedRecovery planned = OfTheOldest();
        string[] before = [.. _fixture.Store.List("")];
        bool isBegun = false;
        _fixture.Disk.BeforeOperation = _ =>
        {
            if (isBegun || _fixture.Disk.Stat("/store/backups/b2/manifest.json") is not null)
                return;
            isBegun = true;
            HoldOf(planned).Register();
        };
        RefusedException refused = Assert.Throws<RefusedException>(
            () => RetentionRun.CarryOut(plan, Request, CancellationToken.None));
        _fixture.Disk.BeforeOperation = null;
        Assert.True(isBegun);
        Assert.Equal(ErrorCode.RetentionOutdated, refused.Code);
        Require(planned);
        Assert.Equal(["b1", "b2", "b3"], Sets());
        Assert.Equal(before, _fixture.Store.List("").Where(name => !name.StartsWith(ObjectName.RestorePrefix, StringComparison.Ordinal)));
    }

    /// <summary>It has found its set there, and just then the manifest goes: that is put back, and no object goes.</summary>
    [Fact]
    public void A_restore_that_begins_just_before_its_set_goes_reads_it_to_the_end()
    {
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        PlannedRecovery planned = RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Immediate) with { BackupId = "b2" });
        string manifest = BackupSet.PrefixOf("b2") + BackupSet.ManifestName;
        ReadOnlyMemory<byte> content = _fixture.Store.Get(manifest);
        _fixture.Disk.BeforeNext(() => // the removal of that manifest
        {
            HoldOf(planned).Register();
            Require(planned);
        });
        Assert.Equal(
            ErrorCode.RetentionOutdated,
            Assert.Throws<RefusedException>(() => RetentionRun.CarryOut(plan, Request, CancellationToken.None)).Code);
        planned.Set.VerifyAll(done: null, CancellationToken.None);
        Assert.True(content.Span.SequenceEqual(_fixture.Store.Get(manifest).Span));
        Require(planned);
        Assert.Equal(["b1", "b2", "b3"], Sets());
        Expire();
        Assert.Equal(["b2", "b3"], Sets());
    }

    /// <summary>
    /// A recovery in place reads WAL only, so no manifest tells it that an expire is under way. It begins at any moment of one:
    /// one of both gives way.
    /// </summary>
    [Fact]
    public void One_that_begins_while_an_expire_removes_WAL_reads_it_to_the_end_or_not_at_all()
    {
        (int copied, int refused) = (0, 0);
        for (int moment = 1; copied + refused == moment - 1; moment++)
        {
            var other = new RestoreHoldTests();
            if (other.BeginsAt(moment) is { } mayCopy)
                _ = mayCopy ? copied++ : refused++;
        }
        Assert.True(copied > 5 && refused > 5, $"{copied} copied, {refused} were refused");
    }

    /// <summary>At an operation of an expire; null if it has fewer.</summary>
    private bool? BeginsAt(int moment)
    {
        RetentionPlan plan = RetentionPlanner.Plan(Request);
        Assert.NotEmpty(plan.Wal);
        PlannedRecovery planned = OfTheOldest();
        bool? mayCopy = null;
        int operations = 0;
        _fixture.Disk.BeforeOperation = _ =>
        {
            if (++operations != moment)
                return;
            HoldOf(planned).Register();
            mayCopy = IsThere(planned);
        };
        bool isGivenWay = false;
        try
        {
            RetentionRun.CarryOut(plan, Request, CancellationToken.None);
        }
        catch (RefusedException outdated) when (outdated.Code == ErrorCode.RetentionOutdated)
        {
            isGivenWay = true;
        }
        _fixture.Disk.BeforeOperation = null;
        if (mayCopy == true)
        {
            Assert.True(isGivenWay);
            Require(planned, set: null);
        }
        return mayCopy;
    }

    private bool IsThere(PlannedRecovery planned)
    {
        try
        {
            Require(planned, set: null);
            return true;
        }
        catch (RefusedException gap) when (gap.Code == ErrorCode.WalGap)
        {
            return false;
        }
    }

    /// <summary>What an expire that died has noted may be about to go for a day; then it counts as what is there.</summary>
    [Fact]
    public void WAL_that_an_expire_has_noted_and_left_is_refused_for_a_day()
    {
        PlannedRecovery planned = OfTheOldest();
        PlannedWal first = planned.Plan.Wal[0];
        ExpiredNote.Announce(
            _fixture.Store, planned.Plan.SystemId, new ArchiveGap(first.Timeline, first.FromLsn, first.ToLsn), _clock.GetUtcNow());
        Assert.Contains("is about to go", Assert.Throws<RefusedException>(() => Require(planned)).Message, StringComparison.Ordinal);
        _clock.Advance(RetentionPlanner.RunningMax + TimeSpan.FromSeconds(1));
        Require(planned);
    }

    [Fact]
    public void What_an_expire_took_between_plan_and_note_refuses_the_restore()
    {
        PlannedRecovery planned = OfTheOldest();
        Expire();
        HoldOf(planned).Register();
        Assert.Equal(
            ErrorCode.BackupUnknown,
            Assert.Throws<NotFoundException>(() => Require(planned)).Code);
        PlannedRecovery newest = RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest));
        string segment = ObjectName.Segment(TimelineId.First, newest.Plan.Wal[0].Number);
        _fixture.Store.Delete(segment);
        Assert.Equal(
            ErrorCode.WalGap,
            Assert.Throws<RefusedException>(() => Require(newest)).Code);
    }

    [Fact]
    public void Of_a_set_that_brings_its_WAL_only_what_lies_behind_it_must_be_in_the_archive()
    {
        _fixture.Backup("b4", includesWal: true);
        ulong own = RecoveryFixture.Geometry.NumberOf(_fixture.Wal.End);
        for (int i = 0; i < 200; i++)
            _fixture.Wal.Put(1, 1, "key"u8, new byte[100]).Commit();
        _fixture.Ship(_fixture.Wal);
        PlannedRecovery planned = RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest) with { BackupId = "b4" });
        PlannedRecovery immediate =
            RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Immediate) with { BackupId = "b4", Archives = [] });
        Require(planned);
        foreach (ulong number in new[] { own, own + 1 }) // of the first the set has a part, up to its stop
        {
            string segment = ObjectName.Segment(TimelineId.First, number);
            ReadOnlyMemory<byte> content = _fixture.Store.Get(segment);
            _fixture.Store.Delete(segment);
            Assert.Equal(ErrorCode.WalGap, Assert.Throws<RefusedException>(() => Require(planned)).Code);
            _fixture.Store.Put(segment, content);
        }

        foreach (string name in _fixture.Store.List(ObjectName.WalPrefix))
            _fixture.Store.Delete(name);
        Require(immediate);
    }

    [Fact]
    public void A_store_that_can_only_be_read_takes_no_note_and_refuses_nothing()
    {
        PlannedRecovery planned = OfTheOldest();
        foreach (FileOp op in new[] { FileOp.Create, FileOp.CreateFolder, FileOp.Delete })
            _fixture.Disk.Faults.On(op).Of("/store").Always().Fail(Errno.EROFS);
        RestoreHold hold = HoldOf(planned);
        hold.Register();
        Require(planned);
        hold.Remove();
    }

    [Fact]
    public void A_copy_that_fails_takes_its_note_back_and_one_that_ends_leaves_it_to_who_goes_on()
    {
        PlannedRecovery planned = OfTheOldest();
        int seen = 0;
        Assert.Throws<TimeoutException>(() => HoldOf(planned).While(planned.Set, planned.Plan.Wal, [_fixture.Store], _ =>
        {
            seen = Notes();
            throw new TimeoutException();
        }));
        Assert.Equal((1, 0), (seen, Notes()));
        HoldOf(planned).While(planned.Set, planned.Plan.Wal, [_fixture.Store], static _ => { });
        Assert.Equal(1, Notes());

        int Notes() => _fixture.Store.List(ObjectName.RestorePrefix).Count;
    }

    /// <summary>The whole of it: an expire in the middle of a restore, of a paused one, and after it.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_restore_reaches_its_target_though_an_expire_comes_in_between(bool pauses)
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync();
        Moment moment = lab.Moments.First(one => one.Lsn > backup.StopLsn);
        int expires = 0;
        var request = new RestoreRequest
        {
            Store = RecoveryLab.Archive,
            Into = "/restored",
            Target = RecoveryTarget.Including(moment.Lsn),
            Pause = pauses,
            Progress = new AtOnce(() =>
            {
                if (expires++ == 0)
                    ExpireAll(lab.Disk);
            }),
        };
        RestoreResult result = await PitrRecovery.RestoreAsync(request, lab.Options).Within();
        Assert.True(expires > 0);
        Assert.Equal(moment.Lsn, result.StoppedAt.Lsn);
        Assert.Equal(pauses ? 1 : 0, Holds(lab.Disk));
        if (pauses)
        {
            ExpireAll(lab.Disk);
            Moment later = lab.Moments.First(one => one.Lsn > moment.Lsn);
            result = await PitrRecovery.RecoverAsync(
                "/restored", RecoveryTarget.Including(later.Lsn), promote: true, lab.Options).Within();
            Assert.Equal(later.Lsn, result.StoppedAt.Lsn);
            Assert.Equal(0, Holds(lab.Disk));
        }
    }

    /// <summary>It goes on after more than a day: its note was none any more, and an expire is at its WAL.</summary>
    [Fact]
    public async Task One_that_goes_on_is_refused_WAL_that_an_expire_is_about_to_take()
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync();
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/restored",
                Target = RecoveryTarget.Including(lab.Moments.First(one => one.Lsn > backup.StopLsn).Lsn),
                Pause = true,
            },
            lab.Options).Within();
        FolderStore store = ArchiveTestData.Store(lab.Disk, RecoveryLab.Archive);
        Moment last = lab.Moments[^1];
        Action takeBack = ExpiredNote.Announce(
            store, ArchiveTestData.System, new ArchiveGap(TimelineId.First, Lsn.Zero, last.Lsn), lab.Options.Clock.GetUtcNow());

        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => GoOnAsync());
        Assert.Equal(ErrorCode.WalGap, refused.Code);

        takeBack();
        Assert.Equal(last.Lsn, (await GoOnAsync()).StoppedAt.Lsn);

        Task<RestoreResult> GoOnAsync() =>
            PitrRecovery.RecoverAsync("/restored", RecoveryTarget.Including(last.Lsn), promote: true, lab.Options).Within();
    }

    /// <summary>A replay may take longer than a day, and its copies are over then.</summary>
    [Fact]
    public async Task A_replay_says_that_it_goes_on()
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync();
        PitrOptions options = lab.Options with { Clock = _clock };
        await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/restored",
                Target = RecoveryTarget.Including(lab.Moments.First(one => one.Lsn > backup.StopLsn).Lsn),
                Pause = true,
            },
            options).Within();
        _clock.Advance(TimeSpan.FromMinutes(1));
        DateTimeOffset again = _clock.GetUtcNow();
        lab.Disk.BeforeOperation = _ =>
        {
            if (HoldOn(lab.Disk).BeganAt >= again)
                _clock.Advance(RestoreHold.RenewEvery);
        };

        await PitrRecovery.RecoverAsync("/restored", RecoveryTarget.Including(lab.Moments[^4].Lsn), options: options).Within();

        lab.Disk.BeforeOperation = null;
        Assert.True(HoldOn(lab.Disk).BeganAt > again, "It has not said so since it was gone on with.");
    }

    /// <summary>The same of a database that goes back where it lies; a newer set is there, so the older may go.</summary>
    [Fact]
    public async Task Expire_is_told_what_a_recovery_reads_while_it_is_carried_out()
    {
        MixedLab lab = await MixedLab.RecordedAsync(before: async (_, database) => await database
            .BackupAsync(new BackupRequest { Store = RecoveryLab.Archive }).WaitAsync(MixedLab.Patience));
        int expires = 0;
        InPlaceRecoveryRequest request = lab.Request(RecoveryTarget.Including(lab.Middle.Lsn)) with
        {
            Progress = new AtOnce(() =>
            {
                if (expires++ > 0)
                    return;
                Assert.Equal(1, Holds(lab.Disk));
                ExpireAll(lab.Disk);
            }),
        };

        RecoveryPlan plan = await lab.RequireRecoversAsync(request, lab.Middle.Content);

        Assert.True(expires > 0);
        Assert.NotEmpty(plan.Files);
        Assert.Equal(0, Holds(lab.Disk));
    }

    [Fact]
    public async Task A_restore_out_of_a_store_that_can_only_be_read_reaches_its_target()
    {
        (RecoveryLab lab, BackupResult backup, _) = await RecoveryLab.RecordedAsync();
        Moment moment = lab.Moments.Last(one => one.Lsn > backup.StopLsn);
        foreach (FileOp op in new[] { FileOp.Create, FileOp.CreateFolder, FileOp.Delete, FileOp.Rename, FileOp.Link })
            lab.Disk.Faults.On(op).Of(RecoveryLab.Archive).Always().Fail(Errno.EROFS);
        RestoreResult result = await PitrRecovery.RestoreAsync(
            new RestoreRequest
            {
                Store = RecoveryLab.Archive,
                Into = "/restored",
                Target = RecoveryTarget.Including(moment.Lsn),
                Detached = true,
            },
            lab.Options).Within();
        Assert.Equal(moment.Lsn, result.StoppedAt.Lsn);
    }

    private static RestoreIntent HoldOn(SimulatedDisk disk) =>
        Assert.Single(RestoreHold.All(ArchiveTestData.Store(disk, RecoveryLab.Archive)));

    private static int Holds(SimulatedDisk disk) =>
        ArchiveTestData.Store(disk, RecoveryLab.Archive).List(ObjectName.RestorePrefix).Count;

    /// <summary>By a window of a moment: everything goes that nothing holds.</summary>
    private static void ExpireAll(SimulatedDisk disk)
    {
        FolderStore store = ArchiveTestData.Store(disk, RecoveryLab.Archive);
        var request = new RetentionRequest
        {
            SetStore = store,
            Archives = [store],
            Window = TimeSpan.FromTicks(1),
            Now = TimeProvider.System.GetUtcNow(),
            OpenStore = static _ => null,
        };
        RetentionRun.CarryOut(RetentionPlanner.Plan(request), request, CancellationToken.None);
    }

    private sealed class AtOnce(Action what) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => what();
    }
}
