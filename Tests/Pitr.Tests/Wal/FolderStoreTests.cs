using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Tests.ArchiveTestData;

namespace Pitr.Tests;

/// <summary>A folder as an archive store: whole objects or none, durable names, nothing outside the folder.</summary>
public sealed class FolderStoreTests
{
    private readonly SimulatedDisk _disk;
    private readonly FolderStore _store;

    public FolderStoreTests() => (_disk, _store) = NewStore();

    [Fact]
    public void An_object_is_written_synced_linked_and_its_folder_synced_in_that_order()
    {
        _disk.Log.Start();
        Assert.True(_store.TryPutIfAbsent("wal/a", Bytes(10, 1)));
        string[] steps = [.. _disk.Log.Operations.Select(operation => operation.Op.ToString())];
        Assert.Equal(
            ["CreateFolder", "SyncFolder", "Create", "Write", "SyncData", "Link", "Delete", "SyncFolder"], steps);
    }

    [Fact]
    public void Listing_gives_every_depth_in_ordinal_order_and_only_objects()
    {
        foreach (string name in new[] { "b/2", "b/1", "b/10/x", "a", "c" })
            _store.Put(name, Bytes(1, 1));
        _disk.Open("/store/b/.tmp-0000000000000001", FileOpen.CreateNew).Dispose();
        Assert.Equal(["a", "b/1", "b/10/x", "b/2", "c"], _store.List(""));
        Assert.Equal(["b/1", "b/10/x", "b/2"], _store.List("b/"));
        Assert.Equal(["b/1", "b/10/x"], _store.List("b/1"));
    }

    [Fact]
    public void A_symbolic_link_does_not_lead_out_of_the_store()
    {
        _disk.CreateFolders("/outside");
        _disk.Symlink("/outside", "/store/wal");
        Assert.Equal(ErrorCode.StoreFailed,
            Assert.Throws<StorageFailedException>(() => _store.Put("wal/a", Bytes(1, 1))).Code);
        Assert.Throws<StorageFailedException>(() => _store.TryGet("wal/a"));
        Assert.Empty(_store.List(""));
        Assert.Empty(_disk.List("/outside"));
    }

    [Fact]
    public void The_folders_of_a_set_go_with_its_last_object_and_those_of_the_root_stay()
    {
        foreach (string name in new[] { "backups/1/datafiles/main.pitr", "backups/1/intent.json", "backups/2/intent.json" })
            _store.Put(name, "x"u8.ToArray());
        _store.Delete("backups/1/datafiles/main.pitr");
        Assert.Equal(["intent.json"], _disk.List("/store/backups/1"));
        _store.Delete("backups/1/intent.json");
        Assert.Equal(["2"], _disk.List("/store/backups"));
        _store.Delete("backups/2/intent.json");
        Assert.Empty(_disk.List("/store/backups"));

        _store.Put("backups/1/intent.json", "again"u8.ToArray()); // durable: its folder is new
        SimulatedDisk left = _disk.CrashCopy(1);
        Assert.Equal("again"u8, left.ReadAll("/store/backups/1/intent.json"));
    }

    /// <summary>Several work in a store at a time: a deletion takes a folder from under whoever works in it.</summary>
    [Theory]
    [InlineData("put", true)]
    [InlineData("put", false)]
    [InlineData("create", true)]
    [InlineData("create", false)]
    [InlineData("delete", true)]
    [InlineData("delete", false)]
    public void A_folder_that_another_one_has_emptied_costs_nobody_his_work(string what, bool isOneObject)
    {
        for (long step = 1; ; step++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            FolderStore other = isOneObject ? store : Store(disk, seed: 2);
            store.Put("backups/1/datafiles/a", Bytes(10, 1));
            if (what == "delete")
                store.Put("backups/1/datafiles/b", Bytes(10, 2));
            long at = disk.OperationCount + step;
            bool isMet = false;
            disk.BeforeOperation = operation =>
            {
                if (isMet || operation < at)
                    return;
                isMet = true;
                other.Delete("backups/1/datafiles/a");
            };
            if (what == "delete")
                store.Delete("backups/1/datafiles/b");
            else if (what == "put")
                store.Put("backups/1/datafiles/b", Bytes(10, 2));
            else
                Assert.True(store.TryPutIfAbsent("backups/1/datafiles/b", Bytes(10, 2)));
            disk.BeforeOperation = null;
            if (!isMet)
            {
                Assert.True(step > 3);
                return;
            }

            for (int seed = 0; seed < 8; seed++)
                Assert.Equal(what == "delete" ? [] : ["backups/1/datafiles/b"], Store(disk.CrashCopy(seed)).List(""));
        }
    }

    /// <summary>Not by a deletion of the store's: whatever the moment, what was said to be put is there.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_somebody_takes_with_a_folder_of_the_root_was_not_put(bool isNew)
    {
        int refused = 0;
        for (long step = 1; ; step++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            store.Put("wal/a", Bytes(10, 1));
            long at = disk.OperationCount + step;
            bool isMet = false;
            disk.BeforeOperation = operation =>
            {
                if (isMet || operation < at)
                    return;
                isMet = true;
                foreach (string name in disk.List("/store/wal"))
                    disk.Delete($"/store/wal/{name}");
                disk.DeleteFolder("/store/wal");
            };
            try
            {
                if (isNew)
                    Assert.True(store.TryPutIfAbsent("wal/b", Bytes(10, 2)));
                else
                    store.Put("wal/b", Bytes(10, 2));
                disk.BeforeOperation = null;
                Assert.Equal(Bytes(10, 2), store.Get("wal/b").ToArray());
            }
            catch (StorageFailedException failed)
            {
                Assert.Equal(ErrorCode.StoreFailed, failed.Code);
                refused++;
            }

            if (!isMet)
                break;
        }

        Assert.True(refused > 0);
    }

    [Fact]
    public void A_folder_that_goes_while_it_is_listed_has_nothing()
    {
        _store.Put("backups/1/a", Bytes(10, 1));
        _store.Put("c", Bytes(10, 1));
        var disk = new MeddlingDisk(_disk) { BeforeList = _ => _store.Delete("backups/1/a") };
        Assert.Empty(Store(disk).List("backups/1/"));
    }

    [Fact]
    public void A_missing_root_is_never_filled()
    {
        FolderStore unmounted = Store(_disk, "/mnt");
        Assert.Equal(ErrorCode.StoreFailed,
            Assert.Throws<StorageFailedException>(() => unmounted.Put("a", Bytes(1, 1))).Code);
        Assert.Throws<StorageFailedException>(() => unmounted.List(""));
        Assert.Null(_disk.Stat("/mnt"));
        unmounted.CreateRoot();
        unmounted.Put("a", Bytes(1, 1));
    }

    /// <summary>
    /// H27, H39: whatever the step at which power goes, an object is whole or not there; acknowledged, it is there.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_object_is_whole_or_not_there_after_power_loss_at_any_step(bool conditional)
    {
        byte[] content = Bytes(5000, 7);
        for (long crashAt = 1; ; crashAt++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            disk.CrashAt(disk.OperationCount + crashAt);
            bool acknowledged = false;
            try
            {
                if (conditional)
                    acknowledged = store.TryPutIfAbsent("wal/a", content);
                else
                    store.Put("wal/a", content);
                acknowledged = true;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }
            for (int seed = 0; seed < 24; seed++)
            {
                SimulatedDisk after = disk.CrashCopy(seed);
                ReadOnlyMemory<byte>? there = Store(after).TryGet("wal/a");
                if (there is { } bytes)
                    Assert.Equal(content, bytes.ToArray());
                Assert.True(there is not null || !acknowledged, $"crash at {crashAt}, seed {seed}");
                Store(after).RemoveStrays();
                Assert.True(after.Stat("/store/wal") is null || after.List("/store/wal").All(name => name == "a"));
            }
            if (acknowledged)
                return;
        }
    }

    /// <summary>
    /// H39: a process is killed between link and folder sync; the next one finds the object and accepts it. Power loss
    /// after that must not take it, since the WAL may be recycled by then.
    /// </summary>
    [Fact]
    public void An_object_found_after_a_kill_is_durable_once_it_was_accepted()
    {
        byte[] content = Bytes(5000, 7);
        for (long killAt = 1; killAt <= 8; killAt++)
        {
            (SimulatedDisk disk, FolderStore store) = NewStore();
            disk.CrashAt(disk.OperationCount + killAt);
            Assert.ThrowsAny<Exception>(() => store.TryPutIfAbsent("wal/a", content));
            SimulatedDisk killed = disk.KillCopy();
            Store(killed, seed: 4711).TryPutIfAbsent("wal/a", content);
            for (int seed = 0; seed < 24; seed++)
                Assert.Equal(content, Store(killed.CrashCopy(seed)).Get("wal/a").ToArray());
        }
    }

    /// <summary>
    /// H36, H39: an object out of a stream is durable when it was put, and one that was deleted is gone.
    /// </summary>
    [Fact]
    public void What_was_put_out_of_a_stream_or_deleted_stays_so_over_a_power_loss()
    {
        (SimulatedDisk disk, FolderStore store) = NewStore();
        byte[] content = Bytes(5000, 7);
        store.Put("wal/gone", content);
        store.Put("wal/a", new MemoryStream(content));
        for (int seed = 0; seed < 16; seed++)
            Assert.Equal(content, Store(disk.CrashCopy(seed)).Get("wal/a").ToArray());
        store.Delete("wal/gone");
        for (int seed = 0; seed < 16; seed++)
            Assert.Null(Store(disk.CrashCopy(seed)).Stat("wal/gone"));
    }

    [Fact]
    public void A_failed_write_leaves_no_stray_and_tells_the_store()
    {
        _disk.Faults.On(FileOp.SyncData).Of(".tmp-").Fail(5);
        var failed = Assert.Throws<StorageFailedException>(() => _store.Put("wal/a", Bytes(10, 1)));
        Assert.Equal((ErrorCode.StoreFailed, 5), (failed.Code, failed.Errno));
        Assert.Contains("/store", failed.Message, StringComparison.Ordinal);
        Assert.Empty(_disk.List("/store/wal"));
        _store.Put("wal/a", Bytes(10, 1));
        Assert.Equal((0, 0), (_disk.OpenHandleCount, _disk.HeldLockCount));
    }

    [Fact]
    public void A_stray_of_a_living_writer_stays_and_one_of_a_dead_writer_goes()
    {
        _disk.Open("/store/.tmp-0000000000000001", FileOpen.CreateNew).Dispose();
        _disk.Open("/store/.tmp-0000000000000002", FileOpen.CreateNew).Dispose();
        using (_disk.TryLock("/store/.tmp-0000000000000001"))
            Assert.Equal(1, _store.RemoveStrays());
        Assert.Equal([".tmp-0000000000000001"], _disk.List("/store"));
    }

    /// <summary>A temporary file is free for a moment: between its creation and its lock.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_stray_remover_between_create_and_lock_costs_a_writer_no_more_than_another_name(bool conditional)
    {
        var disk = new MeddlingDisk(_disk);
        FolderStore writer = Store(disk);
        int removed = 0;
        disk.BeforeLock = _ => removed = _store.RemoveStrays();
        Write(writer, conditional);
        Assert.Equal(1, removed);
        RequireOnlyTheObject();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_lock_on_a_temporary_file_that_was_removed_meanwhile_does_not_count(bool conditional)
    {
        var disk = new MeddlingDisk(_disk) { AfterLock = _disk.Delete };
        Write(Store(disk), conditional);
        RequireOnlyTheObject();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_writer_that_finds_its_temporary_file_locked_leaves_it_to_the_remover(bool conditional)
    {
        var disk = new MeddlingDisk(_disk);
        (string Path, IDisposable Lock)? remover = null;
        disk.BeforeLock = path => remover = (path, _disk.TryLock(path)!);
        Write(Store(disk), conditional);
        _disk.Delete(remover!.Value.Path); // it must still be there for the one who has its lock
        remover.Value.Lock.Dispose();
        RequireOnlyTheObject();
    }

    [Fact]
    public void A_remover_that_locks_what_its_writer_has_just_published_removes_nothing()
    {
        _disk.Open("/store/.tmp-0000000000000001", FileOpen.CreateNew).Dispose();
        var disk = new MeddlingDisk(_disk) { AfterLock = path => _disk.Rename(path, "/store/a") };
        Assert.Equal(0, Store(disk).RemoveStrays());
        Assert.Equal(["a"], _store.List(""));
        Assert.Equal(0, _disk.HeldLockCount);
    }

    /// <summary>On the real disk: a lock belongs to its opening of the file, not to the process.</summary>
    [Fact]
    public async Task Threads_of_one_process_write_and_remove_strays_at_once_and_nothing_is_lost()
    {
        string folder = Directory.CreateTempSubdirectory("pitr-store-").FullName;
        var files = new PosixFileSystem();
        FolderStore writer = Store(files, folder, seed: 1);
        FolderStore remover = Store(files, folder, seed: 2);
        using var isWritten = new CancellationTokenSource();
        Task removing = Task.Run(() =>
        {
            while (!isWritten.IsCancellationRequested)
                remover.RemoveStrays();
        });
        try
        {
            for (byte number = 0; number < 60; number++)
                writer.Put($"wal/{number}", Bytes(100, number));
        }
        finally
        {
            await isWritten.CancelAsync();
        }
        await removing.WaitAsync(TimeSpan.FromSeconds(30));
        for (byte number = 0; number < 60; number++)
            Assert.Equal(Bytes(100, number), remover.Get($"wal/{number}").ToArray());
        Assert.Equal(60, files.List($"{folder}/wal").Count);
        Directory.Delete(folder, recursive: true);
    }

    private static void Write(FolderStore store, bool conditional)
    {
        if (conditional)
            Assert.True(store.TryPutIfAbsent("wal/a", Bytes(10, 1)));
        else
            store.Put("wal/a", Bytes(10, 1));
    }

    private void RequireOnlyTheObject()
    {
        Assert.Equal(Bytes(10, 1), _store.Get("wal/a").ToArray());
        Assert.Equal(["a"], _disk.List("/store/wal"));
        Assert.Equal((0, 0), (_disk.OpenHandleCount, _disk.HeldLockCount));
    }
}
