using System.Globalization;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// The names of what lies in an archive store. They say what an object is without opening it; that the content agrees
/// is checked when it is read.
/// </summary>
/// <remarks>
/// <code>
///   archive.json                          whose archive this is
///   wal/TTTTTTTTNNNNNNNNNNNNNNNN.zst      a whole segment: timeline 8, number 16 hexadecimal digits
///   wal/TTTTTTTTNNNNNNNNNNNNNNNN.part-SSSSSSSSSSSSSSSS-EEEEEEEEEEEEEEEE.zst
///                                         the stream's bytes [S, E) of that segment
///   index/keys-TTTTTTTTNNNNNNNNNNNNNNNN.idx  which keys a whole segment's records touch
///   history/TTTTTTTT.json                 a timeline's history; whoever creates it has claimed the number
///   owner/TTTTTTTT-QQQQQQQQQQQQQQQQ.json  the Q-th engine start that took the timeline; the highest Q owns it
///   gap/TTTTTTTT-SSSSSSSSSSSSSSSS-EEEEEEEEEEEEEEEE.json
///                                         WAL of a timeline, [S, E), that the store will never have
///   expired/TTTTTTTT-SSSSSSSSSSSSSSSS-EEEEEEEEEEEEEEEE.json
///                                         WAL of a timeline, [S, E), that an expire has removed
///   restores/ID.json                      a restore that is being carried out (Recovery)
///   backups/…                             backup sets (Recovery)
/// </code>
/// Upper-case hexadecimal, so that ordinal order is the order of timelines, numbers and LSNs.
/// </remarks>
internal static class ObjectName
{
    public const string Identity = "archive.json";
    public const string WalPrefix = "wal/";
    public const string HistoryPrefix = "history/";
    public const string OwnerPrefix = "owner/";
    public const string GapPrefix = "gap/";
    public const string ExpiredPrefix = "expired/";
    public const string RestorePrefix = "restores/";
    private const string ContainerSuffix = ".zst";
    private const string PartInfix = ".part-";

    /// <summary>
    /// True if every part is made of the allowed characters, is not empty and does not begin with a dot.
    /// </summary>
    public static bool IsValid(ReadOnlySpan<char> name)
    {
        if (name.Length is 0 or > 900)
            return false;
        bool atStart = true;
        foreach (char c in name)
        {
            if (c == '/')
            {
                if (atStart)
                    return false;
                atStart = true;
                continue;
            }
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_') && (c != '.' || atStart))
                return false;
            atStart = false;
        }
        return !atStart;
    }

    /// <summary>The name of a whole segment.</summary>
    public static string Segment(TimelineId timeline, ulong number) => $"{Stem(timeline, number)}{ContainerSuffix}";

    /// <summary>The name of a part: start and end are in it, so that a longer one has another name (H25).</summary>
    public static string Part(TimelineId timeline, ulong number, Lsn from, Lsn to) =>
        string.Create(CultureInfo.InvariantCulture,
            $"{Stem(timeline, number)}{PartInfix}{from.Value:X16}-{to.Value:X16}{ContainerSuffix}");

    /// <summary>What the names of all parts of a segment begin with.</summary>
    public static string PartPrefix(TimelineId timeline, ulong number) => $"{Stem(timeline, number)}{PartInfix}";

    /// <summary>What the names of all segments and parts of a timeline begin with.</summary>
    public static string TimelinePrefix(TimelineId timeline) =>
        string.Create(CultureInfo.InvariantCulture, $"{WalPrefix}{timeline.Value:X8}");

    /// <summary>The name of the index of a whole segment; it does not begin as a segment's does.</summary>
    public static string KeyIndex(TimelineId timeline, ulong number) =>
        string.Create(CultureInfo.InvariantCulture, $"index/keys-{timeline.Value:X8}{number:X16}.idx");

    /// <summary>The name of a timeline's history.</summary>
    public static string History(TimelineId timeline) =>
        string.Create(CultureInfo.InvariantCulture, $"{HistoryPrefix}{timeline.Value:X8}.json");

    /// <summary>The name of an owner object.</summary>
    public static string Owner(TimelineId timeline, ulong take) =>
        string.Create(CultureInfo.InvariantCulture, $"{OwnerPrefix}{timeline.Value:X8}-{take:X16}.json");

    /// <summary>The name of the note of a gap.</summary>
    public static string Gap(TimelineId timeline, Lsn from, Lsn to) => Stretch(GapPrefix, timeline, from, to);

    /// <summary>Reads the name of the note of a gap.</summary>
    public static bool TryParseGap(string name, out TimelineId timeline, out Lsn from, out Lsn to) =>
        TryParseStretch(GapPrefix, name, out timeline, out from, out to);

    /// <summary>The name of the note of what has expired.</summary>
    public static string Expired(TimelineId timeline, Lsn from, Lsn to) => Stretch(ExpiredPrefix, timeline, from, to);

    /// <summary>Reads the name of the note of what has expired.</summary>
    public static bool TryParseExpired(string name, out TimelineId timeline, out Lsn from, out Lsn to) =>
        TryParseStretch(ExpiredPrefix, name, out timeline, out from, out to);

    /// <summary>The name of a restore that is being carried out.</summary>
    public static string Restore(string recoveryId) => $"{RestorePrefix}{recoveryId}.json";

    private static string Stretch(string prefix, TimelineId timeline, Lsn from, Lsn to) => string.Create(
        CultureInfo.InvariantCulture, $"{prefix}{timeline.Value:X8}-{from.Value:X16}-{to.Value:X16}.json");

    private static bool TryParseStretch(string prefix, string name, out TimelineId timeline, out Lsn from, out Lsn to)
    {
        (timeline, from, to) = (default, default, default);
        if (name.Length != prefix.Length + 47 || !name.StartsWith(prefix, StringComparison.Ordinal)
            || !name.EndsWith(".json", StringComparison.Ordinal) || name[prefix.Length + 8] != '-'
            || name[prefix.Length + 25] != '-' || !TryHex(name.AsSpan(prefix.Length, 8), out ulong value)
            || !TryHex(name.AsSpan(prefix.Length + 9, 16), out ulong begin)
            || !TryHex(name.AsSpan(prefix.Length + 26, 16), out ulong end) || end <= begin)
            return false;
        (timeline, from, to) = (new TimelineId((uint)value), new Lsn(begin), new Lsn(end));
        return true;
    }

    /// <summary>Reads the name of a whole segment.</summary>
    public static bool TryParseSegment(string name, out TimelineId timeline, out ulong number)
    {
        int stemEnd = WalPrefix.Length + 24;
        return TryParseStem(name, out timeline, out number)
            && name.AsSpan(stemEnd).Equals(ContainerSuffix, StringComparison.Ordinal);
    }

    /// <summary>Reads the name of a part.</summary>
    public static bool TryParsePart(string name, out TimelineId timeline, out ulong number, out Lsn from, out Lsn to)
    {
        (from, to) = (default, default);
        if (!TryParseStem(name, out timeline, out number))
            return false;
        ReadOnlySpan<char> rest = name.AsSpan(WalPrefix.Length + 24);
        if (rest.Length != PartInfix.Length + 33 + ContainerSuffix.Length
            || !rest.StartsWith(PartInfix, StringComparison.Ordinal)
            || !rest.EndsWith(ContainerSuffix, StringComparison.Ordinal) || rest[PartInfix.Length + 16] != '-'
            || !TryHex(rest.Slice(PartInfix.Length, 16), out ulong start)
            || !TryHex(rest.Slice(PartInfix.Length + 17, 16), out ulong end) || end <= start)
            return false;
        (from, to) = (new Lsn(start), new Lsn(end));
        return true;
    }

    /// <summary>Reads the name of a timeline's history.</summary>
    public static bool TryParseHistory(string name, out TimelineId timeline)
    {
        timeline = default;
        if (name.Length != HistoryPrefix.Length + 13 || !name.StartsWith(HistoryPrefix, StringComparison.Ordinal)
            || !name.EndsWith(".json", StringComparison.Ordinal)
            || !TryHex(name.AsSpan(HistoryPrefix.Length, 8), out ulong value))
            return false;
        timeline = new TimelineId((uint)value);
        return true;
    }

    /// <summary>Reads the name of an owner object.</summary>
    public static bool TryParseOwner(string name, out TimelineId timeline, out ulong take)
    {
        (timeline, take) = (default, 0);
        if (name.Length != OwnerPrefix.Length + 30 || !name.StartsWith(OwnerPrefix, StringComparison.Ordinal)
            || !name.EndsWith(".json", StringComparison.Ordinal) || name[OwnerPrefix.Length + 8] != '-'
            || !TryHex(name.AsSpan(OwnerPrefix.Length, 8), out ulong value)
            || !TryHex(name.AsSpan(OwnerPrefix.Length + 9, 16), out take))
            return false;
        timeline = new TimelineId((uint)value);
        return true;
    }

    private static string Stem(TimelineId timeline, ulong number) =>
        string.Create(CultureInfo.InvariantCulture, $"{WalPrefix}{timeline.Value:X8}{number:X16}");

    private static bool TryParseStem(string name, out TimelineId timeline, out ulong number)
    {
        (timeline, number) = (default, 0);
        if (name.Length < WalPrefix.Length + 24 || !name.StartsWith(WalPrefix, StringComparison.Ordinal)
            || !TryHex(name.AsSpan(WalPrefix.Length, 8), out ulong value)
            || !TryHex(name.AsSpan(WalPrefix.Length + 8, 16), out number))
            return false;
        timeline = new TimelineId((uint)value);
        return true;
    }

    private static bool TryHex(ReadOnlySpan<char> digits, out ulong value)
    {
        foreach (char c in digits)
        {
            if (!char.IsAsciiHexDigitUpper(c))
            {
                value = 0;
                return false;
            }
        }
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
