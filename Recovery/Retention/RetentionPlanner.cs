using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// Makes the plan of an expire: what no moment of the promised window needs, branch by branch (design §9, H35).
/// </summary>
/// <remarks>
/// THE PROMISE  any moment from <em>window</em> before the last moment that is known, on each branch: the last commit
/// time in the archives or the last stop of a set, if the clock is ahead of it. A clock that is wrong expires nothing.
/// <code>
///  branch                                             promised
///  one from which none was forked                     yes, also its end if that is older than the window
///  one from which another was forked                  if what is its own beyond the forks reaches into the window,
///                                                     has no transactions, or is not known
///
///  of a promised branch                               is kept
///  the newest whole set at or before the window       yes, and all WAL of the branch from its start on
///  newer ones before it of which something is missing yes: what is wrong with them has to be found out
///  whole and partial sets that stop in the window     yes
///  older ones, partial ones, those of no branch       no
///  without any whole set                              all WAL of the branch
/// </code>
/// Also kept: pinned sets, with their own WAL from start to stop; the bases of what is kept; sets that are being made,
/// with all WAL from where they hold it; the sets that restores read which are being carried out, with the WAL of their path
/// from where they begin, for a day from when they said last that they go on (H48); the WAL from start to stop of sets in
/// other stores that are registered in an archive, and all from where they hold it if such a store can't be read.
///
/// INVARIANTS
///   R1  What is kept can be restored: each kept set with its bases and its WAL, each promised moment from a kept set.
///   R2  Partial and damaged sets do not count (H29). Damaged ones are never removed: nobody knows what they are.
///   R3  A timeline's newest object in an archive stays, so that nobody takes the end of what is left for its end.
///   R4  Histories and owners are never removed.
///   R5  The window begins with a set only if every object of it and of its bases is there at its length, and its WAL from
///       start to stop has no gap (<see cref="SetPresence"/>); whether their bytes are good is what verify proves.
/// THREADS  one; nothing is written. FAILURE  whatever can't be read refuses the plan.
/// </remarks>
internal sealed class RetentionPlanner
{
    /// <summary>A backup that was begun later than that may still be running.</summary>
    public static readonly TimeSpan RunningMax = TimeSpan.FromDays(1);

    private readonly RetentionRequest _request;
    private readonly CancellationToken _cancellation;
    private readonly List<(IArchiveStore Store, ArchiveCatalog Catalog)> _archives = [];
    private readonly List<Registration> _seen = [];
    private readonly List<Registration> _stale = [];
    private readonly List<BackupSet> _others = []; // registered, in other stores
    private readonly List<BackupIntent> _running = [];
    private readonly List<BackupIntent> _unreadable = [];
    private readonly List<RestoreIntent> _restores = [];
    private readonly List<Registration> _seenRestores = [];
    private readonly List<Registration> _endedRestores = [];
    private readonly Dictionary<Lineage, TimelineHistory> _branches = [];
    private readonly Dictionary<string, string> _kept = []; // id → why
    private readonly Dictionary<(string Store, string Id), string?> _lacks = []; // what is missing of a set
    private readonly HashSet<(TimelineId, ulong)> _needed = [];
    private readonly List<TimelineId> _unpromised = [];
    private readonly List<string> _findings = [];
    private readonly BackupCatalog _sets;
    private WalGeometry? _geometry;
    private DateTimeOffset _from;

    private RetentionPlanner(RetentionRequest request, CancellationToken cancellation)
    {
        (_request, _cancellation) = (request, cancellation);
        _sets = BackupCatalog.Read(request.SetStore);
        _findings.AddRange(request.Archives.LeftOut());
        foreach (IArchiveStore store in request.Archives.ThatList())
            _archives.Add((store, ArchiveCatalog.Load(store)));
    }

    /// <summary>Makes the plan.</summary>
    /// <exception cref="NotFoundException">BackupUnknown: the store has no set at all.</exception>
    /// <exception cref="RefusedException">ForeignSystem.</exception>
    /// <exception cref="DamageException">An intent or history can't be read, so what it protects is not known.</exception>
    public static RetentionPlan Plan(RetentionRequest request, CancellationToken cancellation = default) =>
        new RetentionPlanner(request, cancellation).Plan();

    private RetentionPlan Plan()
    {
        Invariant.Require(_request.Window > TimeSpan.Zero, "R1", "the window is empty.");
        if (_sets.Sets.Count + _sets.Others.Count == 0)
            throw RecoveryErrors.NoBackup(_request.SetStore.Name);
        LookAtRegistrations();
        RequireOneSystem();
        FindBranches();
        _from = FirstMoment();
        KeepPromised();
        KeepPinned();
        KeepRunning();
        KeepRestores();
        KeepBases();
        RetainedSet[] sets = [.. Judge()];
        HashSet<string> removed = [.. sets.Where(set => set.IsRemoved).Select(set => set.BackupId)];
        return new RetentionPlan
        {
            Store = _request.SetStore.Name,
            Window = _request.Window,
            From = _from,
            Sets = sets,
            Wal = [.. RemovableWal()],
            Registrations =
            [
                .. _stale,
                .. _seen.Where(seen => seen.Store != _request.SetStore.Name && removed.Contains(seen.BackupId)),
            ],
            Unpromised = _unpromised,
            Seen = _seen,
            SeenRestores = _seenRestores,
            EndedRestores = _endedRestores,
            SystemId = _sets.Sets.Concat(_others).FirstOrDefault()?.Label.SystemId,
            Findings = _findings,
        };
    }

    // ---- what there is -----------------------------------------------------------------------------

    /// <summary>Intents of running backups, and sets in other stores that an archive knows.</summary>
    private void LookAtRegistrations()
    {
        var looked = new Dictionary<string, BackupCatalog?>();
        foreach (IArchiveStore store in _archives.Select(one => one.Store).Append(_request.SetStore)
            .DistinctBy(store => store.Name))
        {
            foreach (BackupIntent intent in BackupCatalog.Intents(store))
            {
                _cancellation.ThrowIfCancellationRequested();
                _seen.Add(new Registration(store.Name, intent.BackupId));
                LookAt(store, intent, looked);
            }
            LookAtRestores(store);
        }
    }

    private void LookAtRestores(IArchiveStore store)
    {
        foreach (RestoreIntent restore in RestoreHold.All(store))
        {
            var seen = new Registration(store.Name, restore.RecoveryId);
            _seenRestores.Add(seen);
            if (RestoreHold.HasEnded(restore, _request.Now))
                _endedRestores.Add(seen);
            else
                _restores.Add(restore);
        }
    }

    private void LookAt(IArchiveStore store, BackupIntent intent, Dictionary<string, BackupCatalog?> looked)
    {
        TimeSpan age = _request.Now - intent.BeganAt;
        bool mayRun = age <= RunningMax || age <= _request.Window;
        bool isMine = _sets.Sets.Any(set => set.Id == intent.BackupId)
            || _sets.Others.Any(set => set.BackupId == intent.BackupId)
            || intent.SetStore == _request.SetStore.Name || intent.SetStore == _request.SetStore.Place;
        if (isMine)
        {
            if (mayRun && _sets.Sets.All(set => set.Id != intent.BackupId))
                _running.Add(intent);
            else if (store.Name != _request.SetStore.Name && _sets.Sets.All(set => set.Id != intent.BackupId)
                && _sets.Others.All(set => set.BackupId != intent.BackupId))
                _stale.Add(new Registration(store.Name, intent.BackupId));
            return;
        }
        if (intent.SetStore == BackupIntent.StoreOfTar)
        {
            if (mayRun)
                _running.Add(intent);
            else
                _stale.Add(new Registration(store.Name, intent.BackupId));
            return;
        }
        if (!looked.TryGetValue(intent.SetStore, out BackupCatalog? others))
            looked.Add(intent.SetStore, others = intent.SetStore == store.Name ? BackupCatalog.Read(store)
                : ReadOther(intent.SetStore));
        if (others is null)
            _unreadable.Add(intent);
        else if (others.Sets.FirstOrDefault(set => set.Id == intent.BackupId) is { } complete)
            _others.Add(complete);
        else if (mayRun || others.Others.Any(set => set.BackupId == intent.BackupId && set.Damage is not null))
            _running.Add(intent);
        else
            _stale.Add(new Registration(store.Name, intent.BackupId));
    }

    private BackupCatalog? ReadOther(string name)
    {
        try
        {
            if (_request.OpenStore(name) is { } store)
                return BackupCatalog.Read(store);
        }
        catch (StorageFailedException)
        {
            // As one that this program can't open.
        }
        _findings.Add($"Store '{name}' can't be read: the WAL that its sets may need is kept.");
        return null;
    }

    private void RequireOneSystem()
    {
        SystemIdentifier? system = null;
        foreach (BackupSet set in _sets.Sets.Concat(_others))
        {
            system ??= set.Label.SystemId;
            if (set.Label.SystemId != system)
                throw RecoveryErrors.ForeignSystem($"Backup set '{set.Id}'", system.Value, set.Label.SystemId);
        }
        foreach ((IArchiveStore store, ArchiveCatalog _) in _archives)
        {
            if (system is { } mine && ArchiveIdentity.Read(store) is { } identity && identity.System != mine)
                throw RecoveryErrors.ForeignSystem($"Archive '{store.Name}'", mine, identity.System);
        }
        _geometry = _sets.Sets.Concat(_others).FirstOrDefault() is { } any
            ? new WalGeometry(checked((int)any.Label.WalSegmentBytes))
            : null;
    }

    private void FindBranches()
    {
        var known = new List<TimelineHistory>();
        foreach ((IArchiveStore _, ArchiveCatalog catalog) in _archives)
        {
            if (catalog.Damaged.Count > 0)
                throw catalog.Damaged[0]; // of a branch that is not known nothing could be kept
            known.AddRange(catalog.Histories);
        }
        known.AddRange(_sets.Sets.Concat(_others).Select(set => set.Label.History()));
        foreach (TimelineHistory history in known)
        {
            for (int length = history.Path.Count; length > 0; length--)
            {
                _branches.TryAdd(
                    history.Path[length - 1].Lineage,
                    TimelineHistory.Of(history.System, history.Path.Take(length)));
            }
        }
    }

    private DateTimeOffset FirstMoment()
    {
        DateTimeOffset last = _sets.Sets.Concat(_others).Select(set => set.Label.StopTime)
            .Concat(_branches.Values.Select(LastCommit).OfType<DateTimeOffset>())
            .DefaultIfEmpty(_request.Now).Max();
        DateTimeOffset end = _request.Now < last ? _request.Now : last;
        return end - DateTimeOffset.MinValue > _request.Window ? end - _request.Window : DateTimeOffset.MinValue;
    }

    /// <summary>The last commit time of a branch's own timeline in the archives; null if it is not known.</summary>
    private DateTimeOffset? LastCommit(TimelineHistory branch)
    {
        TimelineId timeline = branch.Last.Timeline;
        DateTimeOffset? last = null;
        foreach ((IArchiveStore store, ArchiveCatalog catalog) in _archives)
        {
            foreach (SegmentSource source in NewestFirst(catalog, timeline))
            {
                long ticks = new ArchiveReader(store, branch).FetchTimes(source).LastCommitTicks;
                if (ticks == SegmentTimes.None)
                    continue; // no record begins in it
                if (ticks is <= SegmentTimes.Unknown || ticks > DateTimeOffset.MaxValue.UtcTicks)
                    return null;
                var time = new DateTimeOffset(ticks, TimeSpan.Zero);
                last = last is null || time > last ? time : last;
                break;
            }
        }
        return last;
    }

    private static IEnumerable<SegmentSource> NewestFirst(ArchiveCatalog catalog, TimelineId timeline)
    {
        foreach (ulong number in Numbers(catalog, timeline).Reverse())
        {
            if (catalog.HasWhole(timeline, number))
                yield return new SegmentSource(timeline, number, Lsn.Zero, Lsn.Zero, Parts: null);
            else if (catalog.Parts(timeline, number).MaxBy(part => part.To) is { } newest)
                yield return new SegmentSource(timeline, number, newest.From, newest.To, [newest]);
        }
    }

    private static SortedSet<ulong> Numbers(ArchiveCatalog catalog, TimelineId timeline) =>
        [.. catalog.Wholes(timeline), .. catalog.PartNumbers(timeline)];

    // ---- what is kept ------------------------------------------------------------------------------

    private void KeepPromised()
    {
        foreach (TimelineHistory branch in _branches.Values)
        {
            _cancellation.ThrowIfCancellationRequested();
            if (!IsPromised(branch))
            {
                _unpromised.Add(branch.Last.Timeline);
                _findings.Add(
                    $"Timeline {branch.Last.Timeline} ends before the window, and others were forked from it: of what "
                    + "is its own beyond the forks no moment is promised.");
                continue;
            }
            BackupSet[] mine = [.. Promised(branch, _sets.Sets)];
            foreach (BackupSet set in mine)
            {
                bool isBase = set.Label.StopTime <= _from;
                _kept.TryAdd(
                    set.Id, !isBase ? "it lies in the window"
                    : WhatLacks(set) is { } lacks ? $"the window would begin with it, but {lacks}"
                    : "the window begins with it");
            }
            // Where this store's sets do not reach back to the window's beginning, it may stand on another one's.
            bool isWhole = mine.Any(set => set.Label.StopTime <= _from && WhatLacks(set) is null);
            Lsn[] starts = [.. mine.Concat(isWhole ? [] : Promised(branch, _others))
                .Select(set => set.Label.StartLsn)];
            Need(branch, starts.Length > 0 ? starts.Min() : Lsn.Zero, Lsn.MaxValue);
        }
        foreach (BackupSet set in _sets.Sets.Where(set => set.Label.IsPartial && set.Label.StopTime > _from))
            _kept.TryAdd(set.Id, "it is partial, and lies in the window");
        foreach (BackupSet set in _others)
            Need(set);
    }

    /// <summary>The newest set at or before the window of which nothing is missing, and all behind it (R5).</summary>
    private IEnumerable<BackupSet> Promised(TimelineHistory branch, IEnumerable<BackupSet> sets)
    {
        BackupSet[] usable = [.. sets.Where(set => !set.Label.IsPartial && IsOn(branch, set))];
        foreach (BackupSet set in usable.Where(set => set.Label.StopTime > _from))
            yield return set;
        foreach (BackupSet set in usable.Where(set => set.Label.StopTime <= _from)
            .OrderByDescending(set => set.Label.StopLsn))
        {
            yield return set;
            if (WhatLacks(set) is null)
                yield break;
        }
    }

    /// <summary>Why the window can't begin with a set, told once; null if it can.</summary>
    private string? WhatLacks(BackupSet set)
    {
        if (_lacks.TryGetValue((set.Store.Name, set.Id), out string? known))
            return known;
        _cancellation.ThrowIfCancellationRequested();
        string? lacks = SetPresence.WhatLacks(set, _archives, _geometry!.Value);
        if (lacks is not null)
            _findings.Add(
                $"The window does not begin with set {set.Id} in '{set.Store.Name}', and older ones are kept: {lacks}.");
        return _lacks[(set.Store.Name, set.Id)] = lacks;
    }

    private static bool IsOn(TimelineHistory branch, BackupSet set) =>
        branch.PathContains(set.Label.Lineage, set.Label.StopLsn)
        && set.Label.Files.All(file => branch.PathContains(file.Lineage, file.CheckpointLsn));

    private bool IsPromised(TimelineHistory branch)
    {
        TimelineEntry own = branch.Last;
        Lsn[] forks = [.. _branches.Values.Where(other => other.Last.Lineage != own.Lineage)
            .Select(other => other.LimitOf(own.Lineage)).OfType<Lsn>()];
        return forks.Length == 0 || LastCommit(branch) is not { } last || last >= _from
            || !HasTransactions(branch, forks.Max());
    }

    /// <summary>Of what lies beyond the last fork; what can't be read counts as some.</summary>
    private bool HasTransactions(TimelineHistory branch, Lsn fork)
    {
        if (_geometry is not { } geometry)
            return true;
        TimelineHistory only = TimelineHistory.Of(
            branch.System, [branch.Last with { Parent = null, ForkLsn = Lsn.Zero }]);
        IWalSource[] places =
            [.. _archives.Select(one => new ArchiveWalSource(one.Store, one.Catalog, geometry))];
        Lsn from = Lsn.Max(fork, branch.Last.StartLsn);
        WalCoverage coverage = new WalSources(places, geometry).Along(only, from, Lsn.MaxValue);
        if (coverage.Stretches.Count == 0)
            return coverage.Hole is not null;
        using PathReader reader = WalSources.Open(only, coverage, from);
        while (reader.MoveNext())
        {
            _cancellation.ThrowIfCancellationRequested();
            if (reader.Current.Kind == WalRecordKind.Transaction)
                return true;
        }
        return coverage.Hole is not null || reader.End is { IsWhole: false };
    }

    private void KeepPinned()
    {
        foreach (BackupSet set in _sets.Sets.Where(SetPins.IsPinned))
        {
            _kept[set.Id] = "it is pinned";
            Need(set);
        }
    }

    private void KeepRunning()
    {
        foreach (BackupIntent intent in _running)
        {
            _kept.TryAdd(intent.BackupId, "it may still be in the making");
            if (intent.BaseId is { } baseId)
                _kept.TryAdd(baseId, $"the backup {intent.BackupId} builds on it");
        }
        foreach (BackupIntent intent in _running.Concat(_unreadable))
        {
            foreach (TimelineHistory later in _branches.Values.Where(one => one.LimitOf(intent.Lineage) is not null))
                Need(later, intent.HoldFromLsn, Lsn.MaxValue);
        }
    }

    /// <summary>What is being restored goes when that is over.</summary>
    private void KeepRestores()
    {
        foreach (RestoreIntent restore in _restores)
        {
            if (restore.BackupId is { } set)
                _kept.TryAdd(set, $"the restore {restore.RecoveryId} to {restore.Folder} reads it");
            if (_branches.GetValueOrDefault(restore.Lineage) is { } path)
                Need(path, restore.FromLsn, Lsn.MaxValue);
        }
    }

    /// <summary>An incremental set is nothing without what it builds on.</summary>
    private void KeepBases()
    {
        var open = new Queue<string>(_kept.Keys);
        while (open.TryDequeue(out string? id))
        {
            if (_sets.Sets.FirstOrDefault(set => set.Id == id)?.Label.BaseId is { } baseId
                && _kept.TryAdd(baseId, $"set {id} builds on it"))
            {
                open.Enqueue(baseId);
                if (_sets.Sets.FirstOrDefault(set => set.Id == baseId) is { } older)
                    Need(older);
            }
        }
    }

    private void Need(BackupSet set)
    {
        if (!set.Label.IncludesWal)
            Need(set.Label.History(), set.Label.StartLsn, set.Label.StopLsn);
    }

    private void Need(TimelineHistory path, Lsn from, Lsn to)
    {
        if (_geometry is not { } geometry)
            return;
        Lsn highest = Lsn.Zero;
        foreach (TimelineEntry entry in path.Path)
        {
            foreach ((IArchiveStore _, ArchiveCatalog catalog) in _archives)
            {
                highest = Lsn.Max(highest, Lsn.Min(
                    catalog.HighestEnd(entry.Timeline, geometry.PayloadBytes), path.LimitOf(entry.Lineage)!.Value));
            }
        }
        Lsn end = Lsn.Min(to, highest);
        for (ulong number = geometry.NumberOf(from); geometry.StartOf(number) < end; number++)
            _needed.Add((path.OwnerOf(geometry.StartOf(number)).Timeline, number));
    }

    // ---- what goes ---------------------------------------------------------------------------------

    private IEnumerable<RetainedSet> Judge()
    {
        foreach (BackupSet set in _sets.Sets)
        {
            string? why = _kept.GetValueOrDefault(set.Id)
                ?? (set.Prefix.Length == 0 ? "the store is this one set" : null);
            yield return new RetainedSet(
                set.Id, StateOf(set), set.Label.StopTime, set.Manifest.LengthBytes, why is null,
                why ?? "no promised moment needs it");
        }
        foreach (VoidSet other in _sets.Others)
        {
            if (other.Damage is not null)
            {
                yield return new RetainedSet(
                    other.BackupId, "damaged", null, 0, IsRemoved: false, $"what it is can't be known: {other.Why}");
                continue;
            }
            bool hasIntent = _seen.Any(seen => seen == new Registration(_request.SetStore.Name, other.BackupId));
            string? why = _kept.GetValueOrDefault(other.BackupId)
                ?? (hasIntent ? null : "it has no intent that says when it was begun");
            yield return new RetainedSet(
                other.BackupId, "unfinished", null, 0, why is null, why ?? "it was never finished");
        }
    }

    private string StateOf(BackupSet set) =>
        _lacks.GetValueOrDefault((set.Store.Name, set.Id)) is not null ? "damaged"
        : set.Label.IsPartial ? "partial" : "complete";

    private static IEnumerable<ArchiveGap> Stretches(TimelineId timeline, ulong[] numbers, WalGeometry geometry)
    {
        int begin = 0;
        for (int n = 1; n <= numbers.Length; n++)
        {
            if (n < numbers.Length && numbers[n] == numbers[n - 1] + 1)
                continue;
            yield return new ArchiveGap(
                timeline, geometry.StartOf(numbers[begin]), geometry.StartOf(numbers[n - 1] + 1));
            begin = n;
        }
    }

    private IEnumerable<RemovedWal> RemovableWal()
    {
        if (_geometry is null)
            yield break;
        foreach ((IArchiveStore store, ArchiveCatalog catalog) in _archives)
        {
            foreach (TimelineId timeline in catalog.Timelines)
            {
                SortedSet<ulong> there = Numbers(catalog, timeline);
                bool isKnown = _branches.Values.Any(branch => branch.Last.Timeline == timeline);
                ulong[] gone = [.. there.Where(number =>
                    isKnown && number != there.Max && !_needed.Contains((timeline, number)))]; // R3
                if (gone.Length == 0)
                    continue;
                var objects = new List<string>();
                foreach (ulong number in gone)
                {
                    if (catalog.HasWhole(timeline, number))
                        objects.Add(ObjectName.Segment(timeline, number));
                    objects.AddRange(catalog.Parts(timeline, number).Select(part => part.Name));
                    objects.Add(ObjectName.KeyIndex(timeline, number));
                }
                yield return new RemovedWal(store.Name, timeline, gone[0], gone[^1], objects)
                {
                    Stretches = [.. Stretches(timeline, gone, _geometry.Value)],
                };
            }
        }
    }
}
