using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>The schedules of <c>docs/hazards.md</c> that a datafile prevents by itself.</summary>
public sealed class DatafileHazardTests : IDisposable
{
    private readonly DatafileOnDisk _it = DatafileOnDisk.Create();

    public void Dispose() => _it.Dispose();

    /// <summary>
    /// H9: once the meta page was submitted the flush is not dropped, and after its failed sync nothing is written.
    /// </summary>
    [Fact]
    public void A_flush_whose_meta_page_was_submitted_cannot_be_dropped()
    {
        _it.PutMany(0, 100);
        _it.Flush();
        _it.PutMany(50, 100);
        FlushJob job = _it.Prepare();
        job.WritePages();
        _it.Disk.Faults.On(FileOp.SyncData).Of("main").Fail(Errno.EIO);
        Assert.Equal(ErrorCode.DatafileWriteFailed, Assert.Throws<StorageFailedException>(job.WriteMeta).Code);
        Assert.Throws<BugException>(() => _it.File.DropFlush(job));
        Assert.Throws<BugException>(() => _it.File.CompleteFlush(job));
        Assert.True(_it.File.HasFailed);
        long operations = _it.Disk.OperationCount;
        Assert.Equal(ErrorCode.DatafileOffline,
            Assert.Throws<RefusedException>(() => _it.File.PrepareMetaFlush(DatafileOnDisk.Lineage)).Code);
        Assert.Equal(operations, _it.Disk.OperationCount);
        for (long seed = 0; seed < 20; seed++)
        {
            using DatafileOnDisk after = _it.OpenOn(_it.Disk.CrashCopy(seed), controlFileGeneration: 2);
            after.Check();
        }
    }

    /// <summary>H9: also a meta page that found no room is never written again.</summary>
    [Fact]
    public void A_full_disk_at_the_meta_page_takes_the_file_offline()
    {
        _it.PutMany(0, 10);
        FlushJob job = _it.Prepare();
        job.WritePages();
        _it.Disk.Faults.On(FileOp.Write).Of("main").Full();
        Assert.Throws<StorageFailedException>(job.WriteMeta);
        Assert.True(_it.File.HasFailed);
    }

    /// <summary>
    /// H10: killed between the write of the meta page and its sync, the file is opened from the page cache and flushed
    /// again; after a power loss at any moment of that flush it is whole.
    /// </summary>
    [Fact]
    public void A_meta_page_believed_from_the_page_cache_is_durable_before_pages_are_reused()
    {
        for (int round = 0; round < 4; round++)
        {
            _it.PutMany(0, 4000, fill: (byte)round);
            _it.Flush();
        }
        _it.PutMany(0, 4000, fill: 50);
        FlushJob job = _it.Prepare();
        job.WritePages();
        SimulatedDisk killed = KilledBeforeTheMetaSync(job);
        bool ended = false;
        for (long crash = 1; !ended; crash++)
        {
            SimulatedDisk disk = killed.KillCopy();
            using (DatafileOnDisk again = _it.OpenOn(disk))
            {
                Assert.Equal(job.Generation, again.File.Generation);
                again.PutMany(0, 4000, fill: 60);
                disk.CrashAt(disk.OperationCount + crash);
                Exception? crashed = Record.Exception(again.Flush);
                Assert.True(crashed is null or SimulatedCrashException, $"{crashed}");
                ended = crashed is null;
                disk.PowerOff();
            }
            for (long seed = 0; seed < 10; seed++)
            {
                using DatafileOnDisk after = _it.OpenOn(disk.CrashCopy(seed));
                after.Check();
            }
        }
    }

    /// <summary>
    /// H10: the meta page that is believed is written again, the same bytes, and synced, before anything else.
    /// </summary>
    [Fact]
    public void Opening_writes_the_believed_meta_page_again_and_syncs_it()
    {
        _it.PutMany(0, 10);
        _it.Flush();
        SimulatedDisk disk = _it.Disk.KillCopy();
        byte[] before = disk.ReadAll(DatafileOnDisk.Path);
        disk.Log.Start();
        using DatafileOnDisk again = _it.OpenOn(disk);
        Assert.Equal(before, disk.ReadAll(DatafileOnDisk.Path));
        Assert.Equal([FileOp.Write, FileOp.SyncData],
            disk.Log.Operations.Select(operation => operation.Op).Where(op => op is FileOp.Write or FileOp.SyncData));
    }

    /// <summary>
    /// H12: a reader inside an epoch that took the view two flushes ago reads right pages, and no page is reused
    /// meanwhile.
    /// </summary>
    [Fact]
    public void A_descheduled_reader_reads_its_old_root_after_many_flushes()
    {
        _it.PutMany(0, 500, fill: 1);
        _it.Flush();
        ReadView old = _it.File.View;
        Lsn at = _it.Lsn;
        SortedDictionary<string, byte[]> expected = _it.Scan(old, at);
        using (_it.Epochs.Enter())
        {
            for (byte fill = 2; fill < 8; fill++)
                FlushFromAnotherThread(fill);
            _it.File.Pages.Forget([.. Enumerable.Range(2, 200).Select(n => (uint)n)]); // so that pages come from disk
            DatafileOnDisk.RequireEqual(expected, _it.Scan(old, at));
            Assert.True(_it.File.PinnedBytes > 0);
        }
        FlushFromAnotherThread(9);
        FlushFromAnotherThread(10);
        Assert.True(_it.File.PinnedBytes < 40 * PageLayout.PageBytes);
        _it.Check();
    }

    /// <summary>
    /// H13: while a worker is inside a flush the owner cannot end it, closing waits, and nobody else gets the file.
    /// </summary>
    [Fact]
    public async Task The_lock_is_released_after_the_last_worker_has_ended()
    {
        _it.PutMany(0, 1000);
        FlushJob job = _it.Prepare();
        FaultGate gate = _it.Disk.Faults.On(FileOp.Write).Of("main").Hold();
        Task worker = Task.Run(() => job.WritePages());
        await gate.Reached.Within();
        Assert.True(_it.File.IsWorking);
        Assert.Throws<BugException>(() => _it.File.DropFlush(job));
        Task closing = Task.Run(_it.CloseFile);
        while (!_it.File.Closing.IsCancellationRequested)
            await Task.Yield();
        Assert.Equal(ErrorCode.DatabaseLocked, Assert.Throws<RefusedException>(() => _it.OpenOn(_it.Disk)).Code);
        Assert.False(closing.IsCompleted);
        gate.Release();
        await Record.ExceptionAsync(() => worker);
        await closing;
        using DatafileOnDisk next = _it.OpenOn(_it.Disk);
        next.Check();
    }

    /// <summary>H13: a worker that comes too late does nothing.</summary>
    [Fact]
    public void A_job_of_a_closed_file_writes_nothing()
    {
        _it.PutMany(0, 10);
        FlushJob job = _it.Prepare();
        _it.CloseFile();
        long operations = _it.Disk.OperationCount;
        Assert.Throws<RefusedException>(() => job.WritePages());
        Assert.Throws<RefusedException>(job.WriteMeta);
        Assert.Equal(operations, _it.Disk.OperationCount);
    }

    /// <summary>
    /// H16: a generation above the control file's is normal; a lower one, or the same with another LSN, is not.
    /// </summary>
    [Fact]
    public void An_older_or_foreign_copy_needs_recovery()
    {
        _it.PutMany(0, 10);
        _it.Flush();
        Lsn at = _it.File.CheckpointLsn;
        _it.CloseFile();
        OpenAs(DatafileOnDisk.Expected(1, new Lsn(1000)));
        OpenAs(DatafileOnDisk.Expected(2, at));
        RequireNeedsRecovery(DatafileOnDisk.Expected(2, at + 8), "foreign copy");
        RequireNeedsRecovery(DatafileOnDisk.Expected(3), "older copy");
        RequireNeedsRecovery(DatafileOnDisk.Expected() with { Incarnation = new Incarnation(9) }, "incarnation");
        RequireNeedsRecovery(DatafileOnDisk.Expected(3) with { Incarnation = new Incarnation(9) }, "incarnation");
    }

    /// <summary>
    /// H16: if the newer meta page is damaged, the older one is believed only if the control file knows no newer one.
    /// </summary>
    [Theory]
    [InlineData(1UL, true)]
    [InlineData(2UL, false)]
    public void The_older_meta_page_is_believed_only_at_the_control_files_generation(ulong known, bool isBelieved)
    {
        _it.PutMany(0, 10);
        _it.Flush();
        Assert.Equal(2UL, _it.File.Generation);
        SimulatedDisk disk = _it.Disk.KillCopy();
        disk.Damage(DatafileOnDisk.Path, 100);
        if (isBelieved)
        {
            using DatafileOnDisk again = _it.OpenOn(disk, known);
            Assert.Equal(1UL, again.File.Generation);
            again.Check();
        }
        else
        {
            Assert.Equal(ErrorCode.DatafileNeedsRecovery,
                Assert.Throws<RefusedException>(() => _it.OpenOn(disk, known)).Code);
        }
    }

    [Fact]
    public void A_file_without_a_valid_meta_page_is_damage()
    {
        SimulatedDisk disk = _it.Disk.KillCopy();
        disk.Damage(DatafileOnDisk.Path, 100);
        disk.Damage(DatafileOnDisk.Path, PageLayout.PageBytes + 100);
        Assert.Equal(ErrorCode.MetaPageDamaged, Assert.Throws<DamageException>(() => _it.OpenOn(disk)).Code);
        Assert.Equal(ErrorCode.MetaPageDamaged,
            Assert.Throws<DamageException>(() => Datafile.Inspect(disk, DatafileOnDisk.Path)).Code);
    }

    [Fact]
    public void A_missing_foreign_or_short_file_is_refused_by_name()
    {
        _it.PutMany(0, 1000);
        _it.Flush();
        _it.CloseFile();
        Assert.Equal(ErrorCode.ForeignSystem,
            Refused(DatafileOnDisk.Expected() with { SystemId = new SystemIdentifier(5) }).Code);
        Assert.Equal(ErrorCode.ForeignSystem, Refused(DatafileOnDisk.Expected() with { FileId = new FileId(5) }).Code);
        using (IFileHandle handle = _it.Disk.Open(DatafileOnDisk.Path, FileOpen.ReadWrite))
            handle.SetLength(handle.LengthBytes - PageLayout.PageBytes);
        Assert.Equal(ErrorCode.DatafileTooShort, Refused(DatafileOnDisk.Expected()).Code);
        _it.Disk.Delete(DatafileOnDisk.Path);
        Assert.Equal(ErrorCode.DatafileMissing, Refused(DatafileOnDisk.Expected()).Code);
    }

    /// <summary>H17: a spill file or an unfinished copy never opens as a datafile.</summary>
    [Theory]
    [InlineData(DatafileKind.Spill)]
    [InlineData(DatafileKind.UnfinishedCopy)]
    public void A_file_of_another_kind_never_opens_as_a_datafile(object kind)
    {
        Datafile.Create(
            _it.Environment, "/db/other", "other", DatafileOnDisk.SystemId, FileId.Main, DatafileOnDisk.Incarnation,
            DatafileOnDisk.Lineage, new Lsn(5000), (DatafileKind)kind).Dispose();
        Assert.Equal(ErrorCode.DatafileOtherKind, Assert.Throws<RefusedException>(
            () => Datafile.Open(_it.Environment, "/db/other", "other", DatafileOnDisk.Expected())).Code);
    }

    /// <summary>
    /// H22: a change of the meta page is a generation of its own in the other slot; the old one stays until then.
    /// </summary>
    [Fact]
    public void A_change_of_the_meta_page_is_a_flush_without_pages()
    {
        _it.PutMany(0, 10);
        _it.Flush();
        _it.SealLater(800);
        byte[] before = _it.Disk.ReadAll(DatafileOnDisk.Path);
        FlushJob job = _it.File.PrepareMetaFlush(
            DatafileOnDisk.Lineage, _it.File.CleanUpTo, new Incarnation(77), new Guid(1, 2, 3, new byte[8]));
        job.WritePages();
        job.WriteMeta();
        _it.File.CompleteFlush(job);
        byte[] after = _it.Disk.ReadAll(DatafileOnDisk.Path);
        Assert.Equal(3UL, _it.File.Generation);
        Assert.Equal(_it.Lsn, _it.File.CheckpointLsn);
        Assert.Equal(new Incarnation(77), Datafile.Inspect(_it.Disk, DatafileOnDisk.Path).Incarnation);
        Assert.True(before.AsSpan(0, PageLayout.PageBytes).SequenceEqual(after.AsSpan(0, PageLayout.PageBytes)));
        Assert.True(before.AsSpan(2 * PageLayout.PageBytes).SequenceEqual(after.AsSpan(2 * PageLayout.PageBytes)));
        _it.Check();
        _it.PutMany(100, 10);
        Assert.Throws<BugException>(() =>
            _it.File.Apply(OperationKind.Put, DatafileOnDisk.KeyOf("x"), default, _it.File.CheckpointLsn));
    }

    /// <summary>H22: a meta page never claims changes that are still in a buffer.</summary>
    [Fact]
    public void A_meta_page_cannot_claim_changes_that_are_buffered()
    {
        _it.Put("a", "1");
        _it.Seal();
        Assert.Throws<BugException>(() => _it.File.PrepareMetaFlush(DatafileOnDisk.Lineage, _it.Lsn));
    }

    /// <summary>
    /// H22: an idle file was noted as clean far above its meta page; then changes came, and their flush was dropped, for
    /// a fence or a full disk. The meta page is brought up to date all the same: the WAL below may be gone.
    /// </summary>
    [Fact]
    public void A_lagging_meta_page_is_brought_up_to_date_also_while_a_dropped_flush_is_buffered()
    {
        _it.Put("a", "1");
        _it.Flush();
        Lsn clean = _it.Lsn + 800;
        _it.File.Seal(clean); // a checkpoint of an idle file: nothing is written
        Assert.Equal(clean, _it.File.CleanUpTo);
        _it.Lsn = clean;
        _it.Put("a", "2");
        _it.Seal();
        FlushJob dropped = _it.File.PrepareFlush(DatafileOnDisk.Lineage)!;
        dropped.WritePages();
        Assert.Equal(clean, _it.File.CleanUpTo);
        _it.File.DropFlush(dropped);
        Assert.Equal(clean, _it.File.CleanUpTo);
        FlushJob meta = _it.File.PrepareMetaFlush(DatafileOnDisk.Lineage, clean);
        meta.WritePages();
        meta.WriteMeta();
        _it.File.CompleteFlush(meta);
        Assert.Equal(clean, _it.File.CheckpointLsn);
        Assert.Throws<BugException>(() => _it.File.PrepareMetaFlush(DatafileOnDisk.Lineage, _it.Lsn));
        _it.Flush();
        Assert.Equal(_it.Lsn, _it.File.CheckpointLsn);
    }

    /// <summary>
    /// H38: an older page of the free chain, valid by itself, in the place of the present one is damage.
    /// </summary>
    [Fact]
    public void An_older_page_of_the_free_chain_is_damage()
    {
        var chains = new Dictionary<uint, byte[]>();
        for (int round = 0; round < 20; round++)
        {
            _it.PutMany(0, 400, fill: (byte)round);
            _it.Flush();
            uint page = _it.File.Meta.FreeChain;
            byte[] now = _it.Disk.ReadAll(DatafileOnDisk.Path)
                .AsSpan((int)page * PageLayout.PageBytes, PageLayout.PageBytes).ToArray();
            if (page == 0 || chains.TryAdd(page, now))
                continue;
            SimulatedDisk disk = _it.Disk.KillCopy();
            using (IFileHandle handle = disk.Open(DatafileOnDisk.Path, FileOpen.ReadWrite))
                handle.Write(page * (long)PageLayout.PageBytes, chains[page]);
            using DatafileOnDisk again = _it.OpenOn(disk);
            again.PutMany(0, 10);
            FlushJob job = again.Prepare();
            Assert.Equal(ErrorCode.FreeChainInvalid, Assert.Throws<DamageException>(() => job.WritePages()).Code);
            again.File.DropFlush(job);
            return;
        }
        Assert.Fail("The chain never came to the same place twice.");
    }

    /// <summary>
    /// A chain, valid by itself, that lists a page which the tree reaches: the flush that gives the page up, or would
    /// have written over it, says which, and nothing of it counts.
    /// </summary>
    [Fact]
    public void A_free_chain_that_disagrees_with_the_tree_is_damage()
    {
        _it.PutMany(0, 400);
        _it.Flush();
        _it.DeleteMany(0, 200);
        _it.Flush();
        MetaPage meta = _it.File.Meta;
        uint inUse = meta.Root.Page;
        Assert.NotEqual(0u, meta.FreeChain);
        SimulatedDisk disk = _it.Disk.KillCopy();
        using (IFileHandle handle = disk.Open(DatafileOnDisk.Path, FileOpen.ReadWrite))
        {
            var free = new PageBits();
            foreach (PageRun run in FreeChain.Read(handle, meta).Runs)
                free.Add(run.First, run.Count);
            uint other = Enumerable.Range(2, (int)meta.PageCount).Select(static page => (uint)page).First(free.Contains);
            free.Remove(other);
            free.Add(inUse);
            byte[] page = new byte[PageLayout.PageBytes];
            FreeChain.Fill(page, free, from: 0, next: 0);
            PageChecksum.Stamp(page, meta.FreeChain, meta.FreeChainGeneration);
            handle.Write(meta.FreeChain * (long)PageLayout.PageBytes, page);
        }

        using DatafileOnDisk again = _it.OpenOn(disk);
        again.PutMany(0, 400);
        FlushJob job = again.Prepare();
        DamageException damage = Assert.Throws<DamageException>(() => job.WritePages());
        Assert.Equal(ErrorCode.FreeChainInvalid, damage.Code);
        Assert.Equal(DatafileOnDisk.Path, damage.Path);
        Assert.Equal(inUse * (long)PageLayout.PageBytes, damage.Offset);
        again.File.DropFlush(job);
    }

    /// <summary>H41: a view that outlives its file reads its buffers, and gets a typed error for its pages.</summary>
    [Fact]
    public void A_view_that_outlives_its_file_gets_a_typed_error()
    {
        _it.PutMany(0, 100);
        _it.Flush();
        _it.Put("buffered", "1");
        ReadView view = _it.File.View;
        Assert.True(view.TryPin());
        _it.CloseFile();
        Assert.Equal("1"u8.ToArray(), _it.Get(view, "buffered", _it.Lsn));
        Assert.Equal(
            ErrorCode.SnapshotTooOld, Assert.Throws<RefusedException>(() => _it.Get(view, "k00001", _it.Lsn)).Code);
        view.Unpin();
        Assert.Equal(0, _it.Environment.Arenas.RentedBytes);
    }

    /// <summary>H41: closing waits for a reader that is inside an epoch.</summary>
    [Fact]
    public async Task Closing_waits_for_readers()
    {
        _it.PutMany(0, 100);
        _it.Flush();
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        Task<bool> reader = Task.Factory.StartNew(() =>
        {
            using EpochGuard guard = _it.Epochs.Enter();
            ReadView view = _it.File.View;
            entered.Set();
            leave.Wait();
            return view.TryGet(DatafileOnDisk.KeyOf("k00001"), _it.Lsn, out ValueRef _);
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait();
        Task closing = Task.Run(_it.CloseFile);
        while (!_it.File.Closing.IsCancellationRequested)
            await Task.Yield();
        Assert.False(closing.IsCompleted);
        leave.Set();
        await Record.ExceptionAsync(() => reader); // its page or the typed error, never other memory
        await closing;
    }

    /// <summary>D3, I6: a file that is held still is not written.</summary>
    [Fact]
    public void A_file_that_is_held_still_is_not_written()
    {
        _it.PutMany(0, 10);
        _it.File.IsStill = true;
        byte[] before = _it.Disk.ReadAll(DatafileOnDisk.Path);
        _it.PutMany(10, 10);
        _it.Seal();
        Assert.Throws<BugException>(() => _it.File.PrepareFlush(DatafileOnDisk.Lineage));
        Assert.Equal(before, _it.Disk.ReadAll(DatafileOnDisk.Path));
        _it.File.IsStill = false;
        _it.Flush();
        _it.Check();
    }

    private void OpenAs(DatafileExpectation expected) =>
        Datafile.Open(_it.Environment, DatafileOnDisk.Path, "main", expected).Dispose();

    private PitrException Refused(DatafileExpectation expected) =>
        (PitrException)Record.Exception(() => OpenAs(expected))!;

    private void RequireNeedsRecovery(DatafileExpectation expected, string why)
    {
        PitrException refused = Refused(expected);
        Assert.Equal(ErrorCode.DatafileNeedsRecovery, refused.Code);
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    private void FlushFromAnotherThread(byte fill) =>
        Task.Run(() =>
        {
            _it.PutMany(0, 500, fill: fill);
            _it.Flush();
        }).GetAwaiter().GetResult();

    private SimulatedDisk KilledBeforeTheMetaSync(FlushJob job)
    {
        FaultGate gate = _it.Disk.Faults.On(FileOp.SyncData).Of("main").Hold();
        Task worker = Task.Run(job.WriteMeta);
        gate.Reached.Within().GetAwaiter().GetResult();
        SimulatedDisk killed = _it.Disk.KillCopy();
        gate.Release();
        worker.GetAwaiter().GetResult();
        _it.File.CompleteFlush(job);
        return killed;
    }
}
