using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>What a new incremental set builds on, and which of its datafiles do.</summary>
/// <remarks>
/// The base of the set
/// <code>
///   of this database, and whole (H29)                 else it does not count
///   its stop lies on the path of timelines            else what came after it is another history (H14)
///   the newest of those
///   its chain has room for one more                   else all is copied, and the chain begins anew
/// </code>
/// The base's copy of a datafile
/// <code>
///   the same incarnation                              else it was made anew, restored, recovered or compacted (H15, H42)
///   generation and checkpoint LSN not above           else it is not older: another life of the file
///   its (lineage, checkpoint LSN) on the path         (H14)
/// </code>
/// A datafile without such a copy is copied whole.
/// </remarks>
internal static class BaseChoice
{
    /// <summary>The base; or why there is none, for people.</summary>
    public static (BackupSet? Base, string? WhyNone) Of(BackupCatalog sets, ControlFile control)
    {
        var path = TimelineHistory.Of(control.SystemId, control.History);
        BackupSet? newest = sets.Sets
            .Where(set => set.Prefix.Length > 0 && !set.Label.IsPartial && set.Label.SystemId == control.SystemId
                && path.PathContains(set.Label.Lineage, set.Label.StopLsn))
            .MaxBy(static set => set.Label.StopLsn);
        if (newest is null)
            return (null, "the store has no whole set of this database's present history");
        return newest.Bases.Count() + 2 > SetChains.LengthMax
            ? (null, $"the newest set and those that it builds on are {SetChains.LengthMax} already")
            : (newest, null);
    }

    /// <summary>The base's copy that a datafile's copy builds on; null: it is copied whole.</summary>
    public static LabelledFile? CopyOf(BackupStart start, FencedFile file)
    {
        if (start.Base?.Label.Files.FirstOrDefault(copy => copy.Id == file.Id) is not { } older)
            return null;
        bool isOlder = older.Incarnation == file.Incarnation
            && older.Generation <= file.Generation && older.CheckpointLsn <= file.CheckpointLsn
            && TimelineHistory.Of(start.Control.SystemId, start.Control.History)
                .PathContains(older.Lineage, older.CheckpointLsn);
        return isOlder ? older : null;
    }
}
