using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>The WAL that one datafile needs, out of the database's own folder, its archive and a backup set.</summary>
internal static class FileWal
{
    /// <summary>The database's own first: it is nearest, and as durable as the others up to the request's end.</summary>
    public static WalSources SourcesOf(FileRecoveryRequest request, BackupSet? set)
    {
        var geometry = new WalGeometry((int)request.Control.WalSegmentBytes);
        var places = new List<IWalSource> { request.Local() };
        foreach (IArchiveStore store in request.Archives)
            places.Add(new ArchiveWalSource(store, ArchiveCatalog.Load(store), geometry));
        if (set is { Label.IncludesWal: true })
        {
            IArchiveStore own = set.AsStore();
            places.Add(new ArchiveWalSource(own, ArchiveCatalog.Load(own), geometry));
        }

        return new WalSources(places, geometry);
    }

    /// <summary>Opens the records in (from, to].</summary>
    /// <exception cref="RefusedException">WalGap.</exception>
    public static PathReader Open(WalSources sources, TimelineHistory history, Lsn from, Lsn to) =>
        WalSources.Open(history, Covering(sources, history, from, to), from);

    /// <summary>All of it is there.</summary>
    /// <exception cref="RefusedException">WalGap.</exception>
    public static WalCoverage Covering(WalSources sources, TimelineHistory history, Lsn from, Lsn to)
    {
        WalCoverage coverage = sources.Along(history, from, to);
        WalHole? hole = coverage.Hole
            ?? (coverage.End < to ? new WalHole(history.OwnerOf(coverage.End).Timeline, coverage.End, to) : null);
        return hole is null
            ? coverage
            : throw RecoveryErrors.WalGap(hole.Timeline, hole.From, hole.To, sources.Names);
    }
}
