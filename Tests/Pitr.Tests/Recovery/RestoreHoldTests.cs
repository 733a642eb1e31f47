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

    private IEnumerable<string> Sets() => BackupCatalog.Read(_fixture.Store).Sets.Select(set => set.Id);

    private void Expire() => RetentionRun.CarryOut(RetentionPlanner.Plan(Request), Request, CancellationToken.None);

    [Fact]
    public void Expire_keeps_the_set_and_the_WAL_of_a_restore_until_it_is_over()
    {
        PlannedRecovery planned = OfTheOldest();
        RestoreHold hold = HoldOf(planned);
        hold.Register();
        RestoreHold.Require(planned, [_fixture.Store]);
        Expire();
        Assert.Equal(["b1", "b3"], Sets());
        RestoreHold.Require(planned, [_fixture.Store]);
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

    [Fact]
    public void What_an_expire_took_between_plan_and_note_refuses_the_restore()
    {
        PlannedRecovery planned = OfTheOldest();
        Expire();
        HoldOf(planned).Register();
        Assert.Equal(
            ErrorCode.BackupUnknown,
            Assert.Throws<NotFoundException>(() => RestoreHold.Require(planned, [_fixture.Store])).Code);
        PlannedRecovery newest = RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest));
        string segment = ObjectName.Segment(TimelineId.First, newest.Plan.Wal[0].Number);
        _fixture.Store.Delete(segment);
        Assert.Equal(
            ErrorCode.WalGap,
            Assert.Throws<RefusedException>(() => RestoreHold.Require(newest, [_fixture.Store])).Code);
    }

    [Fact]
    public void A_store_that_can_only_be_read_takes_no_note_and_refuses_nothing()
    {
        PlannedRecovery planned = OfTheOldest();
        foreach (FileOp op in new[] { FileOp.Create, FileOp.CreateFolder, FileOp.Delete })
            _fixture.Disk.Faults.On(op).Of("/store").Always().Fail(Errno.EROFS);
        RestoreHold hold = HoldOf(planned);
        hold.Register();
        RestoreHold.Require(planned, [_fixture.Store]);
        hold.Remove();
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
                    ExpireAll(lab);
            }),
        };
        RestoreResult result = await PitrRecovery.RestoreAsync(request, lab.Options).Within();
        Assert.True(expires > 0);
        Assert.Equal(moment.Lsn, result.StoppedAt.Lsn);
        Assert.Equal(pauses ? 1 : 0, Holds(lab));
        if (pauses)
        {
            ExpireAll(lab);
            Moment later = lab.Moments.First(one => one.Lsn > moment.Lsn);
            result = await PitrRecovery.RecoverAsync(
                "/restored", RecoveryTarget.Including(later.Lsn), promote: true, lab.Options).Within();
            Assert.Equal(later.Lsn, result.StoppedAt.Lsn);
            Assert.Equal(0, Holds(lab));
        }
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

    private static int Holds(RecoveryLab lab) =>
        ArchiveTestData.Store(lab.Disk, RecoveryLab.Archive).List(ObjectName.RestorePrefix).Count;

    /// <summary>By a window of a moment: everything goes that nothing holds.</summary>
    private static void ExpireAll(RecoveryLab lab)
    {
        FolderStore store = ArchiveTestData.Store(lab.Disk, RecoveryLab.Archive);
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
