using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>Compares what archive stores have of a database's WAL with what the database expects of them.</summary>
/// <remarks>
/// OF EACH STORE
///   1. it is the archive of this database, and knows its timeline by the same history
///   2. every WAL object of its path is read: identity, lineage, range and SHA-256 are what was written
///   3. from the first of them on nothing is missing, up to what this engine has shipped and read back; but for what an
///      expire has removed between the WAL of a set that it kept and what the window needs (ExpiredNote)
///   4. what was given up by choice is told as the gap that it is
/// Everything is read, however much that is: what was only listed is not known to be good. Of a store that lists nothing
/// the whole segments are read by their names, from the last that is there back to the first that is not.
/// THREADS  one worker; the stores may be shipped to meanwhile. Parts that go because their whole has come are no gap.
/// </remarks>
internal static class ArchiveCheck
{
    /// <exception cref="PitrException">The worst that was found in any of the stores.</exception>
    public static IReadOnlyList<StoreCheck> Run(
        IReadOnlyList<(IArchiveStore Store, ShipProgress Progress)> stores, TimelineHistory path, WalGeometry geometry,
        Lsn durable, CancellationToken cancellation)
    {
        var checks = new List<StoreCheck>();
        var problems = new List<PitrException>();
        foreach ((IArchiveStore store, ShipProgress progress) in stores)
        {
            try
            {
                checks.Add(new Reading(store, path, geometry, durable, problems, cancellation).Check(progress));
            }
            catch (PitrException failed) when (failed is not BugException)
            {
                problems.Add(failed);
            }
        }
        return problems.MaxBy(problem => problem.ExitCode) is { } worst ? throw worst : checks;
    }

    /// <summary>One store.</summary>
    private sealed class Reading(
        IArchiveStore store, TimelineHistory path, WalGeometry geometry, Lsn durable, List<PitrException> problems,
        CancellationToken cancellation)
    {
        private int _segments;
        private int _parts;
        private long _bytes;

        public StoreCheck Check(ShipProgress progress)
        {
            ArchiveIdentity.Check(store, path.System);
            if (!store.Lists())
                return CheckByName(progress);
            ArchiveCatalog catalog = ArchiveCatalog.Load(store);
            problems.AddRange(catalog.Damaged);
            TimelineEntry last = path.Last;
            TimelineHistory? history = catalog.History(last.Timeline);
            if (history is not null && !path.IsSameBranch(history))
                throw ArchiveErrors.TimelineTaken(store.Name, last.Timeline, last.Lineage, history.Last.Lineage);
            bool isClaimed = progress.Next > 0;
            if (history is null && isClaimed && catalog.Damaged.Count == 0)
                problems.Add(ArchiveErrors.ObjectUnknown(store.Name, ObjectName.History(last.Timeline)));

            Lsn expected = isClaimed ? progress.LackedFrom : Lsn.Zero;
            Lsn from = FirstOf(catalog) ?? expected;
            expected = Lsn.Max(expected, from);
            ArchivedRange range = catalog.Along(path, from, expected, geometry.PayloadBytes);
            Lsn begin = from;
            var gaps = new List<ArchiveGap>();
            foreach (ArchiveGap hole in range.Gaps)
            {
                ArchiveGap[] lost = [.. ExpiredNote.Without(hole, ExpiredNote.Of(store, hole.Timeline))];
                gaps.AddRange(lost);
                if (lost.Length == 0 && gaps.Count == 0)
                    begin = hole.To; // what is there before is that of pinned sets
            }
            foreach (ArchiveGap gap in gaps)
            {
                bool isNoted = progress.Dropped.Any(
                    known => known.Timeline == gap.Timeline && known.From <= gap.From && gap.To <= known.To);
                problems.Add(ArchiveErrors.Gap(store.Name, gap.Timeline, gap.From, gap.To, isNoted));
            }
            foreach (TimelineEntry entry in path.Path)
                Read(catalog, entry.Timeline);
            return new StoreCheck(
                store.Name, begin, gaps.Count > 0 ? gaps[0].From : expected, _segments, _parts, _bytes);
        }

        private StoreCheck CheckByName(ShipProgress progress)
        {
            TimelineEntry last = path.Last;
            string claimed = ObjectName.History(last.Timeline);
            if (store.TryGet(claimed) is { } history)
            {
                TimelineHistory there = TimelineHistory.Decode(store.Name, claimed, history.Span);
                if (!path.IsSameBranch(there))
                    throw ArchiveErrors.TimelineTaken(store.Name, last.Timeline, last.Lineage, there.Last.Lineage);
            }
            else if (progress.Next > 0)
            {
                problems.Add(ArchiveErrors.ObjectUnknown(store.Name, claimed));
            }

            (Lsn Begin, Lsn End)? found = null;
            for (ulong number = geometry.NumberOf(durable); geometry.StartOf(number) > path.Path[0].StartLsn; number--)
            {
                cancellation.ThrowIfCancellationRequested();
                Lsn start = geometry.StartOf(number - 1);
                string name = ObjectName.Segment(path.OwnerOf(start).Timeline, number - 1);
                if (store.TryGet(name) is { } bytes)
                {
                    Read(name, bytes, isPart: false);
                    found = (Lsn.Max(start, path.Path[0].StartLsn), found?.End ?? geometry.StartOf(number));
                }
                else if (found is not null)
                {
                    break;
                }
            }
            if (progress.Next > 0 && found is { } range && range.End < progress.LackedFrom)
                problems.Add(ArchiveErrors.Gap(store.Name, last.Timeline, range.End, progress.LackedFrom, isNoted: false));
            (Lsn begin, Lsn end) = found ?? (progress.LackedFrom, progress.LackedFrom);
            return new StoreCheck(store.Name, begin, end, _segments, _parts, _bytes);
        }

        /// <summary>Where WAL of the path begins in the store; null if there is none.</summary>
        private Lsn? FirstOf(ArchiveCatalog catalog)
        {
            foreach (TimelineEntry entry in path.Path)
            {
                Lsn? whole = catalog.Wholes(entry.Timeline) is { Count: > 0 } numbers
                    ? Lsn.Max(entry.StartLsn, geometry.StartOf(numbers.First()))
                    : null;
                Lsn? part = store.List(ObjectName.TimelinePrefix(entry.Timeline))
                    .Select(static name => ObjectName.TryParsePart(name, out _, out _, out Lsn from, out _) ? from : (Lsn?)null)
                    .Min();
                if (whole is { } first)
                    return part < first ? part.Value : first;
                if (part is { } only)
                    return only;
            }
            return null;
        }

        private void Read(ArchiveCatalog catalog, TimelineId timeline)
        {
            foreach (string name in store.List(ObjectName.TimelinePrefix(timeline)))
            {
                cancellation.ThrowIfCancellationRequested();
                bool isPart = ObjectName.TryParsePart(name, out _, out _, out _, out _);
                if (!isPart && !ObjectName.TryParseSegment(name, out _, out _))
                    continue;
                if (store.TryGet(name) is not { } bytes)
                {
                    if (!isPart || !IsCovered(name))
                        problems.Add(ArchiveErrors.ObjectUnknown(store.Name, name));
                    continue;
                }
                Read(name, bytes, isPart);
            }
        }

        private void Read(string name, ReadOnlyMemory<byte> bytes, bool isPart)
        {
            try
            {
                ArchivedSegment segment = ArchivedSegment.Decode(store.Name, name, bytes.Span);
                ArchiveReader.RequireOnPath(store.Name, path, name, segment);
                _ = isPart ? _parts++ : _segments++;
                _bytes += segment.To - segment.From;
            }
            catch (DamageException damage)
            {
                problems.Add(damage);
            }
        }

        /// <summary>True if a part that was listed is gone because its whole, or a longer part, has come meanwhile.</summary>
        private bool IsCovered(string part)
        {
            if (!ObjectName.TryParsePart(part, out TimelineId timeline, out ulong number, out Lsn from, out Lsn to))
                return false;
            ArchiveCatalog now = ArchiveCatalog.Load(store);
            return now.HasWhole(timeline, number)
                || now.Parts(timeline, number).Any(longer => longer.From <= from && to <= longer.To);
        }
    }
}
