using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>The control file: what comes back, what is refused and as what, and that a replace is one step.</summary>
public sealed class ControlFileTests
{
    private static readonly SystemIdentifier ThisSystem = new(0x1122334455667788);
    private static readonly Lineage ThisLineage = new(0xA1B2C3D4E5F60718);
    private static readonly DateTimeOffset Noon = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);

    private readonly SimulatedDisk _disk = new(seed: 5);
    private readonly ControlFileStore _store;

    public ControlFileTests()
    {
        _disk.CreateFolders("/db");
        _store = new ControlFileStore(_disk, "/db");
    }

    private static ControlFile New() => ControlFile.ForNew(ThisSystem, ThisLineage, 16 << 20, new Lsn(0xFFFE00), Noon);

    private static CatalogueFile FileOf(uint id, string name, ulong cleanUpTo) => new(
        new FileId(id), name, name + ".pitr", new Incarnation(id + 0x100), 1, new Lsn(cleanUpTo), new Lsn(cleanUpTo));

    internal static ControlFile Full() => New() with
    {
        State = EngineState.CleanShutdown,
        Place = new FolderPlace("host", "4f1c", 8, 42),
        LastCommitTime = Noon.AddTicks(1234567),
        CheckpointTime = Noon,
        NextTransactionId = new TransactionId(ulong.MaxValue),
        Catalogue = Catalogue.Empty
            .CreateFile(FileOf(1, "main", 0x1000000), new Lsn(0x1000000))
            .CreateTable(new TableId(1), "orders", FileId.Main, new Lsn(0x1000010))
            .CreateFile(FileOf(2, "sizes", 0x1000018) with { Path = "größe.pitr", NeedsRecovery = "it is \"older\"" },
                new Lsn(0x1000018))
            .CreateTable(new TableId(2), "stock", new FileId(2), new Lsn(0x1000020))
            .CreateFile(FileOf(3, "gone", 0x1000028), new Lsn(0x1000028))
            .DropFile(new FileId(3), new Lsn(0x1000030))
            .DropTable(new TableId(2), new Lsn(0x1000038)),
        Recovery = new UnfinishedRecovery(new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), "{\"a\":1}", "to 0/5", true),
        PromotionIntent = new PromotionIntent(
            new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), new TimelineId(2), new Lineage(9), new TimelineId(1),
            new Lsn(0x1000040), new Lsn(0x1FFFC00), "recovered"),
        FinishedRecoveries = [new Guid(9, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)],
        Moves = [new PlannedMove(
            FileId.Main, "main.pitr", "/data3/main.pitr", FolderPlace.Parse("host/42@4f1c/8"), LinkedTo: "/data2/main.pitr", Winner: "/data3/main.pitr")],
    };

    private static byte[] Resealed(byte[] bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(
            bytes.AsSpan(bytes.Length - 8), XxHash3.HashToUInt64(bytes.AsSpan(0, bytes.Length - 8)));
        return bytes;
    }

    private static ErrorCode CodeOf(byte[] bytes) =>
        Assert.ThrowsAny<PitrException>(() => ControlFileStore.Decode("/db/pitr.control", bytes)).Code;

    [Fact]
    public void What_was_written_comes_back()
    {
        foreach (ControlFile control in (ControlFile[])[New(), Full()])
        {
            _store.Replace(control);
            Assert.Equal(ControlFileStore.Encode(control), ControlFileStore.Encode(_store.ReadLive(ThisSystem)));
        }
    }

    [Fact]
    public void Its_text_is_the_one_that_is_documented()
    {
        GoldenFile.Check("control-file.json", Encoding.UTF8.GetString(ControlFileStore.EncodePayload(New())) + "\n");
        GoldenFile.Check(
            "control-file-full.json", Encoding.UTF8.GetString(ControlFileStore.EncodePayload(Full())) + "\n");
    }

    [Fact]
    public void Its_replace_takes_these_durable_steps()
    {
        _store.Replace(New());
        _disk.Log.Start();
        _store.Replace(New());
        GoldenFile.Check("control-file.txt", _disk.Log.Text("/db"));
        Assert.Equal(0, _disk.OpenHandleCount);
    }

    /// <summary>I1: at each step of a replace, and whatever survives, one of the two is there as a whole.</summary>
    [Fact]
    public void A_crash_at_any_step_leaves_the_old_or_the_new_one()
    {
        byte[] before = ControlFileStore.Encode(New()), after = ControlFileStore.Encode(Full());
        _store.Replace(New());
        var crashed = new List<SimulatedDisk>();
        _disk.BeforeOperation = _ =>
        {
            for (int seed = 0; seed < 20; seed++)
                crashed.Add(_disk.CrashCopy(seed));
            crashed.Add(_disk.KillCopy());
        };
        _store.Replace(Full());
        foreach (SimulatedDisk disk in crashed)
        {
            byte[] left = disk.ReadAll("/db/pitr.control");
            Assert.True(left.SequenceEqual(before) || left.SequenceEqual(after));
            new ControlFileStore(disk, "/db").Replace(Full());
            Assert.Equal(["pitr.control"], disk.List("/db"));
        }
        for (int seed = 0; seed < 20; seed++)
            Assert.Equal(after, _disk.CrashCopy(seed).ReadAll("/db/pitr.control"));
    }

    [Fact]
    public void A_replace_that_the_disk_refuses_leaves_the_old_one()
    {
        _store.Replace(New());
        foreach (FileOp op in (FileOp[])[FileOp.Create, FileOp.Write, FileOp.SyncData, FileOp.Rename])
        {
            _disk.Faults.On(op).Full();
            Assert.True(Assert.Throws<StorageFailedException>(() => _store.Replace(Full())).IsDiskFull);
            Assert.Equal(ControlFileStore.Encode(New()), ControlFileStore.Encode(_store.ReadLive()));
            Assert.Equal(["pitr.control"], _disk.List("/db"));
            Assert.Equal(0, _disk.OpenHandleCount);
        }
    }

    [Fact]
    public void A_folder_without_one_is_not_a_database()
    {
        Assert.Equal(ErrorCode.NotADatabase, Assert.Throws<NotFoundException>(() => _store.ReadLive()).Code);
        Assert.Equal(ErrorCode.NotADatabase,
            Assert.Throws<NotFoundException>(() => new ControlFileStore(_disk, "/none").ReadAny()).Code);
    }

    [Fact]
    public void Any_bit_that_rots_is_damage()
    {
        byte[] good = ControlFileStore.Encode(Full());
        for (int i = 0; i < good.Length; i++)
        {
            byte[] bad = [.. good];
            bad[i] ^= (byte)(1 << (i % 8));
            Assert.Equal(ErrorCode.ControlFileDamaged, CodeOf(bad));
        }
        for (int length = 0; length < good.Length; length += 7)
            Assert.Equal(ErrorCode.ControlFileDamaged, CodeOf(good[..length]));
        Assert.Equal(ErrorCode.ControlFileDamaged, CodeOf([.. good, 0]));
    }

    [Fact]
    public void A_newer_version_is_refused_as_such()
    {
        byte[] newer = ControlFileStore.Encode(New());
        newer[8] = (byte)(ControlFileStore.Version + 1);
        Assert.Equal(ErrorCode.FormatVersion, CodeOf(Resealed(newer)));
        newer[8] = 0;
        Assert.Equal(ErrorCode.ControlFileDamaged, CodeOf(Resealed(newer)));
    }

    [Theory]
    [InlineData("\"kind\":\"live\"", "\"kind\":\"lively\"")]
    [InlineData("\"kind\":\"live\"", "\"kind\":\"backup\"")]
    [InlineData("\"kind\":\"live\"", "\"kind\":\"live\",\"unknown\":1")]
    [InlineData("216,\"timeline\":1", "216,\"timeline\":2")]
    [InlineData("\"timeline\":1", "\"timeline\":-1")]
    [InlineData("\"timeline\":1", "\"timeline\":4294967296")]
    [InlineData("1122334455667788", "0000000000000000")]
    [InlineData("1122334455667788", "112233445566778")]
    [InlineData("0/FFFE00", "FFFE00")]
    [InlineData("2026-11-22T12", "2026-11-22 12")]
    [InlineData("\"nextFileId\":1", "\"nextFileId\":null")]
    [InlineData("\"walSegmentBytes\":16777216,", "")]
    [InlineData("\"walSegmentBytes\":16777216", "\"walSegmentBytes\":1000")]
    public void Text_of_another_form_or_that_contradicts_itself_is_damage(string found, string put)
    {
        string text = Encoding.UTF8.GetString(ControlFileStore.EncodePayload(New()));
        Assert.Contains(found, text, StringComparison.Ordinal);
        byte[] changed = Encoding.UTF8.GetBytes(text.Replace(found, put, StringComparison.Ordinal));
        Assert.Equal(ErrorCode.ControlFileDamaged,
            Assert.Throws<DamageException>(() => ControlFileStore.DecodePayload("x", changed)).Code);
    }

    [Fact]
    public void One_of_a_backup_set_never_opens_as_a_database()
    {
        _store.Replace(New() with { Kind = ControlFileKind.Backup, BackupId = "20261122T120000Z" });
        RefusedException refused = Assert.Throws<RefusedException>(() => _store.ReadLive());
        Assert.Equal(ErrorCode.ControlFileOfBackup, refused.Code);
        Assert.Contains("20261122T120000Z", refused.Message, StringComparison.Ordinal);
        Assert.Equal(ControlFileKind.Backup, _store.ReadAny().Kind);
    }

    [Fact]
    public void One_of_another_database_is_refused()
    {
        _store.Replace(New());
        Assert.Equal(ErrorCode.ForeignSystem,
            Assert.Throws<RefusedException>(() => _store.ReadLive(new SystemIdentifier(7))).Code);
    }

    /// <summary>I5: a redo point above what a serving file needs never reaches the disk.</summary>
    [Fact]
    public void A_redo_point_above_a_files_need_is_a_bug()
    {
        ControlFile control = New() with { Catalogue = Catalogue.Empty.CreateFile(FileOf(1, "main", 8), new Lsn(8)) };
        Assert.Throws<BugException>(() => _store.Replace(control));
        _store.Replace(control with { RedoLsn = new Lsn(8) });
    }
}
