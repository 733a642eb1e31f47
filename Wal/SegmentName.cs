using System.Buffers;
using System.Globalization;

namespace Pitr.Wal;

/// <summary>The name of a segment, local or archived: timeline (8 hex digits) and number (16 hex digits).</summary>
/// <param name="Timeline">The timeline that the segment belongs to.</param>
/// <param name="Number">Its number: it holds the LSNs from number × payload bytes.</param>
internal readonly record struct SegmentName(TimelineId Timeline, ulong Number) : IComparable<SegmentName>
{
    public const int Length = 24;

    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789ABCDEF");

    /// <summary>Reads exactly 24 upper-case hexadecimal digits; anything else is not a segment.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out SegmentName name)
    {
        name = default;
        if (text.Length != Length || text.ContainsAnyExcept(Digits))
            return false;
        name = new SegmentName(
            new TimelineId(uint.Parse(text[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)),
            ulong.Parse(text[8..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(SegmentName other) =>
        Timeline != other.Timeline ? Timeline.Value.CompareTo(other.Timeline.Value) : Number.CompareTo(other.Number);

    public static bool operator <(SegmentName left, SegmentName right) => left.CompareTo(right) < 0;
    public static bool operator >(SegmentName left, SegmentName right) => left.CompareTo(right) > 0;
    public static bool operator <=(SegmentName left, SegmentName right) => left.CompareTo(right) <= 0;
    public static bool operator >=(SegmentName left, SegmentName right) => left.CompareTo(right) >= 0;

    /// <inheritdoc/>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Timeline.Value:X8}{Number:X16}");
}
