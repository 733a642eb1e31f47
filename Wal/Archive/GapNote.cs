using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// WAL that a store will never have, noted in the store itself: whoever looks at it later is told that the hole is known,
/// and since when. It is reported, never bridged.
/// </summary>
/// <remarks>
/// A hole comes from the choice to give up segments while a store is down (ArchiveLagChoice), or shows when a start finds
/// that its local WAL begins above what the store has. It is noted as soon as the store answers, before anything beyond it
/// is shipped. A note says what was given up, not what is there: if somebody brings the segments from another store, they
/// count, and the note tells of nothing.
/// </remarks>
internal static class GapNote
{
    private const int Format = 1;

    /// <summary>Notes a gap; nothing happens if it is noted.</summary>
    public static void Write(
        IArchiveStore store, SystemIdentifier system, Lineage lineage, ArchiveGap gap, DateTimeOffset now) =>
        store.TryPutIfAbsent(
            ObjectName.Gap(gap.Timeline, gap.From, gap.To), SealedText.Seal(JsonSerializer.SerializeToUtf8Bytes(
                new GapJson
                {
                    Format = Format,
                    System = system.ToString(),
                    Timeline = gap.Timeline.Value,
                    Lineage = lineage.ToString(),
                    From = gap.From.ToString(),
                    To = gap.To.ToString(),
                    Time = ArchiveJson.Text(now),
                }, ArchiveJson.Default.GapJson)));

    /// <summary>
    /// The gaps that are noted of a timeline and of which WAL is missing still, joined where they touch; by their names,
    /// since a note that cannot be read says as much.
    /// </summary>
    public static ImmutableArray<ArchiveGap> Of(IArchiveStore store, TimelineId timeline, WalGeometry geometry)
    {
        IReadOnlyList<string> names = store.List(
            string.Create(CultureInfo.InvariantCulture, $"{ObjectName.GapPrefix}{timeline.Value:X8}-"));
        if (names.Count == 0)
            return [];
        ArchiveCatalog catalog = ArchiveCatalog.Load(store);
        ImmutableArray<ArchiveGap> gaps = [];
        foreach (string name in names)
        {
            if (!ObjectName.TryParseGap(name, out _, out Lsn from, out Lsn to) || IsFilled(catalog, timeline, from, to, geometry))
                continue;
            gaps = Joined(gaps, new ArchiveGap(timeline, from, to));
        }
        return gaps;
    }

    /// <summary>With one more at the end; as one where it touches the last.</summary>
    public static ImmutableArray<ArchiveGap> Joined(ImmutableArray<ArchiveGap> gaps, ArchiveGap next) =>
        gaps is [.., { } last] && next.From <= last.To && last.From <= next.To && next.Timeline == last.Timeline
            ? gaps.SetItem(
                gaps.Length - 1, last with { From = Lsn.Min(last.From, next.From), To = Lsn.Max(last.To, next.To) })
            : gaps.Add(next);

    private static bool IsFilled(ArchiveCatalog catalog, TimelineId timeline, Lsn from, Lsn to, WalGeometry geometry)
    {
        for (ulong number = geometry.NumberOf(from); geometry.StartOf(number) < to; number++)
        {
            if (!catalog.HasWhole(timeline, number))
                return false;
        }
        return true;
    }
}
