using System.Text.Json;
using Pitr.Wal;

namespace Pitr.Tests;

public sealed class WalEventTests
{
    [Fact]
    public void Every_event_reads_back_from_the_log_as_it_was_written()
    {
        WalEvent[] events =
        [
            new WalEvent.Heartbeat(),
            new WalEvent.Checkpoint(new Lsn(0x4000), new Lsn(0x8000), "{\"files\":[]}"),
            new WalEvent.RestorePoint("before_release"),
            new WalEvent.BackupEnd("00000000000000AB", new Lsn(0x4000)),
            new WalEvent.CreateDatafile(new FileId(2), "orders", "orders.pitr", new Incarnation(0xFEDCBA9876543210)),
            new WalEvent.DropDatafile(new FileId(2), "orders"),
            new WalEvent.CreateTable(new TableId(7), new FileId(1), "lines"),
            new WalEvent.DropTable(new TableId(7), new FileId(1), "lines"),
            new WalEvent.MoveDatafile(new FileId(2), "/a/ä.pitr", "/b/o.pitr"),
            new WalEvent.TimelineStart(
                new TimelineId(2), new Lineage(9), new TimelineId(1), new Lineage(8), new Lsn(8), new Lsn(4096),
                "to 14:05"),
            new WalEvent.Shutdown(),
        ];
        using TestLog log = TestLog.Create();
        log.Begin();
        foreach (WalEvent what in events)
            log.Appender.Stage(what);
        log.Appender.WriteAndSync();

        using WalReader reader = log.Reader();
        foreach (WalEvent what in events)
        {
            Assert.True(reader.MoveNext());
            Assert.Equal(what.Kind, reader.Current.Kind);
            Assert.Equal(what, reader.Current.Event);
            RecordDescription description = WalDump.Describe(reader.Current);
            string json = JsonSerializer.Serialize(description, WalDumpJson.Default.RecordDescription);
            Assert.Contains($"\"kind\":\"{what.Kind}\"", json, StringComparison.Ordinal);
        }
        Assert.False(reader.MoveNext());
    }

    /// <summary>Names become paths: one that leaves its folder comes from no engine (H30).</summary>
    [Theory]
    [InlineData("../../other")]
    [InlineData("")]
    [InlineData("Orders")]
    public void A_record_whose_name_is_no_name_is_damage(string name)
    {
        using TestLog log = TestLog.Create();
        log.Begin();
        log.Appender.Stage(new WalEvent.CreateDatafile(new FileId(2), name, "o.pitr", new Incarnation(1)));
        log.Appender.WriteAndSync();
        using WalReader reader = log.Reader();
        Assert.True(reader.MoveNext());
        DamageException damage = Assert.Throws<DamageException>(() => reader.Current.Event);
        Assert.Equal(ErrorCode.WalDamaged, damage.Code);
    }

    [Fact]
    public void Archived_pieces_read_as_one_stream_and_may_end_inside_a_record()
    {
        using TestLog log = TestLog.Create();
        Lsn[] lsns = log.Group(1000, 1000, 1000, 1000, 1000);
        List<WalPiece> pieces = [];
        for (ulong number = 1; number <= 2; number++)
        {
            string path = log.Folder.PathOf(new SegmentName(TestLog.First.Timeline, number));
            Lsn to = Lsn.Min(log.Geometry.StartOf(number + 1), lsns[^1] + -8); // the last record was not shipped whole
            pieces.Add(new WalPiece(log.Geometry.StartOf(number), to, path, SegmentHeader.Bytes,
                () => new MemoryStream(log.Disk.ReadAll(path))));
        }
        var source = new StreamWalBytes(pieces);
        Lsn knownEnd = source.KnownEnd(log.Geometry.FirstLsn);
        (List<Lsn> read, WalEnd end) = TestLog.ReadAll(
            new WalReader(source, WalRange.OfTimeline(TestLog.First.Lineage, log.Geometry.FirstLsn, knownEnd)));
        Assert.Equal(lsns[..4], read);
        Assert.Equal((WalEndReason.End, "E8"), (end.Reason, end.Row));

        (_, WalEnd gap) = TestLog.ReadAll(new WalReader(
            new StreamWalBytes(
                [pieces[0], pieces[1] with { From = pieces[1].From + 8, SkipBytes = SegmentHeader.Bytes + 8 }]),
            WalRange.OfTimeline(TestLog.First.Lineage, log.Geometry.FirstLsn, pieces[0].To)));
        Assert.Equal((WalEndReason.Gap, "E4"), (gap.Reason, gap.Row));
    }
}
