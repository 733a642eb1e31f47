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
    public void Put_replaces_and_a_stream_gives_the_same_object()
    {
        byte[] large = new byte[(3 << 20) + 17];
        new Random(5).NextBytes(large);
        _store.Put("backup/x/big", Bytes(3, 1));
        _store.Put("backup/x/big", new MemoryStream(large));
        Assert.Equal(large, _store.Get("backup/x/big").ToArray());
        Assert.Equal(large.Length, _store.Stat("backup/x/big")!.LengthBytes);
        using Stream content = _store.OpenRead("backup/x/big");
        var copy = new MemoryStream();
        content.CopyTo(copy);
        Assert.Equal(large, copy.ToArray());
    }

    [Fact]
    public void A_taken_name_keeps_its_content()
    {
        Assert.True(_store.TryPutIfAbsent("a", Bytes(3, 1)));
        Assert.False(_store.TryPutIfAbsent("a", Bytes(3, 2)));
        Assert.Equal(Bytes(3, 1), _store.Get("a").ToArray());
    }

    [Fact]
    public void Missing_objects_are_not_there_and_deleting_them_is_nothing()
    {
        Assert.Null(_store.TryGet("no/such"));
        Assert.Null(_store.Stat("no/such"));
        _store.Delete("no/such");
        Assert.Equal(ErrorCode.ArchiveObjectUnknown, Assert.Throws<NotFoundException>(() => _store.Get("no/such")).Code);
        Assert.Empty(_store.List("no/"));
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

    [Theory]
    [InlineData("../x")]
    [InlineData("/etc/passwd")]
    [InlineData("a/../b")]
    [InlineData("a//b")]
    [InlineData("a/")]
    [InlineData(".hidden")]
    [InlineData("a/.tmp-1")]
    [InlineData("a b")]
    [InlineData("a\0b")]
    [InlineData("")]
    public void A_name_that_could_leave_the_folder_is_refused(string name)
    {
        Assert.Throws<BugException>(() => _store.Put(name, Bytes(1, 1)));
        Assert.Throws<BugException>(() => _store.TryPutIfAbsent(name, Bytes(1, 1)));
        Assert.Throws<BugException>(() => _store.TryGet(name));
        Assert.Throws<BugException>(() => _store.Delete(name));
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

    /// <summary>H27, H39: whatever the step at which power goes, an object is whole or not there; acknowledged, it is there.</summary>
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
    /// H39: a process is killed between link and folder sync; the next one finds the object and accepts it. Power loss after
    /// that must not take it, since the WAL may be recycled by then.
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

    [Theory]
    [InlineData("/backup/orders/", "/backup/orders")]
    [InlineData("backup", "/home/db/backup")]
    [InlineData("../backup", "/home/backup")]
    [InlineData("file:///backup/my%20orders", "/backup/my orders")]
    public void Addresses_of_folders_are_read(string text, string folder) =>
        Assert.Equal(folder, StoreAddress.Parse(text, "/home/db").Folder);

    [Theory]
    [InlineData("")]
    [InlineData("file://host/x")]
    [InlineData("ftp://x")]
    [InlineData("s3://bucket/prefix")]
    [InlineData("azblob://account/container")]
    [InlineData("command:/usr/bin/push")]
    public void Addresses_of_other_kinds_are_refused(string text) =>
        Assert.Equal(ErrorCode.StoreAddressInvalid,
            Assert.Throws<RefusedException>(() => StoreAddress.Parse(text, "/home/db")).Code);
}
