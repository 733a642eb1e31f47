using System.Runtime.InteropServices;

namespace Pitr.Wal;

/// <summary>
/// What a container's header says of the times in a stretch of WAL, so that a planner finds the segments that a time
/// target concerns, and the ones in which the clock had stepped back (H8), without fetching all of them.
/// </summary>
/// <remarks>
/// LeastRawClock is safe downwards: no record that begins in the stretch has a lesser raw clock; if that cannot be
/// known (a record header is cut at the end and what follows was not given), it is <see cref="Unknown"/>, which is
/// below every clock: the planner has to read. The commit times are for display and for choosing where to begin to
/// read.
/// </remarks>
/// <param name="FirstCommitTicks">Commit time of the first record that begins here; <see cref="None"/> without
/// records.</param>
/// <param name="LastCommitTicks">Commit time of the last one.</param>
/// <param name="LeastRawClockTicks">The least raw clock of them.</param>
internal sealed record SegmentTimes(long FirstCommitTicks, long LastCommitTicks, long LeastRawClockTicks)
{
    /// <summary>No record begins in the stretch. The greatest number, so that it never counts as the least.</summary>
    public const long None = long.MaxValue;

    /// <summary>Not known: below every clock.</summary>
    public const long Unknown = 0;

    /// <summary>A stretch in which no record begins.</summary>
    public static SegmentTimes Empty { get; } = new(None, None, None);

    /// <summary>A stretch of which nothing is known.</summary>
    public static SegmentTimes NotKnown { get; } = new(Unknown, Unknown, Unknown);

    private const int HeaderBytes = 64;
    private const int LengthBytesMax = (256 << 20) + (1 << 20);

    /// <summary>Finds the records that begin in a stretch of the WAL stream.</summary>
    /// <param name="stretch">Its bytes.</param>
    /// <param name="from">Where in the stream it begins.</param>
    /// <param name="after">The bytes of the stream that follow, at least 64 if there are as many; they complete a cut
    /// header.</param>
    /// <remarks>
    /// Where the first record begins is not known: a place is taken for a record's when it says so itself (its start
    /// LSN is its place, and length, kind and zero fields are possible); from there the lengths lead on. Bytes inside a
    /// value that look like that, at just that place, can only make the least raw clock less: the planner then reads.
    /// </remarks>
    public static SegmentTimes Scan(ReadOnlySpan<byte> stretch, Lsn from, ReadOnlySpan<byte> after)
    {
        (long first, long last, long least) = (None, None, None);
        Span<byte> cut = stackalloc byte[HeaderBytes];
        long at = 0;
        while (at < stretch.Length)
        {
            scoped ReadOnlySpan<byte> header = stretch[(int)at..];
            if (header.Length < HeaderBytes)
            {
                if (header.Length + after.Length < HeaderBytes)
                    return after.IsEmpty && !MayBegin(header, from + at)
                        ? new SegmentTimes(first, last, least)
                        : new SegmentTimes(first, last, Unknown);
                header.CopyTo(cut);
                after[..(HeaderBytes - header.Length)].CopyTo(cut[header.Length..]);
                header = cut;
            }
            if (!IsRecord(header, from + at, out int lengthBytes))
            {
                at += 8;
                continue;
            }
            long commit = MemoryMarshal.Read<long>(header[40..]);
            long raw = MemoryMarshal.Read<long>(header[48..]);
            first = first == None ? commit : first;
            last = commit;
            least = Math.Min(least, raw);
            at += lengthBytes;
        }
        return new SegmentTimes(first, last, least);
    }

    /// <summary>The times of two stretches, the second following the first.</summary>
    public static SegmentTimes Join(SegmentTimes first, SegmentTimes second) => new(
        first.FirstCommitTicks == None ? second.FirstCommitTicks : first.FirstCommitTicks,
        second.LastCommitTicks == None ? first.LastCommitTicks : second.LastCommitTicks,
        Math.Min(first.LeastRawClockTicks, second.LeastRawClockTicks));

    /// <summary>True unless the cut header's length is 0, as behind the log's end.</summary>
    private static bool MayBegin(ReadOnlySpan<byte> header, Lsn place) =>
        (header.Length < sizeof(uint) ? header.ContainsAnyExcept((byte)0) : MemoryMarshal.Read<uint>(header) != 0)
        && (header.Length < 24 || MemoryMarshal.Read<ulong>(header[16..]) == place.Value);

    private static bool IsRecord(ReadOnlySpan<byte> header, Lsn place, out int lengthBytes)
    {
        uint length = MemoryMarshal.Read<uint>(header);
        lengthBytes = (int)length;
        return length is >= HeaderBytes and <= LengthBytesMax && (length & 7) == 0
            && MemoryMarshal.Read<ulong>(header[16..]) == place.Value
            && MemoryMarshal.Read<ulong>(header[24..]) <= place.Value
            && header[12] is >= 1 and <= 63 && MemoryMarshal.Read<ushort>(header[14..]) == 0
            && MemoryMarshal.Read<uint>(header[60..]) == 0;
    }
}
