using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class WalAppenderTests
{
    [Fact]
    public void What_was_appended_reads_back_in_order_with_its_stamps()
    {
        using TestLog log = TestLog.Create();
        Lsn[] first = log.Group(200, 64, 72);
        Lsn[] second = log.Group(1000);

        using WalReader reader = log.Reader();
        var seen = new List<Lsn>();
        while (reader.MoveNext())
        {
            WalRecord record = reader.Current;
            seen.Add(record.Lsn);
            Assert.Equal(WalRecordKind.Transaction, record.Kind);
            Assert.Equal((ulong)seen.Count, record.TransactionId.Value);
            Assert.Equal(seen.Count <= 3 ? log.Geometry.FirstLsn : first[2], record.GroupStart);
            Assert.Equal(record.CommitTime, record.RawClock);
            byte[] written = TestLog.Record(record.Bytes.Length, record.TransactionId.Value);
            Assert.True(record.Body.SequenceEqual(written.AsSpan(RecordCodec.HeaderBytes)));
        }
        Assert.Equal([.. first, .. second], seen);
        Assert.Equal("E11", reader.End!.Row);
        Assert.Equal(second[0], reader.End.At);
        Assert.Equal(log.Appender.DurableLsn, reader.Next);
        Assert.Equal(log.Appender.LastCrc, reader.LastCrc);
    }

    [Theory]
    [InlineData(4000)]
    [InlineData(10_000)]
    [InlineData(200_000)]
    [InlineData(1_500_000)]
    public void A_record_may_span_segments(int lengthBytes)
    {
        using TestLog log = TestLog.Create();
        Lsn[] lsns = log.Group(96, lengthBytes, 96);
        (List<Lsn> read, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal(lsns, read);
        Assert.Equal(WalEndReason.End, end.Reason);
    }

    [Fact]
    public void A_group_longer_than_the_staging_buffer_is_still_one_group()
    {
        using TestLog log = TestLog.Create(1 << 20);
        Lsn[] lsns = log.Group([.. Enumerable.Repeat(50_000, 60)]);
        using WalReader reader = log.Reader();
        for (int n = 0; n < lsns.Length; n++)
        {
            Assert.True(reader.MoveNext());
            Assert.Equal(log.Geometry.FirstLsn, reader.Current.GroupStart);
        }
        Assert.False(reader.MoveNext());
        Assert.Equal(lsns[^1], reader.End!.At);
    }

    /// <summary>
    /// H4: a group costs one write and one sync for each segment it touches, and is durable after the last sync.
    /// </summary>
    [Fact]
    public void A_group_over_two_segments_is_one_write_and_one_sync_each()
    {
        using TestLog log = TestLog.Create();
        log.Disk.Log.Start();
        log.Begin();
        for (int n = 0; n < 25; n++)
            log.Stage();
        Assert.Equal(log.Geometry.FirstLsn, log.Appender.DurableLsn);
        log.Appender.WriteAndSync();
        log.Disk.Log.Stop();
        FileOp[] done = [.. log.Disk.Log.Operations.Select(operation => operation.Op)];
        Assert.Equal([FileOp.Write, FileOp.Write, FileOp.SyncData, FileOp.SyncData], done);
        Assert.Equal(log.Geometry.FirstLsn + (25 * 200), log.Appender.DurableLsn);
    }

    /// <summary>H4: nothing of a record is staged, let alone written, that ready segments do not hold.</summary>
    [Fact]
    public void A_record_that_ready_segments_do_not_hold_is_refused_before_its_first_byte()
    {
        using TestLog log = TestLog.Create();
        long room = 2 * log.Geometry.PayloadBytes;
        Assert.True(log.Appender.CanHold(room));
        Assert.False(log.Appender.CanHold(room + 8));
        Assert.Equal(0, log.Appender.SegmentsMissing(room));
        Assert.Equal(1, log.Appender.SegmentsMissing(room + 8));
        long before = log.Disk.OperationCount;
        log.Begin();
        Assert.Throws<BugException>(() => log.Stage((int)room + 8));
        Assert.Equal(before, log.Disk.OperationCount);

        log.Folder.EnsureReady(3);
        Assert.False(log.Appender.CanHold(room + 8)); // the group began before
        log.Appender.WriteAndSync();
        Assert.True(log.Appender.CanHold(room + 8));
    }

    /// <summary>H3: a failed sync is never tried again, and nothing is written behind it.</summary>
    [Theory]
    [InlineData("sync")]
    [InlineData("write")]
    public void A_failed_write_or_sync_is_the_end_of_the_appender(string what)
    {
        FileOp op = what == "sync" ? FileOp.SyncData : FileOp.Write;
        using TestLog log = TestLog.Create();
        Lsn durable = log.Group(200)[0];
        log.Begin();
        log.Stage();
        log.Disk.Faults.On(op).Nth(1).Fail(Errno.EIO);
        StorageFailedException failed = Assert.Throws<StorageFailedException>(log.Appender.WriteAndSync);
        Assert.Equal(ErrorCode.WalFailed, failed.Code);
        Assert.Equal(Errno.EIO, failed.Errno);
        Assert.True(log.Appender.HasFailed);
        Assert.Equal(durable, log.Appender.DurableLsn);

        long before = log.Disk.OperationCount;
        Assert.Throws<StorageFailedException>(log.Appender.WriteAndSync);
        Assert.Throws<StorageFailedException>(log.Begin);
        Assert.Throws<StorageFailedException>(() => log.Stage());
        Assert.Throws<StorageFailedException>(log.Appender.Switch);
        Assert.Equal(before, log.Disk.OperationCount);
    }

    /// <summary>
    /// H6: a switch is a filler record that reaches the boundary, also where fewer bytes are left than a header has.
    /// </summary>
    [Theory]
    [InlineData(200)]
    [InlineData(3584 - 64)]
    [InlineData(3584 - 56)]
    [InlineData(3584 - 8)]
    public void A_switch_is_a_filler_that_reaches_the_boundary(int lengthBytes)
    {
        using TestLog log = TestLog.Create();
        Lsn first = log.Group(lengthBytes)[0];
        log.Appender.Switch();
        Lsn filler = log.Appender.DurableLsn;
        Assert.True(filler >= log.Geometry.StartOf(2) && filler < log.Geometry.StartOf(2) + RecordCodec.HeaderBytes);
        Lsn after = log.Group(200)[0];
        (List<Lsn> read, WalEnd end) = TestLog.ReadAll(log.Reader());
        Assert.Equal([first, filler, after], read);
        Assert.Equal(WalEndReason.End, end.Reason);
    }

    [Fact]
    public void A_switch_at_a_boundary_writes_nothing()
    {
        using TestLog log = TestLog.Create();
        log.Group(log.Geometry.PayloadBytes);
        long before = log.Disk.OperationCount;
        log.Appender.Switch();
        Assert.Equal(before, log.Disk.OperationCount);
    }

    [Fact]
    public void Staging_allocates_nothing()
    {
        using TestLog log = TestLog.Create(1 << 20);
        byte[] record = TestLog.Record(200, 1);
        uint state = RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes));
        log.Begin();
        log.Appender.Stage(record, WalRecordKind.Transaction, default, 1, state);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int n = 0; n < 1000; n++)
            log.Appender.Stage(record, WalRecordKind.Transaction, default, 1, state);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
