using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>What becomes of WAL that a recovery in place left behind the fork, once nobody needs it (H31).</summary>
public sealed class LeftWalTests
{
    private const string Wal = "/wal";
    private static readonly SystemIdentifier System = new(1);
    private static readonly WalIdentity First = new(System, TimelineId.First, new Lineage(0xA));
    private static readonly WalIdentity Second = new(System, new TimelineId(2), new Lineage(0xB));
    private static readonly DateTimeOffset Noon = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);
    private readonly SimulatedDisk _disk = TestEngine.NewDisk();
    private readonly List<string> _aside = [];
    private readonly List<SegmentName> _unread = [];

    public LeftWalTests() => _disk.CreateFolders(Wal);

    /// <summary>LW1: the fork lies in segment 2, whose rest has records, as has 3; 4 was only made ready.</summary>
    [Fact]
    public void WAL_behind_the_fork_gets_another_name_and_what_else_is_not_needed_goes()
    {
        Made(First, 1, 4);
        Write(First, 1, 64, 4096);
        Write(First, 2, 64, 2048);
        Write(First, 3, 64, 100);
        byte[] second = Read($"{Wal}/{Name(First, 2)}");
        using WalFolder folder = Made(Second, 3, 3);

        IReadOnlyList<SegmentName> free = SetAside(folder, At(folder, 2, 1024), [Name(First, 1), Name(First, 2),
            Name(First, 3), Name(First, 4), Name(Second, 3)]);

        Assert.Equal([Name(First, 1), Name(First, 4), Name(Second, 3)], free);
        Assert.Equal([$"{Wal}/{Name(First, 2)}.aside", $"{Wal}/{Name(First, 3)}.aside"], _aside);
        Assert.Equal(second, Read(_aside[0]));
        Assert.Equal([Name(First, 1), Name(First, 4), Name(Second, 3)], folder.List());
        Assert.NotNull(_disk.CrashCopy(3).Stat(_aside[1])); // durable
    }

    /// <summary>A branch that is not on the path at all was left as a whole.</summary>
    [Fact]
    public void WAL_of_a_branch_that_the_path_does_not_know_is_set_aside_as_a_whole()
    {
        var sibling = new WalIdentity(System, new TimelineId(2), new Lineage(0xC));
        Made(sibling, 2, 3);
        Write(sibling, 2, 0, 64);
        var third = new WalIdentity(System, new TimelineId(3), new Lineage(0xD));
        using WalFolder folder = Made(third, 3, 3);
        TimelineHistory path = History().Fork(third.Timeline, third.Lineage, At(folder, 1, 512), At(folder, 3, 0), "back", Noon);

        IReadOnlyList<SegmentName> free = new LeftWal(folder, path).SetAside(
            [Name(sibling, 2), Name(sibling, 3)], (name, _) => _unread.Add(name), _aside.Add);

        Assert.Equal([Name(sibling, 3)], free);
        Assert.Equal([$"{Wal}/{Name(sibling, 2)}.aside"], _aside);
    }

    /// <summary>An operator may have put one back: two of a name are two files.</summary>
    [Fact]
    public void What_was_set_aside_before_is_not_written_over()
    {
        Made(First, 3, 3);
        Write(First, 3, 64, 100);
        _disk.Rename($"{Wal}/{Name(First, 3)}", $"{Wal}/{Name(First, 3)}.aside");
        Made(First, 3, 3);
        Write(First, 3, 32, 50);
        using WalFolder folder = Made(Second, 3, 3);

        SetAside(folder, At(folder, 2, 1024), [Name(First, 3)]);

        Assert.Equal([$"{Wal}/{Name(First, 3)}.aside.2"], _aside);
    }

    /// <summary>One that can't be read stays, and keeps no other from going.</summary>
    [Fact]
    public void A_segment_that_cannot_be_read_stays_as_it_is()
    {
        Made(First, 3, 4);
        using WalFolder folder = Made(Second, 3, 3);
        _disk.Faults.On(FileOp.Read).Of(Name(First, 3).ToString()).Fail(Errno.EIO);

        IReadOnlyList<SegmentName> free = SetAside(folder, At(folder, 2, 1024), [Name(First, 3), Name(First, 4)]);

        Assert.Equal([Name(First, 4)], free);
        Assert.Equal([Name(First, 3)], _unread);
        Assert.Empty(_aside);
    }

    /// <summary>LW2.</summary>
    [Fact]
    public void The_number_of_a_timeline_is_known_from_what_was_set_aside()
    {
        Made(Second, 3, 3);
        using WalFolder folder = Made(First, 1, 2);
        _disk.Rename($"{Wal}/{Name(Second, 3)}", $"{Wal}/{Name(Second, 3)}.aside.2");
        _disk.CreateFolders($"{Wal}/00000009000000000000000X");

        Assert.Equal(new TimelineId(2), folder.HighestTimeline());
    }

    /// <summary>Segments of two timelines may have one number; each spare has a name of its own.</summary>
    [Fact]
    public void Two_segments_of_one_number_are_no_spare_twice()
    {
        Made(First, 3, 3);
        using WalFolder folder = Made(Second, 3, 3);
        folder.Recycle([Name(First, 3)]);
        folder.Recycle([Name(Second, 3)]);
        while (folder.TryTakeReady(out WalSegment taken))
            taken.Dispose();

        folder.EnsureReady(2);

        Assert.Equal([Name(Second, 4), Name(Second, 5)], folder.List());
    }

    private IReadOnlyList<SegmentName> SetAside(WalFolder folder, Lsn fork, IEnumerable<SegmentName> segments) =>
        new LeftWal(folder, History().Fork(Second.Timeline, Second.Lineage, fork, At(folder, 3, 0), "back", Noon))
            .SetAside(segments, (name, _) => _unread.Add(name), _aside.Add);

    private static TimelineHistory History() => TimelineHistory.First(System, First.Lineage, Lsn.Zero, "created", Noon);

    private static Lsn At(WalFolder folder, ulong number, long offset) => folder.Geometry.StartOf(number) + offset;

    private static SegmentName Name(WalIdentity of, ulong number) => new(of.Timeline, number);

    private WalFolder Made(WalIdentity identity, ulong first, ulong last)
    {
        var folder = new WalFolder(_disk, Wal, 4096, identity);
        folder.ContinueAt(first);
        folder.EnsureReady((int)(last - first + 1));
        if (identity == First)
            folder.Dispose();
        return folder;
    }

    private void Write(WalIdentity identity, ulong number, int from, int to)
    {
        using IFileHandle handle = _disk.Open($"{Wal}/{Name(identity, number)}", FileOpen.ReadWrite);
        byte[] bytes = new byte[Math.Min(to, 4096 - SegmentHeader.Bytes) - from];
        Array.Fill(bytes, (byte)7);
        handle.Write(SegmentHeader.Bytes + from, bytes);
        handle.SyncData();
    }

    private byte[] Read(string path) => _disk.ReadAll(path);
}
