using System.Globalization;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// START HERE for the recovery of one datafile. Decides what it is brought back from, and proves that this leads to the
/// end of the WAL, before anything is touched.
/// </summary>
/// <remarks>
/// Candidates, the first that can be proven is taken; why the others were not is told with the plan
/// <code>
///   1  what lies in its place, if every page of it is whole and its (lineage, LSN) is on the path (H14)
///   2  its copy in each backup set, the newest first, if that is on the path
///   3  nothing, if the WAL has its creation: a file that is younger than the newest set
/// </code>
/// INVARIANTS
///   QF1  Every byte of WAL between the base and the end was read and proven while planning, and the copy in the set
///        compared with the manifest.
///   QF2  The file's tables at the base are exact: those of the catalogue that were there, and those whose drop the WAL
///        has; so an id that nothing made is damage here as in any replay (H23, H43).
///   QF3  Nothing is written.
/// THREADS  one; the file may be open, offline, elsewhere.
/// </remarks>
internal sealed class FileRecoveryPlanner
{
    private readonly FileRecoveryRequest _request;
    private readonly CancellationToken _cancellation;
    private readonly CatalogueFile _file;
    private readonly TimelineHistory _history;
    private readonly FilePlace _place;
    private readonly List<string> _findings;
    private PitrException? _refusal;

    private FileRecoveryPlanner(FileRecoveryRequest request, CancellationToken cancellation)
    {
        (_request, _cancellation) = (request, cancellation);
        _file = request.Control.Catalogue.File(request.File)
            ?? throw RecoveryErrors.FileUnknown(request.File);
        if (request.Outside.Bars(Catalogue.FullPath(request.Folder, _file.Path)))
            throw request.Outside.Refusal(_file);
        _history = TimelineHistory.Of(request.Control.SystemId, request.Control.History);
        _place = FilePlace.Of(request.Environment.Files, request.Folder, _file);
        _findings = [.. request.Findings];
    }

    /// <summary>Makes the plan.</summary>
    /// <exception cref="PitrException">
    /// RefusedException DatafileNeedsRecovery: there is nothing to begin with; DatafileElsewhere, WalGap. DamageException WalDamaged,
    /// BackupDamaged.
    /// </exception>
    public static PlannedFileRecovery Plan(FileRecoveryRequest request, CancellationToken cancellation = default) =>
        new FileRecoveryPlanner(request, cancellation).Plan();

    private PlannedFileRecovery Plan()
    {
        foreach (FileBase candidate in Candidates())
        {
            try
            {
                return Prove(candidate);
            }
            catch (PitrException refused) when (IsAboutCandidate(refused))
            {
                if (candidate is FileBase.OfSet)
                    _refusal ??= refused;
                Pass(candidate, refused.Message);
            }
        }

        throw _refusal ?? RecoveryErrors.FileWithoutBase(_file.Name, _findings);
    }

    private static bool IsAboutCandidate(PitrException error) =>
        error is RefusedException or DamageException or NotFoundException;

    private void Pass(FileBase candidate, string why) => _findings.Add(candidate switch
    {
        FileBase.InPlace => $"What lies at '{_place.Path}' is not used: {why}",
        FileBase.OfSet set => $"Backup set '{set.Set.Id}' is not used: {why}",
        _ => $"The WAL alone does not make it again: {why}",
    });

    // ---- candidates ------------------------------------------------------------------------------

    private IEnumerable<FileBase> Candidates()
    {
        if (!_request.OnlyOfSet && InPlace() is { } inPlace)
            yield return inPlace;
        BackupSet[] sets = [.. Sets().OrderByDescending(set => set.Label.StopLsn)];
        foreach (BackupSet set in sets)
        {
            if (set.Label.Files.FirstOrDefault(file => file.Id == _file.Id) is { } copy
                && copy.CheckpointLsn <= _request.End && _history.PathContains(copy.Lineage, copy.CheckpointLsn))
                yield return new FileBase.OfSet(set, copy);
        }

        // A set that could have it and has not was made before it was born: WAL from there on has its creation.
        BackupSet? before = sets.FirstOrDefault(set =>
            !set.Label.MissingFiles.Contains(_file.Id) && set.Label.Files.All(file => file.Id != _file.Id)
            && _history.PathContains(set.Label.Lineage, set.Label.StopLsn) && set.Label.StopLsn <= _request.End);
        yield return new FileBase.Born(before?.Label.StartLsn ?? _history.Path[0].StartLsn);
    }

    /// <summary>What lies in its place; null, with a finding, if it is nothing to begin with.</summary>
    private FileBase.InPlace? InPlace()
    {
        IFileSystem files = _request.Environment.Files;
        if (files.Stat(_place.Path) is null)
        {
            _findings.Add($"There is nothing at '{_place.Path}'.");
            return null;
        }

        try
        {
            MetaPage meta = Datafile.Inspect(files, _place.Path);
            ControlFileCase.Row row = ControlFileCase.Decide(FileFacts.OfListed(
                _file, _request.Control.SystemId, meta, isThere: true, _history, _request.End));
            bool isCopyOfOurs = row.Label is "C3" or "C4" or "C5" && meta.CheckpointLsn <= _request.End;
            if (row.Verdict != FileVerdict.Use && !isCopyOfOurs)
            {
                _findings.Add($"What lies at '{_place.Path}' is not used: {row.Why} (case {row.Label}).");
                return null;
            }

            DatafileReport report = DatafileCheck.Run(_request.Environment, _place.Path, _cancellation);
            if (!report.IsSound)
            {
                _findings.Add($"What lies at '{_place.Path}' is not used: {report.Problems[0]}");
                return null;
            }

            bool isKnown = row.Verdict == FileVerdict.Use;
            return new FileBase.InPlace(
                meta, isKnown, isKnown ? Lsn.Max(meta.CheckpointLsn, _file.CleanUpTo) : meta.CheckpointLsn);
        }
        catch (PitrException error) when (error is DamageException or RefusedException or StorageFailedException)
        {
            _findings.Add($"What lies at '{_place.Path}' is not used: {error.Message}");
            return null;
        }
    }

    private IEnumerable<BackupSet> Sets()
    {
        foreach (IArchiveStore store in _request.SetStores)
        {
            BackupCatalog catalog = BackupCatalog.Read(store);
            foreach (VoidSet other in catalog.Others)
            {
                _findings.Add($"Backup set '{other.BackupId}' is not used: {other.Why}");
                _refusal ??= other.Damage;
            }

            foreach (BackupSet set in catalog.Sets)
            {
                if (set.Label.SystemId != _request.Control.SystemId)
                    throw RecoveryErrors.ForeignSystem(
                        $"Backup set '{set.Id}'", _request.Control.SystemId, set.Label.SystemId);
                yield return set;
            }
        }
    }

    // ---- proof -----------------------------------------------------------------------------------

    private PlannedFileRecovery Prove(FileBase candidate)
    {
        BackupSet? set = (candidate as FileBase.OfSet)?.Set;
        WalSources sources = FileWal.SourcesOf(_request, set);
        WalCoverage coverage = candidate.From < _request.End
            ? FileWal.Covering(sources, _history, candidate.From, _request.End)
            : new WalCoverage([], candidate.From, candidate.From, null);
        var read = new WalOfFile(_file.Id);
        if (candidate.From < _request.End)
        {
            using PathReader reader = WalSources.Open(_history, coverage, candidate.From);
            while (read.Through < _request.End && reader.MoveNext())
            {
                _cancellation.ThrowIfCancellationRequested();
                read.Take(reader.Current);
            }

            if (read.Through != _request.End)
                throw reader.End is { IsWhole: false } broken
                    ? broken.ToException()
                    : RecoveryErrors.CutMissed(_request.End, read.Through, reader.End?.Why ?? "a record lies across it");
        }

        if (candidate is FileBase.Born && !read.HasCreation)
            throw RecoveryErrors.NotBornInWal(_file.Name, candidate.From);
        if (candidate is FileBase.OfSet of)
            of.Set.VerifyFile(of.File, _cancellation);
        TableId[] tables = candidate is FileBase.Born
            ? []
            : read.TablesAt(candidate.From, _request.Control.Catalogue);
        return new PlannedFileRecovery(
            PlanOf(candidate, coverage, sources, read).Estimated(), _request, _file, candidate, _place, tables,
            read.HasCreation);
    }

    private RecoveryPlan PlanOf(FileBase from, WalCoverage coverage, WalSources sources, WalOfFile read)
    {
        var of = from as FileBase.OfSet;
        ControlFile control = _request.Control;
        return new RecoveryPlan
        {
            RecoveryId = string.Create(CultureInfo.InvariantCulture, $"{_request.Random():x16}{_request.Random():x16}"),
            BackupId = of?.Set.Id,
            BaseIds = of?.Set.Base is null ? null : [.. of.Set.Bases.Select(older => older.Id)],
            Datafile = _file.Name,
            SystemId = control.SystemId,
            Target = RecoveryTarget.Latest,
            StartLsn = from.From,
            SetStopLsn = of?.Set.Label.StopLsn ?? from.From,
            StopsAt = read.Last ?? new PlannedRecord(_request.End, control.LastCommitTime ?? default, default),
            LastTransaction = read.LastTransaction,
            Timeline = control.Timeline,
            Path = RecoveryPlanner.PathOf(_history),
            Files = of is null
                ? []
                : [new PlannedFile(
                    _file.Id, _file.Name, of.File.ObjectName, _place.Path, of.File.LengthBytes, of.File.CheckpointLsn)],
            KeptFiles = from is FileBase.InPlace there
                ? [new KeptFile(_file.Name, _place.Path, there.Meta.CheckpointLsn)]
                : [],
            MadeByReplay = from is FileBase.Born ? [_file.Name] : [],
            MadePaths = from is FileBase.Born ? [_place.Path] : [],
            Places = [.. _request.Archives.Concat(_request.SetStores).Select(store => store.Name).Distinct()],
            Wal = [.. coverage.Stretches.Select(stretch => new PlannedWal(
                stretch.Source, stretch.Timeline, stretch.Number, stretch.From, stretch.To, stretch.IsParts))],
            WalSegmentBytes = control.WalSegmentBytes,
            Records = read.Records,
            BeginsTimeline = false,
            Findings = [.. _findings, .. sources.Findings, .. InTheWay(from)],
        };
    }

    /// <summary>What lies in the place of a file that comes from elsewhere.</summary>
    private string[] InTheWay(FileBase from)
    {
        if (from is FileBase.InPlace || _request.Environment.Files.Stat(_place.Path) is null)
            return [];
        return RecoveredFile.IsOurs(_request.Environment.Files, _place.Path, _request.Control.SystemId, _file.Id)
            ? [$"What lies at '{_place.Path}' is replaced."]
            : [$"What lies at '{_place.Path}' is not known to be this datafile: it is kept beside it, with the ending "
                + $"'{RecoveredFile.AsideSuffix}'."];
    }

    /// <summary>What the WAL between base and end says of one file.</summary>
    private sealed class WalOfFile(FileId file)
    {
        private readonly HashSet<TableId> _created = [];
        private readonly HashSet<TableId> _dropped = [];

        public Lsn Through { get; private set; }

        public long Records { get; private set; }

        public PlannedRecord? Last { get; private set; }

        public PlannedRecord? LastTransaction { get; private set; }

        public bool HasCreation { get; private set; }

        public void Take(WalRecord record)
        {
            Through = record.Lsn;
            Records++;
            Last = new PlannedRecord(
                record.Lsn, new DateTimeOffset(record.CommitTimeTicks, TimeSpan.Zero), record.TransactionId);
            switch (record.Kind)
            {
                case WalRecordKind.Transaction:
                    LastTransaction = Last;
                    break;
                case WalRecordKind.CreateDatafile:
                    HasCreation |= ((WalEvent.CreateDatafile)record.Event!).FileId == file;
                    break;
                case WalRecordKind.CreateTable when record.Event is WalEvent.CreateTable made && made.FileId == file:
                    _created.Add(made.TableId);
                    break;
                case WalRecordKind.DropTable when record.Event is WalEvent.DropTable gone && gone.FileId == file:
                    _dropped.Add(gone.TableId);
                    break;
                default:
                    break;
            }
        }

        /// <summary>QF2.</summary>
        public TableId[] TablesAt(Lsn from, Catalogue now) =>
        [
            .. now.Tables.Where(table => table.FileId == file && table.CreatedLsn <= from).Select(table => table.Id)
                .Union(_dropped.Except(_created)),
        ];
    }
}
