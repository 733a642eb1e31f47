using System.Buffers.Binary;

namespace Pitr.Wal;

/// <summary>Whose WAL a folder holds and appends to.</summary>
/// <param name="System">The database.</param>
/// <param name="Timeline">The timeline's number.</param>
/// <param name="Lineage">What makes the timeline unique.</param>
internal sealed record WalIdentity(SystemIdentifier System, TimelineId Timeline, Lineage Lineage);

/// <summary>The first 512 bytes of a segment: one sector, so that it is there as a whole or not at all.</summary>
/// <remarks>
/// <code>
///   0 8  magic "PITRWAL\n"     8 u32 format version   12 u32 segment bytes (file length)
///  16 u64 system identifier   24 u32 timeline         28 u32 0
///  32 u64 lineage             40 u64 number           48 u64 start LSN = number × payload bytes
///  56 u64 payload bytes       64 zeroes              508 u32 CRC-32C of bytes 0..507
/// </code>
/// </remarks>
internal readonly record struct SegmentHeader(
    SystemIdentifier System, SegmentName Name, Lineage Lineage, Lsn Start, int SegmentBytes)
{
    public const int Bytes = 512;
    public const uint FormatVersion = 1;

    private const int CrcAt = Bytes - 4;

    private static ReadOnlySpan<byte> Magic => "PITRWAL\n"u8;

    public WalIdentity Identity => new(System, Name.Timeline, Lineage);

    /// <summary>The header of a segment of a timeline.</summary>
    public static SegmentHeader For(WalIdentity identity, WalGeometry geometry, ulong number) => new(
        identity.System, new SegmentName(identity.Timeline, number), identity.Lineage, geometry.StartOf(number),
        geometry.SegmentBytes);

    /// <summary>Fills 512 bytes.</summary>
    public void Write(Span<byte> to)
    {
        to[..Bytes].Clear();
        Magic.CopyTo(to);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], FormatVersion);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], (uint)SegmentBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], System.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], Name.Timeline.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], Lineage.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[40..], Name.Number);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], Start.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[56..], (ulong)(SegmentBytes - Bytes));
        BinaryPrimitives.WriteUInt32LittleEndian(to[CrcAt..], Crc32C.Of(to[..CrcAt]));
    }

    /// <summary>Reads a header that must be right; the path is for the error.</summary>
    /// <exception cref="DamageException">The bytes are no header.</exception>
    /// <exception cref="RefusedException">The header is of a newer format.</exception>
    public static SegmentHeader Read(ReadOnlySpan<byte> from, string path)
    {
        if (from.Length < Bytes || !from[..8].SequenceEqual(Magic))
            throw WalErrors.SegmentHeaderDamaged(path, "it does not begin with the mark of a segment");
        if (BinaryPrimitives.ReadUInt32LittleEndian(from[CrcAt..]) != Crc32C.Of(from[..CrcAt]))
            throw WalErrors.SegmentHeaderDamaged(path, "its checksum does not match its content");
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        if (version != FormatVersion)
            throw WalErrors.FormatVersion(path, version, FormatVersion);
        uint segmentBytes = BinaryPrimitives.ReadUInt32LittleEndian(from[12..]);
        ulong number = BinaryPrimitives.ReadUInt64LittleEndian(from[40..]);
        ulong start = BinaryPrimitives.ReadUInt64LittleEndian(from[48..]);
        ulong payloadBytes = BinaryPrimitives.ReadUInt64LittleEndian(from[56..]);
        if (!WalGeometry.IsSegmentBytes(segmentBytes) || payloadBytes != segmentBytes - Bytes
            || start != (UInt128)number * payloadBytes)
            throw WalErrors.SegmentHeaderDamaged(
                path, $"it says that segment {number} of {segmentBytes} bytes begins at LSN {new Lsn(start)}");
        return new SegmentHeader(
            new SystemIdentifier(BinaryPrimitives.ReadUInt64LittleEndian(from[16..])),
            new SegmentName(
                new TimelineId(BinaryPrimitives.ReadUInt32LittleEndian(from[24..])),
                number),
            new Lineage(BinaryPrimitives.ReadUInt64LittleEndian(from[32..])),
            new Lsn(start),
            (int)segmentBytes);
    }
}
