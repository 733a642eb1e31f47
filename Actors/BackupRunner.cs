using Akka.Actor;
using Akka.Event;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Makes one backup set while commits go on: each datafile is fenced only while it is copied (design §9).
/// </summary>
/// <remarks>
/// <code>
///   hold all WAL ─▶ checkpoint ─▶ catalogue at C, hold from the redo point ─▶ intent (H35, H39)
///     ─▶ for each file, as many at a time as asked for: a <see cref="BackupCopier"/>: Fence ─▶ copy ─▶ Unfence
///     ─▶ BackupEnd logged (H29) ─▶ WAL from start to stop ─▶ label, manifest
/// </code>
/// INVARIANTS
///   K1  One worker of its own at a time, and none beside a copier: the next step, also Abandon, begins after those
///       before have told their end.
///   K3  A set that lacks a datafile alive at its stop is not made: the backup fails and says which (H29).
///   K4  WAL is kept for it only as much as for a fence (design §5, promise 9): its store may stand still for ever. Then
///       it is let go, if an archive has what goes; what is still there when the WAL is read is held again. Without an
///       archive, or while it is read, the backup fails. Of one that has failed none is kept.
///
/// A fence that broke while its file was copied makes that copy void: it is made again, whole, under a new fence, once
/// for each file. The rate is one for all copiers.
/// Any failure, the caller's cancellation, or the engine's end ends the fences that are held, removes the unfinished set
/// and lets the WAL go. What of the set can't be removed is told in the log; it has no manifest.
/// If its store failed, and something is whole, the set is left: the next backup to that store goes on with it, as with
/// one whose engine died (S7). Only one that begins while no other runs does so: it could be that one's.
/// A crash of it: its fences end with its copiers (death watch), and the set has no manifest, so there is none.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed class BackupRunner : UntypedActor, IWithTimers
{
    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly WalStart _wal;
    private readonly EngineRoutes _routes;
    private readonly bool _mayContinue;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Queue<CatalogueFile> _todo = new();
    private readonly HashSet<FileId> _voided = [];
    private readonly HashSet<IActorRef> _copiers = [];
    private int _copiersMax = 1;
    private readonly WalAllowance _allowance;
    private Guid _hold;
    private readonly long _began;
    private readonly DateTimeOffset _beganAt;
    private RunBackup _request = null!;
    private IActorRef _asker = ActorRefs.Nobody;
    private CancellationTokenRegistration _whenCancelled;
    private BackupWriter? _writer;
    private ControlFile? _control;
    private CancellationTokenSource? _step; // of the worker that runs; null if none does (K1)
    private Problem? _failure;
    private EventLogged? _end; // of BackupEnd: the WAL is read next, or is being read
    private bool _isWalLetGo; // K4
    private bool _isCutOff; // by its store: what is whole stays for the next one
    private bool _isAbandoning;
    private string _backupId = "";
    private string? _whyFull; // though it was to build on another set
    private long _bytesTotal;
    private long _bytesDone;

    /// <param name="engine">The engine.</param>
    /// <param name="opened">Its stores.</param>
    /// <param name="wal">Its WAL.</param>
    /// <param name="routes">Its actors.</param>
    /// <param name="mayContinue">No other backup runs: an unfinished set is one that was cut off.</param>
    public BackupRunner(
        EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes, bool mayContinue)
    {
        _mayContinue = mayContinue;
        _engine = engine;
        _opened = opened;
        _wal = wal;
        _routes = routes;
        _allowance = new WalAllowance(engine);
        _hold = FenceToken.Draw(default, engine.Draw);
        _began = engine.Clock.GetTimestamp();
        _beganAt = engine.Clock.GetUtcNow();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(
        EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes, bool mayContinue) =>
        ActorProps.Of(() => new BackupRunner(engine, opened, wal, routes, mayContinue));

    /// <summary>A copier that fails by a bug does not begin again: the backup fails.</summary>
    protected override SupervisorStrategy SupervisorStrategy() =>
        new OneForOneStrategy(static _ => Directive.Stop);

    /// <summary>An answer after the first is nobody's: the asker has gone.</summary>
    protected override void PostStop()
    {
        _whenCancelled.Unregister();
        if (_step is not null)
            EndStep();
        _routes.Folder.Tell(new ReleaseWal(_hold), ActorRefs.NoSender);
        _asker.Tell(new RequestRefused(Problem.From(EngineErrors.BackupCancelled())));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case RunBackup run:
                Start(run);
                break;
            case WalHeld when _control is null:
                _routes.Checkpointer.Tell(new RunCheckpoint());
                break;
            case WalHeld again when _isWalLetGo && again.Holder == _hold && _failure is null:
                Complete(_end!);
                break;
            case WalHeld:
                break;
            case LookAtWal:
                KeepWalBounded();
                break;
            case CancelAsked:
                Fail(Problem.From(EngineErrors.BackupCancelled()));
                break;
            case EndJob:
                Fail(Problem.From(EngineErrors.ShuttingDown()));
                break;
            case RequestRefused refused:
                Fail(refused.Why);
                break;
            case EventRefused refused:
                Fail(refused.Why);
                break;
            case WorkerEnded ended:
                TakeWorkersEnd(ended);
                break;
            case CopyEnded ended:
                TakeCopy(ended);
                break;
            case Terminated dead when _copiers.Remove(dead.ActorRef):
                Fail(Problem.From(new BugException($"A copier of backup {_backupId} ended without a word.")));
                AbandonIfNobodyWorks();
                break;
            case Terminated:
                break;
            case var _ when _failure is not null:
                break; // what is on its way to a backup that has failed
            case CheckpointEnded:
                _routes.ControlFile.Tell(new GetControlFile());
                break;
            case ControlFileChanged changed:
                Begin(changed.Now);
                break;
            case EventLogged logged:
                _end = logged;
                if (_opened.Stores.Count > 0)
                    _allowance.CountFrom(_engine.DurableLsn); // as much again, while it is read
                if (_isWalLetGo)
                    _routes.Folder.Tell(new HoldWal(_hold, _writer!.StartLsn)); // what is still there
                else
                    Complete(logged);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- steps -----------------------------------------------------------------------------------

    private void Start(RunBackup run)
    {
        _request = run;
        _asker = Sender;
        IActorRef self = Self;
        _whenCancelled = run.Cancel.Register(() => self.Tell(new CancelAsked(), ActorRefs.NoSender));
        Timers.StartPeriodicTimer(nameof(LookAtWal), new LookAtWal(), WalAllowance.LookInterval);
        _routes.Folder.Tell(new HoldWal(_hold, Lsn.Zero));
    }

    private void Begin(ControlFile control)
    {
        _control = control;
        _allowance.CountFrom(control.RedoLsn); // a set that is gone on with may need more: that is there already
        Lsn end = _engine.DurableLsn;
        foreach (CatalogueFile file in control.Catalogue.Files)
            _todo.Enqueue(file);
        EngineContext engine = _engine;
        BackupRequest request = _request.Request;
        var whole = new BackupStart(
            BackupSet.NewId(engine.Clock.GetUtcNow(), engine.Draw()), control,
            Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), // C: what was created since is above it (H29)
            engine.Clock.GetUtcNow());
        (RateLimit? limit, CancellationToken cancel) = (_request.Limit, _request.Cancel);
        _copiersMax = Math.Clamp(request.Jobs, 1, Math.Max(1, _todo.Count));
        Work(_ =>
        {
            IArchiveStore store = OpenStore(engine, request, control.SystemId);
            (BackupSet? older, string? whyFull) =
                request.Incremental ? BaseChoice.Of(BackupCatalog.Read(store), control) : (null, null);
            var sources = new Lazy<WalSources>(Sources);
            UnfinishedSet? cutOff = _mayContinue
                ? UnfinishedSet.Find(
                    store, control, older, _beganAt, from => sources.Value.Along(_wal.History, from, end).Hole is null)
                : null;
            BackupStart start = whole with
            {
                BackupId = cutOff?.BackupId ?? whole.BackupId,
                Base = older,
                Continues = cutOff,
            };
            var writer = new BackupWriter(
                engine.FileSystem, store, _opened.Stores, start, new ReachablePages(engine.Environment, cancel),
                over => PaceOf(limit, over), engine.Threads);
            _writer = writer; // before its first byte, so that a failure finds what there is to remove
            writer.Begin();
            return new Begun(start.BackupId, whyFull, Lsn.Min(control.RedoLsn, cutOff?.NeedsFromLsn ?? Lsn.MaxValue));
        });
    }

    /// <summary>
    /// The set's store. If it is one of the database's archives it goes by that one's name, however it was written, and has
    /// to be that archive: the empty folder of a disk that is not mounted is not.
    /// </summary>
    private IArchiveStore OpenStore(EngineContext engine, BackupRequest request, SystemIdentifier system)
    {
        StoreAddress address = StoreAddress.Parse(request.Store, Environment.CurrentDirectory);
        IArchiveStore? archive = _opened.Stores.FirstOrDefault(one => one.Place == address.Place);
        IArchiveStore store = engine.Stores.Open(
            archive is null ? address : address with { Text = archive.Name }, (file, offset, bytes) => engine.PacedWriter.Write(file, offset, bytes));
        if (store.Abilities != StoreAbilities.All)
            throw ArchiveErrors.HoldsNoSets(store.Name);
        if (archive is null)
            store.CreateRoot();
        else
            ArchiveIdentity.Check(store, system);
        return store;
    }

    /// <summary>Where WAL is: the local folder, the archives that tell what they have.</summary>
    private WalSources Sources()
    {
        WalFolder folder = _wal.Folder;
        IWalSource[] places = [new FolderWalSource(folder, folder.Folder),
            .. _opened.Stores.ThatList().Select(
                store => new ArchiveWalSource(store, ArchiveCatalog.Load(store), folder.Geometry))];
        return new WalSources(places, folder.Geometry);
    }

    private void NextFiles()
    {
        while (_copiers.Count < _copiersMax && _todo.TryDequeue(out CatalogueFile? file))
        {
            var copies = new BackupCopies(
                _writer!, _backupId, Context.Parent, bytes => Interlocked.Add(ref _bytesTotal, bytes));
            _copiers.Add(Context.Watch(Context.ActorOf(BackupCopier.PropsFor(_engine, copies, file))));
        }

        if (_copiers.Count == 0)
            _routes.WalWriter.Tell(new LogEvent(new WalEvent.BackupEnd(_backupId, _writer!.StartLsn)));
    }

    private void TakeCopy(CopyEnded ended)
    {
        Context.Unwatch(Sender);
        _copiers.Remove(Sender);
        if (_failure is not null)
        {
            AbandonIfNobodyWorks();
        }
        else if (ended.Outcome is CopyOutcome.CutOff or CopyOutcome.Failed
            || (ended.Outcome == CopyOutcome.Void && !_voided.Add(ended.File.Id)))
        {
            _isCutOff = ended.Outcome == CopyOutcome.CutOff;
            Fail(ended.Why!);
        }
        else
        {
            if (ended.Outcome == CopyOutcome.Void)
            {
                _log.Warning(
                    "The copy of datafile {0} is void and is made again: {1}", ended.File.Name, ended.Why!.Message);
                _todo.Enqueue(ended.File);
            }

            NextFiles();
        }
    }

    private void Complete(EventLogged logged)
    {
        BackupWriter writer = _writer!;
        var stop = new BackupStop(
            logged.Lsn, logged.Time, logged.LastTransaction,
            _engine.Catalogue.Catalogue.Files.Select(file => file.Id).ToHashSet());
        TimelineHistory history = _wal.History;
        double seconds = _engine.Clock.GetElapsedTime(_began).TotalSeconds;
        string? whyFull = _whyFull ?? (_request.Request.Incremental ? "no datafile has a copy that it could build on" : null);
        Work(cancel =>
        {
            writer.IncludeWal(history, Sources(), stop.StopLsn, cancel);
            BackupSet set = writer.Complete(stop);
            return new Completed(new BackupResult(
                set.Label.BackupId, set.Label.StartLsn, set.Label.StopLsn, writer.BytesWritten, set.Label.Files.Count,
                seconds)
            {
                BaseId = set.Label.BaseId,
                WhyFull = set.Label.BaseId is null ? whyFull : null,
                FilesResumed = writer.Resumed,
            });
        });
    }

    // ---- workers and failures ----------------------------------------------------------------------

    private void TakeWorkersEnd(WorkerEnded ended)
    {
        _step!.Dispose();
        _step = null;
        if (ended.Result is Abandoned abandoned)
        {
            if (abandoned.Left is not null)
            {
                _log.Warning(
                    "What the backup {0} wrote into {1} could not be removed; it is no set: {2}", _backupId,
                    _request.Request.Store, abandoned.Left.Message);
            }

            End(abandoned.Why);
        }
        else if (ended.Result is Completed completed) // also if it was cancelled too late: the set is there
        {
            _log.Info(
                "Backup {0} is complete: {1} files, {2} bytes",
                completed.Result.BackupId, completed.Result.Files, completed.Result.Bytes);
            _engine.Metrics.NoteBackup(_engine.Clock.GetElapsedTime(_began), "ended");
            _asker.Tell(new BackupEnded(completed.Result));
            Context.Stop(Self);
        }
        else if (_failure is not null)
        {
            AbandonIfNobodyWorks();
        }
        else if (ended.Result is StepFailed failed)
        {
            _isCutOff = BackupCopier.IsCutOff(failed.Error);
            Fail(failed.Error is OperationCanceledException
                ? Problem.From(EngineErrors.BackupCancelled())
                : Problem.From(failed.Error));
        }
        else if (ended.Result is Begun begun)
        {
            _backupId = begun.BackupId;
            _whyFull = begun.WhyFull;
            if (!_isWalLetGo)
                _routes.Folder.Tell(new HoldWal(_hold, begun.NeedsFromLsn)); // all of it was held until now
            NextFiles();
        }
    }

    /// <summary>K4.</summary>
    private void KeepWalBounded()
    {
        if (_failure is not null || (_isWalLetGo && _end is null) || _allowance.WhyOver(Words()) is not { } over)
            return;
        if (_opened.Stores.Count == 0 || _end is not null)
        {
            Fail(over);
            return;
        }

        _log.Info("No more WAL is kept for {0}: it is read from the archive", Words());
        _isWalLetGo = true;
        _routes.Folder.Tell(new ReleaseWal(_hold));
        _hold = FenceToken.Draw(default, _engine.Draw); // of another name: what still comes of the former is known
    }

    private string Words() => $"the backup to {_request.Request.Store}";

    private void Fail(Problem why)
    {
        if (_failure is not null)
            return;
        _failure = why;
        _routes.Folder.Tell(new ReleaseWal(_hold)); // K4
        _log.Warning("The backup failed: {0}", why.Message);
        foreach (IActorRef copier in _copiers)
            copier.Tell(new EndCopy());
        if (_step is not null)
            EndStep();
        AbandonIfNobodyWorks();
    }

    private void End(Problem why)
    {
        _engine.Metrics.NoteBackup(_engine.Clock.GetElapsedTime(_began), "failed");
        _asker.Tell(new RequestRefused(why));
        Context.Stop(Self);
    }

    /// <summary>The worker that runs comes to its end soon, and tells of it.</summary>
    private void EndStep() => _step!.Cancel();

    /// <summary>K1.</summary>
    private void AbandonIfNobodyWorks()
    {
        if (_isAbandoning || _step is not null || _copiers.Count > 0)
            return;
        _isAbandoning = true;
        Problem why = _failure!;
        BackupWriter? writer = _writer;
        if (_isCutOff && writer is { CanBeContinued: true })
        {
            _log.Warning("What of backup {0} is whole stays in {1}", _backupId, _request.Request.Store);
            End(why with { Hint = $"{why.Hint} Then make the backup again: it goes on with what is whole." });
            return;
        }

        Work(
            _ =>
            {
                writer?.Abandon();
                return new Abandoned(why);
            },
            error => new Abandoned(why, error)); // what is left has no manifest, so it is no set
    }

    /// <summary>A copy keeps up to two threads busy: one that reads and writes, and one that hashes.</summary>
    private Action<long> PaceOf(RateLimit? limit, CancellationToken over)
    {
        EngineContext engine = _engine;
        ProcessorShare share = PaceBesideCommits.Of(
            engine, engine.DurableLsn, PaceBesideCommits.OfBackup, 2 * _copiersMax, over);
        return bytes =>
        {
            share.EndPiece();
            limit?.Wait((int)bytes, engine.Pause, () => over.IsCancellationRequested);
            share.BeginPiece();
            long done = Interlocked.Add(ref _bytesDone, bytes);
            _request.Request.Progress?.Report(new JobProgress("copying", done, Interlocked.Read(ref _bytesTotal)));
        };
    }

    /// <summary>K1. What it returns comes back in a WorkerEnded.</summary>
    private void Work(Func<CancellationToken, object> work, Func<Exception, object>? failed = null)
    {
        Invariant.Require(_step is null, "K1", "a worker of this backup still runs.");
        _step = new CancellationTokenSource();
        CancellationToken cancel = _step.Token;
        _engine.Workers.Start(
            Self,
            () => new WorkerEnded(work(cancel)),
            error => new WorkerEnded(failed?.Invoke(error) ?? new StepFailed(error)));
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record CancelAsked : ILocalMessage;

    private sealed record LookAtWal : ILocalMessage;

    /// <summary>A worker of this backup has ended: with Begun, Completed, Abandoned or StepFailed.</summary>
    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Begun(string BackupId, string? WhyFull, Lsn NeedsFromLsn);

    private sealed record Completed(BackupResult Result);

    private sealed record StepFailed(Exception Error);

    /// <param name="Why">Of the backup's failure.</param>
    /// <param name="Left">Why something of it is left in a store; null: nothing is.</param>
    private sealed record Abandoned(Problem Why, Exception? Left = null);
}
