using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>A real datafile, and a store beside it with full and incremental sets of it.</summary>
internal sealed class IncrementalLab : IDisposable
{
    public static readonly DateTimeOffset Begin = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);

    private ulong _random = 1;
    private int _made;

    public IncrementalLab(long seed = 1)
    {
        It = DatafileOnDisk.Create(seed);
        It.Disk.CreateFolders("/store");
        Store = new FolderStore(It.Disk, "/store", Draw);
    }

    public DatafileOnDisk It { get; }
    public FolderStore Store { get; }

    /// <summary>Of the datafile, at each set's copy.</summary>
    public Dictionary<string, Lsn> CopiedAt { get; } = [];

    public FolderStore StoreOn(SimulatedDisk disk) => new(disk, "/store", Draw);

    public void Dispose() => It.Dispose();

    /// <summary>A set of the file as it is; incremental if there is what it can build on.</summary>
    public BackupSet Backup(string id, Action? afterBegin = null, BackupSet? on = null, bool isFull = false)
    {
        BackupWriter writer = Writer(id, on, isFull);
        writer.Begin();
        afterBegin?.Invoke();
        writer.Copy(Fenced(), CancellationToken.None);
        return writer.Complete(Stop());
    }

    public BackupWriter Writer(string id, BackupSet? on = null, bool isFull = false)
    {
        ControlFile control = Control();
        BackupSet? older = isFull ? null : on ?? BaseChoice.Of(BackupCatalog.Read(Store), control).Base;
        CopiedAt[id] = It.File.CheckpointLsn;
        return new BackupWriter(
            It.Disk, Store, [], new BackupStart(id, control, It.File.CheckpointLsn, Begin) { Base = older },
            new ReachablePages(It.Environment, CancellationToken.None));
    }

    public BackupStop Stop()
    {
        It.Lsn += 8;
        return new BackupStop(
            It.Lsn, Begin.AddSeconds(++_made), new TransactionId(1), new HashSet<FileId> { FileId.Main });
    }

    public FencedFile Fenced() => new(
        FileId.Main, "main", DatafileOnDisk.Path, It.File.LengthBytes, It.File.CheckpointLsn, It.File.Incarnation,
        It.File.Generation, It.File.Meta.Lineage);

    public ControlFile Control() => ControlFile.ForNew(
        DatafileOnDisk.SystemId, DatafileOnDisk.Lineage, 4096, new Lsn(512), Begin) with
    {
        Catalogue = Catalogue.Empty
            .CreateFile(
                new CatalogueFile(
                    FileId.Main, "main", "main.pitr", It.File.Incarnation, It.File.Generation, It.File.CheckpointLsn,
                    It.File.CheckpointLsn), new Lsn(8))
            .CreateTable(new TableId(1), "t", FileId.Main, new Lsn(16)),
    };

    /// <summary>As the store has it now.</summary>
    public BackupSet Set(string id) => BackupCatalog.Read(Store).Get(id);

    public static byte[] Composed(BackupSet set)
    {
        using Stream stream = set.OpenFile(set.Label.Files[0]);
        using var content = new MemoryStream();
        stream.CopyTo(content);
        return content.ToArray();
    }

    /// <summary>The datafile of a set is what the file was when it was copied, sound, and can be written on.</summary>
    public void RequireRestores(BackupSet set)
    {
        SimulatedDisk disk = It.Disk.KillCopy();
        disk.Delete(DatafileOnDisk.Path);
        using (IFileHandle file = disk.Open(DatafileOnDisk.Path, FileOpen.CreateNew))
            file.Write(0, Composed(set));
        using DatafileOnDisk restored = It.OpenOn(disk, set.Label.Files[0].Generation);
        Assert.Equal(CopiedAt[set.Id], restored.File.CheckpointLsn);
        restored.Check();
        restored.Lsn += 1_000_000_000; // what it seals is none of the file's own states
        for (byte round = 0; round < 4; round++) // what is free in it is taken, and nothing else
        {
            restored.PutMany(100 * round, 150, fill: round);
            restored.Flush();
            restored.Check();
        }
    }

    public ulong Draw() => _random = (_random * 6364136223846793005UL) + 1442695040888963407UL;
}
