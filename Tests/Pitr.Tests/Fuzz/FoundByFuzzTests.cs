using System.Buffers.Binary;
using Pitr.Actors;
using Pitr.Hosting;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What the fuzz has found, one fact each, as plainly as it can be said.</summary>
public sealed class FoundByFuzzTests
{
    [Theory]
    [InlineData(100, 17u)] // a height that no tree has: the merge has no room for its levels
    [InlineData(100, 0u)]
    [InlineData(136, 4_000_000_000u)] // more pages of the free chain than pages: a chain that bites its tail is read on and on
    [InlineData(144, 4_000_000_000u)]
    public void A_meta_page_with_a_count_that_cannot_be_is_none(int at, uint count)
    {
        var page = new byte[PageLayout.PageBytes];
        var meta = new MetaPage
        {
            SystemId = new SystemIdentifier(1),
            FileId = FileId.Main,
            Incarnation = new Incarnation(1),
            Generation = 4,
            CheckpointLsn = new Lsn(8),
            Lineage = new Lineage(1),
            Root = new TreeRoot(3, 1, 4, 1),
            PageCount = 10,
        };
        meta.Write(page);
        Assert.NotNull(MetaPage.TryRead(page, 0, out _));
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(at), count);
        PageChecksum.Stamp(page, 0, 4);
        Assert.Null(MetaPage.TryRead(page, 0, out string why));
        Assert.Contains(count.ToString(System.Globalization.CultureInfo.InvariantCulture), why, StringComparison.Ordinal);
    }

    /// <summary>Rows that fit where they are and not into an empty leaf: a merge would open leaf after leaf for one.</summary>
    [Fact]
    public unsafe void A_leaf_with_a_value_too_large_for_a_leaf_is_damage()
    {
        using var leaf = new LeafBuilder();
        var value = new byte[LeafPage.InlineValueBytesMax + 1];
        Assert.True(leaf.TryAppend([0, 0, 0, 1, 7], (ushort)value.Length, value));
        Assert.Throws<DamageException>(() => leaf.AsPage().RequireStructure("leaf", 5));
    }

    /// <summary>Every reader takes the table id off a key.</summary>
    [Fact]
    public unsafe void A_leaf_with_a_key_that_is_shorter_than_a_table_id_is_damage()
    {
        using var leaf = new LeafBuilder();
        Assert.True(leaf.TryAppend([0, 0, 1], 1, [9]));
        Assert.Throws<DamageException>(() => leaf.AsPage().RequireStructure("leaf", 5));
    }

    /// <summary>The check noted the number before it had read the page: a set of 512 MiB for one wrong number.</summary>
    [Fact]
    public void A_check_of_a_tree_that_names_a_page_far_beyond_its_file_takes_no_memory_for_it()
    {
        using var pages = new MemoryPages();
        var root = new TreeRoot(0xFFFF_FFFE, 1, 1, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.False(TreeCheck.Run(pages, root).IsSound);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void An_operation_beyond_the_limits_is_malformed()
    {
        var body = new byte[OperationCodec.HeaderBytes + KeySlots.KeyBytesMax + 1];
        body[0] = (byte)OperationKind.Put;
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(2), KeySlots.KeyBytesMax + 1);
        var reader = new OperationReader(body, 1);
        Assert.False(reader.MoveNext());
        Assert.True(reader.IsMalformed);
    }

    /// <summary>A time out of the calendar: whoever showed the record died of it; taken for a torn tail it would be cut off.</summary>
    [Fact]
    public void A_record_that_passes_with_a_time_that_is_none_is_damage()
    {
        using WalReader reader = ReaderOfOne(WalRecordKind.Heartbeat, RecordCodec.HeaderBytes, commitTimeTicks: -1);
        Assert.False(reader.MoveNext());
        Assert.Equal(WalEndReason.Damage, reader.End!.Reason);
        Assert.Contains("times", reader.End.ToException().Message, StringComparison.Ordinal);
    }

    /// <summary>A length that says 256 MiB in a stream of 64 bytes took 256 MiB.</summary>
    [Fact]
    public void A_record_whose_length_says_more_than_there_is_takes_no_memory_for_it()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        using WalReader reader = ReaderOfOne(WalRecordKind.Filler, RecordCodec.LengthMax, commitTimeTicks: 0);
        Assert.False(reader.MoveNext());
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    /// <summary>Of a log of one header, which is right but for what is said here.</summary>
    private static WalReader ReaderOfOne(WalRecordKind kind, int lengthBytes, long commitTimeTicks)
    {
        var record = new byte[RecordCodec.HeaderBytes];
        Lineage lineage = TestLog.First.Lineage;
        var start = new Lsn(0x1000);
        RecordCodec.WriteHeader(ref record[0], new RecordStamp
        {
            LengthBytes = lengthBytes,
            PreviousCrc = RecordCodec.FirstPreviousCrc(lineage),
            Kind = kind,
            StartLsn = start.Value,
            GroupStart = start.Value,
            CommitTimeTicks = commitTimeTicks,
            Lineage = lineage.Value,
        }, RecordCodec.BodyState([]));
        return new WalReader(new MemoryWalBytes(start, record), WalRange.OfTimeline(lineage, start, Lsn.Zero));
    }

    [Theory]
    [InlineData(12, 0xFFFF_F000u)] // its length
    [InlineData(40, 7u)] // its number, which its start does not fit
    [InlineData(56, 100u)] // its payload
    public void A_header_of_a_segment_that_contradicts_itself_is_damage(int at, uint value)
    {
        var bytes = new byte[SegmentHeader.Bytes];
        SegmentHeader.For(TestLog.First, new WalGeometry(TestLog.SegmentBytes), 1).Write(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), value);
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes.AsSpan(SegmentHeader.Bytes - 4), Crc32C.Of(bytes.AsSpan(0, SegmentHeader.Bytes - 4)));
        DamageException damage = Assert.Throws<DamageException>(() => SegmentHeader.Read(bytes, "segment"));
        Assert.Equal(ErrorCode.SegmentHeaderDamaged, damage.Code);
    }

    [Theory]
    [InlineData("""{"backupId":"a","objects":[null],"digest":""}""")]
    [InlineData("""{"backupId":"a","objects":null,"digest":""}""")]
    [InlineData("""{"backupId":null,"objects":[],"digest":""}""")]
    [InlineData("""{"backupId":"a","objects":[{"lengthBytes":1}],"digest":""}""")]
    public void A_manifest_without_what_it_must_have_is_damage(string json) =>
        Assert.Equal(ErrorCode.BackupDamaged, Assert.Throws<DamageException>(
            () => BackupManifest.Parse("a", System.Text.Encoding.UTF8.GetBytes(json))).Code);

    [Theory]
    [InlineData("\"moves\":[]", "\"moves\":null")]
    [InlineData("\"moves\":[]", "\"moves\":[null]")]
    [InlineData("\"state\":\"running\"", "\"state\":77")]
    [InlineData("\"parent\":null,", "\"parent\":1,")]
    public void A_control_file_without_what_it_must_have_is_damage(string good, string bad)
    {
        string text = System.Text.Encoding.UTF8.GetString(ControlFileStore.EncodePayload(ControlFile.ForNew(
            new SystemIdentifier(1), new Lineage(2), 16 << 20, new Lsn(0x1000), DateTimeOffset.UnixEpoch)));
        Assert.Contains(good, text, StringComparison.Ordinal);
        byte[] changed = System.Text.Encoding.UTF8.GetBytes(text.Replace(good, bad, StringComparison.Ordinal));
        Assert.Equal(ErrorCode.ControlFileDamaged, Assert.Throws<DamageException>(
            () => ControlFileStore.DecodePayload("control", changed)).Code);
    }

    /// <summary>A proxy's page in the place of an answer: the command printed a parser's message.</summary>
    [Theory]
    [InlineData((byte)'<')]
    [InlineData((byte)3)]
    public void An_answer_that_no_engine_sends_is_a_lost_connection(byte first)
    {
        StorageFailedException lost = Assert.Throws<StorageFailedException>(
            () => StreamFrames.ReadAnswer([first, .. "html><body>Bad Gateway"u8]));
        Assert.Equal(ErrorCode.ConnectionLost, lost.Code);
    }

    [Theory]
    [InlineData("two\nlines")]
    [InlineData("")]
    [InlineData("ümlaut")]
    public void A_file_that_holds_no_token_is_named(string content)
    {
        string path = Path.Combine(Path.GetTempPath(), $"pitr-found-{Guid.NewGuid():N}");
        File.WriteAllText(path, content);
        try
        {
            RefusedException refused = Assert.Throws<RefusedException>(
                () => TokenFile.Read(path, "127.0.0.1:1", static _ => null));
            Assert.Contains(path, refused.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_root_with_a_zero_character_is_refused_with_the_settings()
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders("/db");
        using (IFileHandle file = disk.Open("/db/pitr.json", FileOpen.CreateNew))
            file.Write(0, "{\"roots\":[\"a\\u0000b\"]}"u8);
        Assert.Equal(ErrorCode.SettingsInvalid, Assert.Throws<RefusedException>(
            () => DatabaseSettings.Read(disk, "/db")).Code);
    }
}
