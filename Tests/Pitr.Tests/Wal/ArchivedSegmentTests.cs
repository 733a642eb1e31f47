using Pitr.Simulation;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>Segments and parts in the archive: what is pushed is what is fetched, or a typed failure.</summary>
public sealed class ArchivedSegmentTests
{
    private readonly SimulatedDisk _disk;
    private readonly FolderStore _store;

    public ArchivedSegmentTests() => (_disk, _store) = NewStore();

    private static IReadOnlyList<ArchivedPart> PartsOf(FolderStore store, ulong number) =>
        ArchiveCatalog.Load(store).Parts(TimelineId.First, number);

    [Fact]
    public void A_segment_comes_back_byte_for_byte()
    {
        ArchivedSegment whole = Whole(3);
        Assert.Equal("wal/000000010000000000000003.zst", whole.Name);
        Assert.Equal(PushOutcome.Pushed, ArchivePush.Push(_store, whole));
        ArchivedSegment back = ArchivedSegment.Decode("s", whole.Name, _store.Get(whole.Name).Span);
        Assert.Equal(FileOf(3), back.Plain.ToArray());
        Assert.Equal(StreamOf(3), back.Stream.ToArray());
        Assert.Equal((new Lsn(3 * Payload), new Lsn(4 * Payload)), (back.From, back.To));
        Assert.Equal(whole.Identity, back.Identity);
        Assert.Equal(whole.Times, back.Times);
    }

    [Fact]
    public void Equal_content_is_accepted_and_other_content_refused()
    {
        ArchivePush.Push(_store, Whole(3));
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(_store, Whole(3)));
        Assert.Equal(ErrorCode.ArchiveConflict,
            Assert.Throws<RefusedException>(() => ArchivePush.Push(_store, Whole(3, rawClock: 5))).Code);
        Assert.Equal(ErrorCode.ArchiveConflict,
            Assert.Throws<RefusedException>(() => ArchivePush.Push(_store, Whole(3, lineage: 0xB))).Code);
    }

    /// <summary>H25: equality is that of the plain bytes: an object that was compressed otherwise is equal.</summary>
    [Fact]
    public void Other_compressed_bytes_of_equal_content_are_equal()
    {
        ArchivedSegment whole = Whole(3);
        byte[] mine = whole.Encode().ToArray();
        using var compressor = new ZstdSharp.Compressor(19);
        byte[] other = [.. mine.AsSpan(0, ArchivedSegment.HeaderBytes), .. compressor.Wrap(whole.Plain.Span)];
        BitConverter.TryWriteBytes(other.AsSpan(72), (long)(other.Length - ArchivedSegment.HeaderBytes));
        BitConverter.TryWriteBytes(
            other.AsSpan(144),
            global::System.IO.Hashing.XxHash3.HashToUInt64(other.AsSpan(ArchivedSegment.HeaderBytes)));
        BitConverter.TryWriteBytes(
            other.AsSpan(152), global::System.IO.Hashing.XxHash3.HashToUInt64(other.AsSpan(0, 152)));
        Assert.NotEqual(mine, other);
        _store.Put(whole.Name, other);
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(_store, whole));
    }

    [Fact]
    public void Every_flipped_bit_of_an_object_is_found()
    {
        byte[] bytes = Whole(3).Encode().ToArray();
        for (int at = 0; at < bytes.Length; at++)
        {
            byte[] flipped = [.. bytes];
            flipped[at] ^= (byte)(1 << (at % 8));
            Assert.Equal(ErrorCode.ArchiveDamaged,
                Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Whole(3).Name, flipped)).Code);
        }
    }

    [Fact]
    public void Every_cut_of_an_object_is_found()
    {
        byte[] bytes = Whole(3).Encode().ToArray();
        for (int length = 0; length < bytes.Length; length++)
            Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Whole(3).Name, bytes.AsSpan(0, length)));
        Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Whole(3).Name, [.. bytes, 0]));
    }

    [Fact]
    public void An_object_under_anothers_name_is_found()
    {
        byte[] bytes = Whole(3).Encode().ToArray();
        Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Whole(4).Name, bytes));
        Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Part(3, 0, 128).Name, bytes));
        Assert.Throws<DamageException>(() => ArchivedSegment.Decode("s", Whole(3, timeline: 2).Name, bytes));
    }

    [Fact]
    public void A_damaged_object_does_not_count_as_pushed()
    {
        ArchivePush.Push(_store, Whole(3));
        byte[] bytes = _store.Get(Whole(3).Name).ToArray();
        bytes[^1] ^= 1;
        _store.Put(Whole(3).Name, bytes);
        Assert.Throws<DamageException>(() => ArchivePush.Push(_store, Whole(3)));
    }

    /// <summary>H39: what the store lied about is found by reading back before the push counts.</summary>
    [Fact]
    public void An_object_that_the_disk_garbled_is_found_when_it_is_read_back()
    {
        _disk.Faults.On(FileOp.Read).Of("000000010000000000000003").Garble();
        Assert.ThrowsAny<PitrException>(() => ArchivePush.Push(_store, Whole(3)));
        Assert.Equal(PushOutcome.AlreadyThere, ArchivePush.Push(_store, Whole(3)));
    }

    /// <summary>H25: nothing above the durable LSN leaves the database.</summary>
    [Fact]
    public void A_part_above_the_durable_LSN_is_never_shipped()
    {
        ArchivedSegment part = Part(3, 0, 256);
        Assert.Throws<BugException>(() => ArchivePush.PushPart(_store, part, part.To + -8));
        Assert.Empty(_store.List(""));
        Assert.Equal(PushOutcome.Pushed, ArchivePush.PushPart(_store, part, part.To));
    }

    /// <summary>
    /// H25: a longer part of the same segment has another name, so it never meets "different content".
    /// </summary>
    [Fact]
    public void A_part_that_is_shipped_again_longer_has_another_name()
    {
        ArchivePush.Push(_store, Part(3, 0, 256));
        ArchivePush.Push(_store, Part(3, 0, 512));
        Assert.Equal(2, PartsOf(_store, 3).Count);
        Assert.Equal([new Lsn(3 * Payload) + 512], ArchivedPart.Chain(PartsOf(_store, 3), new Lsn(3 * Payload))
            .Select(part => part.To));
    }

    /// <summary>H36: parts go once the whole was read back, and not when it is damaged.</summary>
    [Fact]
    public void Parts_are_deleted_only_after_the_whole_segment_was_read_back()
    {
        ArchivePush.Push(_store, Part(3, 0, 256));
        Assert.ThrowsAny<PitrException>(() => ArchivePush.DeleteParts(_store, Whole(3)));
        Assert.Single(PartsOf(_store, 3));
        ArchivePush.Push(_store, Whole(3));
        Assert.Single(ArchiveCatalog.Load(_store).LeftOverParts);
        Assert.Equal(1, ArchivePush.DeleteParts(_store, Whole(3)));
        Assert.Empty(PartsOf(_store, 3));
    }

    [Fact]
    public void Many_parts_are_joined_and_each_byte_is_rewritten_a_few_times()
    {
        long written = 0;
        for (int at = 0; at < Payload; at += 16)
        {
            ArchivePush.Push(_store, Part(3, at, at + 16));
            int before = PartsOf(_store, 3).Count;
            if (ArchivePush.JoinParts(_store, PartsOf(_store, 3)) > 0)
                written += PartsOf(_store, 3).Max(part => part.LengthBytes);
            Assert.True(PartsOf(_store, 3).Count <= Math.Min(before, ArchivePush.PartsBeforeJoin));
        }
        Assert.True(written < 8 * Payload);
        var source = Assert.Single(
            ArchiveCatalog.Load(_store).Along(First, new Lsn(3 * Payload), Lsn.MaxValue, Payload).Sources);
        Assert.Equal(StreamOf(3), new ArchiveReader(_store, First).Fetch(source).Stream.ToArray());
    }

    /// <summary>
    /// H25, H36: whatever the step at which power goes while parts are joined, the stream can be fetched.
    /// </summary>
    [Fact]
    public void A_join_that_dies_loses_nothing()
    {
        for (long crashAt = 1; ; crashAt++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            for (int at = 0; at < 16 * 64; at += 64)
                ArchivePush.Push(store, Part(3, at, at + 64));
            disk.CrashAt(disk.OperationCount + crashAt);
            bool ended = false;
            try
            {
                ended = ArchivePush.JoinParts(store, PartsOf(store, 3)) > 0;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            for (int seed = 0; seed < 8; seed++)
            {
                FolderStore after = Store(disk.CrashCopy(seed), seed: 4711);
                ArchivedRange range = ArchiveCatalog.Load(after)
                    .Along(First, new Lsn(3 * Payload), Lsn.MaxValue, Payload);
                Assert.Equal(new Lsn(3 * Payload) + 1024, range.End);
                FetchedSegment fetched = new ArchiveReader(after, First).Fetch(Assert.Single(range.Sources));
                Assert.Equal(StreamOf(3).AsSpan(0, 1024).ToArray(), fetched.Stream.ToArray());
                ArchivePush.JoinParts(after, PartsOf(after, 3));
                Assert.Equal(new Lsn(3 * Payload) + 1024,
                    ArchiveCatalog.Load(after).Along(First, new Lsn(3 * Payload), Lsn.MaxValue, Payload).End);
            }
            if (ended)
                return;
        }
    }

    /// <summary>
    /// H8: the least raw clock is safe: a header cut by the segment's end counts, or makes it unknown.
    /// </summary>
    [Fact]
    public void The_least_raw_clock_covers_a_header_that_the_segment_end_cuts()
    {
        byte[] two = new byte[2 * Payload];
        WriteRecord(two, 0, rawClock: 500, (int)Payload - 32);
        WriteRecord(two.AsSpan((int)Payload - 32), (ulong)Payload - 32, rawClock: 300, 128);
        ReadOnlySpan<byte> first = two.AsSpan(0, (int)Payload);
        Assert.Equal(300, SegmentTimes.Scan(first, Lsn.Zero, two.AsSpan((int)Payload)).LeastRawClockTicks);
        Assert.Equal(SegmentTimes.Unknown, SegmentTimes.Scan(first, Lsn.Zero, default).LeastRawClockTicks);
        Assert.Equal(SegmentTimes.None,
            SegmentTimes.Scan(two.AsSpan((int)Payload), new Lsn(Payload), default).LeastRawClockTicks);
    }

    [Fact]
    public void Times_are_found_behind_a_record_that_began_before()
    {
        byte[] stream = new byte[Payload];
        new Random(4).NextBytes(stream.AsSpan(0, 1000));
        WriteRecord(stream.AsSpan(1000), (ulong)Payload + 1000, rawClock: 70, 128);
        WriteRecord(stream.AsSpan(1128), (ulong)Payload + 1128, rawClock: 60, 256);
        SegmentTimes times = SegmentTimes.Scan(stream, new Lsn(Payload), default);
        Assert.Equal(new SegmentTimes(71, 61, 60), times);
    }
}
