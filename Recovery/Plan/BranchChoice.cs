using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Which branches could be meant when no timeline was named (H28).</summary>
/// <remarks>
/// A branch is the path to one timeline. Branch T is dominated by U if no transaction of T's path lies outside U's
/// path: then whatever T holds is in U too. Without <c>--timeline</c>:
/// <code>
///  branches that nothing dominates     the target there                  then
///  one                                 whatever                          that one
///  several                             the same record on each           any of them: they share that part
///  several                             different, or not there on one    refused, with the list
/// </code>
/// So an abandoned future that has transactions of its own is never left out, nor taken, silently.
/// </remarks>
internal static class BranchChoice
{
    /// <summary>
    /// The branches that nothing dominates, by number. Of branches without a difference the highest number.
    /// </summary>
    /// <param name="branches">All that are known.</param>
    /// <param name="hasTransactions">True if the timeline has a transaction with LSN above the first and at or below
    /// the second.</param>
    public static IReadOnlyList<TimelineHistory> Candidates(
        IReadOnlyList<TimelineHistory> branches, Func<TimelineEntry, Lsn, Lsn, bool> hasTransactions)
    {
        TimelineHistory[] sorted = [.. branches.OrderBy(branch => branch.Last.Timeline.Value)];
        var candidates = new List<TimelineHistory>();
        foreach (TimelineHistory branch in sorted)
        {
            bool isDominated = sorted.Any(other =>
                !ReferenceEquals(other, branch) && Dominates(other, branch, hasTransactions)
                && (other.Last.Timeline.Value > branch.Last.Timeline.Value
                    || !Dominates(branch, other, hasTransactions)));
            if (!isDominated)
                candidates.Add(branch);
        }
        return candidates;
    }

    private static bool Dominates(
        TimelineHistory other, TimelineHistory branch, Func<TimelineEntry, Lsn, Lsn, bool> hasTransactions)
    {
        foreach (TimelineEntry entry in branch.Path)
        {
            Lsn to = branch.LimitOf(entry.Lineage)!.Value;
            Lsn shared = other.LimitOf(entry.Lineage) ?? entry.StartLsn;
            if (shared < to && hasTransactions(entry, Lsn.Max(shared, entry.StartLsn), to))
                return false;
        }
        return true;
    }
}
