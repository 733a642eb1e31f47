using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>The hazards of the WAL, one by one, each by the schedule that would lose data.</summary>
public sealed class WalHazardTests
{
    /// <summary>
    /// H2: r1 of r1 r2 r3 is lost; a new record of r1's length takes its place; r2 and r3 must not follow it.
    /// </summary>
    [Fact]
    public void A_refused_record_does_not_pass_behind_a_new_one_of_the_lost_ones_length()
    {
        using TestLog first = TestLog.Create();
        first.Group(200, 200, 200);
        byte[] stale = first.Disk.ReadAll(first.Place(first.Geometry.FirstLsn).Path);

        using TestLog second = TestLog.Create();
        Lsn only = second.Group(200)[0];
        // Another record of that length stands first: its CRC is not the one that the stale ones carry.
        using IFileHandle file = second.Disk.Open(second.Place(only).Path, FileOpen.ReadWrite);
        file.Write(second.Place(only).Offset, stale.AsSpan(512 + 200, 400));
        Assert.True(RecordCodec.CrcMatches(stale.AsSpan(512 + 200, 200), TestLog.First.Lineage));
        (List<Lsn> same, _) = TestLog.ReadAll(second.Reader());
        Assert.Equal(3, same.Count); // the very same r1: its group survives as a whole

        byte[] other = TestLog.Record(200, 77);
        var stamp = new RecordStamp
        {
            LengthBytes = 200,
            Kind = WalRecordKind.Transaction,
            StartLsn = second.Geometry.FirstLsn.Value,
            GroupStart = second.Geometry.FirstLsn.Value,
            PreviousCrc = RecordCodec.FirstPreviousCrc(TestLog.First.Lineage),
            Lineage = TestLog.First.Lineage.Value,
        };
        RecordCodec.WriteHeader(ref other[0], in stamp, RecordCodec.BodyState(other.AsSpan(RecordCodec.HeaderBytes)));
        file.Write(512, other);
        (List<Lsn> read, WalEnd end) = TestLog.ReadAll(second.Reader());
        Assert.Equal([only], read);
        Assert.Equal(WalEndReason.TornTail, end.Reason);
    }

    /// <summary>H2: a record of another lineage does not pass, though its place and chain fit.</summary>
    [Fact]
    public void A_record_of_another_lineage_is_none_of_this_log()
    {
        using TestLog log = TestLog.Create();
        log.Group(200);
        byte[] record = log.Disk.ReadAll(log.Place(log.Geometry.FirstLsn).Path)[512..712];
        Assert.True(RecordCodec.CrcMatches(record, TestLog.First.Lineage));
        Assert.False(RecordCodec.CrcMatches(record, TestLog.Second.Lineage));
    }

    /// <summary>
    /// H2: a record that chains to the one before it, with a CRC of its own, is none if it says another place, or
    /// belongs to a group that is neither its own nor that record's.
    /// </summary>
    [Theory]
    [InlineData(0, 0, true)]
    [InlineData(8, 0, false)]
    [InlineData(-8, 0, false)]
    [InlineData(0, -200, true)] // the group of the record before it
    [InlineData(0, -400, false)]
    [InlineData(0, -8, false)]
    public void A_record_of_another_place_or_group_is_none_of_this_log(int place, int groupStart, bool passes)
    {
        using TestLog log = TestLog.Create();
        log.Group(200);
        Lsn before = log.Group(200)[0];
        byte[] record = TestLog.Record(200, 77);
        var stamp = new RecordStamp
        {
            LengthBytes = 200,
            Kind = WalRecordKind.Transaction,
            StartLsn = (before + place).Value,
            GroupStart = (before + groupStart).Value,
            PreviousCrc = log.Appender.LastCrc,
            Lineage = TestLog.First.Lineage.Value,
        };
        RecordCodec.WriteHeader(ref record[0], in stamp, RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
        using (IFileHandle file = log.Disk.Open(log.Place(before).Path, FileOpen.ReadWrite))
            file.Write(log.Place(before).Offset, record);
        Assert.Equal(passes ? 3 : 2, TestLog.ReadAll(log.Reader()).Lsns.Count);
    }

    /// <summary>H3: what a kill left in the page cache only is durable once opening has returned.</summary>
    [Fact]
    public void What_opening_has_read_survives_a_power_loss_right_after_it()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            using TestLog log = TestLog.Create();
            log.Group(200);
            log.Begin();
            log.Stage(3000);
            log.Stage(3000);
            log.Disk.Faults.On(FileOp.SyncData).Nth(1).Fail(Errno.EIO); // the kernel marks the pages clean
            Assert.Throws<StorageFailedException>(log.Appender.WriteAndSync);

            SimulatedDisk killed = log.Disk.KillCopy();
            Lsn end = OpenAndClose(killed, log.Geometry.FirstLsn).End;
            Assert.Equal(log.Geometry.FirstLsn + 6200, end);
            Assert.Equal(end, OpenAndClose(killed.CrashCopy(seed), end).End);
        }
    }

    /// <summary>
    /// H3: after a promotion without a record of its own, opening changes no byte of the parent's segments.
    /// </summary>
    [Fact]
    public void Opening_writes_only_to_segments_of_its_own_timeline()
    {
        using TestLog log = TestLog.Create();
        Lsn fork = log.Group(200, 200)[1];
        log.Group(496);
        Lsn start = log.Geometry.BoundaryAtOrAbove(fork);
        using var folder = new WalFolder(log.Disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.Second);
        folder.ContinueAt(folder.Geometry.NumberOf(start));
        folder.EnsureReady(1);
        string parent = log.Place(log.Geometry.FirstLsn).Path;
        byte[] before = log.Disk.ReadAll(parent);

        log.Disk.Log.Start();
        using var again = new WalFolder(log.Disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.Second);
        WalOpened opened = WalOpening.Open(new WalOpeningRequest
        {
            Folder = again,
            TimelineStart = start,
            RedoLsn = log.Geometry.FirstLsn,
            KnownEnd = fork,
            Parents = [new WalStretch(TestLog.First.Timeline, TestLog.First.Lineage, log.Geometry.FirstLsn, fork)],
        });
        using WalAppender appender = opened.Appender;
        Assert.Equal(start, opened.End);
        Assert.Equal(2UL, opened.LastTransactionId.Value);
        Assert.Equal(before, log.Disk.ReadAll(parent));
        Assert.DoesNotContain(
            log.Disk.Log.Operations, done => done.Op is FileOp.Write or FileOp.SetLength && done.Path == parent);

        appender.BeginGroup(opened.LastCommitTime.AddTicks(1), opened.LastCommitTime);
        appender.Stage(new WalEvent.TimelineStart(
            TestLog.Second.Timeline, TestLog.Second.Lineage, TestLog.First.Timeline, TestLog.First.Lineage, fork, start,
            "a test"));
        appender.WriteAndSync();
        using var reader = new WalReader(
            new FolderWalBytes(again, TestLog.Second), WalRange.OfTimeline(TestLog.Second.Lineage, start, start));
        Assert.True(reader.MoveNext());
        Assert.Equal(fork, Assert.IsType<WalEvent.TimelineStart>(reader.Current.Event).ForkLsn);
    }

    /// <summary>
    /// H5: a segment has its name only when its content is durable, and is handed out only when its name is.
    /// </summary>
    [Fact]
    public void A_segment_is_ready_after_zeroes_header_sync_rename_and_folder_sync_in_that_order()
    {
        using TestLog log = TestLog.Create();
        log.Disk.Log.Start();
        log.Folder.EnsureReady(3);
        FileOp[] done = [.. log.Disk.Log.Operations.Select(operation => operation.Op)
            .Where(op => op is not (FileOp.Stat or FileOp.Open))];
        Assert.Equal(
            [FileOp.Create, FileOp.Write, FileOp.Write, FileOp.SyncData, FileOp.Rename, FileOp.SyncFolder], done);
    }

    /// <summary>
    /// H3, H5: segments that lie in the page cache only, as after somebody copied the folder, are durable with their
    /// names once opening has returned: those that were read, and the empty ones behind the end.
    /// </summary>
    [Fact]
    public void Segments_that_nobody_synced_are_durable_once_opening_has_returned()
    {
        using TestLog log = TestLog.Create();
        log.Group(3000);
        log.Group(3000);
        Lsn end = log.Group(200, 3000)[^1];
        for (int seed = 0; seed < 20; seed++)
        {
            var copied = new SimulatedDisk();
            copied.CreateFolders(TestLog.FolderPath);
            foreach (SegmentName name in log.Folder.List())
            {
                using IFileHandle copy = copied.Open(log.Folder.PathOf(name), FileOpen.CreateNew);
                copy.Write(0, log.Disk.ReadAll(log.Folder.PathOf(name)));
            }
            Assert.Equal(end, OpenAndClose(copied, log.Geometry.FirstLsn).End);
            Assert.Equal(end, OpenAndClose(copied.CrashCopy(seed), end).End);
        }
    }

    /// <summary>
    /// H44: a torn record over several segments, which opening is about to remove; after a power loss at any operation
    /// of it neither its beginning without its rest nor a hole before its rest makes the log unreadable.
    /// </summary>
    [Theory]
    [InlineData(false)] // it begins within a segment, whose zeroes have to be durable first
    [InlineData(true)] // it begins with a segment, so that the log ends where the first removed one begins
    public void An_opening_that_removes_a_torn_groups_segments_may_end_at_any_operation(bool isAtBoundary)
    {
        using TestLog log = TestLog.Create();
        Lsn end = log.Group(200)[0];
        if (isAtBoundary)
        {
            log.Appender.Switch();
            end = log.Appender.DurableLsn;
        }
        Lsn lost = log.Group(12_000)[0] + -8;
        log.Disk.Damage(log.Place(lost).Path, log.Place(lost).Offset);
        bool hasEnded = false;
        for (int at = 1; !hasEnded; at++)
        {
            SimulatedDisk disk = log.Disk.KillCopy();
            disk.CrashAt(disk.OperationCount + at);
            hasEnded = Record.Exception(() => OpenAndClose(disk, log.Geometry.FirstLsn)) is null;
            for (int seed = 0; seed < 16; seed++)
                Assert.Equal(end, OpenAndClose(disk.CrashCopy(seed), end).End);
        }
    }

    /// <summary>
    /// H5: a segment that is recycled has lost its old name durably before it gets new content: after a power loss at
    /// any operation every name stands for its own segment.
    /// </summary>
    [Fact]
    public void The_old_name_of_a_recycled_segment_never_stands_for_new_content()
    {
        using TestLog log = TestLog.Create();
        log.Group(3000);
        log.Group(3000);
        log.Group(3000);
        SegmentName[] old = [.. log.Folder.List().Take(2)];
        bool hasEnded = false;
        for (int at = 1; !hasEnded; at++)
        {
            SimulatedDisk disk = log.Disk.KillCopy();
            using var folder = new WalFolder(disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First);
            folder.ContinueAt(log.Folder.List()[^1].Number + 1);
            disk.CrashAt(disk.OperationCount + at);
            hasEnded = Record.Exception(() =>
            {
                folder.Recycle(old);
                folder.EnsureReady();
            }) is null;
            for (int seed = 0; seed < 16; seed++)
            {
                var left = new WalFolder(disk.CrashCopy(seed), TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First);
                foreach (SegmentName name in left.List())
                    left.Open(name.Number, TestLog.First, FileOpen.Read).Dispose();
            }
        }
    }

    /// <summary>H5: a full disk while making a segment ready harms nothing, and goes on when there is room.</summary>
    [Fact]
    public void A_full_disk_while_making_a_segment_ready_can_be_tried_again()
    {
        using TestLog log = TestLog.Create();
        log.Disk.Faults.On(FileOp.Write).Nth(1).Full();
        Assert.True(Assert.Throws<StorageFailedException>(() => log.Folder.EnsureReady(3)).IsDiskFull);
        Assert.Equal(2, log.Folder.ReadyCount);
        log.Folder.EnsureReady(3);
        Assert.Equal(3, log.Folder.ReadyCount);
    }

    /// <summary>H6: a bad record with only records of its own group behind is a torn tail.</summary>
    [Fact]
    public void A_bad_record_before_good_ones_of_its_own_group_is_a_torn_tail()
    {
        using TestLog log = TestLog.Create();
        log.Group(200);
        Lsn[] group = log.Group(200, 200, 200);
        log.Disk.Damage(log.Place(group[0]).Path, log.Place(group[0]).Offset + 100);
        (_, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal((WalEndReason.TornTail, "E12", group[0]), (end.Reason, end.Row, end.At));
    }

    /// <summary>
    /// H6: a bad record with a good one of a later group behind is damage, whatever its length field says.
    /// </summary>
    [Theory]
    [InlineData(100)]
    [InlineData(0)] // the length
    [InlineData(16)] // the start LSN
    public void A_bad_record_before_a_later_group_is_damage(int damagedByte)
    {
        using TestLog log = TestLog.Create();
        Lsn first = log.Group(200)[0];
        log.Group(200, 4000);
        log.Group(200);
        log.Disk.Damage(log.Place(first).Path, log.Place(first).Offset + damagedByte);
        (_, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal((WalEndReason.Damage, "E10", first), (end.Reason, end.Row, end.At));
        Assert.Equal(ErrorCode.WalDamaged, end.ToException().Code);
    }

    /// <summary>H6: below the end that a checkpoint or clean shutdown noted, a bad record is damage.</summary>
    [Fact]
    public void A_bad_record_below_the_known_end_is_damage()
    {
        using TestLog log = TestLog.Create();
        Lsn first = log.Group(200)[0];
        Lsn last = log.Group(200)[0];
        log.Disk.Damage(log.Place(first).Path, log.Place(first).Offset + 100);
        (_, WalEnd end) = TestLog.ReadAll(log.Reader(knownEnd: last));
        Assert.Equal((WalEndReason.Damage, "E9"), (end.Reason, end.Row));
    }

    /// <summary>H6: a read error is damage, never a torn tail.</summary>
    [Fact]
    public void A_read_error_is_damage()
    {
        using TestLog log = TestLog.Create();
        log.Group(200);
        log.Disk.Faults.On(FileOp.Read).From(2).Fail(Errno.EIO); // the first reads the header
        (_, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal((WalEndReason.Damage, "E3"), (end.Reason, end.Row));
    }

    /// <summary>H6: a missing segment before later ones is a gap.</summary>
    [Fact]
    public void A_missing_segment_is_a_gap()
    {
        using TestLog log = TestLog.Create();
        log.Group(9000);
        log.Disk.Delete(log.Folder.PathOf(new SegmentName(TestLog.First.Timeline, 2)));
        (_, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal((WalEndReason.Gap, "E4", log.Geometry.StartOf(2)), (end.Reason, end.Row, end.At));
    }

    /// <summary>H7: a log that does not reach what the control file or a datafile knows is refused.</summary>
    [Fact]
    public void A_log_that_ends_before_what_others_know_is_refused()
    {
        using TestLog log = TestLog.Create();
        Lsn end = log.Group(200)[0];
        var request = new WalOpeningRequest
        {
            Folder = new WalFolder(log.Disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First),
            TimelineStart = log.Geometry.FirstLsn,
            RedoLsn = log.Geometry.FirstLsn,
            KnownEnd = end,
            MustReach = [new KnownPosition(end + 8, "datafile 'main'")],
        };
        Assert.Equal(ErrorCode.WalTooShort, Assert.Throws<RefusedException>(() => WalOpening.Open(request)).Code);

        foreach (SegmentName name in log.Folder.List())
            log.Disk.Delete(log.Folder.PathOf(name));
        Assert.Equal(
            ErrorCode.WalTooShort,
            Assert.Throws<RefusedException>(() => WalOpening.Open(request with { MustReach = [] })).Code);
    }

    /// <summary>
    /// H8: commit times grow by at least 100 ns a group while the clock stands, steps back, or restarts.
    /// </summary>
    [Fact]
    public void Commit_times_grow_though_the_clock_steps_back()
    {
        var noon = new DateTimeOffset(2026, 8, 22, 12, 0, 0, TimeSpan.Zero);
        var system = new FakeTimeProvider(noon);
        var clock = new CommitClock(system, default);
        Assert.Equal(new GroupTime(noon, noon), clock.Next());
        Assert.Equal(new GroupTime(noon.AddTicks(1), noon), clock.Next());

        var behind = new FakeTimeProvider(noon.AddHours(-1));
        var restarted = new CommitClock(behind, clock.Last);
        Assert.Equal(new GroupTime(noon.AddTicks(2), noon.AddHours(-1)), restarted.Next());
    }

    private static WalOpened OpenAndClose(SimulatedDisk disk, Lsn knownEnd)
    {
        using var folder = new WalFolder(disk, TestLog.FolderPath, TestLog.SegmentBytes, TestLog.First);
        WalOpened opened = WalOpening.Open(new WalOpeningRequest
        {
            Folder = folder,
            TimelineStart = folder.Geometry.FirstLsn,
            RedoLsn = folder.Geometry.FirstLsn,
            KnownEnd = knownEnd,
        });
        opened.Appender.Dispose();
        return opened;
    }
}
