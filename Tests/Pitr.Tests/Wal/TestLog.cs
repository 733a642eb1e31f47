using System.Buffers.Binary;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>A WAL folder on a simulated disk, and short words for writing and reading it.</summary>
internal sealed class TestLog : IDisposable
{
    public const string FolderPath = "/db/wal";
    public const int SegmentBytes = 4096;

    public static readonly WalIdentity First =
        new(new SystemIdentifier(0xD1), new TimelineId(1), new Lineage(0x1111_2222_3333_4444));
    public static readonly WalIdentity Second =
        First with { Timeline = new TimelineId(2), Lineage = new Lineage(0x5555_6666_7777_8888) };

    private static readonly DateTimeOffset Noon = new(2026, 8, 22, 12, 0, 0, TimeSpan.Zero);
    private ulong _lastTransaction;
    private long _groups;

    private TestLog(SimulatedDisk disk, WalFolder folder, WalAppender appender) =>
        (Disk, Folder, Appender) = (disk, folder, appender);

    public SimulatedDisk Disk { get; }
    public WalFolder Folder { get; }
    public WalAppender Appender { get; }
    public WalGeometry Geometry => Folder.Geometry;

    /// <summary>A new, empty log with two segments ready.</summary>
    public static TestLog Create(int segmentBytes = SegmentBytes, SimulatedDisk? disk = null)
    {
        disk ??= new SimulatedDisk();
        disk.CreateFolders(FolderPath);
        var folder = new WalFolder(disk, FolderPath, segmentBytes, First);
        folder.ContinueAt(1);
        folder.EnsureReady();
        return new TestLog(disk, folder,
            new WalAppender(folder, null, LogTail.OfNewTimeline(folder.Geometry.FirstLsn, First.Lineage)));
    }

    /// <summary>Goes on with what an opening made.</summary>
    public static TestLog Continue(SimulatedDisk disk, WalFolder folder, WalAppender appender, DateTimeOffset last) =>
        new(disk, folder, appender) { _groups = Math.Max(0, (last - Noon).Ticks) };

    /// <summary>A record of so many bytes, header included, whose body is a function of the seed.</summary>
    public static byte[] Record(int lengthBytes, ulong seed)
    {
        var record = new byte[lengthBytes];
        for (int at = RecordCodec.HeaderBytes; at < lengthBytes; at += 8)
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(at), (seed + (ulong)at) * 0x9E3779B97F4A7C15);
        return record;
    }

    public void Begin()
    {
        DateTimeOffset time = Noon.AddTicks(++_groups);
        Appender.BeginGroup(time, time);
    }

    public Lsn Stage(int lengthBytes = 200)
    {
        byte[] record = Record(lengthBytes, ++_lastTransaction);
        return Appender.Stage(record, WalRecordKind.Transaction, new TransactionId(_lastTransaction), 1,
            RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
    }

    /// <summary>Writes and syncs one group of records of these lengths; returns their LSNs.</summary>
    public Lsn[] Group(params int[] lengths)
    {
        Folder.EnsureReady(1 + WalFolder.ReadyAhead + (lengths.Sum() / Geometry.PayloadBytes));
        Begin();
        Lsn[] lsns = [.. lengths.Select(Stage)];
        Appender.WriteAndSync();
        return lsns;
    }

    public WalReader Reader(Lsn knownEnd = default) =>
        new(new FolderWalBytes(Folder, First), WalRange.OfTimeline(First.Lineage, Geometry.FirstLsn, knownEnd));

    /// <summary>The LSNs of all records, and how reading ended.</summary>
    public static (List<Lsn> Lsns, WalEnd End) ReadAll(WalReader reader)
    {
        using (reader)
        {
            List<Lsn> lsns = [];
            while (reader.MoveNext())
                lsns.Add(reader.Current.Lsn);
            return (lsns, reader.End!);
        }
    }

    /// <summary>The file that holds an LSN, and where in it.</summary>
    public (string Path, long Offset) Place(Lsn lsn) =>
        (Folder.PathOf(new SegmentName(First.Timeline, Geometry.NumberOf(lsn))), Geometry.OffsetOf(lsn));

    public void Dispose()
    {
        Appender.Dispose();
        Folder.Dispose();
    }
}
