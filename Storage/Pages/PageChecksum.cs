using System.Buffers.Binary;
using System.IO.Hashing;

namespace Pitr.Storage;

/// <summary>
/// The checksum of a page: XxHash3-64 of everything after it, its own number and generation included.
/// </summary>
internal static class PageChecksum
{
    /// <summary>What the checksum of these bytes should be.</summary>
    public static ulong Compute(ReadOnlySpan<byte> page) =>
        XxHash3.HashToUInt64(page[PageLayout.NumberAt..PageLayout.PageBytes]);

    /// <summary>Completes a page before it is written: number, generation, checksum.</summary>
    public static void Stamp(Span<byte> page, uint number, ulong generation)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(page[PageLayout.NumberAt..], number);
        BinaryPrimitives.WriteUInt64LittleEndian(page[PageLayout.GenerationAt..], generation);
        BinaryPrimitives.WriteUInt64LittleEndian(page[PageLayout.ChecksumAt..], Compute(page));
    }

    /// <summary>True if the stored checksum is that of the content.</summary>
    public static bool Matches(ReadOnlySpan<byte> page) => PageLayout.Checksum(page) == Compute(page);
}
