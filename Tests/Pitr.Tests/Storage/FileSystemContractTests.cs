using System.Text;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What <see cref="IFileSystem"/> promises, asked of the real disk and of the simulated one alike.</summary>
public abstract class FileSystemContractTests
{
    private protected abstract IFileSystem Disk { get; }

    /// <summary>An empty folder.</summary>
    private protected abstract string Folder { get; }

    private string At(string name) => $"{Folder}/{name}";

    private static StorageFailedException Failure(Action action) => Assert.Throws<StorageFailedException>(action);

    private void Put(string name, string content)
    {
        using IFileHandle file = Disk.Open(At(name), FileOpen.CreateNew);
        file.Write(0, Encoding.UTF8.GetBytes(content));
        file.SyncData();
    }

    private string Get(string name)
    {
        using IFileHandle file = Disk.Open(At(name), FileOpen.Read);
        var bytes = new byte[file.LengthBytes];
        Assert.Equal(bytes.Length, file.Read(0, bytes));
        return Encoding.UTF8.GetString(bytes);
    }

    [Fact]
    public void Bytes_come_back_from_where_they_were_written()
    {
        using IFileHandle file = Disk.Open(At("a"), FileOpen.CreateNew);
        byte[] bytes = Enumerable.Range(0, 100_000).Select(i => (byte)(i * 31)).ToArray();
        file.Write(12_345, bytes);
        Assert.Equal(112_345, file.LengthBytes);
        var back = new byte[bytes.Length + 50];
        Assert.Equal(bytes.Length, file.Read(12_345, back));
        Assert.Equal(bytes, back[..bytes.Length]);
        Assert.Equal(0, file.Read(112_345, back));
        var before = new byte[10];
        Assert.Equal(10, file.Read(100, before));
        Assert.All(before, b => Assert.Equal(0, b));
        file.StartWriteback(0, 112_345);
        file.AwaitWriteback(0, 112_345);
        file.SyncData();
        file.Write(3, []);
        Assert.Equal(0, file.Read(0, []));
    }

    [Fact]
    public void A_file_knows_how_many_names_it_has()
    {
        Disk.Open(At("a"), FileOpen.CreateNew).Dispose();
        Assert.Equal(1u, Disk.Stat(At("a"))!.Links);
        Disk.Link(At("a"), At("b"));
        Disk.Symlink("a", At("c"));
        Assert.Equal((2u, 2u), (Disk.Stat(At("a"))!.Links, Disk.Stat(At("c"))!.Links));
    }

    [Fact]
    public void An_open_file_knows_how_many_names_are_left_to_it()
    {
        using IFileHandle file = Disk.Open(At("a"), FileOpen.CreateNew);
        Disk.Link(At("a"), At("b"));
        Assert.Equal(2u, file.Links);
        Disk.Delete(At("a"));
        Assert.Equal(1u, file.Links);
        Disk.Symlink("c", At("d"));
        Disk.Rename(At("d"), At("b"));
        Assert.Equal(0u, file.Links);
    }

    [Fact]
    public void A_range_of_another_file_is_copied_to_the_same_place()
    {
        byte[] bytes = Enumerable.Range(0, 100_000).Select(i => (byte)(i * 31)).ToArray();
        using IFileHandle origin = Disk.Open(At("a"), FileOpen.CreateNew);
        origin.Write(0, bytes);
        using IFileHandle copy = Disk.Open(At("b"), FileOpen.CreateNew);
        Assert.Equal(60_000, copy.CopyFrom(origin, 30_000, 60_000));
        Assert.Equal(90_000, copy.LengthBytes);
        byte[] back = new byte[60_000];
        Assert.Equal(60_000, copy.Read(30_000, back));
        Assert.Equal(bytes[30_000..90_000], back);
        Assert.Equal(10_000, copy.CopyFrom(origin, 90_000, 60_000)); // it ends there
        Assert.Equal(100_000, copy.LengthBytes);
        Assert.Equal(0, copy.CopyFrom(origin, 200_000, 1));
    }

    [Fact]
    public void A_file_is_cut_and_grows_with_zeroes()
    {
        using IFileHandle file = Disk.Open(At("a"), FileOpen.CreateNew);
        file.Write(0, Enumerable.Repeat((byte)7, 9000).ToArray());
        file.SetLength(5000);
        Assert.Equal(5000, file.LengthBytes);
        file.SetLength(9000);
        var bytes = new byte[9000];
        Assert.Equal(9000, file.Read(0, bytes));
        Assert.Equal(5000, bytes.Count(b => b == 7));
        Assert.Equal(7, bytes[4999]);
    }

    [Fact]
    public void Creating_what_is_there_and_opening_what_is_not_say_so_with_the_number()
    {
        Put("a", "x");
        StorageFailedException there = Failure(() => Disk.Open(At("a"), FileOpen.CreateNew));
        Assert.Equal(Errno.EEXIST, there.Errno);
        Assert.Equal(At("a"), there.Path);
        Assert.Contains($"create '{At("a")}'", there.Message, StringComparison.Ordinal);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.Open(At("b"), FileOpen.Read)).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.Open(At("no/b"), FileOpen.CreateNew)).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.List(At("no"))).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.SyncFolder(At("no"))).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.Delete(At("no"))).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.Rename(At("no"), At("b"))).Errno);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.ReadLink(At("no"))).Errno);
        Assert.Null(Disk.Stat(At("no")));
        Assert.Null(Disk.Stat(At("a/b")));
    }

    [Fact]
    public void A_handle_for_reading_does_not_write()
    {
        Put("a", "x");
        using IFileHandle file = Disk.Open(At("a"), FileOpen.Read);
        Failure(() => file.Write(0, [1]));
        Failure(() => file.SetLength(0));
        Assert.Equal("x", Get("a"));
    }

    [Fact]
    public void A_closed_handle_is_not_used_and_may_be_closed_again()
    {
        IFileHandle file = Disk.Open(At("a"), FileOpen.CreateNew);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Write(0, [1]));
        Assert.Throws<ObjectDisposedException>(file.SyncData);
        Assert.Throws<ObjectDisposedException>(() => file.LengthBytes);
    }

    [Fact]
    public void A_rename_replaces_and_an_open_handle_goes_on_with_its_file()
    {
        Put("a", "old");
        Put("b", "new");
        using IFileHandle old = Disk.Open(At("a"), FileOpen.ReadWrite);
        Disk.Rename(At("b"), At("a"));
        Disk.SyncFolder(Folder);
        Assert.Equal("new", Get("a"));
        var bytes = new byte[3];
        old.Read(0, bytes);
        Assert.Equal("old", Encoding.UTF8.GetString(bytes));
        Assert.Equal(["a"], Disk.List(Folder));
    }

    [Fact]
    public void Folders_are_made_listed_in_order_and_removed_when_empty()
    {
        Disk.CreateFolder(At("f"));
        Put("f/b", "");
        Put("f/a", "");
        Put("f/B", "");
        Assert.Equal(["B", "a", "b"], Disk.List(At("f")));
        Assert.Equal(Errno.EEXIST, Failure(() => Disk.CreateFolder(At("f"))).Errno);
        Assert.Equal(Errno.ENOTEMPTY, Failure(() => Disk.DeleteFolder(At("f"))).Errno);
        Assert.True(Disk.Stat(At("f"))!.IsFolder);
        foreach (string name in Disk.List(At("f")))
            Disk.Delete(At("f/" + name));
        Disk.DeleteFolder(At("f"));
        Assert.Null(Disk.Stat(At("f")));
    }

    [Fact]
    public void Links_name_the_same_file_and_symlinks_the_same_path()
    {
        Put("a", "x");
        Disk.Link(At("a"), At("hard"));
        Disk.Symlink("a", At("soft"));
        Disk.Symlink("none", At("dangling"));
        Assert.Equal(Disk.Stat(At("a"))!.Inode, Disk.Stat(At("hard"))!.Inode);
        Assert.Equal(Disk.Stat(At("a"))! with { IsSymlink = true }, Disk.Stat(At("soft")));
        Assert.True(Disk.Stat(At("dangling"))!.IsSymlink);
        Assert.Equal("a", Disk.ReadLink(At("soft")));
        Assert.Null(Disk.ReadLink(At("a")));
        Assert.Equal("x", Get("soft"));
        Assert.Equal(Errno.EEXIST, Failure(() => Disk.Link(At("a"), At("hard"))).Errno);
        Assert.Equal(Errno.EEXIST, Failure(() => Disk.Symlink("a", At("soft"))).Errno);
        Disk.Delete(At("soft"));
        Assert.Equal("x", Get("hard"));
    }

    [Fact]
    public void A_symlink_is_put_over_a_file_in_one_rename()
    {
        Put("a", "x");
        Put("b", "moved");
        Disk.Symlink(At("b"), At("a.new"));
        Disk.Rename(At("a.new"), At("a"));
        Assert.Equal("moved", Get("a"));
        Assert.Equal(At("b"), Disk.ReadLink(At("a")));
    }

    [Fact]
    public void A_lock_is_held_once_even_in_one_process()
    {
        Put("lock", "");
        IDisposable? first = Disk.TryLock(At("lock"));
        Assert.NotNull(first);
        Assert.Null(Disk.TryLock(At("lock")));
        first.Dispose();
        using IDisposable? second = Disk.TryLock(At("lock"));
        Assert.NotNull(second);
        Assert.Equal(Errno.ENOENT, Failure(() => Disk.TryLock(At("none"))).Errno);
    }

    [Fact]
    public void Free_room_is_told() => Assert.True(Disk.FreeBytes(Folder) > 0);

    [Fact]
    public void A_replace_leaves_the_new_content_and_nothing_else()
    {
        Put("a", "old");
        Put("a.new", "stray of a crash");
        DurableReplace.Write(Disk, At("a"), "new"u8);
        Assert.Equal("new", Get("a"));
        Assert.Equal(["a"], Disk.List(Folder));
    }

    /// <summary>H27: a name is claimed with its content or not at all.</summary>
    [Fact]
    public void A_name_is_claimed_once()
    {
        Assert.True(DurableReplace.TryCreate(Disk, At("claim"), "mine"u8));
        Assert.False(DurableReplace.TryCreate(Disk, At("claim"), "yours"u8));
        Assert.Equal("mine", Get("claim"));
        Assert.Equal(["claim"], Disk.List(Folder));
    }

    [Fact]
    public void A_second_engine_is_refused_and_told_who_has_the_database()
    {
        DatabaseLock first = DatabaseLock.Take(Disk, Folder, "process 7 on alpha");
        RefusedException refused =
            Assert.Throws<RefusedException>(() => DatabaseLock.Take(Disk, Folder, "process 8 on alpha"));
        Assert.Equal(ErrorCode.DatabaseLocked, refused.Code);
        Assert.Contains("process 7 on alpha", refused.Message, StringComparison.Ordinal);
        first.Dispose();
        DatabaseLock.Take(Disk, Folder, "process 8 on alpha").Dispose();
    }

    [Fact]
    public void A_name_with_a_zero_character_is_refused()
    {
        if (Disk is PosixFileSystem)
            Assert.Equal(Errno.EINVAL, Failure(() => Disk.Open(At("a\0b"), FileOpen.CreateNew)).Errno);
    }
}

/// <summary>The contract on the simulated disk.</summary>
public sealed class SimulatedDiskContractTests : FileSystemContractTests
{
    private readonly SimulatedDisk _disk = new();

    public SimulatedDiskContractTests() => _disk.CreateFolders("/db");

    private protected override IFileSystem Disk => _disk;

    private protected override string Folder => "/db";
}

/// <summary>The contract on the real disk, and what only that one has.</summary>
public sealed class PosixFileSystemTests : FileSystemContractTests, IDisposable
{
    private readonly PosixFileSystem _disk = new();
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-files-").FullName;

    private protected override IFileSystem Disk => _disk;

    private protected override string Folder => _folder;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Files_and_folders_are_the_owners_alone()
    {
        if (OperatingSystem.IsWindows())
            return;
        _disk.Open($"{_folder}/a", FileOpen.CreateNew).Dispose();
        _disk.CreateFolder($"{_folder}/f");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode($"{_folder}/a"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode($"{_folder}/f"));
    }

    [Fact]
    public void Names_of_the_system_agree_with_its_own_tools()
    {
        File.WriteAllText($"{_folder}/größe.txt", "12345");
        Directory.CreateDirectory($"{_folder}/folder");
        Assert.Equal(["folder", "größe.txt"], _disk.List(_folder));
        Assert.Equal(5, _disk.Stat($"{_folder}/größe.txt")!.LengthBytes);
        long free = new DriveInfo(_folder).AvailableFreeSpace;
        Assert.InRange(_disk.FreeBytes(_folder), free / 2, free * 2 + (1 << 20));
    }

    /// <summary>
    /// A close beside running writes waits for them; no write lands in another file that took the number.
    /// </summary>
    [Fact]
    public async Task A_close_beside_running_calls_ends_them_cleanly()
    {
        for (int round = 0; round < 5; round++)
        {
            IFileHandle file = _disk.Open($"{_folder}/a{round}", FileOpen.CreateNew);
            var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            Task writes = Task.Run(() =>
            {
                var bytes = new byte[1 << 16];
                try
                {
                    for (int i = 0; i < 100_000; i++)
                    {
                        file.Write(0, bytes);
                        started.TrySetResult();
                    }
                }
                catch (ObjectDisposedException)
                {
                    // what a closed handle says
                }
            });
            await started.Task;
            file.Dispose();
            using IFileHandle next = _disk.Open($"{_folder}/b{round}", FileOpen.CreateNew);
            await writes;
            Assert.Equal(0, next.LengthBytes);
        }
    }

    [Fact]
    public void No_descriptor_stays_open()
    {
        if (!OperatingSystem.IsLinux())
            return;
        string[] Ours() => [.. Directory.GetFiles("/proc/self/fd")
            .Select(name => new FileInfo(name).LinkTarget ?? "")
                .Where(target => target.StartsWith(_folder, StringComparison.Ordinal))];

        using (IFileHandle file = _disk.Open($"{_folder}/a", FileOpen.CreateNew))
            Assert.Single(Ours());
        _disk.List(_folder);
        _disk.SyncFolder(_folder);
        DatabaseLock.Take(_disk, _folder, "x").Dispose();
        Assert.Throws<StorageFailedException>(() => _disk.Open($"{_folder}/a", FileOpen.CreateNew));
        Assert.Empty(Ours());
    }

    [Fact]
    public void This_machine_is_supported_and_network_file_systems_are_not()
    {
        PlatformCheck.RequireSystem();
        PlatformCheck.RequireLocal(_folder);
        Assert.Equal("NFS", PlatformCheck.NetworkName(0x6969));
        Assert.Null(PlatformCheck.NetworkName(0xEF53));
    }

    [Fact]
    public void A_full_disk_has_its_own_code()
    {
        if (!File.Exists("/dev/full"))
            return;
        using IFileHandle full = _disk.Open("/dev/full", FileOpen.ReadWrite);
        StorageFailedException failure = Assert.Throws<StorageFailedException>(() => full.Write(0, [1]));
        Assert.True(failure.IsDiskFull);
        Assert.Equal(Errno.ENOSPC, failure.Errno);
    }
}
