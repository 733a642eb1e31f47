using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>One finding of a check.</summary>
/// <param name="Object">The file or segment.</param>
/// <param name="What">One sentence.</param>
/// <param name="IsDamage">Bytes are not what was written; else it only needs to be known.</param>
internal sealed record CheckFinding(string Object, string What, bool IsDamage);

/// <summary>What a check of a database that is not running found.</summary>
/// <param name="Findings">Everything; empty if all is well.</param>
/// <param name="Datafiles">Datafiles that were read.</param>
/// <param name="Pages">Pages that roots reach, all of them read.</param>
/// <param name="Records">WAL records from the redo point to the end, read and proven.</param>
/// <param name="EndOfWal">Where the WAL ends.</param>
internal sealed record DatabaseReport(
    IReadOnlyList<CheckFinding> Findings, int Datafiles, long Pages, long Records, Lsn EndOfWal)
{
    public bool IsDamaged => Findings.Any(finding => finding.IsDamage);
}

/// <summary>
/// Reads a database that is not running, all of it: control file, WAL from the redo point, and each datafile's meta
/// page, tree, free pages, and how it fits the control file (<see cref="ControlFileCase"/>). Tells what lies there and
/// belongs to nothing. Changes nothing.
/// </summary>
/// <remarks>Every finding is told, not only the first. The caller holds the database's lock. THREADS  one.</remarks>
internal static class DatabaseCheck
{
    /// <summary>Checks everything.</summary>
    /// <exception cref="DamageException">ControlFileDamaged: without it nothing else can be said.</exception>
    /// <exception cref="NotFoundException">NotADatabase.</exception>
    public static DatabaseReport Run(
        string folder, DatafileEnvironment environment, ThisProcess process, CancellationToken cancellation)
    {
        IFileSystem disk = environment.Files;
        ControlFile control = new ControlFileStore(disk, folder).ReadLive();
        OutsideFiles outside = OutsideFiles.Of(disk, folder, control.Place, process);
        var findings = new List<CheckFinding>();
        TimelineHistory path = TimelineHistory.Of(control.SystemId, control.History);
        var made = new HashSet<string>(StringComparer.Ordinal);
        (long records, Lsn end) = CheckWal(folder, disk, control, path, findings, made, cancellation);
        long pages = 0;
        int datafiles = 0;
        foreach (CatalogueFile file in control.Catalogue.Files)
        {
            string at = Catalogue.FullPath(folder, file.Path);
            if (outside.Bars(at))
            {
                findings.Add(new CheckFinding(at, $"It is not read. {outside.Refusal(file).Message}", IsDamage: false));
                continue;
            }

            MetaPage? meta = null;
            try
            {
                if (disk.Stat(at) is not null)
                {
                    DatafileReport report = DatafileCheck.Run(environment, at, cancellation);
                    meta = report.Meta;
                    datafiles++;
                    pages += report.Tree.Leaves + report.Tree.Branches + report.Tree.OverflowPages;
                    findings.AddRange(report.Problems.Select(problem => new CheckFinding(at, problem, IsDamage: true)));
                }
            }
            catch (DamageException damage)
            {
                findings.Add(new CheckFinding(at, damage.Message, IsDamage: true));
                continue;
            }
            ControlFileCase.Row row = ControlFileCase.Decide(
                FileFacts.OfListed(
                    control.Expected(file, meta?.Incarnation), control.SystemId, meta, disk.Stat(at) is not null, path, end));
            if (row.Verdict != FileVerdict.Use)
                findings.Add(
                    new CheckFinding(at, $"Datafile '{file.Name}': {row.Why} (case {row.Label}).", IsDamage: true));
        }
        // A file whose creation was logged after the control file was written is listed by the next opening.
        foreach (StrayFile stray in StrayFile.Find(disk, folder, control.Catalogue, control.SystemId))
        {
            if (made.Contains(stray.Path))
                continue;
            string next = stray.IsToBeRemoved && !outside.Bars(stray.Path) ? "The next opening removes it." : "It is left as it is.";
            findings.Add(new CheckFinding(
                stray.Path, $"It belongs to no datafile: {stray.Row.Why} (case {stray.Row.Label}). {next}",
                IsDamage: false));
        }
        return new DatabaseReport(findings, datafiles, pages, records, end);
    }

    private static (long Records, Lsn End) CheckWal(
        string folder, IFileSystem disk, ControlFile control, TimelineHistory path, List<CheckFinding> findings,
        HashSet<string> made, CancellationToken cancellation)
    {
        string walFolder = Path.Combine(folder, "wal");
        var identity = new WalIdentity(control.SystemId, control.Timeline, control.Lineage);
        var wal = new WalFolder(disk, walFolder, (int)control.WalSegmentBytes, identity);
        long records = 0;
        Lsn from = control.RedoLsn;
        for (int n = 0; n < path.Path.Count; n++)
        {
            TimelineEntry entry = path.Path[n];
            Lsn legFrom = Lsn.Max(from, entry.StartLsn);
            Lsn legTo = path.LimitOf(entry.Lineage)!.Value;
            if (legFrom >= legTo)
                continue;
            Lsn known = Lsn.Min(legTo, control.KnownEndOfWal);
            WalRange range = legFrom == entry.StartLsn
                ? WalRange.OfTimeline(entry.Lineage, legFrom, known)
                : WalRange.FromKnown(entry.Lineage, legFrom, known);
            var bytes = new FolderWalBytes(wal, identity with { Timeline = entry.Timeline, Lineage = entry.Lineage });
            using var reader = new WalReader(bytes, legTo < Lsn.MaxValue ? range.UpTo(legTo) : range);
            while (reader.MoveNext())
            {
                cancellation.ThrowIfCancellationRequested();
                records++;
                if (reader.Current.Kind == WalRecordKind.CreateDatafile)
                    made.Add(Catalogue.FullPath(folder, ((WalEvent.CreateDatafile)reader.Current.Event!).Path));
            }
            from = reader.Next;
            WalEnd end = reader.End!;
            if (!end.IsWhole)
            {
                findings.Add(new CheckFinding(end.Path, end.ToException().Message, IsDamage: true));
                return (records, from);
            }
        }
        if (from < control.KnownEndOfWal)
        {
            findings.Add(new CheckFinding(
                walFolder, $"The WAL ends at {from}, but the control file knows it up to {control.KnownEndOfWal}.",
                IsDamage: true));
        }
        return (records, from);
    }
}
