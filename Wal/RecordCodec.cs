using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>The bytes of a record: its header, its checksum, and what makes it the next one in its log.</summary>
/// <remarks>
/// LAYOUT  (little endian; a record begins and ends at a multiple of 8)
/// <code>
///   0 u32 length          whole record, header and padding included
///   4 u32 crc             CRC-32C over: body and padding · header 0..3 · header 8..63 · lineage (8 bytes)
///   8 u32 previous crc    of the record before it; of a timeline's first record: CRC-32C of the lineage's 8 bytes
///  12 u8  kind            13 u8 flags (0)      14 u16 0
///  16 u64 start LSN       its own place
///  24 u64 group start     the start LSN of its group's first record
///  32 u64 transaction id  0 unless the kind is Transaction
///  40 i64 commit time     100 ns ticks since 0001-01-01 UTC; grows by at least one a group (H8)
///  48 i64 raw clock       the same unit; what the clock said
///  56 u32 operations      60 u32 0
///  64 body …              zeroes up to a multiple of 8
/// </code>
/// The body comes first in the checksum, so that callers compute its part before they know where the record will lie.
///
/// INVARIANTS
///   R1  A record passes only if its start LSN is its place, it carries the CRC of the record before it, its group
///       start is its own start or that record's group start, and its CRC matches under the lineage (H2).
///   R2  Lengths are multiples of 8, from 64 up to <see cref="LengthMax"/>.
/// </remarks>
internal static class RecordCodec
{
    public const int HeaderBytes = 64;

    /// <summary>
    /// The longest record. A transaction is shorter; only the filler of a large segment may come near, so segments are
    /// not longer.
    /// </summary>
    public const int LengthMax = Limits.TransactionBytesMax + (1 << 20);

    public const int LengthAt = 0;
    public const int CrcAt = 4;
    public const int PreviousCrcAt = 8;
    public const int KindAt = 12;
    public const int StartLsnAt = 16;
    public const int GroupStartAt = 24;
    public const int TransactionIdAt = 32;
    public const int CommitTimeAt = 40;
    public const int RawClockAt = 48;
    public const int OperationCountAt = 56;

    static RecordCodec() => Invariant.Require(
        HeaderBytes % 8 == 0 && OperationCountAt + 8 == HeaderBytes
            && LengthMax % 8 == 0, "R2", "The header is not 64 bytes.");

    /// <summary>Bytes of a record with this body, padding included.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int LengthOf(int bodyBytes) => (HeaderBytes + bodyBytes + 7) & ~7;

    /// <summary>
    /// The state of the checksum after a body and its padding: what a caller gives to <see cref="WalAppender.Stage"/>.
    /// </summary>
    public static uint BodyState(ReadOnlySpan<byte> bodyAndPadding) => Crc32C.Append(Crc32C.Start, bodyAndPadding);

    /// <summary>What the first record of a timeline carries as the CRC of the record before it.</summary>
    public static uint FirstPreviousCrc(Lineage lineage) =>
        Crc32C.Finish(BitOperations.Crc32C(Crc32C.Start, lineage.Value));

    /// <summary>Fills the 64 bytes of a header and returns the record's CRC.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint WriteHeader(ref byte header, in RecordStamp stamp, uint bodyState)
    {
        ulong previousAndKind = stamp.PreviousCrc | ((ulong)(byte)stamp.Kind << 32);
        uint state = BitOperations.Crc32C(bodyState, (uint)stamp.LengthBytes);
        state = BitOperations.Crc32C(state, previousAndKind);
        state = BitOperations.Crc32C(state, stamp.StartLsn);
        state = BitOperations.Crc32C(state, stamp.GroupStart);
        state = BitOperations.Crc32C(state, stamp.TransactionId);
        state = BitOperations.Crc32C(state, (ulong)stamp.CommitTimeTicks);
        state = BitOperations.Crc32C(state, (ulong)stamp.RawClockTicks);
        state = BitOperations.Crc32C(state, (ulong)stamp.OperationCount);
        uint crc = Crc32C.Finish(BitOperations.Crc32C(state, stamp.Lineage));

        Unsafe.WriteUnaligned(ref header, (uint)stamp.LengthBytes | ((ulong)crc << 32));
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, PreviousCrcAt), previousAndKind);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, StartLsnAt), stamp.StartLsn);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, GroupStartAt), stamp.GroupStart);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, TransactionIdAt), stamp.TransactionId);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, CommitTimeAt), stamp.CommitTimeTicks);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, RawClockAt), stamp.RawClockTicks);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref header, OperationCountAt), (ulong)stamp.OperationCount);
        return crc;
    }

    /// <summary>True if the length could be one (R2). Says nothing of the bytes behind it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsLength(uint length) => length is >= HeaderBytes and <= LengthMax && (length & 7) == 0;

    /// <summary>True if the record's bytes give the CRC in its header under this lineage.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool CrcMatches(ReadOnlySpan<byte> record, Lineage lineage)
    {
        ref byte at = ref MemoryMarshal.GetReference(record);
        uint state = Crc32C.Append(Crc32C.Start, record[HeaderBytes..]);
        state = BitOperations.Crc32C(state, Unsafe.ReadUnaligned<uint>(ref at));
        for (nuint word = 8; word < HeaderBytes; word += 8)
            state = BitOperations.Crc32C(state, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref at, word)));
        uint crc = Crc32C.Finish(BitOperations.Crc32C(state, lineage.Value));
        return crc == Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref at, CrcAt));
    }
}

/// <summary>What the header of a record says, as plain numbers (the units are those of the layout).</summary>
internal ref struct RecordStamp
{
    public int LengthBytes;
    public uint PreviousCrc;
    public WalRecordKind Kind;
    public ulong StartLsn;
    public ulong GroupStart;
    public ulong TransactionId;
    public long CommitTimeTicks;
    public long RawClockTicks;
    public uint OperationCount;
    public ulong Lineage;
}
