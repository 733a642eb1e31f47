using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// How LSNs lie in segments: with files of S bytes and a header of 512, segment n holds [n·(S−512), (n+1)·(S−512)).
/// </summary>
internal readonly record struct WalGeometry
{
    public const int SegmentBytesDefault = 16 << 20;
    public const int SegmentBytesMin = 4096;
    public const int SegmentBytesMax = 256 << 20;

    /// <param name="segmentBytes">Bytes of a segment file: a multiple of 4096, 4 KiB to 256 MiB.</param>
    public WalGeometry(int segmentBytes)
    {
        if (!IsSegmentBytes(segmentBytes))
            throw new ArgumentOutOfRangeException(
                nameof(segmentBytes), segmentBytes, "A segment has 4 KiB to 256 MiB, a multiple of 4096 bytes.");
        SegmentBytes = segmentBytes;
    }

    /// <summary>True for lengths that a segment's file can have.</summary>
    public static bool IsSegmentBytes(long bytes) =>
        bytes is >= SegmentBytesMin and <= SegmentBytesMax && bytes % 4096 == 0;

    /// <summary>Bytes of a segment file, header included.</summary>
    public int SegmentBytes { get; }

    /// <summary>Bytes of the record stream that a segment holds.</summary>
    public int PayloadBytes => SegmentBytes - SegmentHeader.Bytes;

    /// <summary>Where the first record of a new database lies.</summary>
    public Lsn FirstLsn => StartOf(1);

    /// <summary>The segment that holds the byte at an LSN.</summary>
    public ulong NumberOf(Lsn lsn) => lsn.Value / (ulong)PayloadBytes;

    /// <summary>The first LSN of a segment.</summary>
    public Lsn StartOf(ulong number) => new(number * (ulong)PayloadBytes);

    /// <summary>Where the byte at an LSN lies in its segment's file.</summary>
    public long OffsetOf(Lsn lsn) => SegmentHeader.Bytes + (long)(lsn.Value % (ulong)PayloadBytes);

    /// <summary>The first segment boundary at or above an LSN: where a new timeline begins.</summary>
    public Lsn BoundaryAtOrAbove(Lsn lsn)
    {
        Lsn start = StartOf(NumberOf(lsn));
        return start == lsn ? lsn : start + PayloadBytes;
    }
}
