using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.FileRecoveryProtocol;
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Brings one datafile back while the others serve: the steps of <see cref="FileRecoveryProtocol"/>, each begun when the
/// one before has told its end.
/// </summary>
/// <remarks>
/// INVARIANTS
///   DR1  One worker at a time; it has ended before the recoverer does.
///   DR2  The file is replayed to at least the last LSN that WalWriter stamped before it closed the file, and that state
///        is durable, before the control file names it; only then does it serve, reads first (H40).
///   DR3  Its former owner has ended, with its views and workers, before a byte of the file changes (H13, H41).
///   DR4  The WAL that it reads is held from before the plan to the end: of the recovery, or of its hope. One that stands
///        still for <see cref="StillMax"/>, since a store or a disk hangs, and keeps more than may be kept has failed
///        then (H24).
///
/// What is refused before the take-over leaves everything as it was: an offline file goes on serving reads. A failure
/// after it, or a crash at any step, leaves a datafile that needs recovery and can be recovered again; the others notice
/// nothing. A file whose WAL was given up may be overtaken by the redo point: then it is brought up once more.
/// A crash of it: the supervisor ends the new owner, and the file needs recovery.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed partial class DatafileRecoverer : UntypedActor, IWithTimers
{
    /// <summary>So long without a byte copied or replayed it stands still; to plan takes minutes where there is much WAL.</summary>
    public static readonly TimeSpan StillMax = TimeSpan.FromMinutes(10);

    private readonly EngineContext _engine;
    private readonly WalAllowance _allowance;
    private readonly OpenedEngine _opened;
    private readonly WalStart _wal;
    private readonly EngineRoutes _routes;
    private readonly Guid _hold;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly CancellationTokenSource _cancel = new();
    private readonly long _began;
    private long _doneBytes;
    private long _movedOn; // when there were more of them
    private RunFileRecovery _run = null!;
    private IActorRef _asker = ActorRefs.Nobody;
    private CancellationTokenRegistration _whenCancelled;
    private FileId? _file;
    private PlannedFileRecovery? _plan;
    private RestoreHold? _storesHeld; // set by the worker that plans, read when that has ended
    private RecoveryPace? _pace;
    private Datafile? _former;
    private bool _isTakenOver;
    private bool _isWorking;
    private Lsn _end;
    private IActorRef _owner = ActorRefs.Nobody;
    private Problem? _failure;

    public DatafileRecoverer(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes)
    {
        _engine = engine;
        _opened = opened;
        _wal = wal;
        _routes = routes;
        _hold = FenceToken.Draw(default, engine.Draw);
        _streamGate = new WorkerGate(engine.Threads);
        _began = _movedOn = engine.Clock.GetTimestamp();
        _allowance = new WalAllowance(engine);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes) =>
        ActorProps.Of(() => new DatafileRecoverer(engine, opened, wal, routes));

    /// <summary>An answer after the first is nobody's: the asker has gone.</summary>
    protected override void PostStop()
    {
        _whenCancelled.Unregister();
        _cancel.Cancel();
        LetStreamGo();
        _routes.Folder.Tell(new ReleaseWal(_hold), ActorRefs.NoSender);
        if (_storesHeld is { } held)
        {
            _engine.Workers.Start(ActorRefs.Nobody, () => LetGo(held), static error => new StepFailed(error));
        }

        _asker.Tell(new RequestRefused(_failure ?? Problem.From(EngineErrors.ShuttingDown())));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case RunFileRecovery run:
                Start(run);
                break;
            case CancelAsked when !_isTakenOver || _owner.IsNobody():
                Fail(Problem.From(EngineErrors.FileRecoveryCancelled(_run.Request.Datafile)));
                break;
            case GiveFileRecoveryUp:
                Fail(Problem.From(EngineErrors.ShuttingDown()));
                break;
            case WorkerEnded ended:
                _isWorking = false;
                TakeResult(ended.Result);
                break;
            case RequestRefused refused:
                Fail(refused.Why);
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner):
                _owner = ActorRefs.Nobody;
                Fail(Problem.From(EngineErrors.DatafileNeedsRecovery(
                    _run.Request.Datafile, "its actor ended while it was recovered.")));
                break;
            case PaceDue:
                TellPace();
                break;
            case LookDue:
                LookAtWal();
                break;
            case CancelAsked or Terminated or ReleaseWal:
                break;
            case var _ when _failure is not null:
                break; // an answer to who has given up
            default:
                TakeAnswer(message);
                break;
        }
    }

    private void TakeAnswer(object message)
    {
        switch (message)
        {
            case WalHeld when _file is null:
                Context.Parent.Tell(new ClaimFile(_run.Request.Datafile));
                break;
            case FileClaimed claimed:
                _file = claimed.File;
                _routes.ControlFile.Tell(new GetControlFile());
                break;
            case ControlFileChanged changed when _plan is null:
                Plan(changed.Now);
                break;
            case FileTakenOver taken:
                _former = taken.Former;
                CloseToCommits();
                break;
            case FileClosed closed when _isClosing:
                TakeClosed(closed.LastStamped);
                break;
            case ControlFileChanged changed when _owner.IsNobody():
                Make(changed.Now);
                break;
            case NewDatafileStarted started:
                _owner = Context.Watch(started.Owner);
                BeginReplay();
                break;
            case ReplayApplied:
                _batches--;
                AfterBatch();
                break;
            case FileClean clean:
                Flushed(clean);
                break;
            case SealSkipped:
                Fail(_engine.Slots.TryOf(_file!.Value)?.Why
                    ?? Problem.From(EngineErrors.DatafileUnknown(_run.Request.Datafile)));
                break;
            case ControlFileChanged changed:
                Noted(changed.Now);
                break;
            case IsVisible:
                _owner.Tell(new EndReplay(_end, _plan!.Request.Control.Lineage));
                break;
            case ReplayEnded:
                _routes.WalWriter.Tell(new OpenFile(_file!.Value, _run.Request.Datafile, _owner));
                break;
            case FileOpened:
                End();
                break;
            case WalHeld or FileClosed:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- to the take-over ------------------------------------------------------------------------

    private void Start(RunFileRecovery run)
    {
        _run = run;
        _asker = Sender;
        IActorRef self = Self;
        _whenCancelled = run.Cancel.Register(() => self.Tell(new CancelAsked(), ActorRefs.NoSender));
        _routes.Folder.Tell(new HoldWal(_hold, Lsn.Zero)); // DR4
        Timers.StartPeriodicTimer(nameof(LookDue), new LookDue(), WalAllowance.LookInterval);
    }

    private void Plan(ControlFile control)
    {
        (EngineContext engine, OpenedEngine opened, WalStart wal) = (_engine, _opened, _wal);
        (FileId file, DatafileRecoveryRequest request, Lsn end) = (_file!.Value, _run.Request, _engine.DurableLsn);
        bool isPlanOnly = _run.IsPlanOnly;
        Work(cancel =>
        {
            if (!isPlanOnly)
                SyncFoldersOfMove(engine, control, file);
            FileRecoveryRequest asked =
                FileRecoverySources.Of(engine, opened.Stores, wal.Folder, control, file, end, request);
            PlannedFileRecovery planned = FileRecoveryPlanner.Plan(asked, cancel);
            if (!isPlanOnly)
                HoldStores(engine, planned, asked);
            return planned;
        });
    }

    private void TakeResult(object result)
    {
        switch (result)
        {
            case Made made when _failure is not null || !_isTakenOver:
                if (_engine.HandOver.Take(made.File))
                    made.File.Dispose();
                Finish();
                break;
            case var _ when _failure is not null:
                Finish();
                break;
            case StepFailed failed:
                Fail(failed.Error is OperationCanceledException
                    ? Problem.From(EngineErrors.FileRecoveryCancelled(_run.Request.Datafile))
                    : Problem.From(failed.Error));
                break;
            case PlannedFileRecovery plan when _run.IsPlanOnly:
                Context.Parent.Tell(new FileRecoveryEnded(_file!.Value, null));
                _asker.Tell(new FileRecoveryPlanned(plan.Plan));
                Context.Stop(Self);
                break;
            case PlannedFileRecovery plan:
                _plan = plan;
                _pace = new RecoveryPace(_engine.Clock)
                {
                    CopyBytes = plan.Plan.BytesToCopy,
                    From = plan.Base.From,
                    Through = plan.Base.From,
                    To = plan.Request.End,
                };
                _routes.Folder.Tell(new HoldWal(_hold, plan.Base.From));
                _isTakenOver = true;
                Context.Parent.Tell(new TakeFileOver(_file!.Value));
                break;
            case SettledMove settled:
                NoteSettled(settled);
                break;
            case Made made:
                _log.Info(
                    "Datafile {0} lies at {1} as of {2} and is replayed to {3}", _run.Request.Datafile, made.File.Path,
                    made.File.CheckpointLsn, _end);
                _replayed = made.File;
                Context.Parent.Tell(new StartNewDatafile(
                    _file!.Value, _run.Request.Datafile, made.File, made.File.Meta.Lineage, _plan!.Base.From));
                break;
            case ReplayRead read:
                TakeReplay(read);
                break;
            default:
                throw new BugException($"No next step after {result}.");
        }
    }

    /// <summary>
    /// On the worker, of which the actor awaits the end: expire keeps what was planned, and what it took before it could
    /// know of that refuses the recovery, with nothing touched (H48).
    /// </summary>
    private void HoldStores(EngineContext engine, PlannedFileRecovery planned, FileRecoveryRequest asked)
    {
        IArchiveStore[] stores = [.. asked.Archives.Concat(asked.SetStores).DistinctBy(static store => store.Place)];
        _storesHeld = RestoreHold.Of(planned.Plan, engine.Folder, stores, engine.Clock);
        string own = asked.Local().Name; // that WAL is held by the database's folder, and nothing that expire takes (DR4)
        IEnumerable<PlannedWal> stored = planned.Plan.Wal.Where(wal => wal.Source != own);
        _storesHeld.While((planned.Base as FileBase.OfSet)?.Set, stored, stores, static _ => { });
    }

    /// <summary>No commit names the file from here on; what was stamped before ends with the LSN of the answer (H40).</summary>
    private void CloseToCommits()
    {
        _isClosing = true;
        _routes.WalWriter.Tell(new CloseFile(_file!.Value, IsGone: true, Why()));
    }

    private void TakeClosed(Lsn lastStamped)
    {
        _isClosing = false;
        _end = lastStamped;
        _pace!.To = _end;
        if (!_owner.IsNobody())
        {
            BeginReplay(); // once more, from where it is
            return;
        }

        Timers.StartPeriodicTimer(nameof(PaceDue), new PaceDue(), PaceInterval);
        _routes.ControlFile.Tell(new GetControlFile()); // what was asked of the catalogue before has happened
    }

    /// <summary>DR3: whoever had it has closed it.</summary>
    private void Make(ControlFile control)
    {
        if (control.Catalogue.File(_file!.Value) is not { } file)
        {
            Fail(Problem.From(EngineErrors.DatafileUnknown(_run.Request.Datafile)));
            return;
        }

        if (!_isMoveSettled && control.MoveOf(file.Id) is { } move)
        {
            SettleMove(control, file, move); // then the control file's answer comes here again
            return;
        }

        (EngineContext engine, PlannedFileRecovery plan, Datafile? former) = (_engine, _plan!, _former);
        (RecoveryPace pace, RestoreHold? held, ProcessorShare share) = (_pace!, _storesHeld, PaceOf(busyThreads: 1));
        Work(cancel =>
        {
            former?.AwaitClosed();
            plan.RequirePlace();
            share.BeginPiece();
            return new Made(engine.HandOver.Give(RecoveredFile.Make(plan, Copied, cancel), static file => file.Dispose()));
        });

        void Copied(int bytes)
        {
            pace.Copied(bytes);
            held?.RenewIfDue();
            share.EndPiece();
        }
    }

    // ---- ends ------------------------------------------------------------------------------------

    private void End()
    {
        PlannedFileRecovery plan = _plan!;
        _log.Info(
            "Datafile {0} serves again, recovered to {1} in {2}", _run.Request.Datafile, _end,
            _engine.Clock.GetElapsedTime(_began));
        Context.Parent.Tell(new FileRecoveryEnded(_file!.Value, null));
        _asker.Tell(new FileRecovered(new DatafileRecoveryResult(
            _run.Request.Datafile, plan.Place.Path, plan.Plan.BackupId, plan.Base.From, _end, _records,
            plan.Plan.BytesToCopy, _engine.Clock.GetElapsedTime(_began).TotalSeconds)
        {
            Findings = plan.Plan.Findings,
        }));
        Context.Stop(Self);
    }

    private void Fail(Problem why)
    {
        if (_failure is not null)
            return;
        _failure = why;
        _cancel.Cancel();
        _routes.Folder.Tell(new ReleaseWal(_hold)); // though a worker hangs: what it reads is of no use any more
        if (!_isWorking)
            Finish();
    }

    /// <summary>No worker runs (DR1).</summary>
    private void Finish()
    {
        if (_isTakenOver)
            _log.Warning("Datafile {0} was not recovered: {1}", _run.Request.Datafile, _failure!.Message);
        if (_file is { } file)
            Context.Parent.Tell(new FileRecoveryEnded(file, _isTakenOver ? _failure : null));
        _asker.Tell(new RequestRefused(_failure!));
        Context.Stop(Self);
    }

    private static RestoreHold LetGo(RestoreHold held)
    {
        held.Remove();
        return held;
    }

    /// <summary>DR4, H24.</summary>
    private void LookAtWal()
    {
        if (_failure is not null || _isNoted)
            return;
        long done = _pace?.DoneBytes ?? 0;
        if (done != _doneBytes)
        {
            (_doneBytes, _movedOn) = (done, _engine.Clock.GetTimestamp());
            return;
        }

        string name = _run.Request.Datafile;
        if (_engine.Clock.GetElapsedTime(_movedOn) < StillMax
            || _allowance.WhyOver((kept, most) => EngineErrors.RecoveryKeepsTooMuchWal(name, kept, most)) is not { } why)
            return;
        _log.Warning("{0} It ends when what it waits for has answered", why.Message);
        Fail(why);
    }

    private Problem Why() => Problem.From(EngineErrors.DatafileRecovering(_run.Request.Datafile, _pace?.SecondsLeft));

    /// <summary>Callers are told when it may be ready: those who read by the slot, those who commit by WalWriter.</summary>
    private void TellPace()
    {
        if (_failure is not null || _pace is null || _engine.Slots.TryOf(_file!.Value) is not { } slot)
            return;
        _run.Request.Progress?.Report(new JobProgress(
            _owner.IsNobody() ? "copying" : "replaying", _pace.DoneBytes, _pace.TotalBytes));
        if (_isNoted)
            return; // it is about to serve
        slot.Why = Why();
        _routes.WalWriter.Tell(new CloseFile(_file.Value, IsGone: true, slot.Why));
    }

    /// <summary>DR1. What it returns comes back in a WorkerEnded.</summary>
    private void Work(Func<CancellationToken, object> work)
    {
        Invariant.Require(!_isWorking, "DR1", "a worker of this recovery still runs.");
        _isWorking = true;
        CancellationToken cancel = _cancel.Token;
        _engine.Workers.Start(
            Self, () => new WorkerEnded(work(cancel)), static error => new WorkerEnded(new StepFailed(error)));
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record CancelAsked : ILocalMessage;

    private sealed record PaceDue : ILocalMessage;

    private sealed record LookDue : ILocalMessage;

    private sealed record IsVisible : ILocalMessage;

    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Made(Datafile File);

    private sealed record StepFailed(Exception Error);
}
