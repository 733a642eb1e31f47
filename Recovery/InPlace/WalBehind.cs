using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// What a recovery in place leaves behind its target, and no store has: it is the last copy of what was committed there, so
/// a plan names it, and a run keeps it (<see cref="LeftWal"/>).
/// </summary>
internal static class WalBehind
{
    /// <summary>One sentence for each timeline.</summary>
    /// <param name="local">The WAL in the database's folder.</param>
    /// <param name="path">The path that is followed.</param>
    /// <param name="cut">Where it stops.</param>
    /// <param name="stores">Where the rest might be.</param>
    public static IEnumerable<string> Of(
        WalSurvey local, TimelineHistory path, Lsn cut, IReadOnlyList<IArchiveStore> stores)
    {
        ArchiveCatalog[]? catalogs = null;
        foreach (WalRun run in local.LastRuns)
        {
            Lsn from = path.LimitOf(run.Identity.Lineage) is { } limit ? Lsn.Min(limit, cut) : run.From;
            if (run.To <= from)
                continue;
            catalogs ??= [.. stores.Select(ArchiveCatalog.Load)];
            Lsn archived = ArchivedEnd(local, run.Identity.Timeline, catalogs);
            if (archived < run.To)
                yield return $"Behind the target, WAL of timeline {run.Identity.Timeline} up to {run.To} is in this folder "
                    + $"alone: {(archived.IsZero ? "no store has any of it" : $"the archive has it up to {archived}")}. It stays "
                    + $"in '{local.Folder}', with the ending '{AsideName.Suffix}' once a checkpoint has passed it, until you remove it.";
        }
    }

    private static Lsn ArchivedEnd(WalSurvey local, TimelineId timeline, ArchiveCatalog[] catalogs) => catalogs
        .Select(catalog => catalog.HighestEnd(timeline, new WalGeometry(local.SegmentBytes).PayloadBytes))
        .DefaultIfEmpty().Max();
}
