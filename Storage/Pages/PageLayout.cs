using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>The header that every page begins with, whatever its kind, and how to read and write its fields.</summary>
/// <remarks>
/// LAYOUT  (little endian; bytes)
/// <code>
///    0 u64 checksum       XxHash3-64 of bytes 8 … 8191
///    8 u32 page number    its own place: page n begins at n × 8192
///   12 u8  kind           PageKind
///   13 u8  flags          bit 0: a value below or in this page overflows · bits 4–7: level (leaf 0, its parent 1 …)
///   14 u16 count          leaf: rows · branch: separators · overflow: page numbers listed · others: theirs
///   16 u64 generation     of the flush that wrote it
///   24 u32 FieldA         leaf, branch: u16 prefix length, u16 lowest cell · overflow: next listing page
///   28 u32 FieldB         overflow: bytes of the value in this page · leaf, branch: 0 · others: theirs
///   32     content
/// </code>
/// INVARIANTS
///   P1  A page reached through a root of generation g has a generation of at most g.
///   P2  A page's number is its place; a page that was written elsewhere does not pass.
/// </remarks>
internal static unsafe class PageLayout
{
    /// <summary>Bytes of a page; format 1 knows only this size.</summary>
    public const int PageBytes = 8192;

    /// <summary>Bytes of the header; the content begins here.</summary>
    public const int HeaderBytes = 32;

    /// <summary>Bytes of a page after its header.</summary>
    public const int ContentBytes = PageBytes - HeaderBytes;

    /// <summary>The first page that is not a meta page.</summary>
    public const uint FirstPage = 2;

    public const int ChecksumAt = 0;
    public const int NumberAt = 8;
    public const int KindAt = 12;
    public const int FlagsAt = 13;
    public const int CountAt = 14;
    public const int GenerationAt = 16;
    public const int FieldAAt = 24;
    public const int FieldBAt = 28;

    /// <summary>Flag: a value in this leaf, or in a leaf below this branch, lies in overflow pages.</summary>
    public const byte HasOverflow = 1;

    /// <summary>The greatest level that fits its four bits; no tree of 2^32 pages comes near.</summary>
    public const int LevelMax = 15;

    static PageLayout()
    {
        Invariant.Require(BitConverter.IsLittleEndian, "P0", "pages are read in place on little-endian machines only.");
        Invariant.Require(FieldBAt + sizeof(uint) == HeaderBytes, "P0", "the header's fields fill it.");
    }

    public static ulong Checksum(byte* page) => *(ulong*)(page + ChecksumAt);

    public static uint Number(byte* page) => *(uint*)(page + NumberAt);

    public static PageKind Kind(byte* page) => (PageKind)page[KindAt];

    public static byte Flags(byte* page) => page[FlagsAt];

    public static int Level(byte* page) => page[FlagsAt] >> 4;

    public static int Count(byte* page) => *(ushort*)(page + CountAt);

    public static ulong Generation(byte* page) => *(ulong*)(page + GenerationAt);

    public static uint FieldA(byte* page) => *(uint*)(page + FieldAAt);

    public static uint FieldB(byte* page) => *(uint*)(page + FieldBAt);

    public static ulong Checksum(ReadOnlySpan<byte> page) =>
        BinaryPrimitives.ReadUInt64LittleEndian(page[ChecksumAt..]);

    public static uint Number(ReadOnlySpan<byte> page) => BinaryPrimitives.ReadUInt32LittleEndian(page[NumberAt..]);

    public static PageKind Kind(ReadOnlySpan<byte> page) => (PageKind)page[KindAt];

    public static int Count(ReadOnlySpan<byte> page) => BinaryPrimitives.ReadUInt16LittleEndian(page[CountAt..]);

    public static ulong Generation(ReadOnlySpan<byte> page) =>
        BinaryPrimitives.ReadUInt64LittleEndian(page[GenerationAt..]);

    public static uint FieldA(ReadOnlySpan<byte> page) => BinaryPrimitives.ReadUInt32LittleEndian(page[FieldAAt..]);

    public static uint FieldB(ReadOnlySpan<byte> page) => BinaryPrimitives.ReadUInt32LittleEndian(page[FieldBAt..]);

    /// <summary>
    /// Writes the fields that a page's author knows; number, generation and checksum come with <see
    /// cref="PageChecksum.Stamp"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Describe(Span<byte> page, PageKind kind, byte flags, int count, uint fieldA, uint fieldB)
    {
        page[KindAt] = (byte)kind;
        page[FlagsAt] = flags;
        BinaryPrimitives.WriteUInt16LittleEndian(page[CountAt..], checked((ushort)count));
        BinaryPrimitives.WriteUInt32LittleEndian(page[FieldAAt..], fieldA);
        BinaryPrimitives.WriteUInt32LittleEndian(page[FieldBAt..], fieldB);
    }

    /// <summary>The byte of a page's flags.</summary>
    public static byte FlagsOf(int level, bool hasOverflow) => (byte)((level << 4) | (hasOverflow ? HasOverflow : 0));
}
