using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class DatafileTests : IDisposable
{
    private readonly DatafileOnDisk _it = DatafileOnDisk.Create();

    public void Dispose() => _it.Dispose();

    [Fact]
    public void A_new_file_is_empty_and_durable_when_it_is_made()
    {
        _it.Check();
        Assert.Equal(1UL, _it.File.Generation);
        using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(1));
        Assert.Equal(_it.File.Meta, after.File.Meta);
        after.Check();
    }

    [Fact]
    public void A_change_is_readable_before_and_after_its_flush()
    {
        _it.Put("a", "1");
        Assert.Equal("1"u8.ToArray(), _it.Get("a"));
        _it.Flush();
        Assert.Equal("1"u8.ToArray(), _it.Get("a"));
        Assert.Equal(0, _it.File.BufferedBytes);
        Assert.Equal(_it.Lsn, _it.File.CheckpointLsn);
        Assert.Equal(2UL, _it.File.Generation);
        _it.Check();
    }

    [Fact]
    public void A_flush_takes_exactly_the_changes_up_to_the_seal()
    {
        _it.Put("a", "1");
        _it.Seal();
        Lsn sealedAt = _it.Lsn;
        _it.Put("a", "2");
        _it.Put("b", "2");
        FlushJob job = _it.File.PrepareFlush(DatafileOnDisk.Lineage)!;
        Finish(job);
        Assert.Equal(sealedAt, _it.File.CheckpointLsn);
        using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(1));
        Assert.Equal("1"u8.ToArray(), after.Get("a"));
        Assert.Null(after.Get("b"));
        _it.Check();
    }

    [Fact]
    public void A_file_without_changes_is_clean_up_to_the_seal_and_not_written()
    {
        _it.Put("a", "1");
        _it.Flush();
        long operations = _it.Disk.OperationCount;
        _it.File.Seal(_it.Lsn + 800);
        Assert.Null(_it.File.PrepareFlush(DatafileOnDisk.Lineage));
        Assert.Equal(_it.Lsn + 800, _it.File.CleanUpTo);
        Assert.Equal(_it.Lsn, _it.File.CheckpointLsn);
        Assert.Equal(operations, _it.Disk.OperationCount);
    }

    /// <summary>H22: what a fence or a meta page may say of it.</summary>
    [Fact]
    public void A_file_stays_clean_up_to_where_it_was_idle_while_what_came_then_waits_for_its_flush()
    {
        _it.Put("a", "1");
        _it.Flush();
        Lsn idleUpTo = _it.Lsn + 800;
        _it.File.Seal(idleUpTo);
        _it.File.Apply(OperationKind.Put, DatafileOnDisk.KeyOf("b"), "2"u8, idleUpTo + 800);
        _it.File.Seal(idleUpTo + 800);
        Assert.Equal(idleUpTo, _it.File.CleanUpTo);
        FlushJob dropped = _it.File.PrepareFlush(DatafileOnDisk.Lineage)!;
        Assert.Equal(idleUpTo, _it.File.CleanUpTo);
        _it.File.DropFlush(dropped);
        Assert.Equal(idleUpTo, _it.File.CleanUpTo);
        Finish(_it.File.PrepareMetaFlush(DatafileOnDisk.Lineage, idleUpTo));
        Assert.Equal(idleUpTo, _it.File.CheckpointLsn);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.Equal(idleUpTo + 800, _it.File.CleanUpTo);
    }

    [Fact]
    public void Two_sealed_buffers_are_the_most_and_are_flushed_together()
    {
        _it.Put("a", "1");
        _it.Put("b", "1");
        _it.Seal();
        _it.Put("a", "2");
        _it.Delete("b");
        _it.Seal();
        Assert.True(_it.File.CanSeal);
        _it.Put("c", "3");
        Assert.False(_it.File.CanSeal);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.True(_it.File.CanSeal);
        Assert.Equal(1UL, _it.File.Meta.Root.Keys);
        _it.Check();
        _it.Flush();
        _it.Check();
    }

    [Fact]
    public void A_buffer_sealed_while_a_flush_runs_stays_for_the_next_one()
    {
        _it.PutMany(0, 100);
        FlushJob job = _it.Prepare();
        _it.PutMany(50, 100, fill: 2);
        _it.Seal();
        Finish(job);
        Assert.Equal(100UL, _it.File.Meta.Root.Keys);
        _it.Check();
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.Equal(150UL, _it.File.Meta.Root.Keys);
        _it.Check();
    }

    [Fact]
    public void A_large_value_survives_flush_and_reopening()
    {
        byte[] value = new byte[1_000_000];
        new Random(1).NextBytes(value);
        _it.Put("large", value);
        _it.Flush();
        _it.Check();
        using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(1));
        Assert.True(value.AsSpan().SequenceEqual(after.Get("large")));
    }

    [Fact]
    public void A_dropped_table_is_hidden_at_once_and_cut_out_by_the_next_flush()
    {
        _it.PutMany(0, 2000);
        _it.Flush();
        _it.Put("late", "1");
        Lsn before = _it.Lsn;
        ReadView pinned = _it.File.View;
        Assert.True(pinned.TryPin());
        _it.File.DropTable(new TableId(1), _it.Lsn + 8);
        Assert.Null(_it.Get(_it.File.View, "k00001", _it.Lsn + 8));
        Assert.NotNull(_it.Get(pinned, "k00001", before));
        _it.File.Seal(_it.Lsn + 8);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.Equal(0UL, _it.File.Meta.Root.Keys);
        Assert.NotNull(_it.Get(pinned, "k00001", before));
        pinned.Unpin();
        Assert.True(DatafileCheck.Run(_it.Environment, DatafileOnDisk.Path).IsSound);
    }

    [Fact]
    public void A_drop_above_the_seal_waits_for_the_next_flush()
    {
        _it.PutMany(0, 10);
        _it.Seal();
        _it.File.DropTable(new TableId(1), _it.Lsn + 800);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.Equal(10UL, _it.File.Meta.Root.Keys);
        Assert.Null(_it.File.PrepareFlush(DatafileOnDisk.Lineage));
        _it.File.Seal(_it.Lsn + 800);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        Assert.Equal(0UL, _it.File.Meta.Root.Keys);
    }

    [Fact]
    public void A_dropped_flush_leaves_the_old_root_and_is_repeated_with_all_changes()
    {
        _it.PutMany(0, 1000);
        _it.Flush();
        _it.PutMany(500, 1000, fill: 2);
        FlushJob job = _it.Prepare();
        job.WritePages();
        _it.File.DropFlush(job);
        _it.Check();
        Assert.Equal(2UL, _it.File.Generation);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        _it.Check();
        Assert.Equal(1500UL, _it.File.Meta.Root.Keys);
    }

    [Fact]
    public void A_cancelled_flush_can_be_dropped()
    {
        _it.PutMany(0, 1000);
        FlushJob job = _it.Prepare();
        Assert.ThrowsAny<OperationCanceledException>(() => job.WritePages(new CancellationToken(canceled: true)));
        _it.File.DropFlush(job);
        Assert.False(_it.File.HasFailed);
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        _it.Check();
    }

    [Fact]
    public void A_full_disk_drops_the_flush_and_a_later_one_succeeds()
    {
        _it.PutMany(0, 1000);
        _it.Disk.Faults.On(FileOp.Write).Of("main").Full();
        FlushJob job = _it.Prepare();
        Assert.True(Assert.Throws<StorageFailedException>(() => job.WritePages()).IsDiskFull);
        _it.File.DropFlush(job);
        Assert.False(_it.File.HasFailed);
        _it.Check();
        Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
        _it.Check();
    }

    [Fact]
    public void A_failed_sync_of_pages_ends_all_writing_and_reads_go_on()
    {
        _it.PutMany(0, 100);
        _it.Disk.Faults.On(FileOp.SyncData).Of("main").Fail(Errno.EIO);
        FlushJob job = _it.Prepare();
        Assert.Equal(ErrorCode.DatafileWriteFailed, Assert.Throws<StorageFailedException>(() => job.WritePages()).Code);
        Assert.True(_it.File.HasFailed);
        _it.File.DropFlush(job);
        _it.Put("later", "1");
        Assert.Equal(ErrorCode.DatafileOffline,
            Assert.Throws<RefusedException>(() => _it.File.PrepareFlush(DatafileOnDisk.Lineage)).Code);
        Assert.NotNull(_it.Get("k00001"));
        Assert.NotNull(_it.Get("later"));
    }

    [Fact]
    public void A_failed_writeback_is_a_failed_sync()
    {
        _it.PutMany(0, 100);
        _it.Disk.Faults.On(FileOp.StartWriteback).Of("main").Fail(Errno.EIO);
        FlushJob job = _it.Prepare();
        Assert.Equal(ErrorCode.DatafileWriteFailed, Assert.Throws<StorageFailedException>(() => job.WritePages()).Code);
        Assert.True(_it.File.HasFailed);
        _it.File.DropFlush(job);
    }

    [Fact]
    public void A_snapshot_reads_its_old_root_over_many_flushes()
    {
        _it.PutMany(0, 500, fill: 1);
        _it.Flush();
        ReadView pinned = _it.File.View;
        Lsn at = _it.Lsn;
        Assert.True(pinned.TryPin());
        SortedDictionary<string, byte[]> expected = _it.Scan(pinned, at);
        for (byte fill = 2; fill < 12; fill++)
        {
            _it.PutMany(0, 500, fill: fill);
            _it.Flush();
        }
        DatafileOnDisk.RequireEqual(expected, _it.Scan(pinned, at));
        Assert.True(_it.File.PinnedBytes > 0);
        pinned.Unpin();
        _it.Put("z", "1");
        _it.Flush();
        Assert.True(_it.File.PinnedViews <= 2);
        _it.Check();
    }

    [Fact]
    public void Space_is_reused_and_the_file_does_not_grow_without_end()
    {
        for (byte round = 1; round <= 30; round++)
        {
            _it.PutMany(0, 3000, fill: round);
            _it.Flush();
            _it.Epochs.AwaitAll(); // a thread of the pool may be about to release the pages of the flush before
        }
        _it.Check();
        Assert.True(
            _it.File.LengthBytes < 4 * _it.File.LiveBytes, $"{_it.File.LengthBytes} for {_it.File.LiveBytes} live.");
    }

    [Fact]
    public void Free_pages_at_the_end_are_given_back()
    {
        _it.PutMany(0, 20_000);
        _it.Flush();
        long largest = _it.File.LengthBytes;
        _it.DeleteMany(10, 19_990);
        _it.Flush();
        for (int i = 0; i < 4; i++)
        {
            _it.Put("k00000", $"{i}");
            _it.Flush();
        }
        Assert.True(_it.File.LengthBytes < largest / 4, $"{_it.File.LengthBytes} of {largest}.");
        Assert.Equal(_it.File.LengthBytes, _it.Disk.Stat(DatafileOnDisk.Path)!.LengthBytes);
        _it.Check();
    }

    [Fact]
    public void A_random_life_equals_the_model_at_each_step_and_after_reopening()
    {
        var random = new Random(4711);
        for (int round = 0; round < 25; round++)
        {
            for (int i = random.Next(1, 600); i > 0; i--)
            {
                string key = $"k{random.Next(3000):D5}";
                if (random.Next(3) == 0)
                    _it.Delete(key);
                else
                    _it.Put(key, new byte[random.Next(20) == 0 ? random.Next(40_000) : random.Next(300)]);
            }
            if (random.Next(4) == 0)
            {
                FlushJob job = _it.Prepare();
                job.WritePages();
                _it.File.DropFlush(job);
                Finish(_it.File.PrepareFlush(DatafileOnDisk.Lineage)!);
            }
            else
            {
                _it.Flush();
            }
            _it.Check();
        }
        using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(7));
        after.Check();
        after.PutMany(0, 200);
        after.Flush();
        after.Check();
    }

    private void Finish(FlushJob job)
    {
        job.WritePages();
        job.WriteMeta();
        _it.File.CompleteFlush(job);
    }

    /// <summary>
    /// C3: a flush that its writes hold up is in no epoch, so what reads evict meanwhile is used again.
    /// </summary>
    [Fact]
    public async Task Reads_stay_within_the_budget_while_a_flush_waits_for_its_writes()
    {
        const int Rows = 6000;
        _it.PutMany(0, Rows, valueBytes: 1900);
        _it.Flush();
        _it.PutMany(0, Rows, valueBytes: 1900, fill: 2);
        FlushJob job = _it.Prepare();
        FaultGate gate = _it.Disk.Faults.On(FileOp.Write).Of("main.pitr").Nth(2).Hold();
        Task write = Task.Run(() => job.WritePages());
        await gate.Reached.WaitAsync(TimeSpan.FromSeconds(30));
        ReadTree(Rows, times: 2);
        long heldBytes = _it.Environment.Cache.HeldBytes;
        gate.Release();
        await write;
        Assert.InRange(heldBytes, 1, _it.Environment.Cache.BudgetBytes);
        job.WriteMeta();
        _it.File.CompleteFlush(job);
        _it.Check();
    }

    private void ReadTree(int rows, int times)
    {
        ReadView view = _it.File.View;
        for (int i = 0; i < times * rows; i++)
        {
            using EpochGuard guard = _it.Epochs.Enter();
            var cursor = new TreeCursor(view.Pages, view.Root);
            Assert.True(cursor.Seek(DatafileOnDisk.KeyOf($"k{i % rows:D5}")));
        }
    }
}
