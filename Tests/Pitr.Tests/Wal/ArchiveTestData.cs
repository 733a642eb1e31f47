using System.Buffers.Binary;
using Pitr.Simulation;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>Small segments and stores for the tests of the archive.</summary>
internal static class ArchiveTestData
{
    public const int SegmentBytes = 4096;
    public const int SegmentHeaderBytes = 512;
    public const long Payload = SegmentBytes - SegmentHeaderBytes;

    public static readonly SystemIdentifier System = new(0x1122334455667788);
    public static readonly Lineage LineageA = new(0xA);
    public static readonly Lineage LineageB = new(0xB);
    public static readonly DateTimeOffset Noon = new(2030, 1, 2, 12, 0, 0, TimeSpan.Zero);

    public static SegmentIdentity Identity(ulong number, uint timeline = 1, ulong lineage = 0xA) =>
        new(System, new TimelineId(timeline), new Lineage(lineage), number);

    public static TimelineHistory First => TimelineHistory.First(System, LineageA, new Lsn(Payload), "created", Noon);

    public static FolderStore Store(IFileSystem disk, string folder = "/store", long seed = 1)
    {
        var random = new SeededRandom(seed);
        return new FolderStore(disk, folder, () => random.NextBits());
    }

    public static (SimulatedDisk Disk, FolderStore Store) NewStore(long seed = 1)
    {
        var disk = new SimulatedDisk(seed);
        disk.CreateFolders("/store");
        return (disk, Store(disk));
    }

    /// <summary>A store in which a start has found out nothing yet, and keeps nothing of what it finds out.</summary>
    public static StoreStanding NewStanding(TimeProvider clock) =>
        new(new OwnerWatch(clock, new OwnerNotes(new SimulatedDisk(1), "/", bootId: ""), "/store"));

    /// <summary>The stream of a segment: records of 128 bytes with these raw clocks, then zeroes; chained.</summary>
    public static byte[] StreamOf(ulong number, int recordCount = 28, long rawClock = 1000, ulong lineage = 0xA)
    {
        byte[] stream = new byte[Payload];
        uint previous = PreviousCrc(number, lineage);
        for (int record = 0; record < recordCount; record++)
        {
            Span<byte> at = stream.AsSpan(record * 128, 128);
            ulong start = (number * (ulong)Payload) + ((ulong)record * 128);
            BinaryPrimitives.WriteUInt64LittleEndian(at[RecordCodec.HeaderBytes..], start * 0x9E3779B97F4A7C15UL);
            previous = RecordCodec.WriteHeader(ref at[0], new RecordStamp
            {
                LengthBytes = 128,
                PreviousCrc = previous,
                Kind = WalRecordKind.Transaction,
                StartLsn = start,
                GroupStart = start,
                TransactionId = start,
                CommitTimeTicks = rawClock + record + 1,
                RawClockTicks = rawClock + record,
                OperationCount = 1,
                Lineage = lineage,
            }, RecordCodec.BodyState(at[RecordCodec.HeaderBytes..]));
        }
        return stream;
    }

    /// <summary>Timeline 1 begins in segment 1, its fork in segment 3.</summary>
    private static uint PreviousCrc(ulong number, ulong lineage)
    {
        if (number <= (lineage == 0xA ? 1ul : 3ul))
            return RecordCodec.FirstPreviousCrc(new Lineage(lineage));
        ReadOnlySpan<byte> before = StreamOf(number - 1, lineage: lineage);
        return BinaryPrimitives.ReadUInt32LittleEndian(before[^(128 - RecordCodec.CrcAt)..]);
    }

    public static void WriteRecord(Span<byte> at, ulong startLsn, long rawClock, int lengthBytes)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(at, (uint)lengthBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(at[4..], startLsn * 0x9E3779B97F4A7C15UL);
        at[12] = 1;
        at[13] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(at[14..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(at[16..], startLsn);
        BinaryPrimitives.WriteUInt64LittleEndian(at[24..], startLsn);
        BinaryPrimitives.WriteInt64LittleEndian(at[40..], rawClock + 1);
        BinaryPrimitives.WriteInt64LittleEndian(at[48..], rawClock);
    }

    public static byte[] FileOf(ulong number, int recordCount = 28, long rawClock = 1000, ulong lineage = 0xA)
    {
        byte[] file = new byte[SegmentBytes];
        file.AsSpan(0, SegmentHeaderBytes).Fill(0x5E);
        StreamOf(number, recordCount, rawClock, lineage).CopyTo(file, SegmentHeaderBytes);
        return file;
    }

    public static ArchivedSegment Whole(
        ulong number, uint timeline = 1, ulong lineage = 0xA, int recordCount = 28, long rawClock = 1000) =>
        ArchivedSegment.Whole(
            Identity(number, timeline, lineage), new Lsn(number * (ulong)Payload), SegmentHeaderBytes,
            FileOf(number, recordCount, rawClock));

    /// <summary>The part [from, to) of a segment's stream, in bytes from the stream's begin.</summary>
    public static ArchivedSegment Part(ulong number, int from, int to, uint timeline = 1, ulong lineage = 0xA) =>
        ArchivedSegment.Part(
            Identity(number, timeline, lineage), new Lsn((number * (ulong)Payload) + (ulong)from),
            StreamOf(number).AsMemory(from, to - from));

    public static byte[] Bytes(int length, byte value)
    {
        byte[] bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }
}
