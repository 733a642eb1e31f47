using Pitr.Simulation;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>What a store has of a path: whole segments, parts that stand in, and gaps.</summary>
public sealed class ArchiveCatalogTests
{
    private readonly FolderStore _store = NewStore().Store;

    private static Lsn At(ulong segment, long offset = 0) => new Lsn(segment * (ulong)Payload) + offset;

    private ArchivedRange Along(TimelineHistory path, Lsn from, Lsn to) =>
        ArchiveCatalog.Load(_store).Along(path, from, to, Payload);

    [Fact]
    public void Whole_segments_and_the_parts_of_the_tail_make_one_range()
    {
        ArchivePush.Push(_store, Whole(1));
        ArchivePush.Push(_store, Whole(2));
        ArchivePush.Push(_store, Part(3, 0, 256));
        ArchivePush.Push(_store, Part(3, 256, 384));
        ArchivedRange range = Along(First, At(1, 128), Lsn.MaxValue);
        Assert.Equal(At(3, 384), range.End);
        Assert.Empty(range.Gaps);
        Assert.Equal([true, true, false], range.Sources.Select(source => source.IsWhole));
        var reader = new ArchiveReader(_store, First);
        Assert.Equal(StreamOf(2), reader.Fetch(range.Sources[1]).Stream.ToArray());
        FetchedSegment tail = reader.Fetch(range.Sources[2]);
        Assert.Equal((At(3), At(3, 384)), (tail.From, tail.To));
        Assert.Equal(1000, reader.FetchTimes(range.Sources[1]).LeastRawClockTicks);
    }

    /// <summary>
    /// H36: a part that was left over does not hide that the whole segment, or the rest of it, is missing.
    /// </summary>
    [Fact]
    public void A_left_over_part_does_not_hide_a_missing_segment()
    {
        ArchivePush.Push(_store, Whole(1));
        ArchivePush.Push(_store, Part(2, 0, 256));
        ArchivePush.Push(_store, Part(2, 512, 640));
        ArchivePush.Push(_store, Whole(3));
        ArchivedRange range = Along(First, At(1), Lsn.MaxValue);
        Assert.Equal(At(2, 256), range.End);
        Assert.Equal([new ArchiveGap(TimelineId.First, At(2, 256), At(3))], range.Gaps);
        Assert.Equal(2, range.Sources.Count);
        Assert.Single(range.Sources[1].Parts!);
    }

    [Fact]
    public void What_is_asked_for_and_not_there_is_a_gap()
    {
        ArchivePush.Push(_store, Whole(2));
        ArchivedRange range = Along(First, At(1), At(4, 8));
        Assert.Equal(At(1), range.End);
        Assert.Equal([At(1), At(3), At(4)], range.Gaps.Select(gap => gap.From));
    }

    /// <summary>H14: an ancestor's WAL counts up to the fork; its later segments are another future's.</summary>
    [Fact]
    public void A_path_takes_the_ancestor_to_the_fork_and_then_its_own_timeline()
    {
        TimelineHistory path = First.Fork(new TimelineId(2), LineageB, At(2, 1000), At(3), "recovered", Noon);
        for (ulong number = 1; number <= 5; number++)
            ArchivePush.Push(_store, Whole(number));
        ArchivePush.Push(_store, Whole(3, timeline: 2, lineage: 0xB));
        ArchivePush.Push(_store, Part(4, 0, 128, timeline: 2, lineage: 0xB));
        ArchivedRange range = Along(path, At(1), Lsn.MaxValue);
        Assert.Equal([(1u, 1ul), (1u, 2ul), (2u, 3ul), (2u, 4ul)],
            range.Sources.Select(source => (source.Timeline.Value, source.Number)));
        Assert.Equal(At(2, 1000), range.Sources[1].To);
        Assert.Equal(At(4, 128), range.End);
        Assert.Empty(range.Gaps);
    }

    /// <summary>I10, H33: a segment of another lineage under the same timeline number is never used.</summary>
    [Fact]
    public void A_segment_of_another_lineage_is_refused_when_it_is_fetched()
    {
        ArchivePush.Push(_store, Whole(1, lineage: 0xF));
        SegmentSource source = Assert.Single(Along(First, At(1), Lsn.MaxValue).Sources);
        Assert.Equal(ErrorCode.ArchiveDamaged,
            Assert.Throws<DamageException>(() => new ArchiveReader(_store, First).Fetch(source)).Code);
        Assert.Throws<DamageException>(() => new ArchiveReader(_store, First).FetchTimes(source));
    }

    [Fact]
    public void Histories_damage_and_unknown_names_are_listed()
    {
        TimelineClaim.Claim(_store, First);
        _store.Put("history/00000007.json", Bytes(5, 1));
        _store.Put("history/readme", Bytes(5, 1));
        _store.Put("wal/000000010000000000000001.gz", Bytes(5, 1));
        ArchiveCatalog catalog = ArchiveCatalog.Load(_store);
        Assert.Equal(LineageA, Assert.Single(catalog.Histories).Last.Lineage);
        Assert.Single(catalog.Damaged);
        Assert.Equal(2, catalog.Unknown.Count);
        Assert.Equal(Lsn.Zero, catalog.HighestEnd(TimelineId.First, Payload));
    }
}
