using System.Runtime.InteropServices;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>A WAL of one timeline in memory, written record by record with real checksums.</summary>
internal sealed class MemoryWal
{
    private readonly List<byte> _stream = [];
    private readonly List<byte> _body = [];
    private uint _operationCount;
    private uint _previousCrc;
    private ulong _groupStart;

    public MemoryWal(TimelineEntry timeline)
    {
        Timeline = timeline;
        _previousCrc = RecordCodec.FirstPreviousCrc(timeline.Lineage);
    }

    public MemoryWal(ulong lineage = 0xA1, ulong start = 65_024)
        : this(new TimelineEntry(
            TimelineId.First, new Lineage(lineage), null, Lsn.Zero, new Lsn(start), "test", DateTimeOffset.UnixEpoch))
    {
    }

    public TimelineEntry Timeline { get; }
    public Lsn End => Timeline.StartLsn + _stream.Count;
    public ReadOnlyMemory<byte> Bytes => _stream.ToArray();
    public DateTimeOffset Time { get; set; } = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);

    /// <summary>What the clock said; null: the commit time.</summary>
    public DateTimeOffset? RawClock { get; set; }
    public ulong LastTransactionId { get; set; }

    /// <summary>The next record is of the group of the one before it.</summary>
    public bool IsInGroup { get; set; }

    public MemoryWal Put(uint file, uint table, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value) =>
        Operation(OperationKind.Put, file, table, key, value);

    public MemoryWal Delete(uint file, uint table, ReadOnlySpan<byte> key) =>
        Operation(OperationKind.Delete, file, table, key, []);

    /// <summary>The operations so far, as one transaction, a second later.</summary>
    public Lsn Commit()
    {
        Lsn lsn = Append(
            CollectionsMarshal.AsSpan(_body), WalRecordKind.Transaction, ++LastTransactionId, _operationCount);
        _body.Clear();
        _operationCount = 0;
        return lsn;
    }

    public Lsn Log(WalEvent what) =>
        Append(WalEventCodec.Encode(what).AsSpan(RecordCodec.HeaderBytes), what.Kind, 0, 0);

    public PathReader Read(Lsn? from = null, Lsn? to = null) => new([
        new PathLeg(
            Timeline, () => new MemoryWalBytes(Timeline.StartLsn, Bytes), from ?? Timeline.StartLsn, to ?? Lsn.MaxValue,
            Lsn.Zero)]);

    private MemoryWal Operation(
        OperationKind kind, uint file, uint table, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        byte[] operation = new byte[OperationCodec.SizeOf(key.Length, value.Length)];
        OperationCodec.Write(operation, kind, new FileId(file), new TableId(table), key, value);
        _body.AddRange(operation);
        _operationCount++;
        return this;
    }

    private Lsn Append(ReadOnlySpan<byte> body, WalRecordKind kind, ulong transactionId, uint operationCount)
    {
        if (!IsInGroup)
        {
            Time = Time.AddSeconds(1);
            _groupStart = End.Value;
        }

        byte[] record = new byte[RecordCodec.LengthOf(body.Length)];
        body.CopyTo(record.AsSpan(RecordCodec.HeaderBytes));
        var stamp = new RecordStamp
        {
            LengthBytes = record.Length,
            PreviousCrc = _previousCrc,
            Kind = kind,
            StartLsn = End.Value,
            GroupStart = _groupStart,
            TransactionId = transactionId,
            CommitTimeTicks = Time.UtcTicks,
            RawClockTicks = (RawClock ?? Time).UtcTicks,
            OperationCount = operationCount,
            Lineage = Timeline.Lineage.Value,
        };
        _previousCrc = RecordCodec.WriteHeader(
            ref record[0], stamp, RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
        _stream.AddRange(record);
        return End;
    }
}
