using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What a still file has no room for goes into a scratch file, and from there into the file (promise 8).</summary>
public sealed class SpillTests : IDisposable
{
    private const string Spill = DatafileOnDisk.Path + SpillFile.Suffix;

    private readonly DatafileOnDisk _it = DatafileOnDisk.Create();

    public void Dispose() => _it.Dispose();

    [Fact]
    public void What_was_spilled_is_read_as_before_and_the_still_file_is_not_touched()
    {
        _it.PutMany(0, 300);
        _it.Flush();
        _it.File.IsStill = true;
        byte[] file = _it.Disk.ReadAll(DatafileOnDisk.Path);
        _it.PutMany(200, 200, fill: 2);
        _it.DeleteMany(0, 50);
        _it.Put("large", new byte[50_000]);
        SpillAll();
        Assert.Equal(0, _it.File.BufferedBytes);
        Assert.True(_it.File.SpilledBytes > 0);
        _it.Check();
        Assert.Null(_it.Get("k00001"));
        _it.PutMany(0, 25, fill: 3);
        _it.DeleteMany(300, 10);
        _it.Check();
        Assert.Equal(file, _it.Disk.ReadAll(DatafileOnDisk.Path));
        Assert.Null(_it.Disk.Stat(Spill));
    }

    /// <summary>H45, V1, M1: what was put over a deleted key, and deleted over a put one, counts once.</summary>
    [Fact]
    public void One_spill_over_another_has_the_newest_of_each_key_and_the_flush_brings_all_into_the_file()
    {
        _it.PutMany(0, 100);
        _it.Flush();
        _it.File.IsStill = true;
        for (int round = 0; round < 6; round++)
        {
            _it.PutMany(round * 10, 60, fill: (byte)round);
            _it.DeleteMany(round * 15, 20);
            _it.Put($"large{round % 2}", new byte[20_000 + round]);
            SpillAll();
            Assert.True(_it.File.CleanUpTo < _it.Lsn, "What was spilled counts as if it were in the file (D2).");
            _it.Check();
        }

        _it.PutMany(5, 10, fill: 77);
        _it.Seal();
        _it.DeleteMany(7, 2);
        Lsn before = _it.File.CheckpointLsn;
        Assert.Equal(before, _it.File.CleanUpTo);
        _it.File.IsStill = false;
        _it.Flush();
        Assert.False(_it.File.HasChanges);
        _it.Check();
        using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(3));
        after.Check();
    }

    /// <summary>H12, H45, SF3, R1: a view that names an older generation reads it as it was, also after the flush.</summary>
    [Fact]
    public void A_pinned_view_reads_what_it_names_while_the_spill_goes_on_and_after_it()
    {
        _it.File.IsStill = true;
        _it.PutMany(0, 400, fill: 1);
        SpillAll();
        ReadView pinned = _it.File.View;
        Assert.True(pinned.TryPin());
        Lsn at = _it.Lsn;
        SortedDictionary<string, byte[]> then = _it.Scan(pinned, at);
        for (int round = 0; round < 8; round++)
        {
            _it.PutMany(0, 400, fill: (byte)(round + 2));
            SpillAll();
            _it.Epochs.AwaitAll();
            DatafileOnDisk.RequireEqual(then, _it.Scan(pinned, at));
        }

        _it.File.IsStill = false;
        _it.Flush();
        DatafileOnDisk.RequireEqual(then, _it.Scan(pinned, at));
        Assert.True(_it.Disk.OpenHandleCount > 1);
        pinned.Unpin();
        _it.Check();
    }

    /// <summary>The pages of generations that nobody reads are written again.</summary>
    [Fact]
    public void A_spill_that_goes_on_and_on_does_not_grow_beyond_what_it_holds()
    {
        _it.File.IsStill = true;
        long[] sizes = new long[20];
        for (int round = 0; round < sizes.Length; round++)
        {
            _it.PutMany(0, 2000, fill: (byte)round);
            SpillAll();
            _it.Epochs.AwaitAll();
            sizes[round] = _it.File.SpilledBytes;
        }

        Assert.True(sizes[^1] <= sizes[4], string.Join(", ", sizes));
        _it.Check();
    }

    [Fact]
    public void A_view_with_a_spill_is_not_read_below_it()
    {
        _it.File.IsStill = true;
        _it.Put("a", "1");
        var before = new Lsn(_it.Lsn.Value - 8);
        SpillAll();
        Assert.Throws<BugException>(() => _it.Get(_it.File.View, "a", before));
        Assert.Throws<BugException>(() => new MergedCursor(_it.File.View, before));
    }

    /// <summary>H45, SF2: nothing that may not be on the disk takes the place of the buffers.</summary>
    [Theory]
    [InlineData("Create")]
    [InlineData("Write")]
    [InlineData("SyncData")]
    [InlineData("SyncFolder")]
    public void A_spill_that_fails_leaves_the_buffers_and_is_not_tried_again_before_the_next_flush(string op)
    {
        _it.File.IsStill = true;
        _it.PutMany(0, 200);
        _it.Seal();
        SpillJob job = _it.File.PrepareSpill()!;
        _it.Disk.Faults.On(Enum.Parse<FileOp>(op)).Fail(Errno.EIO);
        Assert.Throws<StorageFailedException>(() => job.Run());
        _it.Disk.Faults.Clear();
        _it.File.DropSpill(job);
        Assert.True(_it.File.BufferedBytes > 0);
        Assert.False(_it.File.CanSpill);
        Assert.False(_it.File.HasFailed);
        _it.Check();
        _it.File.IsStill = false;
        _it.Flush();
        _it.File.IsStill = true;
        Assert.True(_it.File.CanSpill);
        _it.Check();
    }

    [Fact]
    public void A_second_spill_that_fails_leaves_the_first_one()
    {
        _it.File.IsStill = true;
        _it.PutMany(0, 200);
        SpillAll();
        _it.PutMany(100, 200, fill: 9);
        _it.Seal();
        SpillJob job = _it.File.PrepareSpill()!;
        _it.Disk.Faults.On(FileOp.Write).Of(Spill).Fail(Errno.ENOSPC);
        Assert.Throws<StorageFailedException>(() => job.Run());
        _it.File.DropSpill(job);
        _it.Check();
        _it.File.IsStill = false;
        _it.Flush();
        _it.Check();
    }

    /// <summary>H17, H45, SF1: at any end nothing has the name, or an empty file that the next spill removes.</summary>
    [Fact]
    public void A_crash_at_any_operation_leaves_at_most_an_empty_file_under_the_spills_name()
    {
        _it.Disk.SyncAll();
        _it.File.IsStill = true;
        _it.PutMany(0, 300);
        _it.Seal();
        var left = new List<SimulatedDisk>();
        _it.Disk.BeforeOperation = operation =>
        {
            for (int n = 0; n < 4; n++)
                left.Add(_it.Disk.CrashCopy(operation * 7 + n));
            left.Add(_it.Disk.KillCopy());
        };
        SpillJob job = _it.File.PrepareSpill()!;
        job.Run();
        _it.File.CompleteSpill(job);
        _it.Disk.BeforeOperation = null;
        int empty = 0;
        foreach (SimulatedDisk disk in left)
        {
            if (disk.Stat(Spill) is { } stray)
            {
                empty++;
                Assert.Equal(0, stray.LengthBytes);
                SpillFile.RemoveLeftOver(disk, DatafileOnDisk.Path);
                Assert.Null(disk.CrashCopy(1).Stat(Spill));
            }

            using DatafileOnDisk after = _it.OpenOn(disk);
            after.Check();
        }

        Assert.True(empty > 0);
    }

    [Fact]
    public void Somebodys_file_under_the_spills_name_is_left_alone()
    {
        using (IFileHandle other = _it.Disk.Open(Spill, FileOpen.CreateNew))
            other.Write(0, "somebody's"u8);
        SpillFile.RemoveLeftOver(_it.Disk, DatafileOnDisk.Path);
        Assert.Equal("somebody's"u8, _it.Disk.ReadAll(Spill));
        _it.File.IsStill = true;
        _it.PutMany(0, 10);
        _it.Seal();
        SpillJob job = _it.File.PrepareSpill()!;
        Assert.Equal(Errno.EEXIST, Assert.Throws<StorageFailedException>(() => job.Run()).Errno);
        _it.File.DropSpill(job);
        _it.Check();
    }

    /// <summary>Both ways, over buffers, spill and tree, from any key.</summary>
    [Fact]
    public void Walks_over_buffers_spill_and_tree_go_both_ways()
    {
        _it.PutMany(0, 60);
        _it.Flush();
        _it.File.IsStill = true;
        _it.DeleteMany(10, 20);
        _it.PutMany(50, 30, fill: 2);
        SpillAll();
        _it.PutMany(12, 3, fill: 3);
        _it.DeleteMany(55, 3);
        SortedDictionary<string, byte[]> all = _it.Scan(_it.File.View);
        using EpochGuard guard = _it.Epochs.Enter();
        var cursor = new MergedCursor(_it.File.View, _it.Lsn);
        var backwards = new List<string>();
        for (bool has = cursor.SeekLast(); has; has = cursor.Prev())
            backwards.Add(System.Text.Encoding.ASCII.GetString(cursor.Key[4..]));
        Assert.Equal(all.Keys.Reverse(), backwards);
        Assert.True(cursor.Seek(DatafileOnDisk.KeyOf("k00020")));
        Assert.Equal(DatafileOnDisk.KeyOf("k00030"), cursor.Key);
        Assert.True(cursor.Prev());
        Assert.Equal(DatafileOnDisk.KeyOf("k00014"), cursor.Key);
        Assert.True(cursor.Next());
        Assert.Equal(DatafileOnDisk.KeyOf("k00030"), cursor.Key);
    }

    private void SpillAll()
    {
        _it.Seal();
        SpillJob job = _it.File.PrepareSpill()!;
        job.Run();
        _it.File.CompleteSpill(job);
    }
}
