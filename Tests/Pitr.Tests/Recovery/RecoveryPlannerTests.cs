using Pitr.Recovery;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class RecoveryPlannerTests
{
    private readonly RecoveryFixture _fixture = new();

    [Fact]
    public void A_plan_names_set_cut_and_the_transactions_on_both_sides()
    {
        Commits(3);
        BackupSet set = _fixture.Backup("b1");
        Lsn four = Commits(1);
        Lsn five = Commits(1);
        Commits(40);
        _fixture.Ship(_fixture.Wal);

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Including(four));

        Assert.Equal("b1", plan.BackupId);
        Assert.Equal(set.Label.StartLsn, plan.StartLsn);
        Assert.Equal(four, plan.StopsAt.Lsn);
        Assert.Equal(new TransactionId(4), plan.LastTransaction?.TransactionId);
        Assert.Equal(five, plan.NextTransaction?.Lsn);
        Assert.Equal("main.pitr", Assert.Single(plan.Files).Path);
        Assert.True(plan.BeginsTimeline);
    }

    [Fact]
    public void A_plan_reads_back_from_its_json()
    {
        Commits(2);
        _fixture.Backup("b1");
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Latest);

        RecoveryPlan again = RecoveryPlan.Parse(plan.ToJson());

        Assert.Equal(plan.ToJson(), again.ToJson());
        Assert.Contains("stops at", again.ToText(), StringComparison.Ordinal);
    }

    /// <summary>
    /// What <c>restore --plan --json</c> prints, and what a control file keeps, and what people read.
    /// </summary>
    [Fact]
    public void The_documents_of_a_plan_are_as_they_were()
    {
        Commits(2);
        _fixture.Backup("b1");
        Lsn target = Commits(3);
        Commits(40);
        _fixture.Ship(_fixture.Wal);
        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Including(target));

        GoldenFile.Check("cli/restore-plan.json", plan.ToJson() + "\n");
        GoldenFile.Check("cli/restore-plan.txt", plan.ToText());
    }

    /// <summary>
    /// H34: inclusive needs stop ≤ target, exclusive stop &lt; target; an older set is taken where the newest can't.
    /// </summary>
    [Fact]
    public void A_set_reaches_only_targets_at_or_after_its_stop()
    {
        Commits(2);
        Lsn firstStop = _fixture.Backup("b1").Label.StopLsn;
        Lsn between = Commits(1);
        Lsn secondStop = _fixture.Backup("b2").Label.StopLsn;
        Commits(2);
        _fixture.Ship(_fixture.Wal);

        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Including(firstStop)).BackupId);
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Including(between)).BackupId);
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Before(secondStop)).BackupId);
        Assert.Equal("b2", _fixture.Plan(RecoveryTarget.Including(secondStop)).BackupId);
        Assert.Equal(ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Before(firstStop)));
        Assert.Equal(
            ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Including(new TransactionId(1))));
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Including(new TransactionId(3))).BackupId);
    }

    [Fact]
    public void Without_a_set_nothing_can_be_planned()
    {
        Commits(1);
        _fixture.Ship(_fixture.Wal);

        Assert.Equal(ErrorCode.BackupUnknown, _fixture.RefusalOf(RecoveryTarget.Latest));
    }

    /// <summary>H34: at the very end more of the same moment may be missing.</summary>
    [Fact]
    public void A_time_at_or_beyond_the_end_of_the_WAL_is_refused()
    {
        _fixture.Backup("b1");
        Commits(2);
        _fixture.Ship(_fixture.Wal);

        Assert.Equal(ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Including(_fixture.Wal.Time)));
        Assert.Equal(
            ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Including(_fixture.Wal.Time.AddHours(1))));
        Assert.Equal(
            new TransactionId(1), _fixture.Plan(
                RecoveryTarget.Before(_fixture.Wal.Time)).LastTransaction?.TransactionId);
    }

    /// <summary>H8: also when the record in question lies segments further on.</summary>
    [Fact]
    public void A_time_is_refused_if_the_clock_had_stepped_back_beyond_the_cut()
    {
        _fixture.Backup("b1");
        Commits(2);
        DateTimeOffset target = _fixture.Wal.Time;
        Commits(200);
        _fixture.Wal.RawClock = target.AddMinutes(-5);
        Commits(1);
        _fixture.Wal.RawClock = null;
        Commits(100);
        _fixture.Ship(_fixture.Wal);

        Assert.Equal(ErrorCode.TimeAmbiguous, _fixture.RefusalOf(RecoveryTarget.Including(target)));
    }

    /// <summary>H8: and when it lies further on than the first transaction that is left out is looked for.</summary>
    [Fact]
    public void A_time_is_refused_if_the_clock_had_stepped_back_megabytes_beyond_the_cut()
    {
        _fixture.Backup("b1");
        Commits(2);
        DateTimeOffset target = _fixture.Wal.Time;
        Commits(1);
        _fixture.Wal.Put(1, 1, "large"u8, new byte[5 << 20]).Commit();
        _fixture.Wal.RawClock = target.AddMinutes(-5);
        Commits(1);
        _fixture.Wal.RawClock = null;
        Commits(100);
        _fixture.Ship(_fixture.Wal);

        Assert.Equal(ErrorCode.TimeAmbiguous, _fixture.RefusalOf(RecoveryTarget.Including(target)));
    }

    [Fact]
    public void WAL_beyond_a_gap_is_a_refusal_not_an_end()
    {
        _fixture.Backup("b1");
        Lsn before = Commits(2);
        Commits(200);
        _fixture.Ship(_fixture.Wal);
        _fixture.Store.Delete(ObjectName.Segment(TimelineId.First, 3));

        Assert.Equal(ErrorCode.WalGap, _fixture.RefusalOf(RecoveryTarget.Latest));
        Assert.Equal(before, _fixture.Plan(RecoveryTarget.Including(before)).StopsAt.Lsn);
    }

    [Fact]
    public void A_damaged_segment_before_the_target_is_damage()
    {
        _fixture.Backup("b1");
        Commits(200);
        _fixture.Ship(_fixture.Wal);
        _fixture.Disk.Damage("/store/" + ObjectName.Segment(TimelineId.First, 2), offset: 200);

        Assert.Equal(ErrorCode.ArchiveDamaged, _fixture.RefusalOf(RecoveryTarget.Latest));
    }

    /// <summary>One damaged object is no loss while another place has the segment.</summary>
    [Fact]
    public void A_segment_that_can_not_be_read_is_read_from_another_store()
    {
        _fixture.Backup("b1");
        Commits(200);
        _fixture.Ship(_fixture.Wal);
        FolderStore second = _fixture.CopyOfStore("/second");
        _fixture.Disk.Damage("/store/" + ObjectName.Segment(TimelineId.First, 2), offset: 200);

        RecoveryPlan plan = RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Latest) with { Archives = [_fixture.Store, second] }).Plan;

        Assert.Equal(_fixture.Wal.End, plan.StopsAt.Lsn);
        Assert.Contains("'/second' is read instead", plan.Findings[0], StringComparison.Ordinal);
    }

    /// <summary>A running database joins and deletes parts while a plan is made.</summary>
    [Fact]
    public void A_part_that_was_joined_since_it_was_listed_is_found_in_what_stands_for_it()
    {
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        Lsn end = _fixture.Wal.End;
        ArchiveCatalog listed = ArchiveCatalog.Load(_fixture.Store);
        string part = Assert.Single(_fixture.Store.List(ObjectName.PartPrefix(TimelineId.First, 1)));
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        _fixture.Store.Delete(part);

        Lsn start = _fixture.Wal.Timeline.StartLsn;
        Recovery.WalStretch stretch = new ArchiveWalSource(_fixture.Store, listed, RecoveryFixture.Geometry)
            .Find(_fixture.History, 1, start, end)!;
        (Lsn from, ReadOnlyMemory<byte> bytes) = stretch.Open();

        Assert.Equal(start, from);
        Assert.True(bytes.Length >= end - start);
        Assert.True(stretch.LeastRawClock() > 0);
    }

    /// <summary>The same for who looks for the time of the last commit: an expire, the recovery window.</summary>
    [Fact]
    public void The_times_of_a_part_that_went_when_its_segment_was_whole_are_those_of_the_whole()
    {
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        SegmentSource listed = ArchiveCatalog.Load(_fixture.Store).Source(
            TimelineId.First, 1, _fixture.Wal.Timeline.StartLsn, _fixture.Wal.End)!;
        DateTimeOffset then = _fixture.Wal.Time;
        string part = Assert.Single(_fixture.Store.List(ObjectName.PartPrefix(TimelineId.First, 1)));
        Commits(200);
        _fixture.Ship(_fixture.Wal);
        _fixture.Store.Delete(part);
        Assert.True(ArchiveCatalog.Load(_fixture.Store).HasWhole(TimelineId.First, 1));

        var reader = new ArchiveReader(_fixture.Store, _fixture.History);
        Assert.True(reader.FetchTimes(listed).LastCommitTicks >= then.UtcTicks);
        _fixture.Store.Delete(ObjectName.Segment(TimelineId.First, 1));
        Assert.Equal(
            ErrorCode.ArchiveObjectUnknown, Assert.Throws<NotFoundException>(() => reader.FetchTimes(listed)).Code);
    }

    /// <summary>H8: what can't be looked at behind a time is told, and keeps nobody from what lies before it.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(200)]
    public void Damage_behind_a_time_is_told_in_the_plan(long offset)
    {
        _fixture.Backup("b1");
        Commits(2);
        DateTimeOffset target = _fixture.Wal.Time;
        Commits(200);
        _fixture.Wal.RawClock = target.AddMinutes(-5);
        Commits(1);
        _fixture.Wal.RawClock = null;
        ulong number = RecoveryFixture.Geometry.NumberOf(_fixture.Wal.End);
        Commits(100);
        _fixture.Ship(_fixture.Wal);
        _fixture.Disk.Damage("/store/" + ObjectName.Segment(TimelineId.First, number), offset);

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Including(target));

        Assert.Equal(new TransactionId(2), plan.LastTransaction?.TransactionId);
        Assert.Contains(plan.Findings, finding => finding.Contains("could not be looked at", StringComparison.Ordinal));
    }

    [Fact]
    public void A_damaged_file_of_the_set_is_damage()
    {
        _fixture.Backup("b1");
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        _fixture.Disk.Damage("/store/backups/b1/datafiles/main.pitr", offset: 9000);

        Assert.Equal(ErrorCode.BackupDamaged, _fixture.RefusalOf(RecoveryTarget.Latest));
    }

    /// <summary>H36: what stands in for a whole segment is named.</summary>
    [Fact]
    public void Parts_that_stand_in_for_a_whole_segment_are_named()
    {
        _fixture.Backup("b1");
        Commits(2);
        _fixture.Ship(_fixture.Wal);

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Latest);

        Assert.Contains(plan.Findings, finding => finding.Contains("stand in", StringComparison.Ordinal));
        Assert.Contains(plan.Wal, wal => wal.IsParts);
    }

    /// <summary>What would have been nearer to the target is told: one finding for each.</summary>
    [Fact]
    public void Sets_that_are_damaged_or_have_lost_their_base_are_told_in_the_plan()
    {
        _fixture.Backup("b1");
        Commits(2);
        BackupSet second = _fixture.Backup("b2");
        Commits(2);
        _fixture.Backup("b3");
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        Assert.DoesNotContain(
            _fixture.Plan(RecoveryTarget.Latest).Findings, finding => finding.Contains("is not used", StringComparison.Ordinal));
        byte[] label = (second.Label with { BaseId = "b0", BaseDigest = second.Manifest.Digest }).ToBytes();
        string sha = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(label));
        _fixture.Store.Put("backups/b2/label.json", label);
        _fixture.Store.Put("backups/b2/manifest.json", BackupManifest.Of("b2", second.Manifest.Objects.Select(entry =>
            entry.Name == BackupSet.LabelName ? new ManifestEntry(entry.Name, label.Length, sha) : entry)).ToBytes());
        _fixture.Store.Put("backups/b3/manifest.json", "{}"u8.ToArray());

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Latest);

        Assert.Equal("b1", plan.BackupId);
        string[] told = [.. plan.Findings.Where(finding => finding.Contains("is not used", StringComparison.Ordinal))];
        Assert.Equal(2, told.Length);
        Assert.Single(told, finding => finding.StartsWith("Backup set 'b2'", StringComparison.Ordinal)
            && finding.Contains("'b0'", StringComparison.Ordinal));
        Assert.Single(told, finding => finding.StartsWith("Backup set 'b3'", StringComparison.Ordinal));
        Assert.DoesNotContain(
            RecoveryPlanner.Plan(_fixture.Request(RecoveryTarget.Latest) with { BackupId = "b1" }).Plan.Findings,
            finding => finding.Contains("is not used", StringComparison.Ordinal)); // it was named
    }

    /// <summary>H29: a set that lacks a file that lived at its stop does not count.</summary>
    [Fact]
    public void A_partial_set_does_not_count()
    {
        Commits(1);
        Lsn c = _fixture.Wal.End;
        var writer = new BackupWriter(
            _fixture.Disk, _fixture.Store, [_fixture.Store],
            new BackupStart("partial", RecoveryFixture.ControlOf(_fixture.Wal, c), c, _fixture.Wal.Time),
            new RecoveryFixture.EveryPage());
        writer.Begin();
        Lsn stop = _fixture.Wal.Log(new WalEvent.BackupEnd("partial", writer.StartLsn));
        writer.Complete(
            new BackupStop(stop, _fixture.Wal.Time, new TransactionId(1), new HashSet<FileId> { FileId.Main }));
        _fixture.Ship(_fixture.Wal);

        Assert.Equal(ErrorCode.BackupUnknown, _fixture.RefusalOf(RecoveryTarget.Latest));
        Assert.Equal(
            ErrorCode.BackupVoid,
            Assert.ThrowsAny<PitrException>(() => RecoveryPlanner.Plan(
                _fixture.Request(RecoveryTarget.Latest) with { BackupId = "partial" })).Code);
    }

    /// <summary>H28: both branches have transactions of their own.</summary>
    [Fact]
    public void Two_branches_with_transactions_of_their_own_must_agree_on_the_target()
    {
        (Lsn shared, MemoryWal drill) = Branch(transactionsOnDrill: 2);

        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Latest));
        Assert.Equal(shared, _fixture.Plan(RecoveryTarget.Including(shared)).StopsAt.Lsn);
        Assert.Equal( // there on one of them only
            ErrorCode.BranchAmbiguous,
            _fixture.RefusalOf(RecoveryTarget.Including(Lsn.Max(_fixture.Wal.End, drill.End))));
        Assert.Equal(drill.End, _fixture.Plan(RecoveryTarget.Latest, "2").StopsAt.Lsn);
        Assert.Equal(drill.End, _fixture.Plan(RecoveryTarget.Latest, "latest").StopsAt.Lsn);
        Assert.Equal(_fixture.Wal.End, _fixture.Plan(RecoveryTarget.Latest, "current").StopsAt.Lsn);
        Assert.Equal(ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Latest, "9"));
    }

    /// <summary>H28: the newest set may be that of a drill.</summary>
    [Fact]
    public void Immediate_is_refused_if_sets_of_several_branches_could_be_meant()
    {
        _fixture.Backup("b1");
        Lsn fork = Commits(2);
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        drill.Put(1, 1, "x"u8, "y"u8).Commit();
        _fixture.Backup("drill", drill);
        Commits(1);
        _fixture.Ship(_fixture.Wal);
        _fixture.Ship(drill, _fixture.Wal.Timeline);

        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Immediate));
        Assert.Equal("drill", _fixture.Plan(RecoveryTarget.Immediate, "2").BackupId);
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Immediate, "1").BackupId);
    }

    /// <summary>H28: a drill that wrote nothing hides nobody's week.</summary>
    [Fact]
    public void A_branch_without_transactions_of_its_own_is_not_followed()
    {
        Branch(transactionsOnDrill: 0);

        RecoveryPlan plan = _fixture.Plan(RecoveryTarget.Latest);

        Assert.Equal(TimelineId.First, plan.Timeline);
        Assert.Equal(_fixture.Wal.End, plan.StopsAt.Lsn);
    }

    /// <summary>H28: what was committed on a branch of which only its WAL is left is not left out silently.</summary>
    [Fact]
    public void A_branch_whose_history_is_lost_is_not_left_out_silently()
    {
        (_, MemoryWal drill) = Branch(transactionsOnDrill: 2);
        _fixture.Store.Delete(ObjectName.History(new TimelineId(2)));

        RefusedException refused = Assert.Throws<RefusedException>(() => _fixture.Plan(RecoveryTarget.Latest));
        Assert.Equal(ErrorCode.BranchAmbiguous, refused.Code);
        Assert.Contains("WAL of timeline 2", refused.Message, StringComparison.Ordinal);
        Assert.Contains("history/00000002.json", refused.Hint, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Latest, "latest"));
        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Latest, "2"));
        Assert.Equal(_fixture.Wal.End, _fixture.Plan(RecoveryTarget.Latest, "1").StopsAt.Lsn);
        Assert.Equal(_fixture.Wal.End, _fixture.Plan(RecoveryTarget.Latest, "current").StopsAt.Lsn);
        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Immediate).BackupId); // where the set stops

        _fixture.Backup("b2", drill); // its label says where the branch was forked
        _fixture.Ship(drill, _fixture.Wal.Timeline);
        _fixture.Store.Delete(ObjectName.History(new TimelineId(2)));
        Assert.Equal(drill.End, _fixture.Plan(RecoveryTarget.Latest, "2").StopsAt.Lsn);
    }

    /// <summary>H28: the live branch has lost its sets; those that are left are of the abandoned future.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void A_branch_that_no_set_leads_to_is_not_left_out_silently(int transactionsBeyondTheFork)
    {
        Lsn fork = Commits(2);
        Commits(transactionsBeyondTheFork);
        _fixture.Backup("abandoned");
        MemoryWal live = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        live.Put(1, 1, "x"u8, "y"u8).Commit();
        Commits(30);
        _fixture.Ship(_fixture.Wal);
        _fixture.Ship(live, _fixture.Wal.Timeline);

        RefusedException refused = Assert.Throws<RefusedException>(() => _fixture.Plan(RecoveryTarget.Latest));
        Assert.Equal(ErrorCode.BranchAmbiguous, refused.Code);
        Assert.Contains("on timeline 2", refused.Message, StringComparison.Ordinal);
        Assert.Contains("1, the first; 2, forked from 1", refused.Message, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.BranchAmbiguous, _fixture.RefusalOf(RecoveryTarget.Including(_fixture.Wal.End)));
        Assert.Equal("abandoned", _fixture.Plan(RecoveryTarget.Latest, "1").BackupId);
        Assert.Equal(ErrorCode.TargetUnreachable, _fixture.RefusalOf(RecoveryTarget.Latest, "2"));
        Assert.Equal("abandoned", _fixture.Plan(RecoveryTarget.Immediate).BackupId);
        Assert.Equal(
            TimelineId.First, RecoveryPlanner.Plan(
                _fixture.Request(RecoveryTarget.Latest) with { BackupId = "abandoned" }).Plan.Timeline);
    }

    /// <summary>H28: one that nothing was committed on is none.</summary>
    [Fact]
    public void A_branch_that_no_set_leads_to_and_that_has_no_transactions_is_not_followed()
    {
        Lsn fork = Commits(2);
        Commits(2);
        _fixture.Backup("b1");
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        drill.Log(new WalEvent.TimelineStart(
            drill.Timeline.Timeline, drill.Timeline.Lineage, TimelineId.First, _fixture.Wal.Timeline.Lineage, fork,
            drill.Timeline.StartLsn, "drill"));
        Commits(2);
        _fixture.Ship(_fixture.Wal);
        _fixture.Ship(drill, _fixture.Wal.Timeline);

        Assert.Equal(_fixture.Wal.End, _fixture.Plan(RecoveryTarget.Latest).StopsAt.Lsn);
    }

    /// <summary>H14: a set from the abandoned future does not lie on the new branch.</summary>
    [Fact]
    public void A_set_of_the_abandoned_future_is_not_used_on_another_branch()
    {
        _fixture.Backup("b1");
        Lsn fork = Commits(2);
        Commits(2);
        _fixture.Backup("abandoned");
        Commits(1);
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        drill.Put(1, 1, "x"u8, "y"u8).Commit();
        _fixture.Ship(_fixture.Wal);
        _fixture.Ship(drill, _fixture.Wal.Timeline);

        Assert.Equal("b1", _fixture.Plan(RecoveryTarget.Latest, "2").BackupId);
        Assert.Equal("abandoned", _fixture.Plan(RecoveryTarget.Latest, "1").BackupId);
    }

    private (Lsn Shared, MemoryWal Drill) Branch(int transactionsOnDrill)
    {
        _fixture.Backup("b1");
        Lsn shared = Commits(2);
        Lsn fork = Commits(1);
        MemoryWal drill = RecoveryFixture.Fork(_fixture.Wal, 2, fork);
        drill.Log(new WalEvent.TimelineStart(
            drill.Timeline.Timeline, drill.Timeline.Lineage, TimelineId.First, _fixture.Wal.Timeline.Lineage, fork,
            drill.Timeline.StartLsn, "drill"));
        for (int n = 0; n < transactionsOnDrill; n++)
            drill.Put(1, 1, "drill"u8, "1"u8).Commit();
        Commits(30);
        _fixture.Ship(_fixture.Wal);
        _fixture.Ship(drill, _fixture.Wal.Timeline);
        return (shared, drill);
    }

    private Lsn Commits(int count)
    {
        Lsn last = _fixture.Wal.End;
        for (int n = 0; n < count; n++)
            last = _fixture.Wal.Put(1, 1, "k"u8, "v"u8).Commit();
        return last;
    }
}
