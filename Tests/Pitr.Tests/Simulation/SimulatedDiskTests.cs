using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>The disk that all crash tests stand on: what it loses, what it keeps, and that it does so again.</summary>
public sealed class SimulatedDiskTests
{
    private readonly SimulatedDisk _disk = new(seed: 1);

    public SimulatedDiskTests() => _disk.CreateFolders("/db");

    private static byte[] Filled(int length, byte value)
    {
        var bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }

    private static int ErrnoOf(Action action) => Assert.Throws<StorageFailedException>(action).Errno;

    private IFileHandle Synced(string path, int length, byte value)
    {
        IFileHandle handle = _disk.Open(path, FileOpen.CreateNew);
        handle.Write(0, Filled(length, value));
        handle.SyncData();
        _disk.SyncFolder("/db");
        return handle;
    }

    [Fact]
    public void What_was_synced_survives_every_power_loss()
    {
        using IFileHandle handle = Synced("/db/a", 10_000, 7);
        for (int seed = 0; seed < 100; seed++)
            Assert.Equal(Filled(10_000, 7), _disk.CrashCopy(seed).ReadAll("/db/a"));
    }

    [Fact]
    public void Unsynced_writes_are_lost_kept_torn_at_sectors_and_reordered()
    {
        using IFileHandle handle = Synced("/db/a", 4096, 0);
        handle.Write(0, Filled(2048, 1));
        handle.Write(2048, Filled(2048, 2));
        bool lost = false, kept = false, torn = false, reordered = false;
        for (int seed = 0; seed < 300; seed++)
        {
            byte[] left = _disk.CrashCopy(seed).ReadAll("/db/a");
            var sectors = left.Chunk(512).ToArray();
            Assert.All(sectors, sector => Assert.Single(sector.Distinct()));
            int first = sectors.Take(4).Count(sector => sector[0] == 1);
            int second = sectors.Skip(4).Count(sector => sector[0] == 2);
            lost |= first + second == 0;
            kept |= first + second == 8;
            torn |= first is > 0 and < 4;
            reordered |= first == 0 && second > 0;
        }
        Assert.True(lost && kept && torn && reordered);
    }

    [Fact]
    public void A_name_lives_only_if_its_folder_was_synced()
    {
        IFileHandle handle = _disk.Open("/db/a", FileOpen.CreateNew);
        handle.Write(0, [1]);
        handle.SyncData();
        handle.Dispose();
        var seen = Enumerable.Range(0, 50).Select(seed => _disk.CrashCopy(seed).Stat("/db/a") is not null).ToHashSet();
        Assert.Equal(2, seen.Count);

        _disk.SyncFolder("/db");
        for (int seed = 0; seed < 50; seed++)
            Assert.Equal([1], _disk.CrashCopy(seed).ReadAll("/db/a"));
    }

    [Fact]
    public void A_rename_inside_a_folder_happened_as_a_whole_or_not_at_all()
    {
        Synced("/db/a", 1, 1).Dispose();
        Synced("/db/b", 1, 2).Dispose();
        _disk.Rename("/db/a", "/db/b");
        var seen = new HashSet<string>();
        for (int seed = 0; seed < 50; seed++)
        {
            SimulatedDisk crashed = _disk.CrashCopy(seed);
            seen.Add(
                string.Join(' ', crashed.List("/db").Select(name => $"{name}={crashed.ReadAll("/db/" + name)[0]}")));
        }
        Assert.Equal(["a=1 b=2", "b=1"], seen.Order(StringComparer.Ordinal));
    }

    /// <summary>H18: between folders each name needs the sync of its own folder.</summary>
    [Fact]
    public void A_rename_between_folders_can_lose_the_new_name()
    {
        _disk.CreateFolders("/db/other");
        Synced("/db/a", 1, 1).Dispose();
        _disk.Rename("/db/a", "/db/other/a");
        _disk.SyncFolder("/db");
        Assert.Contains(Enumerable.Range(0, 50), seed => _disk.CrashCopy(seed).Stat("/db/other/a") is null);
        _disk.SyncFolder("/db/other");
        Assert.All(Enumerable.Range(0, 50), seed => Assert.NotNull(_disk.CrashCopy(seed).Stat("/db/other/a")));
    }

    /// <summary>H3, H9: after a failed sync the next one succeeds and writes nothing.</summary>
    [Fact]
    public void A_failed_sync_loses_what_it_should_have_written_and_the_next_one_succeeds()
    {
        bool lost = false;
        for (int seed = 0; seed < 30; seed++)
        {
            var disk = new SimulatedDisk(seed);
            using IFileHandle handle = disk.Open("/a", FileOpen.CreateNew);
            disk.SyncFolder("/");
            handle.Write(0, Filled(1024, 9));
            disk.Faults.On(FileOp.SyncData).Of("a").Fail(Errno.EIO);
            Assert.Equal(Errno.EIO, ErrnoOf(handle.SyncData));
            handle.SyncData();
            Assert.Equal(Filled(1024, 9), disk.ReadAll("/a"));
            lost |= !disk.CrashCopy(1).ReadAll("/a").SequenceEqual(Filled(1024, 9));
        }
        Assert.True(lost);
    }

    /// <summary>H11: the write-back takes the error; the sync behind it knows of nothing.</summary>
    [Fact]
    public void A_failed_writeback_is_not_seen_by_the_next_sync()
    {
        using IFileHandle handle = Synced("/db/a", 512, 0);
        handle.Write(0, Filled(512, 1));
        _disk.Faults.On(FileOp.StartWriteback).Fail(Errno.EIO);
        Assert.Equal(Errno.EIO, ErrnoOf(() => handle.StartWriteback(0, 512)));
        handle.SyncData();
    }

    [Fact]
    public void Process_death_keeps_the_page_cache_and_power_loss_after_it_takes_it()
    {
        IFileHandle handle = Synced("/db/a", 512, 0);
        handle.Write(0, Filled(512, 1));
        Assert.NotNull(_disk.TryLock("/db/a"));
        SimulatedDisk killed = _disk.KillCopy();
        Assert.Equal(Filled(512, 1), killed.ReadAll("/db/a"));
        Assert.Equal((0, 0), (killed.OpenHandleCount, killed.HeldLockCount));
        Assert.NotNull(killed.TryLock("/db/a"));
        Assert.Contains(Enumerable.Range(0, 50), seed => killed.CrashCopy(seed).ReadAll("/db/a")[0] == 0);
    }

    [Fact]
    public void Copies_share_nothing_that_is_written_later()
    {
        using IFileHandle handle = Synced("/db/a", 10_000, 1);
        SimulatedDisk killed = _disk.KillCopy();
        SimulatedDisk crashed = _disk.CrashCopy(1);
        handle.Write(0, Filled(10_000, 2));
        using (IFileHandle other = killed.Open("/db/a", FileOpen.ReadWrite))
            other.Write(5000, Filled(100, 3));
        Assert.Equal(Filled(10_000, 1), crashed.ReadAll("/db/a"));
        Assert.Equal(Filled(10_000, 2), _disk.ReadAll("/db/a"));
        Assert.Equal(3, killed.ReadAll("/db/a")[5050]);
        Assert.Equal(1, killed.ReadAll("/db/a")[4999]);
    }

    [Fact]
    public void The_same_seed_gives_the_same_disk()
    {
        using IFileHandle handle = Synced("/db/a", 100_000, 0);
        for (int i = 0; i < 50; i++)
            handle.Write(i * 1999, Filled(1500, (byte)(i + 1)));
        Assert.Equal(_disk.CrashCopy(77).ReadAll("/db/a"), _disk.CrashCopy(77).ReadAll("/db/a"));
        Assert.NotEqual(_disk.CrashCopy(77).ReadAll("/db/a"), _disk.CrashCopy(78).ReadAll("/db/a"));
    }

    [Fact]
    public void A_cut_file_reads_zeroes_where_it_grows_again()
    {
        using IFileHandle handle = Synced("/db/a", 10_000, 5);
        handle.SetLength(5000);
        handle.Write(9000, [1]);
        byte[] content = _disk.ReadAll("/db/a");
        Assert.Equal(9001, content.Length);
        Assert.Equal(5, content[4999]);
        Assert.All(content[5000..9000], b => Assert.Equal(0, b));
    }

    [Fact]
    public void A_fault_hits_the_operation_that_was_named_and_no_other()
    {
        using IFileHandle a = Synced("/db/a", 1, 1);
        using IFileHandle b = Synced("/db/b", 1, 1);
        _disk.Faults.On(FileOp.Write).Of("/a").Nth(2).Fail(Errno.EIO);
        a.Write(0, [2]);
        b.Write(0, [2]);
        Assert.Equal(Errno.EIO, ErrnoOf(() => a.Write(0, [3])));
        a.Write(0, [4]);
        Assert.True(_disk.Faults.IsEmpty);
    }

    [Fact]
    public void A_torn_write_leaves_its_first_bytes()
    {
        using IFileHandle a = Synced("/db/a", 2048, 0);
        _disk.Faults.On(FileOp.Write).Tear(atBytes: 512);
        Assert.Equal(Errno.EIO, ErrnoOf(() => a.Write(0, Filled(1024, 1))));
        Assert.Equal(512, _disk.ReadAll("/db/a").Count(b => b == 1));
    }

    [Fact]
    public async Task A_gate_stops_an_operation_until_it_is_opened()
    {
        using IFileHandle a = Synced("/db/a", 1, 0);
        FaultGate gate = _disk.Faults.On(FileOp.SyncData).Hold();
        a.Write(0, [1]);
        Task sync = Task.Run(a.SyncData);
        await gate.Reached.Within();
        Assert.False(sync.IsCompleted);
        Assert.Equal([1], _disk.ReadAll("/db/a"));
        gate.Release();
        await sync;
        Assert.Equal([1], _disk.CrashCopy(0).ReadAll("/db/a"));
    }

    [Fact]
    public void A_full_disk_refuses_growth_and_takes_writes_in_place()
    {
        using IFileHandle a = Synced("/db/a", 4096, 0);
        _disk.CapacityBytes = 4096 + 1000;
        Assert.Equal(1000, _disk.FreeBytes("/db"));
        Assert.True(Assert.Throws<StorageFailedException>(() => a.Write(4096, new byte[2000])).IsDiskFull);
        a.Write(0, Filled(4096, 1));
        _disk.Delete("/db/a");
        Assert.Equal(1000, _disk.FreeBytes("/db"));
        a.Dispose();
        Assert.Equal(5096, _disk.FreeBytes("/db"));
    }

    [Fact]
    public void A_sweep_can_crash_before_every_operation()
    {
        int states = 0;
        _disk.BeforeOperation = operation =>
        {
            states++;
            SimulatedDisk crashed = _disk.CrashCopy(operation);
            if (crashed.Stat("/db/new") is { LengthBytes: > 0 })
                Assert.Equal([1], crashed.ReadAll("/db/new"));
        };
        using (IFileHandle handle = _disk.Open("/db/tmp", FileOpen.CreateNew))
        {
            handle.Write(0, [1]);
            handle.SyncData();
        }
        _disk.Rename("/db/tmp", "/db/new");
        _disk.SyncFolder("/db");
        Assert.Equal(5, states);
        Assert.Equal(5, _disk.OperationCount);
    }

    [Fact]
    public void After_the_crash_nothing_is_done_any_more()
    {
        using IFileHandle handle = Synced("/db/a", 1, 1);
        _disk.CrashAt(_disk.OperationCount + 2);
        handle.Write(0, [2]);
        Assert.Throws<SimulatedCrashException>(handle.SyncData);
        Assert.Throws<SimulatedCrashException>(() => handle.Write(0, [3]));
        Assert.Throws<SimulatedCrashException>(() => _disk.Stat("/db/a"));
        Assert.Equal(2, _disk.KillCopy().ReadAll("/db/a")[0]);
    }

    [Fact]
    public void Links_folders_and_names_answer_as_posix_does()
    {
        Synced("/db/a", 3, 1).Dispose();
        _disk.Symlink("a", "/db/link");
        _disk.Link("/db/a", "/db/hard");
        Assert.Equal("a", _disk.ReadLink("/db/link"));
        Assert.Null(_disk.ReadLink("/db/a"));
        Assert.Equal(new FileEntry(false, true, 3, _disk.Stat("/db/hard")!.Inode, Links: 2), _disk.Stat("/db/link"));
        Assert.Null(_disk.Stat("/db/none"));
        Assert.Equal(["a", "hard", "link"], _disk.List("/db"));
        Assert.Equal(Errno.EEXIST, ErrnoOf(() => _disk.Link("/db/a", "/db/hard")));
        Assert.Equal(Errno.EEXIST, ErrnoOf(() => _disk.Open("/db/a", FileOpen.CreateNew)));
        Assert.Equal(Errno.EEXIST, ErrnoOf(() => _disk.CreateFolder("/db")));
        Assert.Equal(Errno.ENOENT, ErrnoOf(() => _disk.Open("/db/none", FileOpen.Read)));
        Assert.Equal(Errno.ENOENT, ErrnoOf(() => _disk.Delete("/db/none")));
        Assert.Equal(Errno.ENOTEMPTY, ErrnoOf(() => _disk.DeleteFolder("/db")));
        Assert.Equal(Errno.ENOTDIR, ErrnoOf(() => _disk.List("/db/a")));
        _disk.Mount("/mnt");
        Assert.Equal(Errno.EXDEV, ErrnoOf(() => _disk.Rename("/db/a", "/mnt/a")));
        Assert.Equal(0, _disk.OpenHandleCount);
    }

    [Fact]
    public void A_lock_is_held_once_and_dies_with_the_disk()
    {
        Synced("/db/a", 1, 1).Dispose();
        IDisposable? held = _disk.TryLock("/db/a");
        Assert.NotNull(held);
        Assert.Null(_disk.TryLock("/db/a"));
        held.Dispose();
        using IDisposable? again = _disk.TryLock("/db/a");
        Assert.NotNull(again);
        Assert.NotNull(_disk.CrashCopy(1).TryLock("/db/a"));
    }

    [Fact]
    public void A_misdirected_write_reports_success_and_is_found_at_another_place()
    {
        using IFileHandle handle = Synced("/db/a", 4096, 0);
        _disk.Faults.On(FileOp.Write).Misdirect(2048);
        handle.Write(0, Filled(512, 9));
        handle.SyncData();
        byte[] left = _disk.CrashCopy(1).ReadAll("/db/a");
        Assert.Equal(Filled(512, 0), left[..512]);
        Assert.Equal(Filled(512, 9), left[2048..2560]);
    }

    [Fact]
    public void A_slow_operation_is_done_and_takes_virtual_time()
    {
        using IFileHandle handle = Synced("/db/a", 4096, 0);
        _disk.Faults.On(FileOp.SyncData).Slow(TimeSpan.FromSeconds(30));
        handle.Write(0, Filled(512, 9));
        handle.SyncData();
        handle.SyncData();
        Assert.Equal(TimeSpan.FromSeconds(30), _disk.Elapsed);
        Assert.Equal(Filled(512, 9), _disk.CrashCopy(1).ReadAll("/db/a")[..512]);
    }

    [Fact]
    public void Its_fingerprint_tells_two_states_apart_and_is_the_same_for_the_same_one()
    {
        using IFileHandle handle = Synced("/db/a", 10_000, 7);
        ulong synced = _disk.Fingerprint();
        Assert.Equal(synced, _disk.Fingerprint());
        Assert.Equal(synced, _disk.KillCopy().Fingerprint());
        Assert.Equal(synced, _disk.CrashCopy(5).Fingerprint());
        handle.Write(5000, [8]);
        ulong written = _disk.Fingerprint();
        Assert.NotEqual(synced, written);
        handle.SyncData();
        Assert.NotEqual(written, _disk.Fingerprint()); // what power loss would leave is another state
        handle.Write(5000, [7]);
        handle.SyncData();
        Assert.Equal(synced, _disk.Fingerprint());
        _disk.Rename("/db/a", "/db/b");
        Assert.NotEqual(synced, _disk.Fingerprint());
    }

    [Fact]
    public void Its_log_tells_the_durable_steps_in_order()
    {
        _disk.Log.Start();
        Synced("/db/a", 3, 1).Dispose();
        _disk.Rename("/db/a", "/db/b");
        Assert.Equal("create a\nwrite a 0+3\nsync data a\nsync folder .\nrename a -> b\n", _disk.Log.Text("/db"));
    }
}
