using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What the archives say of branches beside their histories (H28).</summary>
/// <remarks>
/// A branch is known by a history or by a set's label. One that neither tells of shows by the names of its WAL alone: where
/// it was forked is then not known, so it may be the one that is meant. One that has expired, and from which others
/// were forked, is not: of what is its own beyond the forks nothing is promised (<see cref="RetentionPlanner"/>).
/// THREADS  any.
/// </remarks>
internal static class BranchSurvey
{
    /// <summary>Timelines of which an archive has WAL, and that no branch has on its path.</summary>
    public static IEnumerable<(IArchiveStore Store, TimelineId Timeline)> Orphans(
        IEnumerable<(IArchiveStore Store, ArchiveCatalog Catalog)> archives, IReadOnlyList<TimelineHistory> branches)
    {
        HashSet<TimelineId> known = [.. branches.SelectMany(branch => branch.Path).Select(entry => entry.Timeline)];
        foreach ((IArchiveStore store, ArchiveCatalog catalog) in archives)
        {
            foreach (TimelineId timeline in catalog.Timelines.Where(timeline => !known.Contains(timeline)))
                yield return (store, timeline);
        }
    }

    /// <summary>
    /// True if others were forked from a timeline and all of it has expired but the newest object, which an expire leaves.
    /// </summary>
    public static bool HasExpired(
        TimelineHistory branch, IReadOnlyList<TimelineHistory> branches,
        IEnumerable<(IArchiveStore Store, ArchiveCatalog Catalog)> archives, WalGeometry geometry)
    {
        TimelineId timeline = branch.Last.Timeline;
        bool hasExpired = false;
        if (!branches.Any(other => other.Last.Lineage != branch.Last.Lineage && other.LimitOf(branch.Last.Lineage) is not null))
            return false;
        foreach ((IArchiveStore store, ArchiveCatalog catalog) in archives)
        {
            ulong[] numbers = [.. catalog.Wholes(timeline).Union(catalog.PartNumbers(timeline))];
            if (numbers.Length == 0)
                continue;
            Lsn newest = geometry.StartOf(numbers[0]);
            if (numbers.Length > 1 || !ExpiredNote.Of(store, timeline).Any(gone => gone.To == newest))
                return false;
            hasExpired = true;
        }
        return hasExpired;
    }
}
