using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Pitr.Storage;

namespace Pitr.Recovery;

/// <summary>Where a stretch of a datafile's pages is found.</summary>
internal enum PageOrigin : uint
{
    /// <summary>Behind the run, in this object.</summary>
    Here = 1,

    /// <summary>At the same place in the copy of the base set.</summary>
    Base = 2,

    /// <summary>Nowhere: nothing reaches them, and they are zeroes.</summary>
    Nowhere = 3,
}

/// <summary>A stretch of neighbouring pages of one origin.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct OriginRun(uint First, uint Count, PageOrigin Origin, uint Zero);

/// <summary>
/// The object of a datafile in an incremental set: the pages that changed since its base, and where the others are.
/// </summary>
/// <remarks>
/// LAYOUT  (little endian; docs/formats/backup-set.md)
/// <code>
///    0 u64 magic "PITRPAGE"      16 u32 file id          24 u64 incarnation
///    8 u32 format version        20 u32 pages            32 u64 generation
///   12 u32 page size                                     40 u64 generation of the base's copy · zero to 64
///   then runs, which ascend without a gap over all pages:
///      u32 first page · u32 pages · u32 origin · u32 zero · if the origin is Here: the pages themselves
/// </code>
/// INVARIANTS
///   G1  A page comes from the base if and only if it counts (<see cref="LivePages"/>: the free chain too) and no
///       generation above the base's wrote it: copy-on-write has left it where it was, unchanged (H38).
///   G2  The base's copy is of the same incarnation, and not of a higher generation (H15).
/// </remarks>
internal static class ChangedPages
{
    public const int HeaderBytes = 64;
    public const int RunBytes = 16;
    public const uint FormatVersionNewest = 1;

    private const ulong Magic = 0x4547_4150_5254_4950; // "PITRPAGE"

    /// <summary>The bytes that come before the runs.</summary>
    public static void WriteHeader(Span<byte> to, LabelledFile file)
    {
        to[..HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(to, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], FormatVersionNewest);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], PageLayout.PageBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(to[16..], file.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(to[20..], PagesOf(file));
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], file.Incarnation.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[32..], file.Generation);
        BinaryPrimitives.WriteUInt64LittleEndian(to[40..], file.BaseGeneration!.Value);
    }

    /// <summary>Null if these are the bytes that an object of this file begins with; else what they are instead.</summary>
    public static string? FaultOfHeader(ReadOnlySpan<byte> header, LabelledFile file)
    {
        Span<byte> expected = stackalloc byte[HeaderBytes];
        WriteHeader(expected, file);
        return header.SequenceEqual(expected) ? null : "it does not begin as the changed pages of that datafile do";
    }

    public static uint PagesOf(LabelledFile file) => checked((uint)(file.LengthBytes / PageLayout.PageBytes));

    public static void WriteRun(Span<byte> to, OriginRun run) => MemoryMarshal.Write(to, run);

    public static OriginRun ReadRun(ReadOnlySpan<byte> from) => MemoryMarshal.Read<OriginRun>(from);
}
