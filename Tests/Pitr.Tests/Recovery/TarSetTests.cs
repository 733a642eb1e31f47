using System.Formats.Tar;
using System.Security.Cryptography;
using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A backup set as a tar: its bytes, what is left of one that was cut off, and copies that were void.
/// </summary>
public sealed class TarSetTests : IDisposable
{
    private const string Tar = "/out/set.tar";
    private const string SomeWal = "wal/…";
    private const int Block = 512;

    private readonly RecoveryFixture _fixture = new();
    private readonly MemoryStream _output = new();
    private readonly TarSetWriter _writer;
    private readonly Lsn _c;
    private readonly DateTimeOffset _began;

    public TarSetTests()
    {
        _fixture.Disk.CreateFolders("/out");
        Commit();
        _c = _fixture.Wal.End;
        _began = _fixture.Wal.Time;
        _writer = WriterTo(_output);
    }

    public void Dispose() => _output.Dispose();

    // ---- bytes -----------------------------------------------------------------------------------------

    [Fact]
    public void A_set_is_a_pax_tar_with_standard_keywords_and_its_manifest_last()
    {
        byte[] tar = WholeSet();

        List<PaxTarEntry> entries = EntriesOf(tar);
        Assert.Equal(
            ["datafiles/main.pitr", SomeWal, "pitr.control", "label.json", "manifest.json"],
            entries.Select(entry => entry.Name.StartsWith("wal/", StringComparison.Ordinal) ? SomeWal : entry.Name));
        Assert.All(entries, entry =>
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, entry.Mode);
            Assert.Equal(TarEntryType.RegularFile, entry.EntryType);
            Assert.Equal(_began.ToUnixTimeSeconds(), entry.ModificationTime.ToUnixTimeSeconds());
            Assert.All(entry.ExtendedAttributes.Keys, key => Assert.Contains(key, (string[])["path", "mtime", "size"]));
        });
        Assert.Equal(0, tar.Length % Block);
        Assert.Equal(-1, tar.AsSpan(tar.Length - (2 * Block)).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void The_manifest_has_the_digest_of_each_entry()
    {
        List<PaxTarEntry> entries = EntriesOf(WholeSet());
        BackupManifest manifest = BackupManifest.Parse("b1", BytesOf(entries[^1]));

        Assert.Equal(
            entries.SkipLast(1).Select(entry => entry.Name).Order(StringComparer.Ordinal),
            manifest.Objects.Select(entry => entry.Name));
        Assert.All(entries.SkipLast(1), entry => Assert.Equal(
            manifest.Find(entry.Name),
            new ManifestEntry(entry.Name, entry.Length, Convert.ToHexString(SHA256.HashData(BytesOf(entry))))));
    }

    [Fact]
    public void A_set_restores_from_its_tar_without_an_archive()
    {
        Put(WholeSet());

        PlannedRecovery planned = RecoveryPlanner.Plan(
            _fixture.Request(RecoveryTarget.Latest) with { SetStore = Store(), Archives = [] });
        new RestoreWriter(_fixture.Disk, "/new", ThisProcess.Real).Restore(planned, isPaused: false, CancellationToken.None);

        Assert.Equal(_fixture.Disk.ReadAll("/db/main.pitr"), _fixture.Disk.ReadAll("/new/main.pitr"));
        Assert.Equal(planned.Set.Label.StopLsn, planned.Plan.StopsAt.Lsn);
        Assert.True(Assert.Single(Verify()).Restores);
    }

    /// <summary>
    /// Digests that are made beside the writing are those that are made in it, at lengths around the blocks.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(129)]
    [InlineData(700)]
    public void A_file_of_any_length_is_copied_whole(int pages)
    {
        FencedFile file = File(pages);
        var beside = new MemoryStream();
        TarSetWriter other = WriterTo(beside, PoolThreads.Instance);
        _writer.Copy(file, CancellationToken.None);
        other.Copy(file, CancellationToken.None);

        Assert.Equal(_output.ToArray(), beside.ToArray());
        byte[] tar = Finish(other, beside);
        Put(tar);
        Assert.Equal(_fixture.Disk.ReadAll("/db/main.pitr"), Store().Get("datafiles/main.pitr").ToArray());
        Assert.True(Assert.Single(Verify()).Restores);
    }

    /// <summary>A length that the old header has no digits for goes into an extended one.</summary>
    [Fact]
    public void A_file_of_more_than_8_GiB_has_its_length_in_the_pax_header_and_is_found_behind_it()
    {
        const long length = (9L << 30) + PageLayout.PageBytes;
        FencedFile file = File(3) with { LengthBytes = length };
        Assert.Throws<DamageException>(() => _writer.Copy(file, CancellationToken.None)); // the file is not so long
        byte[] header = _output.ToArray()[..(3 * Block)];
        using (IFileHandle tar = _fixture.Disk.Open(Tar, FileOpen.CreateNew))
        {
            tar.Write(0, header);
            long next = (3 * Block) + length;
            tar.Write(next, Another("manifest.json"));
        }

        var store = new TarStore(_fixture.Disk, Tar, Tar);

        Assert.Equal(length, store.Stat("datafiles/main.pitr")!.LengthBytes);
        Assert.Equal("x"u8.ToArray(), store.Get("manifest.json").ToArray());
    }

    // ---- what is not whole -----------------------------------------------------------------------------

    /// <summary>Without its manifest a tar is no set, wherever it ends; with it, it is, with or without what follows.</summary>
    [Fact]
    public void A_tar_that_is_cut_off_anywhere_never_passes_for_whole()
    {
        byte[] tar = WholeSet();
        long wholeFrom = ManifestEnd(tar);
        for (int length = 0; length <= tar.Length; length += length % 3 == 0 ? 127 : 31)
        {
            Put(tar[..length]);
            BackupCatalog catalog = BackupCatalog.Read(Store());
            Assert.Equal(length >= wholeFrom ? 1 : 0, catalog.Sets.Count);
            if (length >= wholeFrom)
                continue;
            PitrException refused = Assert.ThrowsAny<PitrException>(() => RecoveryPlanner.Plan(
                _fixture.Request(RecoveryTarget.Latest) with { SetStore = Store(), Archives = [] }));
            Assert.Equal(ErrorCode.BackupVoid, refused.Code);
            Assert.Contains("manifest", refused.Message, StringComparison.Ordinal);
            Assert.Equal(ErrorCode.BackupVoid, Assert.Single(Assert.Single(Verify()).Problems).Code);
        }
    }

    [Fact]
    public void A_byte_that_changed_in_any_object_is_found()
    {
        byte[] tar = WholeSet();
        Put(tar);
        foreach ((string name, TarPlace place) in Places())
        {
            byte[] changed = [.. tar];
            changed[place.FromBytes + (place.LengthBytes / 2)] ^= 0x20;
            Put(changed);
            Assert.True(
                Verify().Count == 0 || !Verify()[0].Restores, $"a change of {name} was not found");
        }
    }

    /// <summary>The destination fails at any write: nothing more is written to it, and there is no set.</summary>
    [Fact]
    public void A_destination_that_fails_gets_nothing_more()
    {
        long wholeFrom = ManifestEnd(WholeSet());
        for (int failing = 1; ; failing++)
        {
            var destination = new FailingStream(failing);
            using var each = new TarSetTests(); // the same set each time
            TarSetWriter writer = each.WriterTo(destination);
            try
            {
                writer.Copy(each.File(3), CancellationToken.None);
                each.Finish(writer, destination.Taken);
            }
            catch (IOException)
            {
                Assert.Throws<BugException>(() => writer.Copy(each.File(3), CancellationToken.None));
                Assert.Equal(failing, destination.Writes);
                each.Put(destination.Taken.ToArray());
                Assert.Equal(
                    destination.Taken.Length >= wholeFrom ? 1 : 0, BackupCatalog.Read(each.Store()).Sets.Count);
                continue;
            }

            Assert.True(failing > 10, "no write has failed");
            return;
        }
    }

    // ---- copies that are void --------------------------------------------------------------------------

    /// <summary>T1, T3: the entry of a copy that was cut off is filled up, and the next one of its name counts.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_copy_that_was_cut_off_is_followed_by_the_valid_one(int goodPages)
    {
        FencedFile file = File(300);
        FencedFile tooLong = file with { LengthBytes = file.LengthBytes + ((3 - goodPages) * 128 * PageLayout.PageBytes) };
        Assert.Throws<DamageException>(() => _writer.Copy(tooLong, CancellationToken.None));
        _writer.Discard(tooLong, CancellationToken.None);
        Assert.Equal(0, _output.Length % Block);

        _writer.Copy(file, CancellationToken.None);
        byte[] tar = Finish(_writer, _output);
        Put(tar);

        Assert.Equal(2, EntriesOf(tar).Count(entry => entry.Name == "datafiles/main.pitr"));
        Assert.Equal(_fixture.Disk.ReadAll("/db/main.pitr"), Store().Get("datafiles/main.pitr").ToArray());
        Assert.True(Assert.Single(Verify()).Restores);
    }

    [Fact]
    public void A_whole_copy_that_is_void_and_not_made_again_is_no_part_of_the_set()
    {
        FencedFile file = File(3);
        FencedFile other = _fixture.WriteDatafile(
            "/db/other.pitr", new FileId(2), _c, _fixture.Wal.Timeline.Lineage);
        _writer.Copy(other, CancellationToken.None);
        _writer.Discard(other, CancellationToken.None);
        _writer.Copy(file, CancellationToken.None);

        Put(Finish(_writer, _output));

        BackupSet set = Assert.Single(BackupCatalog.Read(Store()).Sets);
        Assert.Equal(FileId.Main, Assert.Single(set.Label.Files).Id);
        Assert.Null(set.Manifest.Find("datafiles/other.pitr"));
        Assert.True(Assert.Single(Verify()).Restores);
    }

    [Fact]
    public void Behind_a_copy_that_was_cut_off_nothing_is_written_before_it_is_discarded()
    {
        FencedFile file = File(3);
        Assert.Throws<DamageException>(
            () => _writer.Copy(file with { LengthBytes = file.LengthBytes * 2 }, CancellationToken.None));
        long written = _output.Length;

        Assert.Throws<BugException>(() => _writer.Copy(file, CancellationToken.None));

        Assert.Equal(written, _output.Length);
    }

    [Fact]
    public void A_copy_that_is_cancelled_ends_and_can_be_discarded()
    {
        using var cancel = new CancellationTokenSource();
        FencedFile file = File(3);
        cancel.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => _writer.Copy(file, cancel.Token));
        _writer.Discard(file, CancellationToken.None);
        _writer.Copy(file, CancellationToken.None);

        Put(Finish(_writer, _output));

        Assert.True(Assert.Single(Verify()).Restores);
    }

    // ---- WAL -------------------------------------------------------------------------------------------

    /// <summary>T4: a bit that turned over in the database's own WAL.</summary>
    [Fact]
    public void WAL_that_can_not_be_replayed_makes_no_set()
    {
        _writer.Copy(File(3), CancellationToken.None);
        Lsn stop = Log(_writer);
        string part = _fixture.Store.List("wal/")[^1];
        byte[] bytes = _fixture.Store.Get(part).ToArray();
        ArchivedSegment sound = ArchivedSegment.Decode("store", part, bytes);
        byte[] turned = sound.Stream.ToArray();
        turned[^12] ^= 1;
        _fixture.Store.Put(part, ArchivedSegment.Part(sound.Identity, sound.From, turned).Encode());

        Assert.Equal(ErrorCode.WalDamaged, Assert.Throws<DamageException>(
            () => _writer.IncludeWal(_fixture.History, Sources(), stop, CancellationToken.None)).Code);
    }

    [Fact]
    public void WAL_that_is_missing_makes_no_set()
    {
        _writer.Copy(File(3), CancellationToken.None);
        Lsn stop = Log(_writer);
        _fixture.Store.Delete(_fixture.Store.List("wal/")[^1]);

        Assert.Equal(ErrorCode.WalGap, Assert.Throws<RefusedException>(
            () => _writer.IncludeWal(_fixture.History, Sources(), stop, CancellationToken.None)).Code);
    }

    [Fact]
    public void WAL_of_several_segments_is_included_whole()
    {
        _writer.Copy(File(3), CancellationToken.None);
        for (int i = 0; i < 200; i++)
            Commit();
        Put(Finish(_writer, _output));

        Assert.True(Store().List("wal/").Count > 2);
        VerifyReport report = Assert.Single(Verify());
        Assert.True(report.Restores && report.Records > 200);
    }

    // ---- reading others' tars --------------------------------------------------------------------------

    [Theory]
    [InlineData(TarEntryFormat.Pax, "./")]
    [InlineData(TarEntryFormat.Gnu, "./")]
    [InlineData(TarEntryFormat.Ustar, "")]
    public void A_tar_that_was_made_again_of_the_extracted_folder_is_as_good(TarEntryFormat format, string before)
    {
        Put(WholeSet());
        TarStore store = Store();
        var again = new MemoryStream();
        using (var writer = new TarWriter(again, format, leaveOpen: true))
        {
            writer.WriteEntry(EntryOf(format, TarEntryType.Directory, before + "datafiles/"));
            foreach (string name in store.List(""))
            {
                TarEntry entry = EntryOf(format, TarEntryType.RegularFile, before + name);
                entry.DataStream = new MemoryStream(store.Get(name).ToArray());
                writer.WriteEntry(entry);
            }
        }

        Put(again.ToArray());

        Assert.True(Assert.Single(Verify()).Restores);
    }

    [Fact]
    public void What_is_no_tar_is_told()
    {
        Put([.. Enumerable.Range(0, 5000).Select(n => (byte)(n * 7))]);
        DamageException damage = Assert.Throws<DamageException>(Store);
        Assert.Equal(ErrorCode.BackupDamaged, damage.Code);
        Assert.Contains("no tar", damage.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tar_is_only_read()
    {
        Put(WholeSet());
        TarStore store = Store();
        Assert.Equal(ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => store.Delete("label.json")).Code);
        Assert.Equal(
            ErrorCode.StoreFailed, Assert.Throws<StorageFailedException>(() => store.Put("a", "b"u8.ToArray())).Code);
        Assert.Throws<StorageFailedException>(() => store.Put("a", new MemoryStream()));
        Assert.Throws<StorageFailedException>(() => store.TryPutIfAbsent("a", "b"u8.ToArray()));
        Assert.Throws<NotFoundException>(() => store.Get("a"));
        Assert.Throws<NotFoundException>(() => store.OpenRead("a"));
        Assert.Equal(0, store.RemoveStrays());
    }

    // ---- the file --------------------------------------------------------------------------------------

    /// <summary>Power loss at any step: under the name is what was there, or the whole new one, never a part.</summary>
    [Fact]
    public void A_tar_gets_its_name_when_it_is_whole_and_durable()
    {
        byte[] tar = WholeSet();
        byte[] old = [1, 2, 3];
        for (long crashAt = 1; ; crashAt++)
        {
            SimulatedDisk disk = OutDisk(old);
            disk.CrashAt(disk.OperationCount + crashAt);
            bool isDone = false;
            try
            {
                using TarFileOutput file = TarFileOutput.Create(disk, Tar, _fixture.Random, Paced());
                for (int at = 0; at < tar.Length; at += 9000)
                    file.Write(tar.AsSpan(at, Math.Min(9000, tar.Length - at)));
                file.Publish();
                isDone = true;
            }
            catch (SimulatedCrashException)
            {
                // The machine is off.
            }

            for (int seed = 0; seed < 12; seed++)
            {
                byte[] there = disk.CrashCopy(seed).ReadAll(Tar);
                Assert.True(there.AsSpan().SequenceEqual(tar) || (!isDone && there.AsSpan().SequenceEqual(old)));
            }
            if (isDone)
                return;
        }
    }

    [Fact]
    public void A_tar_that_is_not_finished_leaves_nothing_and_the_one_before_stays()
    {
        SimulatedDisk disk = OutDisk([1, 2, 3]);
        using (TarFileOutput file = TarFileOutput.Create(disk, Tar, _fixture.Random, Paced()))
            file.Write(new byte[100_000]);

        Assert.Equal(["set.tar"], disk.List("/out"));
        Assert.Equal([1, 2, 3], disk.ReadAll(Tar));
    }

    [Fact]
    public void A_full_disk_is_told_and_nothing_is_left()
    {
        SimulatedDisk disk = OutDisk([1, 2, 3]);
        disk.CapacityBytes = disk.UsedBytes + 50_000;
        TarFileOutput file = TarFileOutput.Create(disk, Tar, _fixture.Random, Paced());
        Assert.Equal(
            ErrorCode.DiskFull, Assert.Throws<StorageFailedException>(() => file.Write(new byte[100_000])).Code);
        file.Dispose();

        Assert.Equal(["set.tar"], disk.List("/out"));
        Assert.Equal(0, disk.OpenHandleCount);
    }

    /// <summary>H11: a sync that failed is not tried again, and the name is not given.</summary>
    [Fact]
    public void A_tar_whose_sync_failed_gets_no_name()
    {
        SimulatedDisk disk = OutDisk([1, 2, 3]);
        disk.Faults.On(FileOp.SyncData).Of("/out").Nth(1).Fail(Errno.EIO);
        using (TarFileOutput file = TarFileOutput.Create(disk, Tar, _fixture.Random, Paced()))
        {
            file.Write(new byte[100_000]);
            Assert.Throws<StorageFailedException>(file.Publish);
            Assert.Throws<StorageFailedException>(file.Publish);
        }

        Assert.Equal([1, 2, 3], disk.ReadAll(Tar));
    }

    [Fact]
    public void A_link_under_the_name_is_followed()
    {
        SimulatedDisk disk = OutDisk([1, 2, 3]);
        disk.CreateFolders("/else");
        disk.Symlink("../else/real.tar", "/out/link.tar");
        using (TarFileOutput file = TarFileOutput.Create(disk, "/out/link.tar", _fixture.Random, Paced()))
        {
            file.Write([4, 5]);
            file.Publish();
        }

        Assert.Equal([4, 5], disk.ReadAll("/else/real.tar"));
        Assert.Equal("../else/real.tar", disk.ReadLink("/out/link.tar"));
    }

    // ---- parts -----------------------------------------------------------------------------------------

    private TarSetWriter WriterTo(Stream destination, IThreads? threads = null) => new(
        _fixture.Disk, destination,
        new BackupStart("b1", RecoveryFixture.ControlOf(_fixture.Wal, _c), _c, _began),
        new RecoveryFixture.EveryPage(), threads);

    private FencedFile File(int pages) => _fixture.WriteDatafile(
        "/db/main.pitr", FileId.Main, _c, _fixture.Wal.Timeline.Lineage, pages);

    private void Commit() => _fixture.Wal.Put(1, 1, "k"u8, "v"u8).Commit();

    private byte[] WholeSet()
    {
        var output = new MemoryStream();
        TarSetWriter writer = WriterTo(output);
        writer.Copy(File(3), CancellationToken.None);
        return Finish(writer, output);
    }

    private byte[] Finish(TarSetWriter writer, MemoryStream output)
    {
        Commit();
        Lsn stop = Log(writer);
        writer.IncludeWal(_fixture.History, Sources(), stop, CancellationToken.None);
        writer.Complete(new BackupStop(
            stop, _fixture.Wal.Time, new TransactionId(_fixture.Wal.LastTransactionId),
            new HashSet<FileId> { FileId.Main }));
        return output.ToArray();
    }

    private Lsn Log(TarSetWriter writer)
    {
        Lsn stop = _fixture.Wal.Log(new WalEvent.BackupEnd("b1", writer.StartLsn));
        foreach (string name in _fixture.Store.List("wal/"))
            _fixture.Store.Delete(name);
        _fixture.Ship(_fixture.Wal);
        return stop;
    }

    private WalSources Sources() => new(
        [new ArchiveWalSource(_fixture.Store, ArchiveCatalog.Load(_fixture.Store), RecoveryFixture.Geometry)],
        RecoveryFixture.Geometry);

    private void Put(byte[] tar)
    {
        if (_fixture.Disk.Stat(Tar) is not null)
            _fixture.Disk.Delete(Tar);
        using IFileHandle file = _fixture.Disk.Open(Tar, FileOpen.CreateNew);
        file.Write(0, tar);
    }

    private TarStore Store() => new(_fixture.Disk, Tar, Tar);

    private SortedDictionary<string, TarPlace> Places()
    {
        using IFileHandle file = _fixture.Disk.Open(Tar, FileOpen.Read);
        return TarIndex.Read(file);
    }

    private IReadOnlyList<VerifyReport> Verify() =>
        BackupVerifier.Verify(Store(), [Store()], null, _fixture.Random, CancellationToken.None);

    private static long ManifestEnd(byte[] tar)
    {
        using var reader = new TarReader(new MemoryStream(tar));
        TarEntry? last = null;
        while (reader.GetNextEntry(copyData: true) is { } entry)
            last = entry;
        return last!.DataOffset + last.Length;
    }

    private static List<PaxTarEntry> EntriesOf(byte[] tar)
    {
        var entries = new List<PaxTarEntry>();
        using var reader = new TarReader(new MemoryStream(tar));
        while (reader.GetNextEntry(copyData: true) is { } entry)
            entries.Add(Assert.IsType<PaxTarEntry>(entry));
        return entries;
    }

    private static byte[] BytesOf(TarEntry entry)
    {
        var bytes = new MemoryStream();
        entry.DataStream!.Position = 0;
        entry.DataStream.CopyTo(bytes);
        return bytes.ToArray();
    }

    private static byte[] Another(string name)
    {
        var output = new MemoryStream();
        using (var writer = new TarWriter(output, TarEntryFormat.Pax, leaveOpen: true))
        {
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name)
            {
                DataStream = new MemoryStream("x"u8.ToArray()),
            });
        }
        return output.ToArray();
    }

    private static TarEntry EntryOf(TarEntryFormat format, TarEntryType type, string name) => format switch
    {
        TarEntryFormat.Pax => new PaxTarEntry(type, name),
        TarEntryFormat.Gnu => new GnuTarEntry(type, name),
        _ => new UstarTarEntry(type, name),
    };

    private static SimulatedDisk OutDisk(byte[] old)
    {
        var disk = new SimulatedDisk();
        disk.CreateFolders("/out");
        using (IFileHandle file = disk.Open(Tar, FileOpen.CreateNew))
        {
            file.Write(0, old);
            file.SyncData();
        }
        disk.SyncFolder("/out");
        return disk;
    }

    private static PacedWriter Paced() => new(TimeProvider.System, static _ => { });

    /// <summary>A pipe that breaks, or a disk that is full, at the n-th write.</summary>
    private sealed class FailingStream(int failing) : MemoryStream
    {
        public int Writes { get; private set; }

        public MemoryStream Taken { get; } = new();

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (++Writes == failing)
            {
                Taken.Write(buffer[..(buffer.Length / 2)]); // a part of it has arrived
                throw new IOException("Broken pipe");
            }
            Taken.Write(buffer);
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    }
}
