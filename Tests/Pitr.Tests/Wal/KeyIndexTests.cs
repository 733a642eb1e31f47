using System.Text;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>The index of a segment never says no to what is there, and is never needed.</summary>
public sealed class KeyIndexTests
{
    private static readonly NamedTable Orders = new(new TableId(7), new FileId(2), "orders");
    private static readonly NamedTable Other = new(new TableId(8), new FileId(3), "other");

    [Fact]
    public void It_says_yes_to_every_entry_and_rarely_to_another()
    {
        byte[][] keys = [.. Enumerable.Range(0, 20_000).Select(n => Encoding.ASCII.GetBytes($"key-{n}"))];
        KeyIndex index = KeyIndex.TryDecode(Of(keys.Take(10_000)))!;
        Assert.All(keys.Take(10_000), key => Assert.True(index.MayTouch(Orders, key)));
        Assert.InRange(keys.Skip(10_000).Count(key => index.MayTouch(Orders, key)), 0, 300);
        Assert.InRange(keys.Take(10_000).Count(key => index.MayTouch(Other, key)), 0, 300);
        Assert.InRange(keys.Take(10_000).Count(key => index.MayDelete(Orders, key)), 0, 300);
    }

    [Fact]
    public void An_empty_one_says_no_and_keeps_what_it_is_of()
    {
        byte[] bytes = KeyIndex.Of(ArchiveTestData.Identity(9), 1234, [], [Orders, Other]).Encode();
        KeyIndex index = KeyIndex.TryDecode(bytes)!;
        Assert.Equal(
            (9ul, 1u, 1234L), (index.Number, index.Timeline.Value, index.LastCommitTicks));
        Assert.Equal([Orders, Other], index.Tables);
        Assert.False(index.MayTouch(Orders, "k"u8) || index.MayDelete(Orders, "k"u8) || index.MayTouch(Orders));
    }

    [Fact]
    public void One_with_a_byte_that_is_not_what_was_written_is_none()
    {
        byte[] bytes = Of(["a"u8.ToArray(), "b"u8.ToArray()]);
        for (int at = 0; at < bytes.Length; at++)
        {
            bytes[at] ^= 0x10;
            Assert.Null(KeyIndex.TryDecode(bytes));
            bytes[at] ^= 0x10;
            Assert.Null(KeyIndex.TryDecode(bytes.AsSpan(0, at)));
        }
        Assert.NotNull(KeyIndex.TryDecode(bytes));
    }

    [Fact]
    public void One_of_another_segment_is_not_used()
    {
        (_, FolderStore store) = ArchiveTestData.NewStore();
        store.Put(
            ObjectName.KeyIndex(TimelineId.First, 5), KeyIndex.Of(ArchiveTestData.Identity(6), 0, [], []).Encode());
        Assert.Null(KeyIndex.Read(store, TimelineId.First, 5));
        Assert.Null(KeyIndex.Read(store, TimelineId.First, 6));
    }

    [Fact]
    public void A_segment_with_a_record_that_is_no_run_of_operations_gets_none()
    {
        (_, FolderStore store) = ArchiveTestData.NewStore();
        var builder = new KeyIndexBuilder();
        builder.Add(new WalRecord(ArchiveTestData.StreamOf(1).AsSpan(0, 128)));
        builder.PutInto(store, ArchiveTestData.Identity(1));
        Assert.Empty(store.List("index/"));
    }

    [Fact]
    public void A_segment_that_is_proved_again_has_the_same_index()
    {
        using TestLog log = TestLog.Create();
        var lsns = new List<Lsn>();
        for (int n = 0; n < 60; n++)
            lsns.Add(Put(log, $"key-{n}"));
        (_, FolderStore store) = ArchiveTestData.NewStore();
        var proof = new SegmentProof(log.Folder, TestLog.First);
        for (ulong number = 1; number <= 2; number++)
        {
            for (int attempt = 1; attempt <= 2; attempt++) // the first one's push has failed
            {
                var builder = new KeyIndexBuilder();
                byte[] file = log.Disk.ReadAll(log.Folder.PathOf(new SegmentName(TimelineId.First, number)));
                proof.Require(number, file, log.Geometry.FirstLsn, lsns[^1], builder);
                builder.PutInto(store, ArchiveTestData.Identity(number));
                KeyIndex index = KeyIndex.Read(store, TimelineId.First, number)!;
                for (int n = 0; n < lsns.Count; n++)
                {
                    Lsn start = n == 0 ? log.Geometry.FirstLsn : lsns[n - 1];
                    if (log.Geometry.NumberOf(start) == number)
                        Assert.True(index.MayTouch(Orders, Encoding.ASCII.GetBytes($"key-{n}")), $"{number}, {n}");
                }
            }
        }
    }

    private static Lsn Put(TestLog log, string key)
    {
        byte[] record = new byte[RecordCodec.HeaderBytes + 136];
        OperationCodec.Write(
            record.AsSpan(RecordCodec.HeaderBytes), OperationKind.Put, Orders.File, Orders.Id,
            Encoding.ASCII.GetBytes(key), new byte[100]);
        log.Folder.EnsureReady();
        log.Begin();
        Lsn lsn = log.Appender.Stage(
            record, WalRecordKind.Transaction, new TransactionId(1), 1,
            RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
        log.Appender.WriteAndSync();
        return lsn;
    }

    private static byte[] Of(IEnumerable<byte[]> keys) => KeyIndex.Of(
        ArchiveTestData.Identity(5), 1,
        [.. keys.Select(key => KeyIndex.Entry.OfKey(KeyIndex.Entry.Touched, Orders.Id, key))], [Orders]).Encode();
}
