using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// START HERE for a recovery in place. Decides from which set the control file comes, what each datafile is brought up
/// from, and proves the WAL from there to the target, before anything is touched.
/// </summary>
/// <remarks>
/// <code>
///   set, path, cut, WAL       as for a restore (RecoveryPlanner), with the database's own WAL as one more place
///   the catalogue             the set's at C, and every create and drop that the WAL logs up to the cut (H29, H43)
///   each datafile in it       1  a file of the folder that says it is this one, whole, on the path, and not above the cut
///                             2  its copy in the set
///                             3  nothing, if the WAL has its creation
/// </code>
/// The rows of docs/reference/mixed-cases.md are decided here, by <see cref="DatafileSearch"/> and by the catalogue.
/// INVARIANTS
///   IP1  Every byte of WAL between the least LSN of any file and the cut was read and proven.
///   IP2  No file above the cut takes part (H34); without a target there is none, or the WAL is shorter than it was, which
///        is refused (H7).
///   IP3  A path on which WAL of this folder does not lie is taken only if it is named: what was committed there is not
///        left out silently (H28).
///   IP4  Nothing is written.
/// THREADS  one; the database's lock is held.
/// </remarks>
internal sealed class InPlacePlanner
{
    private readonly InPlaceRequest _request;
    private readonly CancellationToken _cancellation;
    private readonly List<string> _findings;

    private InPlacePlanner(InPlaceRequest request, CancellationToken cancellation)
    {
        (_request, _cancellation) = (request, cancellation);
        _findings = [.. request.Findings, .. request.Local.Findings];
    }

    /// <summary>Makes the plan.</summary>
    /// <exception cref="PitrException">Those of a <see cref="RecoveryPlanner"/>; RefusedException ForeignSystem, WalTooShort,
    /// DatafileNeedsRecovery: a datafile has nothing to begin with.</exception>
    public static PlannedInPlace Plan(InPlaceRequest request, CancellationToken cancellation = default) =>
        new InPlacePlanner(request, cancellation).Plan();

    private bool IsToTheEnd => _request.Target.Kind == RecoveryTarget.Form.Latest;

    private PlannedInPlace Plan()
    {
        IFileSystem disk = _request.Environment.Files;
        TimelineHistory? own = _request.Current is { } current
            ? TimelineHistory.Of(current.SystemId, current.History)
            : null;
        PlannedRecovery planned = RecoveryPlanner.Plan(
            new PlanRequest
            {
                Target = _request.Target,
                SetStore = _request.SetStore,
                Archives = _request.Archives,
                BackupId = _request.BackupId,
                Timeline = _request.Timeline,
                Map = _request.Moved,
                Local = new SurveyedWalSource(disk, _request.Local),
                LocalHistory = own,
                VerifiesFiles = false,
                Random = _request.Random,
            },
            _cancellation);
        RequireOwnWal(planned);
        Lsn cut = planned.Plan.StopsAt.Lsn;
        ControlFile source = ControlFileStore.Decode(BackupSet.ControlName, planned.Set.Read(BackupSet.ControlName));
        Catalogue catalogue = LoggedCatalogue.At(source.Catalogue, planned.Events, cut);
        var search = new DatafileSearch(
            disk, _request.Folder, _request.Outside, planned.History, cut, _request.Moved);
        InPlaceFile[] files = [.. catalogue.Files.Select(file => PlanFile(search, planned, file, cut))];
        _findings.AddRange(search.Findings);
        RequireRoom(files);
        foreach (InPlaceFile file in files)
            catalogue = catalogue.WithFile(file.File);
        RecoveryPlan plan = PlanOf(planned, files);
        ControlFile inRecovery = InRecovery(source, planned, plan, WithoutDropsOutside(catalogue), _request.Pause);
        return new PlannedInPlace(plan, _request, planned.Set, inRecovery, files);
    }

    // ---- the WAL in the folder -----------------------------------------------------------------------

    private void RequireOwnWal(PlannedRecovery planned)
    {
        WalSurvey local = _request.Local;
        if (local.System is { } system && system != planned.History.System)
            throw RecoveryErrors.ForeignSystem($"The WAL in '{local.Folder}'", planned.History.System, system);
        foreach (WalRun run in local.LastRuns)
        {
            if (_request.Timeline is null
                && planned.History.Path.All(entry => entry.Lineage != run.Identity.Lineage)
                && (_request.Current is not { } current || run.Identity.Timeline.Value > current.Timeline.Value))
                throw RecoveryErrors.OtherBranchInFolder(
                    local.Folder, run.Identity.Timeline, planned.History.Last.Timeline); // IP3
        }

        _findings.AddRange(WalBehind.Of(local, planned.History, planned.Plan.StopsAt.Lsn, _request.Archives));
    }

    // ---- datafiles -----------------------------------------------------------------------------------

    private InPlaceFile PlanFile(DatafileSearch search, PlannedRecovery planned, CatalogueFile file, Lsn cut)
    {
        FoundDatafile? best = null;
        var why = new List<string>();
        foreach (FoundDatafile found in search.Of(file, PlacesOf(planned, file)))
        {
            if (WhyNot(planned, file, found, cut) is { } not)
                why.Add($"What lies at '{found.Name}' is not used for datafile '{file.Name}': {not}.");
            else if (best is null || found.Meta!.CheckpointLsn > best.Meta!.CheckpointLsn)
                best = found;
        }

        _findings.AddRange(why);
        if (best is not null)
            return Kept(file, best);
        string place = NewPlaceOf(file);
        CatalogueFile moved = file with { Path = Catalogue.StoredPath(_request.Folder, place) };
        if (planned.Set.Label.Files.FirstOrDefault(copy => copy.Id == file.Id) is { } labelled)
        {
            if (_request.VerifiesFiles)
                planned.Set.VerifyFile(labelled, _cancellation);
            return new InPlaceFile(moved, new FileBase.OfSet(planned.Set, labelled), place);
        }

        return planned.Events.FirstOrDefault(logged =>
                logged.Event is WalEvent.CreateDatafile born && born.FileId == file.Id) is { } birth
            ? new InPlaceFile(moved, new FileBase.Born(birth.Lsn), place)
            : throw RecoveryErrors.FileWithoutBase(file.Name, [.. why, $"Backup set '{planned.Set.Id}' lacks it."]);
    }

    private InPlaceFile Kept(CatalogueFile file, FoundDatafile found)
    {
        MetaPage meta = found.Meta!;
        CatalogueFile kept = file with
        {
            Path = Catalogue.StoredPath(_request.Folder, found.Name),
            Incarnation = meta.Incarnation,
            Generation = meta.Generation,
            CheckpointLsn = meta.CheckpointLsn,
            CleanUpTo = meta.CheckpointLsn,
            NeedsRecovery = null,
        };
        return new InPlaceFile(
            kept, new FileBase.InPlace(meta, found.IsKnown, meta.CheckpointLsn), found.Name);
    }

    /// <summary>Where it may lie: as its own control file says, as the catalogue does, and where moves went.</summary>
    private IEnumerable<string> PlacesOf(PlannedRecovery planned, CatalogueFile file)
    {
        if (_request.Current?.Catalogue.File(file.Id) is { } now)
            yield return now.Path;
        yield return file.Path;
        IEnumerable<LoggedEvent> events = planned.Events.Concat(_request.Local.Runs
            .Where(run => planned.History.Path.Any(entry => entry.Lineage == run.Identity.Lineage))
            .SelectMany(run => run.Events));
        foreach (string place in LoggedCatalogue.PlacesOf(file.Id, events))
            yield return place;
        if (planned.Set.Label.Files.FirstOrDefault(copy => copy.Id == file.Id)?.OutsidePath is { } outside)
            yield return outside;
    }

    /// <summary>Why a file that was found is nothing to begin with; null if it is.</summary>
    private string? WhyNot(PlannedRecovery planned, CatalogueFile file, FoundDatafile found, Lsn cut)
    {
        if (!found.IsKnown && !found.IsCopyOfOurs && found.Row.Label != "C7")
            return $"{found.Row.Why} (case {found.Row.Label})";
        MetaPage meta = found.Meta!;
        if (meta.CheckpointLsn > cut)
        {
            return IsToTheEnd
                ? throw RecoveryErrors.FileAheadOfWal(file.Name, found.Name, meta.CheckpointLsn, cut)
                : $"it has every change up to {meta.CheckpointLsn}, which is beyond the target";
        }

        if (meta.CheckpointLsn < planned.Plan.StartLsn)
            return $"it is of {meta.CheckpointLsn}, older than the backup set";
        try
        {
            DatafileReport report = DatafileCheck.Run(_request.Environment, found.Name, _cancellation);
            return report.IsSound ? null : report.Problems[0].TrimEnd('.');
        }
        catch (DamageException damage)
        {
            return damage.Message.TrimEnd('.');
        }
    }

    /// <summary>Where a file is put that comes from elsewhere: where it lay in the folder, or is mapped to; else NAME.pitr.</summary>
    private string NewPlaceOf(CatalogueFile file)
    {
        IFileSystem disk = _request.Environment.Files;
        string path = Catalogue.FullPath(_request.Folder, file.Path);
        if (!_request.Outside.HasNameInside(path)) // what a link under that name leads to does not matter: it is replaced
            path = RestorePaths.Mapped(path, _request.Moved) ?? "";
        return path.Length > 0 && disk.Stat(DurableReplace.FolderOf(path)) is { IsFolder: true }
            ? path
            : Path.Combine(_request.Folder, $"{file.Name}.pitr");
    }

    /// <summary>No file is put where another one lies that is kept.</summary>
    private static void RequireRoom(InPlaceFile[] files)
    {
        if (files.GroupBy(file => file.Path, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw RecoveryErrors.TargetFileExists(twice.Key);
    }

    // ---- the plan ------------------------------------------------------------------------------------

    private RecoveryPlan PlanOf(PlannedRecovery planned, InPlaceFile[] files)
    {
        Lsn start = files.Select(file => file.Base.From).Append(planned.Plan.StopsAt.Lsn).Min();
        return (planned.Plan with
        {
            IsInPlace = true,
            StartLsn = start,
            Files =
            [
                .. files.Where(file => file.Base is FileBase.OfSet).Select(file => new PlannedFile(
                    file.File.Id, file.File.Name, ((FileBase.OfSet)file.Base).File.ObjectName, file.File.Path,
                    ((FileBase.OfSet)file.Base).File.LengthBytes, file.Base.From)),
            ],
            KeptFiles =
            [
                .. files.Where(file => file.Base is FileBase.InPlace).Select(file => new KeptFile(
                    file.File.Name, file.Path, file.Base.From)),
            ],
            MadeByReplay = [.. files.Where(file => file.Base is FileBase.Born).Select(file => file.File.Name)],
            MadePaths = [.. files.Where(file => file.Base is FileBase.Born).Select(file => file.File.Path)],
            Wal = [.. planned.Plan.Wal.Where(wal => wal.ToLsn > start)],
            BeginsTimeline = true,
            Findings = [.. planned.Plan.Findings, .. _findings, .. InTheWay(files), .. LeftByMoves(files)],
        }).Estimated();
    }

    private IEnumerable<string> InTheWay(InPlaceFile[] files) => files
        .Where(file => file.Base is not FileBase.InPlace
            && _request.Environment.Files.Stat(file.Path) is { IsSymlink: false })
        .Select(file => file.Path)
        .Concat(ControlFilesThatAreThere())
        .Select(path => $"What lies at '{path}' is kept beside it, with the ending '{RecoveredFile.AsideSuffix}'.");

    /// <summary>Its own, whatever it says.</summary>
    private IEnumerable<string> ControlFilesThatAreThere()
    {
        var store = new ControlFileStore(_request.Environment.Files, _request.Folder);
        return store.Exists ? [store.FilePath] : [];
    }

    /// <summary>
    /// What moves and compactions that were cut off have left. Nothing notes them from here on and none of it is removed:
    /// by now it may be the only file that has what was committed behind the target.
    /// </summary>
    private IEnumerable<string> LeftByMoves(InPlaceFile[] files)
    {
        IFileSystem disk = _request.Environment.Files;
        HashSet<string> used = [.. files.SelectMany(file => file.Base is FileBase.InPlace
            ? (string[])[file.Path, LinkedName.Resolve(disk, file.Path)]
            : [file.Path])];
        foreach (PlannedMove move in _request.Current?.Moves ?? [])
        {
            string name = _request.Current!.Catalogue.File(move.FileId)?.Name ?? move.FileId.ToString();
            string what = move.Incarnation is null ? $"moving datafile '{name}'" : $"compacting datafile '{name}'";
            foreach (string path in MoveSettlement.NamesOf(move).Select(stored => Catalogue.FullPath(_request.Folder, stored)))
            {
                if (!used.Contains(path) && disk.Stat(path) is not null)
                    yield return $"'{path}' is left over from {what}, which was cut off; it is neither used nor removed. "
                        + "When all is well look at it, and remove it unless it is another database's.";
            }
        }
    }

    /// <summary>
    /// Where a dropped datafile lay outside, its source's may lie: nothing is removed there, but where the mapping says that
    /// it is this database's (H30).
    /// </summary>
    private Catalogue WithoutDropsOutside(Catalogue catalogue) => catalogue with
    {
        DroppedFiles =
        [
            .. catalogue.DroppedFiles.Select(drop => drop.Path is { } path && IsOthers(path) ? drop with { Path = null } : drop),
        ],
    };

    private bool IsOthers(string storedPath)
    {
        string bytes = LinkedName.Resolve(
            _request.Environment.Files, Catalogue.FullPath(_request.Folder, storedPath));
        return !_request.Outside.IsInside(bytes) && RestorePaths.Mapped(bytes, _request.Moved) != bytes;
    }

    private ControlFile InRecovery(
        ControlFile source, PlannedRecovery planned, RecoveryPlan plan, Catalogue catalogue, bool isPaused) => source with
        {
            Kind = ControlFileKind.Live,
            BackupId = null,
            State = EngineState.Running,
            Place = _request.Outside.Here, // nothing that it lists lies outside but what was said to be its own
            Timeline = planned.History.Last.Timeline,
            Lineage = planned.History.Last.Lineage,
            History = [.. planned.History.Path],
            RedoLsn = plan.StartLsn,
            CheckpointLsn = plan.StartLsn,
            KnownEndOfWal = plan.StartLsn,
            NextTransactionId = new TransactionId(Math.Max(
                source.NextTransactionId.Value, plan.LastTransactionId.Value + 1)),
            Catalogue = catalogue,
            Recovery = new UnfinishedRecovery(
                Guid.ParseExact(plan.RecoveryId, "N"), plan.ToJson(), plan.Target.ToString(), isPaused),
            PromotionIntent = null,
            Moves = [],
        };
}
