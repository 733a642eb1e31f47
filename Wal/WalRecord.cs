using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>START HERE: one record of the WAL, read in place.</summary>
/// <remarks>
/// The WAL is one stream of records; a record's LSN is the position just past its last byte. A transaction is one
/// record with all of its changes; everything else that replay must know is a <see cref="WalEvent"/>. The bytes are
/// those of <see cref="RecordCodec"/>; <see cref="WalAppender"/> writes them and <see cref="WalReader"/> proves them.
/// Valid only until the reader moves on.
/// </remarks>
internal readonly ref struct WalRecord
{
    private readonly ReadOnlySpan<byte> _record;

    public WalRecord(ReadOnlySpan<byte> record) => _record = record;

    /// <summary>The whole record: header, body, padding.</summary>
    public ReadOnlySpan<byte> Bytes => _record;

    public WalRecordKind Kind => (WalRecordKind)_record[RecordCodec.KindAt];

    /// <summary>Where the record begins.</summary>
    public Lsn StartLsn => new(Word(RecordCodec.StartLsnAt));

    /// <summary>The record's LSN: just past its last byte.</summary>
    public Lsn Lsn => StartLsn + _record.Length;

    /// <summary>The start LSN of the first record of its group.</summary>
    public Lsn GroupStart => new(Word(RecordCodec.GroupStartAt));

    public TransactionId TransactionId => new(Word(RecordCodec.TransactionIdAt));

    /// <summary>UTC, growing along a timeline.</summary>
    public DateTimeOffset CommitTime => new(CommitTimeTicks, TimeSpan.Zero);

    /// <summary>UTC, what the clock said.</summary>
    public DateTimeOffset RawClock => new(RawClockTicks, TimeSpan.Zero);

    /// <summary>100 ns units since 0001-01-01 UTC.</summary>
    public long CommitTimeTicks => (long)Word(RecordCodec.CommitTimeAt);

    /// <summary>100 ns units since 0001-01-01 UTC.</summary>
    public long RawClockTicks => (long)Word(RecordCodec.RawClockAt);

    public uint OperationCount => MemoryMarshal.Read<uint>(_record[RecordCodec.OperationCountAt..]);

    public uint Crc => MemoryMarshal.Read<uint>(_record[RecordCodec.CrcAt..]);

    public uint PreviousCrc => MemoryMarshal.Read<uint>(_record[RecordCodec.PreviousCrcAt..]);

    /// <summary>The body with its padding (at most seven zero bytes behind what was written).</summary>
    public ReadOnlySpan<byte> Body => _record[RecordCodec.HeaderBytes..];

    /// <summary>The operations of a transaction.</summary>
    public OperationReader Operations => new(Body, OperationCount);

    /// <summary>The event, parsed; null for a transaction or a filler.</summary>
    /// <exception cref="DamageException">The body is none of the record's kind.</exception>
    public WalEvent? Event => WalEventCodec.Decode(this);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Word(int at) =>
        Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref MemoryMarshal.GetReference(_record), at));
}
