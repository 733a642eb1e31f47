using System.Globalization;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// Makes the plan of a recovery, or refuses with what is missing, before a byte is written.
/// </summary>
/// <remarks>
/// <code>
///  sets and histories ──▶ which branch? (H28) ──▶ which set? ──▶ read and prove all WAL from start to cut ──▶ plan
///                           BranchAmbiguous       BackupUnknown     WalGap, WalDamaged, TargetUnreachable (H34),
///                                                 BackupVoid (H29)  TimeAmbiguous (H8)
/// </code>
/// INVARIANTS
///   Q1  A plan's cut is at or above its set's stop (H34), and set, files and cut lie on its path (H14).
///   Q2  Every byte of WAL between start and cut was read and proven while planning, and every file of the set compared
///       with the manifest, unless the caller leaves that to the copying.
///   Q3  Nothing is written.
///
/// THREADS  one.
/// </remarks>
internal sealed class RecoveryPlanner
{
    private readonly PlanRequest _request;
    private readonly CancellationToken _cancellation;
    private readonly BackupCatalog _backups;
    private readonly List<(IArchiveStore Store, ArchiveCatalog Catalog)> _archives = [];
    private readonly Dictionary<(Lineage, Lsn, Lsn), bool> _hasTransactions = [];
    private readonly List<string> _findings = [];

    private RecoveryPlanner(PlanRequest request, CancellationToken cancellation)
    {
        (_request, _cancellation) = (request, cancellation);
        _backups = BackupCatalog.Read(request.SetStore);
        foreach (IArchiveStore store in request.Archives)
            _archives.Add((store, ArchiveCatalog.Load(store)));
    }

    /// <summary>Makes the plan.</summary>
    /// <exception cref="PitrException">The codes of the drawing above.</exception>
    public static PlannedRecovery Plan(PlanRequest request, CancellationToken cancellation = default) =>
        new RecoveryPlanner(request, cancellation).Plan();

    private PlannedRecovery Plan()
    {
        IReadOnlyList<BackupSet> sets = UsableSets();
        SystemIdentifier system = RequireOneSystem(sets);
        IReadOnlyList<TimelineHistory> branches = Branches(system, sets);
        IReadOnlyList<TimelineHistory> asked = AskedFor(sets, branches);
        if (asked.Count == 1)
            return PlanOn(asked[0], sets);

        // Several branches could be meant: the target must be the same record on each of them (H28).
        var plans = new List<PlannedRecovery>();
        var failures = new List<PitrException>();
        foreach (TimelineHistory branch in asked)
        {
            try
            {
                plans.Add(PlanOn(branch, sets));
            }
            catch (RefusedException refused)
            {
                failures.Add(refused);
            }
        }
        if (plans.Count == 0)
            throw failures[^1];
        bool isShared = failures.Count == 0
            && plans.All(plan => PlaceOf(plan) == PlaceOf(plans[0]));
        return isShared ? plans[^1] : throw RecoveryErrors.BranchAmbiguous(_request.Target, Describe(asked));
    }

    // ---- sets and branches -------------------------------------------------------------------------

    private BackupSet[] UsableSets()
    {
        if (_request.BackupId is { } backupId)
        {
            BackupSet set = _backups.Get(backupId);
            return set.Label.IsPartial
                ? throw RecoveryErrors.BackupVoid(backupId, "it is partial: it lacks files that lived at its stop")
                : [set];
        }
        BackupSet[] whole = [.. _backups.Sets.Where(set => !set.Label.IsPartial)];
        if (whole.Length > 0)
        {
            NotePassedOver();
            return whole;
        }
        throw _backups.Others.Select(other => other.Damage).FirstOrDefault(damage => damage is not null)
            ?? RecoveryErrors.NoBackup(_request.SetStore.Name);
    }

    /// <summary>A set that would have been nearer to the target is not left out silently.</summary>
    private void NotePassedOver()
    {
        foreach (BackupSet set in _backups.Sets.Where(set => set.Label.IsPartial))
            _findings.Add($"Backup set '{set.Id}' is not used: it is partial, and lacks files that lived at its stop.");
        foreach (VoidSet other in _backups.Others)
        {
            if (other.Damage is { } damage) // damaged, or what it builds on is lost; an unfinished one is none
                _findings.Add($"Backup set '{other.BackupId}' is not used: {damage.Message}");
        }
    }

    private SystemIdentifier RequireOneSystem(IReadOnlyList<BackupSet> sets)
    {
        SystemIdentifier system = _request.LocalHistory?.System ?? sets[^1].Label.SystemId;
        foreach (BackupSet set in sets)
        {
            if (set.Label.SystemId != system)
                throw RecoveryErrors.ForeignSystem($"Backup set '{set.Id}'", system, set.Label.SystemId);
        }
        foreach ((IArchiveStore store, ArchiveCatalog _) in _archives)
        {
            if (ArchiveIdentity.Read(store) is { } identity && identity.System != system)
                throw RecoveryErrors.ForeignSystem($"Archive '{store.Name}'", system, identity.System);
        }
        return system;
    }

    /// <summary>Every path that a history, a set or the control file tells of, and every beginning of one.</summary>
    private List<TimelineHistory> Branches(SystemIdentifier system, IReadOnlyList<BackupSet> sets)
    {
        var known = new List<TimelineHistory>();
        foreach ((IArchiveStore _, ArchiveCatalog catalog) in _archives)
        {
            if (catalog.Damaged.Count > 0)
                throw catalog.Damaged[0]; // an unreadable history may be the branch that is meant
            known.AddRange(catalog.Histories);
        }
        known.AddRange(sets.Select(set => set.Label.History()));
        if (_request.LocalHistory is { } local)
            known.Add(local);

        var branches = new Dictionary<Lineage, TimelineHistory>();
        foreach (TimelineHistory history in known)
        {
            if (history.System != system)
                throw RecoveryErrors.ForeignSystem($"Timeline {history.Last.Timeline}", system, history.System);
            for (int length = history.Path.Count; length > 0; length--)
                branches.TryAdd(
                    history.Path[length - 1].Lineage, TimelineHistory.Of(system, history.Path.Take(length)));
        }
        return [.. branches.Values.OrderBy(branch => branch.Last.Timeline.Value)];
    }

    private IReadOnlyList<TimelineHistory> AskedFor(
        IReadOnlyList<BackupSet> sets, IReadOnlyList<TimelineHistory> branches)
    {
        switch (_request.Timeline)
        {
            case "latest":
                RequireKnown(branches, above: branches[^1].Last.Timeline);
                return [branches[^1]];
            case "current":
                return [_request.LocalHistory ?? sets[^1].Label.History()];
            case { } number:
                TimelineHistory[] named = [.. branches.Where(branch =>
                    branch.Last.Timeline.ToString() == number.Trim())];
                return named.Length switch
                {
                    1 => named,
                    0 => throw BranchSurvey.Orphans(_archives, branches)
                            .Where(orphan => orphan.Timeline.ToString() == number.Trim())
                            .Select(orphan => TimelineWithoutHistory(orphan, branches)).FirstOrDefault()
                        ?? RecoveryErrors.TimelineUnknown(number, NumbersOf(branches)),
                    _ => throw RecoveryErrors.BranchAmbiguous(_request.Target, Describe(named)),
                };
            case null when _request.LocalHistory is { } local:
                return [local];
            case null:
                return Meant(sets, branches);
        }
    }

    /// <summary>
    /// The branches that could be meant when none was named. One that no set leads to is not left out for that: what was
    /// committed there would be left out silently (H28).
    /// </summary>
    private IReadOnlyList<TimelineHistory> Meant(
        IReadOnlyList<BackupSet> sets, IReadOnlyList<TimelineHistory> branches)
    {
        bool IsReachable(TimelineHistory branch) => sets.Any(set => IsOn(branch, set));

        bool isByStop = _request.Target.Kind == RecoveryTarget.Form.Immediate; // only where a set stops
        if (!isByStop)
            RequireKnown(branches, above: default);
        TimelineHistory[] open = isByStop || _request.BackupId is not null // whoever names a set means where it leads
            ? [.. branches.Where(IsReachable)]
            : [.. branches.Where(branch => IsReachable(branch) || !HasExpired(branch, branches))];
        IReadOnlyList<TimelineHistory> meant = BranchChoice.Candidates(open.Length > 0 ? open : branches, HasTransactions);
        TimelineHistory[] lost = [.. meant.Where(branch => !IsReachable(branch))];
        return lost.Length == 0 || !branches.Any(IsReachable)
            ? meant
            : throw RecoveryErrors.BranchWithoutSet(
                _request.Target, string.Join(", ", lost.Select(branch => branch.Last.Timeline)),
                Describe([.. meant.Concat(branches.Where(IsReachable)).Distinct()
                    .OrderBy(branch => branch.Last.Timeline.Value)]));
    }

    private bool HasExpired(TimelineHistory branch, IReadOnlyList<TimelineHistory> branches)
    {
        bool hasExpired = (_request.Local?.HighestEnd(branch.Last.Timeline) ?? Lsn.Zero) == Lsn.Zero
            && BranchSurvey.HasExpired(branch, branches, _archives, GeometryOf(_backups.Sets[^1]));
        if (hasExpired)
        {
            _findings.Add(
                $"Timeline {branch.Last.Timeline} is not gone by: others were forked from it, and what is its own has expired.");
        }
        return hasExpired;
    }

    /// <summary>No archive has WAL of a timeline that nothing tells of (H28).</summary>
    private void RequireKnown(IReadOnlyList<TimelineHistory> branches, TimelineId above)
    {
        if (BranchSurvey.Orphans(_archives, branches).FirstOrDefault(orphan => orphan.Timeline.Value > above.Value)
            is { Store: not null } orphan)
            throw TimelineWithoutHistory(orphan, branches);
    }

    private static RefusedException TimelineWithoutHistory(
        (IArchiveStore Store, TimelineId Timeline) orphan, IReadOnlyList<TimelineHistory> branches) =>
        RecoveryErrors.TimelineWithoutHistory(orphan.Store.Name, orphan.Timeline, NumbersOf(branches));

    private static string NumbersOf(IReadOnlyList<TimelineHistory> branches) =>
        string.Join(", ", branches.Select(branch => branch.Last.Timeline));

    private bool HasTransactions(TimelineEntry entry, Lsn from, Lsn to)
    {
        if (_hasTransactions.TryGetValue((entry.Lineage, from, to), out bool known))
            return known;
        TimelineHistory only = TimelineHistory.Of(
            _backups.Sets[^1].Label.SystemId, [entry with { Parent = null, ForkLsn = Lsn.Zero }]);
        WalSources sources = SourcesOf(_backups.Sets[^1]);
        WalCoverage coverage = sources.Along(only, from, to);
        bool found = false;
        if (coverage.Stretches.Count > 0)
        {
            using PathReader reader = WalSources.Open(only, coverage, from);
            while (!found && reader.MoveNext() && reader.Current.Lsn <= to)
            {
                _cancellation.ThrowIfCancellationRequested();
                found = reader.Current.Kind == WalRecordKind.Transaction;
            }
            // What can't be read may hold some: the branch then counts.
            found |= !found && reader.End is { IsWhole: false };
        }
        found |= coverage.Hole is not null && coverage.End < Lsn.Min(to, sources.HighestEnd(entry.Timeline));
        return _hasTransactions[(entry.Lineage, from, to)] = found;
    }

    private static string Describe(IReadOnlyList<TimelineHistory> branches) => string.Join(
        "; ", branches.Select(branch =>
        branch.Last.Parent is { } parent
            ? $"{branch.Last.Timeline}, forked from {parent} at {branch.Last.ForkLsn} on "
                + $"{UtcText.Of(branch.Last.Time)} ({branch.Last.Reason})"
            : $"{branch.Last.Timeline}, the first"));

    /// <summary>True if the set's stop and files lie on the path (H14).</summary>
    private static bool IsOn(TimelineHistory branch, BackupSet set) =>
        branch.PathContains(set.Label.Lineage, set.Label.StopLsn)
        && set.Label.Files.All(file => branch.PathContains(file.Lineage, file.CheckpointLsn));

    private static (Lineage, Lsn) PlaceOf(PlannedRecovery planned) =>
        (planned.History.OwnerOf(planned.Plan.StopsAt.Lsn + -8).Lineage, planned.Plan.StopsAt.Lsn);

    // ---- one branch --------------------------------------------------------------------------------

    private PlannedRecovery PlanOn(TimelineHistory branch, IReadOnlyList<BackupSet> sets)
    {
        BackupSet[] onPath = [.. sets.Where(set => IsOn(branch, set)).OrderByDescending(set => set.Label.StopLsn)];
        if (onPath.Length == 0)
            throw RecoveryErrors.NoSetOnPath(_request.Target, branch.Last.Timeline);
        PitrException? refusal = null;
        foreach (BackupSet set in onPath)
        {
            if (IsBeforeStop(set.Label))
                continue;
            try
            {
                Scan scan = Read(branch, set);
                if (scan.Search.Cut >= set.Label.StopLsn)
                    return Finish(branch, set, scan);
            }
            catch (RefusedException notFound) when (notFound.Code == ErrorCode.TargetUnreachable
                && _request.Target.Kind is RecoveryTarget.Form.Transaction or RecoveryTarget.Form.RestorePoint)
            {
                refusal ??= notFound; // an older set begins to read earlier
            }
        }
        BackupLabel first = onPath[^1].Label;
        throw refusal
            ?? RecoveryErrors.TargetBeforeSet(
                _request.Target, first.BackupId, first.StopLsn, UtcText.Of(first.StopTime));
    }

    /// <summary>True if the label alone says that the target lies before the set's stop (H34).</summary>
    private bool IsBeforeStop(BackupLabel label)
    {
        RecoveryTarget target = _request.Target;
        return target.Kind switch
        {
            RecoveryTarget.Form.Lsn => target.IsInclusive ? target.Lsn < label.StopLsn : target.Lsn <= label.StopLsn,
            RecoveryTarget.Form.Time =>
                target.IsInclusive ? target.Time < label.StopTime : target.Time <= label.StopTime,
            RecoveryTarget.Form.Transaction =>
                label.StopTransactionId.Value != 0 && target.TransactionId.Value <= label.StopTransactionId.Value,
            _ => false,
        };
    }

    private static WalGeometry GeometryOf(BackupSet set) => new(checked((int)set.Label.WalSegmentBytes));

    private WalSources SourcesOf(BackupSet set)
    {
        WalGeometry geometry = GeometryOf(set);
        var sources = new List<IWalSource>();
        foreach ((IArchiveStore store, ArchiveCatalog catalog) in _archives)
            sources.Add(new ArchiveWalSource(store, catalog, geometry));
        if (set.Label.IncludesWal)
        {
            IArchiveStore own = set.AsStore();
            sources.Add(new ArchiveWalSource(own, ArchiveCatalog.Load(own), geometry));
        }
        if (_request.Local is { } local)
            sources.Add(local);
        return new WalSources(sources, geometry);
    }

    private sealed class Scan(TargetSearch search, WalSources sources, WalCoverage coverage)
    {
        public TargetSearch Search { get; } = search;
        public WalSources Sources { get; } = sources;
        public WalCoverage Coverage { get; } = coverage;
        public long Records { get; set; }
        public SortedDictionary<uint, (string Name, string Path)> Made { get; } = [];
        public List<LoggedEvent> Events { get; } = [];
        public List<string> Unseen { get; } = [];

        /// <summary>Behind the cut: whether the clock had stepped back there is not known.</summary>
        public void NoteUnseen(string why) => Unseen.Add(
            $"WAL behind the cut could not be looked at, so whether the clock stepped back there is not known: {why}");
    }

    /// <summary>Reads and proves the WAL from the set's start until it is certain where the target is.</summary>
    private Scan Read(TimelineHistory branch, BackupSet set)
    {
        WalSources sources = SourcesOf(set);
        WalCoverage coverage = sources.Along(branch, set.Label.StartLsn, Lsn.MaxValue);
        var scan = new Scan(new TargetSearch(_request.Target, set.Label.StopLsn), sources, coverage);
        if (coverage.Stretches.Count == 0 && set.Label.StartLsn < set.Label.StopLsn)
            throw Gap(sources, coverage.Hole ?? HoleAt(branch, set.Label.StartLsn, set.Label.StopLsn));

        Lsn readTo = Lsn.MaxValue;
        using PathReader reader = WalSources.Open(branch, coverage, set.Label.StartLsn);
        TargetSearch search = scan.Search;
        Lsn seen = set.Label.StartLsn;
        while (seen < readTo && reader.MoveNext())
        {
            _cancellation.ThrowIfCancellationRequested();
            WalRecord record = reader.Current;
            seen = record.Lsn;
            search.Offer(Summarize(reader.Timeline.Lineage, record));
            if (search.Last?.Lsn == record.Lsn)
            {
                scan.Records++;
                NoteFiles(scan, set.Label, record);
            }
            if (search.IsFound && readTo == Lsn.MaxValue)
                readTo = ReadBehindCutTo(scan, seen);
            if (search.IsFound && !IsTime && search.NextTransaction is not null)
                break;
        }
        if (!search.IsFound)
            EndOfRecords(branch, scan, reader, seen);
        else if (IsTime && seen < readTo && reader.End is { IsWhole: false } broken)
            scan.NoteUnseen(broken.ToException().Message);
        if (search.Earlier.Count > 0)
            throw RecoveryErrors.TimeAmbiguous(_request.Target, search.Cut, string.Join(", ", search.Earlier));
        return scan;
    }

    private bool IsTime => _request.Target.Kind == RecoveryTarget.Form.Time;

    /// <summary>
    /// How far records behind the cut are looked at: for a time, to the end of the last segment in which the clock had
    /// been at or before the target (H8); else for the first transaction that is left out.
    /// </summary>
    private Lsn ReadBehindCutTo(Scan scan, Lsn cut)
    {
        Lsn to = cut + _request.LookBehindCutBytes;
        if (!IsTime)
            return to;
        foreach (WalStretch stretch in scan.Coverage.Stretches)
        {
            if (stretch.To > cut
                && (stretch.From <= cut || LeastRawClockOf(scan, stretch) <= _request.Target.Time.UtcTicks))
                to = Lsn.Max(to, stretch.To);
        }
        return to;
    }

    /// <summary>
    /// What lies behind the cut and can't be read keeps nobody from going back before it; the plan says it.
    /// </summary>
    private static long LeastRawClockOf(Scan scan, WalStretch stretch)
    {
        try
        {
            return stretch.LeastRawClock();
        }
        catch (PitrException error) when (error is DamageException or NotFoundException)
        {
            scan.NoteUnseen(error.Message);
            return long.MaxValue;
        }
    }

    /// <summary>
    /// The records ended before the target was found: that is the target, or a refusal that names what is missing.
    /// </summary>
    private void EndOfRecords(TimelineHistory branch, Scan scan, PathReader reader, Lsn seen)
    {
        WalEnd end = reader.End!;
        Lsn limit = branch.LimitOf(reader.Timeline.Lineage)!.Value;
        if (end.Reason == WalEndReason.Damage)
            throw end.ToException();
        if (scan.Coverage.Hole is { } hole)
            throw Gap(scan.Sources, hole);
        if (!end.IsWhole || (reader.Timeline != branch.Last && seen < limit))
            throw Gap(scan.Sources, HoleAt(branch, end.At, limit < Lsn.MaxValue ? limit : end.At + 8));
        scan.Search.End(seen);
        if (scan.Search.IsFound)
            return;
        string last = scan.Search.Last is { } record ? UtcText.Of(record.CommitTimeTicks) : "no time known";
        throw IsTime && scan.Search.Last?.CommitTimeTicks == _request.Target.Time.UtcTicks
            ? RecoveryErrors.TimeAtEnd(_request.Target, branch.Last.Timeline, seen, last)
            : RecoveryErrors.TargetBeyondEnd(_request.Target, branch.Last.Timeline, seen, last);
    }

    private static WalHole HoleAt(TimelineHistory branch, Lsn from, Lsn to) =>
        new(branch.OwnerOf(from).Timeline, from, to);

    private static RefusedException Gap(WalSources sources, WalHole hole) =>
        RecoveryErrors.WalGap(hole.Timeline, hole.From, hole.To, sources.Names);

    private static RecordSummary Summarize(Lineage lineage, WalRecord record) => new(
        lineage, record.StartLsn, record.Lsn, record.TransactionId, record.CommitTimeTicks, record.RawClockTicks,
        record.Kind == WalRecordKind.RestorePoint ? ((WalEvent.RestorePoint)record.Event!).Name : null);

    private void NoteFiles(Scan scan, BackupLabel label, WalRecord record)
    {
        if (record.Lsn <= label.CatalogueLsn)
            return;
        if (record.Kind is WalRecordKind.CreateDatafile or WalRecordKind.DropDatafile or WalRecordKind.CreateTable
            or WalRecordKind.DropTable or WalRecordKind.MoveDatafile)
            scan.Events.Add(new LoggedEvent(record.Event!, record.Lsn, record.CommitTime));
        if (record.Kind == WalRecordKind.CreateDatafile && record.Event is WalEvent.CreateDatafile created)
            scan.Made[created.FileId.Value] = (
                created.Name, RestorePaths.OfMade(created.Name, created.Path, _request.Map));
        else if (record.Kind == WalRecordKind.DropDatafile && record.Event is WalEvent.DropDatafile dropped)
            scan.Made.Remove(dropped.FileId.Value);
    }

    private PlannedRecovery Finish(TimelineHistory branch, BackupSet set, Scan scan)
    {
        if (_request.VerifiesFiles)
            set.VerifyAll(done: null, _cancellation);
        TargetSearch search = scan.Search;
        WalStretch[] wal = [.. scan.Coverage.Stretches.Where(stretch => stretch.From < search.Cut)];
        bool isCurrent = _request.LocalHistory is not null && _request.Target.Kind == RecoveryTarget.Form.Latest;
        var plan = new RecoveryPlan
        {
            RecoveryId = string.Create(CultureInfo.InvariantCulture, $"{_request.Random():x16}{_request.Random():x16}"),
            BackupId = set.Id,
            BaseIds = set.Base is null ? null : [.. set.Bases.Select(older => older.Id)],
            SystemId = set.Label.SystemId,
            Target = _request.Target,
            StartLsn = set.Label.StartLsn,
            SetStopLsn = set.Label.StopLsn,
            SetStopTransactionId = set.Label.StopTransactionId,
            StopsAt = Planned(search.Last!.Value),
            LastTransaction = search.LastTransaction is { } last ? Planned(last) : null,
            NextTransaction = search.NextTransaction is { } next ? Planned(next) : null,
            Timeline = branch.Last.Timeline,
            Path = PathOf(branch),
            Files = [.. set.Label.Files.Select(file => new PlannedFile(
                file.Id, file.Name, file.ObjectName, RestorePaths.Of(file, _request.Map), file.LengthBytes,
                file.CheckpointLsn))],
            Map = _request.Map,
            Places = [.. _request.Archives.Append(_request.SetStore).Select(store => store.Name).Distinct()],
            MadeByReplay = [.. scan.Made.Values.Select(made => made.Name)],
            MadePaths = [.. scan.Made.Values.Select(made => made.Path)],
            Wal = [.. wal.Select(stretch => new PlannedWal(
                stretch.Source, stretch.Timeline, stretch.Number, stretch.From,
                Lsn.Min(stretch.To, search.Cut), stretch.IsParts))],
            WalSegmentBytes = set.Label.WalSegmentBytes,
            Records = scan.Records,
            BeginsTimeline = !isCurrent,
            Findings = Findings(scan, wal),
        };
        Invariant.Require(plan.StopsAt.Lsn >= set.Label.StopLsn, "Q1", "the cut lies before the set's stop.");
        return new PlannedRecovery(plan.Estimated(), set, branch, scan.Sources, scan.Events);
    }

    private string[] Findings(Scan scan, WalStretch[] wal)
    {
        List<string> findings = [.. _findings, .. scan.Unseen, .. scan.Sources.Findings];
        foreach (WalStretch stretch in wal.Where(stretch => stretch.IsParts))
        {
            findings.Add(
                $"Parts in {stretch.Source} stand in for segment {stretch.Number:X} of timeline {stretch.Timeline}, "
                + $"{stretch.From} to {stretch.To}: the whole segment is not there.");
        }
        if (scan.Coverage.Hole is { } hole)
            findings.Add(
                $"Behind the target, the WAL of timeline {hole.Timeline} from {hole.From} to {hole.To} is missing.");
        return [.. findings];
    }

    private static PlannedRecord Planned(RecordSummary record) =>
        new(record.Lsn, new DateTimeOffset(record.CommitTimeTicks, TimeSpan.Zero), record.TransactionId);

    internal static PlannedTimeline[] PathOf(TimelineHistory branch) =>
    [
        .. branch.Path.Select((entry, n) => new PlannedTimeline(
            entry.Timeline, entry.Lineage, entry.Parent, entry.ForkLsn, entry.StartLsn, entry.Reason, entry.Time,
            n + 1 < branch.Path.Count ? branch.LimitOf(entry.Lineage) : null)),
    ];
}

/// <summary>
/// Where a restored file lies: under the new folder, or where a mapping puts it; no path of the set is used (H30).
/// </summary>
internal static class RestorePaths
{
    /// <summary>Relative to the new folder, or absolute by the longest mapping that fits.</summary>
    public static string Of(LabelledFile file, IReadOnlyDictionary<string, string> map) =>
        file.OutsidePath is { } outside && Mapped(outside, map) is { } mapped ? mapped : $"{file.Name}.pitr";

    /// <summary>The place of a file that replay makes.</summary>
    public static string OfMade(string name, string loggedPath, IReadOnlyDictionary<string, string> map) =>
        Path.IsPathRooted(loggedPath) && Mapped(loggedPath, map) is { } mapped ? mapped : $"{name}.pitr";

    /// <summary>Where the longest mapping that fits puts a path; null if none does.</summary>
    public static string? Mapped(string path, IReadOnlyDictionary<string, string> map)
    {
        string? best = null;
        foreach (string from in map.Keys)
        {
            string folder = Path.TrimEndingDirectorySeparator(from);
            if ((path == folder || path.StartsWith(folder + "/", StringComparison.Ordinal))
                && from.Length > (best?.Length ?? -1))
                best = from;
        }
        return best is null
            ? null
            : Path.TrimEndingDirectorySeparator(map[best]) + path[Path.TrimEndingDirectorySeparator(best).Length..];
    }
}
