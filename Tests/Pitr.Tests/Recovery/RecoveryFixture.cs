using Pitr.Recovery;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A store on a simulated disk with the WAL of one or more timelines in it, and backup sets made by hand.
/// </summary>
internal sealed class RecoveryFixture
{
    public const int SegmentBytes = 4096;

    public static readonly WalGeometry Geometry = new(SegmentBytes);
    public static readonly SystemIdentifier System = new(0x5157);

    private ulong _random = 1;

    public RecoveryFixture()
    {
        Disk.CreateFolders("/store");
        Disk.CreateFolders("/db");
        Store = new FolderStore(Disk, "/store", Random);
    }

    public SimulatedDisk Disk { get; } = new();
    public FolderStore Store { get; }
    public MemoryWal Wal { get; } = new(start: (ulong)Geometry.FirstLsn.Value);

    public ulong Random() => _random = (_random * 6364136223846793005UL) + 1442695040888963407UL;

    public TimelineHistory History => TimelineHistory.Of(System, [Wal.Timeline]);

    /// <summary>A new timeline that forks from the first.</summary>
    public static MemoryWal Fork(MemoryWal parent, uint timeline, Lsn fork) => new(
        new TimelineEntry(
            new TimelineId(timeline), new Lineage(0xB0 + timeline), parent.Timeline.Timeline, fork,
            Geometry.BoundaryAtOrAbove(fork), "drill", parent.Time))
    {
        Time = parent.Time,
        LastTransactionId = parent.LastTransactionId,
    };

    /// <summary>Ships everything: whole segments, and the tail as a part; and the timeline's history.</summary>
    public void Ship(MemoryWal wal, params TimelineEntry[] ancestors)
    {
        ReadOnlyMemory<byte> bytes = wal.Bytes;
        Lsn at = wal.Timeline.StartLsn;
        while (at < wal.End)
        {
            ulong number = Geometry.NumberOf(at);
            var identity = new SegmentIdentity(System, wal.Timeline.Timeline, wal.Timeline.Lineage, number);
            int length = (int)Math.Min(Geometry.PayloadBytes, wal.End - at);
            ReadOnlyMemory<byte> stream = bytes.Slice((int)(at - wal.Timeline.StartLsn), length);
            ReadOnlySpan<byte> after = bytes.Span[(int)(at + length - wal.Timeline.StartLsn)..];
            if (length == Geometry.PayloadBytes)
            {
                byte[] file = new byte[SegmentBytes];
                SegmentHeader.For(
                    new WalIdentity(System, wal.Timeline.Timeline, wal.Timeline.Lineage), Geometry, number).Write(file);
                stream.CopyTo(file.AsMemory(SegmentHeader.Bytes));
                ArchivePush.Push(Store, ArchivedSegment.Whole(identity, at, SegmentHeader.Bytes, file, after));
            }
            else
            {
                ArchivePush.Push(Store, ArchivedSegment.Part(identity, at, stream, after));
            }
            at += length;
        }
        TimelineClaim.Claim(Store, TimelineHistory.Of(System, [.. ancestors, wal.Timeline]));
    }

    /// <summary>A set of one datafile at the WAL's present end; BackupEnd is logged.</summary>
    public BackupSet Backup(
        string backupId, MemoryWal? on = null, Action<BackupWriter>? afterBegin = null, bool includesWal = false)
    {
        MemoryWal wal = on ?? Wal;
        Lsn c = wal.End;
        ControlFile control = ControlOf(wal, c);
        var writer = new BackupWriter(
            Disk, Store, [Store], new BackupStart(backupId, control, c, wal.Time), new EveryPage());
        writer.Begin();
        afterBegin?.Invoke(writer);
        writer.Copy(WriteDatafile("/db/main.pitr", FileId.Main, c, wal.Timeline.Lineage), CancellationToken.None);
        Lsn stop = wal.Log(new WalEvent.BackupEnd(backupId, writer.StartLsn));
        if (includesWal)
        {
            Ship(wal);
            var shipped = new ArchiveWalSource(Store, ArchiveCatalog.Load(Store), Geometry);
            writer.IncludeWal(History, new WalSources([shipped], Geometry), stop, CancellationToken.None);
        }
        return writer.Complete(new BackupStop(
            stop, wal.Time, new TransactionId(wal.LastTransactionId), new HashSet<FileId> { FileId.Main }));
    }

    /// <summary>Another archive with the same objects.</summary>
    public FolderStore CopyOfStore(string folder)
    {
        Disk.CreateFolders(folder);
        var copy = new FolderStore(Disk, folder, Random);
        foreach (string name in Store.List(""))
            copy.Put(name, Store.Get(name));
        return copy;
    }

    public static ControlFile ControlOf(MemoryWal wal, Lsn at)
    {
        ControlFile created = ControlFile.ForNew(
            System, wal.Timeline.Lineage, SegmentBytes, wal.Timeline.StartLsn, wal.Time);
        return created with
        {
            Timeline = wal.Timeline.Timeline,
            History = wal.Timeline.Parent is null
                ? [wal.Timeline]
                : [new MemoryWal(start: (ulong)Geometry.FirstLsn.Value).Timeline, wal.Timeline],
            Catalogue = Catalogue.Empty
                .CreateFile(
                    new CatalogueFile(FileId.Main, "main", "main.pitr", new Incarnation(7), 4, at, at), new Lsn(8))
                .CreateTable(new TableId(1), "t", FileId.Main, new Lsn(16)),
        };
    }

    /// <summary>A meta page, and pages with good checksums; what is in those is of no matter here.</summary>
    public FencedFile WriteDatafile(string path, FileId id, Lsn checkpoint, Lineage lineage, int pages = 3)
    {
        if (Disk.Stat(path) is not null)
            Disk.Delete(path);
        using IFileHandle handle = Disk.Open(path, FileOpen.CreateNew);
        for (uint n = 0; n < pages; n++)
        {
            byte[] page = new byte[PageLayout.PageBytes];
            page[100] = (byte)checkpoint.Value;
            PageChecksum.Stamp(page, n, generation: 4);
            if (n == 0)
                MetaOf(id, checkpoint, lineage).Write(page);
            handle.Write(n * PageLayout.PageBytes, page);
        }
        return new FencedFile(
            id, Path.GetFileNameWithoutExtension(path), path, pages * PageLayout.PageBytes, checkpoint, new Incarnation(
                7), 4,
            lineage);
    }

    private static MetaPage MetaOf(FileId id, Lsn checkpoint, Lineage lineage) => new()
    {
        SystemId = System,
        FileId = id,
        Incarnation = new Incarnation(7),
        Generation = 4,
        CheckpointLsn = checkpoint,
        Lineage = lineage,
    };

    public PlanRequest Request(RecoveryTarget target) =>
        new() { Target = target, SetStore = Store, Archives = [Store], Random = Random };

    public RecoveryPlan Plan(RecoveryTarget target, string? timeline = null) =>
        RecoveryPlanner.Plan(Request(target) with { Timeline = timeline }).Plan;

    public ErrorCode RefusalOf(RecoveryTarget target, string? timeline = null) =>
        Assert.ThrowsAny<PitrException>(() => Plan(target, timeline)).Code;

    internal sealed class EveryPage : IReachablePages
    {
        public Predicate<uint> Of(string path) => static _ => true;
    }
}
