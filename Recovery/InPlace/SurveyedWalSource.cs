using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>The database's own WAL as a survey found it: it counts exactly as far as its records go.</summary>
/// <remarks>
/// What the folder was known to have, and cannot be read, counts as being there (<see cref="WalSurvey"/>, WS2): if no
/// other place has it, that is a gap, and never the end.
/// </remarks>
internal sealed class SurveyedWalSource(IFileSystem files, WalSurvey survey) : IWalSource
{
    public string Name => survey.Folder;

    /// <summary>The last group may not have been acknowledged: a longer copy in a store goes before it (H7).</summary>
    public bool IsDurable => false;

    public Lsn HighestEnd(TimelineId timeline) => survey.HighestEnd(timeline);

    public WalStretch? Find(TimelineHistory path, ulong number, Lsn from, Lsn to)
    {
        var geometry = new WalGeometry(survey.SegmentBytes);
        TimelineEntry owner = path.OwnerOf(geometry.StartOf(number));
        WalRun? run = survey.Runs.FirstOrDefault(run =>
            run.Identity.Timeline == owner.Timeline && run.Identity.Lineage == owner.Lineage
            && run.From <= from && from < run.To);
        if (run is null || run.Identity.System != path.System)
            return null;
        Lsn end = Lsn.Min(to, run.To);
        var folder = new WalFolder(files, survey.Folder, survey.SegmentBytes, run.Identity);
        return new WalStretch(Name, owner.Timeline, number, from, end, IsParts: false,
            () =>
            {
                using IFileHandle handle = folder.Open(number, run.Identity, FileOpen.Read);
                byte[] bytes = new byte[end - from];
                int read = handle.Read(geometry.OffsetOf(from), bytes);
                return (from, bytes.AsMemory(0, read));
            },
            static () => 0);
    }
}
