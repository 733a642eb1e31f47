using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Finds, for one archive, from when to when a database can be restored.</summary>
/// <remarks>
/// The window begins at the stop of the oldest whole set of this path from whose WAL on the archive has no gap, and
/// ends at the last commit time that is archived. Sets lie in the archive itself, or in the stores that their intents
/// in it name (H35). It is known from names, labels and manifests: that the contents are good is what `verify` proves.
/// A look reads a listing and the labels, so it is taken rarely: after a hundred times as long as the last one took,
/// and not more often than each <see cref="LookEvery"/>.
/// THREADS  one worker at a time; <see cref="IsDue"/> when none is at it. FAILURE  a store that does not answer leaves the
/// window as it was.
/// </remarks>
internal sealed class RecoveryWindowScan(
    IArchiveStore archive, TimelineHistory path, long payloadBytes, Func<string, IArchiveStore?> openStore,
    TimeProvider clock)
{
    public static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(5);
    private const int ShareOfTime = 100;

    private DateTimeOffset _next = DateTimeOffset.MinValue;

    /// <summary>
    /// The window as of the last look, and when a set of it was verified last; null if there is no set that can be
    /// restored.
    /// </summary>
    public (DateTimeOffset From, DateTimeOffset To, DateTimeOffset? VerifiedAt)? Window { get; private set; }

    /// <summary>It is time to look.</summary>
    public bool IsDue => archive.Lists() && clock.GetUtcNow() >= _next;

    /// <summary>Looks, until nobody asks any more.</summary>
    /// <exception cref="OperationCanceledException">The window is as it was.</exception>
    public void Look(CancellationToken over)
    {
        long began = clock.GetTimestamp();
        try
        {
            Window = Find(over);
        }
        catch (PitrException error) when (error is not BugException)
        {
            // What keeps the archive from being read is what shipping tells.
        }
        finally
        {
            TimeSpan pause = clock.GetElapsedTime(began) * ShareOfTime;
            _next = clock.GetUtcNow() + (pause > LookEvery ? pause : LookEvery);
        }
    }

    private (DateTimeOffset From, DateTimeOffset To, DateTimeOffset? VerifiedAt)? Find(CancellationToken over)
    {
        ArchiveCatalog catalog = ArchiveCatalog.Load(archive);
        BackupSet[] sets = [.. Sets(over).OrderBy(set => set.Label.StopTime)];
        foreach (BackupSet set in sets)
        {
            Lsn from = set.Label.IncludesWal ? set.Label.StopLsn : set.Label.StartLsn;
            ArchivedRange range = catalog.Along(path, from, Lsn.MaxValue, payloadBytes);
            if (range.Gaps.Count > 0 || range.End < set.Label.StopLsn)
                continue;
            DateTimeOffset to = LastCommit(range) ?? set.Label.StopTime;
            return (set.Label.StopTime, to > set.Label.StopTime ? to : set.Label.StopTime, sets.Max(SetVerification.Of));
        }
        return null;
    }

    /// <summary>Whole sets on the path.</summary>
    private IEnumerable<BackupSet> Sets(CancellationToken over)
    {
        var stores = new List<IArchiveStore> { archive };
        IEnumerable<string> places = BackupCatalog.Intents(archive).Select(intent => intent.SetStore);
        foreach (string name in places.Distinct(StringComparer.Ordinal))
        {
            if (name != archive.Name && openStore(name) is { } other)
                stores.Add(other);
        }
        return stores.SelectMany(store => SetsOf(store, over)).DistinctBy(set => set.Id).Where(set =>
            !set.Label.IsPartial && set.Label.SystemId == path.System
            && path.PathContains(set.Label.Lineage, set.Label.StopLsn));
    }

    private static IReadOnlyList<BackupSet> SetsOf(IArchiveStore store, CancellationToken over)
    {
        try
        {
            return BackupCatalog.ReadWhile(store, over).Sets;
        }
        catch (StorageFailedException)
        {
            return []; // a store of sets that is not reachable now
        }
    }

    private DateTimeOffset? LastCommit(ArchivedRange range)
    {
        var reader = new ArchiveReader(archive, path);
        for (int i = range.Sources.Count - 1; i >= 0; i--)
        {
            long ticks = reader.FetchTimes(range.Sources[i]).LastCommitTicks;
            if (ticks > SegmentTimes.Unknown && ticks <= DateTimeOffset.MaxValue.UtcTicks) // else none, or not known
                return new DateTimeOffset(ticks, TimeSpan.Zero);
        }
        return null;
    }
}
