using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class PromotionStepsTests
{
    /// <summary>
    /// H32: a crash after any durable step; the next try takes its own claim, and no branch is left empty.
    /// </summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_promotion_that_died_goes_on_with_the_number_that_it_claimed(int stepsBeforeCrash)
    {
        var host = new Host();
        host.CrashAfter = stepsBeforeCrash;
        Assert.Throws<InvalidOperationException>(() => host.Steps().Continue("restore"));

        host.CrashAfter = int.MaxValue;
        PromotionSteps again = host.Steps();
        Assert.True(again.Continue("restore"));

        Assert.Equal(PromotionState.Committed, again.State);
        Assert.Equal(new TimelineId(2), host.Control.Timeline);
        Assert.Null(host.Control.Recovery);
        Assert.Single(host.Control.FinishedRecoveries);
        Assert.Equal(
            ["history/00000002.json"], host.Stores[0].List(ObjectName.HistoryPrefix));
        Assert.Equal(host.Control.Lineage, TimelineHistory.Decode(
            "s", "history/00000002.json", host.Stores[0].Get("history/00000002.json").Span).Last.Lineage);
    }

    /// <summary>H32: another branch has the number in a store that the listing did not show.</summary>
    [Fact]
    public void A_number_that_another_branch_took_meanwhile_is_left_to_it()
    {
        var host = new Host();
        host.WhenIntended = () => TimelineClaim.Claim(host.Stores[0], TimelineHistory.Of(RecoveryFixture.System, [
            host.Fixture.Wal.Timeline,
            RecoveryFixture.Fork(host.Fixture.Wal, 2, host.Fixture.Wal.End).Timeline]));

        Assert.True(host.Steps().Continue("restore"));

        Assert.Equal(new TimelineId(3), host.Control.Timeline);
    }

    /// <summary>H32: files first.</summary>
    [Fact]
    public void Nothing_is_claimed_before_every_file_is_flushed()
    {
        var host = new Host { FilesAreFlushed = false };

        Assert.False(host.Steps().Continue("restore"));

        Assert.Null(host.Control.PromotionIntent);
        Assert.Empty(host.Stores[0].List(ObjectName.HistoryPrefix));
    }

    [Fact]
    public void The_new_timeline_starts_at_the_segment_boundary_behind_the_cut()
    {
        var host = new Host();
        host.Steps().Continue("restore");

        TimelineEntry last = host.Control.History[^1];
        Assert.Equal(host.Cut, last.ForkLsn);
        Assert.Equal(RecoveryFixture.Geometry.BoundaryAtOrAbove(host.Cut), last.StartLsn);
        Assert.Equal(TimelineId.First, last.Parent);
    }

    private sealed class Host : IPromotionHost
    {
        private int _steps;
        private bool _hasSegment;

        public Host()
        {
            Fixture.Wal.Put(1, 1, "k"u8, "v"u8).Commit();
            Fixture.Backup("b1");
            Fixture.Wal.Put(1, 1, "k"u8, "w"u8).Commit();
            Fixture.Ship(Fixture.Wal);
            PlannedRecovery planned = RecoveryPlanner.Plan(Fixture.Request(RecoveryTarget.Latest));
            Cut = planned.Plan.StopsAt.Lsn;
            Control = new RestoreWriter(Fixture.Disk, "/new", ThisProcess.Real).Restore(planned, isPaused: false, CancellationToken.None);
            Fixture.Store.Delete("history/00000001.json");
        }

        public RecoveryFixture Fixture { get; } = new();
        public Lsn Cut { get; }
        public int CrashAfter { get; set; } = int.MaxValue;
        public Action? WhenIntended { get; set; }
        public bool FilesAreFlushed { get; init; } = true;
        public ControlFile Control { get; private set; }
        public IReadOnlyList<IArchiveStore> Stores => [Fixture.Store];

        public PromotionSteps Steps() => new(this, TimeProvider.System, Fixture.Random);

        public void Replace(ControlFile control)
        {
            Crash();
            bool isIntent = Control.PromotionIntent is null && control.PromotionIntent is not null;
            Control = control;
            Crash();
            if (isIntent)
                WhenIntended?.Invoke();
        }

        public bool FirstSegmentIsSynced(PromotionIntent intent) => _hasSegment;

        public void WriteFirstSegment(PromotionIntent intent)
        {
            Crash();
            _hasSegment = true;
        }

        private void Crash()
        {
            if (_steps++ == CrashAfter)
                throw new InvalidOperationException("power loss");
        }
    }
}
