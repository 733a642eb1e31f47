using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Recovery;

/// <summary>
/// START HERE for a control file that is lost, damaged, or older than its database. Says what it must have said, from the
/// last checkpoint's record in the WAL (H22), what was logged behind it, and the datafiles' meta pages.
/// </summary>
/// <remarks>
/// <code>
///   WAL of the folder ──▶ which branch? ──▶ the last checkpoint record ──▶ + creates and drops behind it ──▶ datafiles
///     WalDamaged, WalGap    BranchAmbiguous   ControlFileUnknowable          WalDamaged                       ForeignSystem,
///                                             (or the WAL's beginning)                                        WalTooShort
/// </code>
/// The result is a database that crashed: opening replays it, and begins no timeline. What only the control file knew is
/// said so as if it were not: of a datafile that was compacted or recovered since the checkpoint the new incarnation is
/// not known, so it needs recovery, and is then brought up in its place; a move that was under way has left a file over.
/// INVARIANTS
///   RP1  Nothing is taken for known that no proven record, and no meta page, says.
///   RP2  The log reaches every datafile that will serve (H7), and is not known to have gone on.
///   RP3  Of two files that say they are one datafile the newer one is it; if neither is newer, it is refused.
///   RP4  Nothing is written.
///   RP5  What lies outside the folder is looked at only if the last checkpoint was recorded in this place (H26).
/// THREADS  one; the database's lock is held.
/// </remarks>
internal sealed class RebuildPlanner
{
    private readonly IFileSystem _files;
    private readonly string _folder;
    private readonly WalSurvey _survey;
    private readonly TimelineId? _timeline;
    private readonly ThisProcess _process;
    private readonly DateTimeOffset _now;
    private readonly List<string> _findings;

    private RebuildPlanner(
        IFileSystem files, string folder, WalSurvey survey, TimelineId? timeline, ThisProcess process, DateTimeOffset now)
    {
        (_files, _folder, _survey, _timeline, _process, _now) = (files, folder, survey, timeline, process, now);
        _findings = [.. survey.Findings];
    }

    /// <summary>Makes the plan.</summary>
    /// <param name="files">The disk.</param>
    /// <param name="folder">The database's folder; absolute.</param>
    /// <param name="survey">Its WAL.</param>
    /// <param name="timeline">The branch that is meant, if there are several; null: there is one.</param>
    /// <param name="process">Who asks: the folder may be in another place than when the checkpoint was recorded.</param>
    /// <param name="now">The time of a first timeline of which nothing says when it began.</param>
    /// <exception cref="PitrException">The codes of the drawing above; RefusedException ControlFileWhole.</exception>
    public static PlannedRebuild Plan(
        IFileSystem files, string folder, WalSurvey survey, TimelineId? timeline, ThisProcess process, DateTimeOffset now) =>
        new RebuildPlanner(files, folder, survey, timeline, process, now).Plan();

    private PlannedRebuild Plan()
    {
        if (!_survey.LastRuns.Any())
            throw RecoveryErrors.ControlFileUnknowable(_folder, $"there is no WAL in '{_survey.Folder}'");
        WalRun run = RunInUse();
        ControlFile known = KnownOf(run)
            ?? throw RecoveryErrors.ControlFileUnknowable(
                _folder,
                $"no checkpoint is recorded in what is there of the WAL of timeline {run.Identity.Timeline}, from {run.From}");
        RequireOlder(known, run);
        if (run.From > known.RedoLsn)
            throw WalErrors.Gap(known.RedoLsn, _survey.Folder);
        if (!run.End.IsWhole)
            throw run.End.ToException();

        TimelineHistory history = TimelineHistory.Of(known.SystemId, known.History);
        Catalogue catalogue = LoggedCatalogue.At(known.Catalogue, run.Events, run.To);
        FolderPlace place = known.Place ?? FolderPlace.Unknown;
        OutsideFiles outside = OutsideFiles.Of(_files, _folder, place, _process);
        var search = new DatafileSearch(
            _files, _folder, outside, history, run.To, moved: outside.AreOwn ? null : new Dictionary<string, string>());
        var told = new List<RebuiltFile>();
        var reach = new List<KnownPosition>();
        foreach (CatalogueFile file in catalogue.Files)
        {
            (CatalogueFile noted, string? why) = Note(search, outside, file, run);
            catalogue = catalogue.WithFile(noted);
            told.Add(new RebuiltFile(file.Name, Catalogue.FullPath(_folder, noted.Path), why));
            if (why is null)
                reach.Add(new KnownPosition(noted.CheckpointLsn, $"datafile '{file.Name}'"));
        }

        ControlFile control = outside.Settled(known with
        {
            State = EngineState.Running,
            Place = place,
            // What a datafile has was durable before; beyond that nobody knows how far the log was.
            NextTransactionId = NextTransaction(known, run),
            KnownEndOfWal = reach.Select(position => position.Lsn).Append(known.KnownEndOfWal).Max(),
            Catalogue = catalogue,
            Recovery = null,
            PromotionIntent = null,
            Moves = [],
        });
        var plan = new RebuildPlan
        {
            SystemId = control.SystemId,
            Timeline = control.Timeline,
            CheckpointRecord = run.Checkpoint?.Lsn,
            RedoLsn = control.RedoLsn,
            EndOfWal = run.To,
            Files = told,
            Findings = _findings,
        };
        return new PlannedRebuild(plan, _folder, control, run, reach);
    }

    /// <summary>
    /// I9. A checkpoint's record has the number of the checkpoint before it, and transactions between both may be in WAL
    /// that is gone. One in the WAL that is there is above all of them; without any, as many are passed over as that WAL
    /// can have held.
    /// </summary>
    private static TransactionId NextTransaction(ControlFile known, WalRun run)
    {
        if (run.LastTransaction.Value > 0)
            return new TransactionId(Math.Max(known.NextTransactionId.Value, run.LastTransaction.Value + 1));
        long gone = Math.Max(0, run.From - known.History[^1].StartLsn) / RecordCodec.HeaderBytes;
        return new TransactionId(known.NextTransactionId.Value + (ulong)gone);
    }

    // ---- which branch --------------------------------------------------------------------------------

    /// <summary>The one timeline that no other in the folder goes on from.</summary>
    private WalRun RunInUse()
    {
        WalRun[] runs = [.. _survey.LastRuns];
        if (_timeline is { } named)
        {
            return runs.FirstOrDefault(run => run.Identity.Timeline == named)
                ?? throw RecoveryErrors.TimelineUnknown(
                    named.ToString(), string.Join(", ", runs.Select(run => run.Identity.Timeline)));
        }

        WalRun[] leaves = [.. runs.Where(run => !runs.Any(other => other != run && GoesOnFrom(other, run)))];
        return leaves.Length == 1
            ? leaves[0]
            : throw RecoveryErrors.BranchesInFolder(_survey.Folder, leaves.Select(run => run.Identity.Timeline));
    }

    private static bool GoesOnFrom(WalRun run, WalRun parent) =>
        run.Events.Any(logged =>
            logged.Event is WalEvent.TimelineStart start && start.ParentLineage == parent.Identity.Lineage)
        || (Recorded(run) is { } control && control.History.Any(entry => entry.Lineage == parent.Identity.Lineage));

    // ---- what is known -------------------------------------------------------------------------------

    private static ControlFile? Recorded(WalRun run) =>
        run.Checkpoint is { Event: WalEvent.Checkpoint record }
        && ControlFileStore.DecodePayload($"of the checkpoint recorded at {run.Checkpoint!.Lsn}",
            System.Text.Encoding.UTF8.GetBytes(record.ControlFile)) is var control
        && control.SystemId == run.Identity.System && control.Lineage == run.Identity.Lineage
            ? control
            : null;

    private ControlFile? KnownOf(WalRun run) => Recorded(run) ?? OfBeginning(run);

    /// <summary>A database without any checkpoint yet: as it was made, if the WAL is there from its first byte.</summary>
    private ControlFile? OfBeginning(WalRun run)
    {
        var geometry = new WalGeometry(_survey.SegmentBytes);
        string main = Path.Combine(_folder, "main.pitr");
        if (run.Identity.Timeline != TimelineId.First || run.From != geometry.FirstLsn || _files.Stat(main) is null)
            return null;
        MetaPage meta = Datafile.Inspect(_files, main);
        if (meta.SystemId != run.Identity.System || meta.FileId != FileId.Main)
            return null;
        _findings.Add("No checkpoint was recorded yet: the database is taken for as new as its WAL, which begins with it.");
        var file = new CatalogueFile(
            FileId.Main, "main", "main.pitr", meta.Incarnation, 0, Lsn.Zero, geometry.FirstLsn);
        return ControlFile.ForNew(
            run.Identity.System, run.Identity.Lineage, geometry.SegmentBytes, geometry.FirstLsn, _now) with
        {
            Catalogue = Catalogue.Empty.CreateFile(file, geometry.FirstLsn),
        };
    }

    /// <summary>A control file that is there is replaced only if it can't be read, or the WAL has a newer checkpoint.</summary>
    private void RequireOlder(ControlFile known, WalRun run)
    {
        var store = new ControlFileStore(_files, _folder);
        if (!store.Exists)
            return;
        ControlFile present;
        try
        {
            present = store.ReadLive();
        }
        catch (PitrException unreadable) when (unreadable is DamageException || unreadable.Code == ErrorCode.ControlFileOfBackup)
        {
            _findings.Add($"{unreadable.Message} It is kept beside the new one.");
            return;
        }

        if (present.SystemId != known.SystemId)
        {
            _findings.Add(
                $"The control file that lies there is of the database {present.SystemId}, the WAL of {known.SystemId}. It is "
                + "kept beside the new one.");
            return;
        }

        if (present.Recovery is not null)
            throw RecoveryErrors.ControlFileInRecovery(store.FilePath);
        if (present.Lineage == known.Lineage && present.CheckpointLsn >= known.CheckpointLsn)
            throw RecoveryErrors.ControlFileWhole(store.FilePath, run.Checkpoint?.Lsn ?? run.From);
        _findings.Add(
            $"The control file that lies there is of the checkpoint at {present.CheckpointLsn}, and the WAL has a newer one, "
            + $"at {known.CheckpointLsn}. It is kept beside the new one.");
    }

    // ---- datafiles -----------------------------------------------------------------------------------

    private (CatalogueFile Noted, string? WhyNot) Note(
        DatafileSearch search, OutsideFiles outside, CatalogueFile file, WalRun run)
    {
        IReadOnlyList<FoundDatafile> found = search.Of(
            file, [file.Path, .. LoggedCatalogue.PlacesOf(file.Id, run.Events)]);
        if (found.FirstOrDefault(one => one.Row.Label == "C7") is { } ahead)
            throw WalErrors.TooShort(run.To, ahead.Meta!.CheckpointLsn, $"datafile '{file.Name}' at '{ahead.Name}'");
        if (file.NeedsRecovery is { } before)
            return (file, before);
        FoundDatafile[] good =
            [.. found.Where(one => one.IsKnown).OrderByDescending(one => one.Meta!.Generation)];
        if (good.Length > 1 && good[0].Meta!.Generation == good[1].Meta!.Generation
            && good[0].Meta!.CheckpointLsn != good[1].Meta!.CheckpointLsn)
            throw RecoveryErrors.ControlFileUnknowable(
                _folder, $"'{good[0].Name}' and '{good[1].Name}' both say that they are datafile '{file.Name}'");
        if (good.Length > 0)
        {
            foreach (FoundDatafile other in good.Skip(1))
                _findings.Add($"'{other.Name}' is an older file of datafile '{file.Name}': it is left where it is.");
            MetaPage meta = good[0].Meta!;
            return (file with
            {
                Path = Catalogue.StoredPath(_folder, good[0].Name),
                Generation = meta.Generation,
                CheckpointLsn = meta.CheckpointLsn,
                CleanUpTo = Lsn.Max(file.CleanUpTo, meta.CheckpointLsn),
            }, null);
        }

        if (outside.Bars(Catalogue.FullPath(_folder, file.Path)))
            return (file, $"it lies outside of the folder, which may be a copy, and is not touched: if it is this database's, "
                + $"say so with pitr recover {_folder} --moved (case X47)");
        FoundDatafile? copy = found.FirstOrDefault(one => one.IsCopyOfOurs);
        CatalogueFile lost = copy is null ? file : file with { Path = Catalogue.StoredPath(_folder, copy.Name) };
        return (lost, found.Count == 0 ? "it is not there (case C11)" : $"{found[0].Row.Why} (case {found[0].Row.Label})");
    }
}
