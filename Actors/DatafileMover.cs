using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.MoveProtocol;

namespace Pitr.Actors;

/// <summary>
/// Moves or compacts one datafile while commits and reads go on: the steps of <see cref="MovePlan"/> or
/// <see cref="CompactPlan"/>, each begun when the one before has told its end.
/// </summary>
/// <remarks>
/// INVARIANTS
///   DM1  One worker at a time.
///   DM2  The file is switched only if its fence was held from before the copy's first byte; that the DatafileActor
///        sees to (H20).
///   DM3  What is left over is removed only when the control file names the winner, durably; the move is forgotten only
///        when that is gone.
///   DM4  Who asked gets the answer when names are gone, and the next move of the file may begin; the room of what has
///        no name any more is given back behind that, by a <see cref="RoomReturn"/>.
///
/// A failure or cancellation before the switch ends the fence, removes the copy and has the move forgotten, in this
/// order; what can't be done of that is left to the next opening, which finds the note. Once the switch is asked for,
/// its answer decides.
/// A crash of it: its fence ends with it (death watch), and the next opening settles what it left. Until then the
/// datafile is moved no second time.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed class DatafileMover : UntypedActor, IWithTimers
{
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(10);

    private readonly EngineContext _engine;
    private readonly EngineRoutes _routes;
    private readonly SystemIdentifier _system;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly long _began;
    private MoverJob _job = null!;
    private IActorRef _asker = ActorRefs.Nobody;
    private CancellationTokenRegistration _whenCancelled;
    private CancellationTokenSource? _step; // of the worker that runs; null if none does (DM1)
    private PlannedMove? _note;
    private bool _isNoted;
    private bool _isWaiting; // for the control file, the datafile's owner, or its answer
    private IActorRef _owner = ActorRefs.Nobody;
    private Fenced? _fence;
    private long _fencedAt;
    private double _fencedSeconds;
    private SwitchableCopy? _copy;
    private bool _isSwitched;
    private bool _isSwitchNoted;
    private Problem? _failure;
    private bool _isFenceGivenBack;
    private bool _isUndoing;

    public DatafileMover(EngineContext engine, SystemIdentifier system, EngineRoutes routes)
    {
        _engine = engine;
        _system = system;
        _routes = routes;
        _began = engine.Clock.GetTimestamp();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, SystemIdentifier system, EngineRoutes routes) =>
        ActorProps.Of(() => new DatafileMover(engine, system, routes));

    /// <summary>An answer after the first is nobody's: the asker has gone.</summary>
    protected override void PostStop()
    {
        _whenCancelled.Unregister();
        _step?.Cancel();
        Context.Parent.Tell(new MoverEnds());
        _asker.Tell(new RequestRefused(_failure ?? Problem.From(EngineErrors.ShuttingDown())));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case RunMover run:
                Start(run);
                break;
            case CancelAsked:
                Fail(Problem.From(_job.Cancelled()));
                break;
            case EndJob:
                Fail(Problem.From(EngineErrors.ShuttingDown()));
                break;
            case WorkerEnded ended:
                _step!.Dispose();
                _step = null;
                TakeResult(ended.Result);
                break;
            case ControlFileChanged:
                _isWaiting = false;
                TakeControlFile(why: null);
                break;
            case RequestRefused refused:
                _isWaiting = false;
                TakeControlFile(refused.Why);
                break;
            case DatafileFound found:
                _isWaiting = false;
                AskForFence(found.Owner);
                break;
            case Fenced fenced:
                _isWaiting = false;
                TakeFence(fenced);
                break;
            case FenceRefused refused:
                _isWaiting = false;
                Fail(refused.Why);
                break;
            case RenewDue when _fence is not null:
                _owner.Tell(new RenewFence(_fence.Token, Lease));
                break;
            case RenewDue or FenceRenewed:
                break;
            case DatafileSwitched switched:
                _isWaiting = false;
                TakeSwitched(switched.IsNoted);
                break;
            case SwitchRefused refused:
                _isWaiting = false;
                Fail(refused.Why);
                break;
            case SwitchUndecided undecided: // the note stays: the next opening decides, or the file's recovery
                Refuse(undecided.Why);
                break;
            case Unfenced unfenced when unfenced.Token == _fence?.Token:
                TakeEndOfFence(why: null);
                break;
            case FenceBroken broken when broken.Token == _fence?.Token:
                TakeEndOfFence(broken.Why);
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner):
                OwnerEnded();
                break;
            case Unfenced or FenceBroken or Terminated:
                break; // of a fence that has ended
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- to the switch ---------------------------------------------------------------------------

    private void Start(RunMover run)
    {
        MoverJob job = _job = run.Job;
        _asker = Sender;
        IActorRef self = Self;
        _whenCancelled = run.Cancel.Register(() => self.Tell(new CancelAsked(), ActorRefs.NoSender));
        EngineContext engine = _engine;
        Work(_ => new Planned(job.Plan(engine)));
    }

    private void TakeResult(object result)
    {
        switch (result)
        {
            case StepFailed failed when _isSwitched:
                _log.Warning(
                    "Datafile {0}, {1}: what is left over stays until the next opening: {2}", _job.Datafile, _job.Words,
                    failed.Error.Message);
                End();
                break;
            case StepFailed failed when _failure is null:
                Fail(failed.Error is OperationCanceledException
                    ? Problem.From(_job.Cancelled())
                    : Problem.From(failed.Error));
                break;
            case StepFailed failed when _isUndoing:
                _log.Warning(
                    "The copy of datafile {0} stays until the next opening: {1}", _job.Datafile, failed.Error.Message);
                Refuse(_failure!);
                break;
            case var _ when _failure is not null:
                if (_isUndoing)
                    LetCopyGo();
                Undo();
                break;
            case Planned planned:
                _note = planned.Note;
                ChangeControl(now => now.WithMove(planned.Note));
                break;
            case Copied:
                _isWaiting = true;
                _owner.Tell(new SwitchDatafile(_fence!.Token, _copy!, _routes.WalWriter));
                break;
            case Removed removed:
                foreach (string line in removed.Told)
                    _log.Info("Datafile {0}, {1}: {2}", _job.Datafile, _job.Words, line);
                if (removed.IsAll)
                    ChangeControl(_job.Settle);
                else
                    End();
                break;
            default:
                throw new BugException($"No next step after {result}.");
        }
    }

    private void TakeControlFile(Problem? why)
    {
        if (_isSwitched)
        {
            if (why is not null) // the next opening finds nothing to do, and forgets it
                _log.Warning("Datafile {0}, {1}: it is still noted: {2}", _job.Datafile, _job.Words, why.Message);
            End();
        }
        else if (_isNoted)
        {
            Refuse(_failure!); // it was undone, and is forgotten, or will be
        }
        else if (why is not null)
        {
            Fail(why);
        }
        else
        {
            _isNoted = true;
            if (_failure is not null)
            {
                Undo();
                return;
            }

            _isWaiting = true;
            Context.Parent.Tell(new FindDatafile(_note!.FileId));
        }
    }

    private void AskForFence(IActorRef? owner)
    {
        if (_failure is not null)
        {
            Undo();
        }
        else if (owner is null)
        {
            Fail(_engine.Slots.TryOf(_note!.FileId)?.Why
                ?? Problem.From(EngineErrors.DatafileUnknown(_job.Datafile)));
        }
        else
        {
            _isWaiting = true;
            _owner = Context.Watch(owner);
            _owner.Tell(new Fence(_job.Datafile, Self, Self.Path.ToString(), _job.Words, Lease));
        }
    }

    private void TakeFence(Fenced fenced)
    {
        _fence = fenced;
        _fencedAt = _engine.Clock.GetTimestamp();
        if (_failure is not null)
        {
            Undo();
            return;
        }

        Timers.StartPeriodicTimer(nameof(RenewDue), new RenewDue(), Lease / 3);
        Work(cancel => CopyAndVerify(fenced, cancel));
    }

    private Copied CopyAndVerify(Fenced fenced, CancellationToken cancel)
    {
        // before its first byte, so that a failure finds what there is to remove
        _copy = _engine.HandOver.Give(_job.CopyOf(_engine, fenced), static copy => copy.Dispose());
        _job.Fill(_engine, cancel);
        return new Copied();
    }

    // ---- after the switch ------------------------------------------------------------------------

    private void TakeSwitched(bool isNoted)
    {
        _isSwitched = true;
        _failure = null; // whatever it was, it came too late
        _isSwitchNoted = isNoted;
        _note = isNoted ? _note! with { Winner = _note.To } : _note;
        LetCopyGo();
        if (_fence is null)
            RemoveLeftOvers();
        else
            GiveFenceBack();
    }

    private void GiveFenceBack()
    {
        if (_isFenceGivenBack)
            return;
        _isFenceGivenBack = true;
        Timers.Cancel(nameof(RenewDue)); // until Unfenced comes the token is void: the answer would be FenceBroken
        _owner.Tell(new Unfence(_fence!.Token));
    }

    /// <summary>The fence was given back, or broken: after the switch it has done what it was for.</summary>
    private void TakeEndOfFence(Problem? why)
    {
        Timers.Cancel(nameof(RenewDue)); // also of one that was broken
        _fencedSeconds = _engine.Clock.GetElapsedTime(_fencedAt).TotalSeconds;
        _fence = null;
        if (_isSwitched)
            RemoveLeftOvers();
        else if (_failure is not null)
            Undo();
        else
            Fail(why ?? Problem.From(EngineErrors.FenceUnknown(default)));
    }

    /// <summary>The datafile's actor is no more: it died, or the engine ends.</summary>
    private void OwnerEnded()
    {
        Problem why = Problem.From(
            EngineErrors.DatafileNeedsRecovery(_job.Datafile, $"its actor ended ({_job.Words})."));
        bool isSwitching = _copy is not null && _step is null && _isWaiting;
        _owner = ActorRefs.Nobody;
        _fence = null;
        if (_isSwitched && _step is not null)
            return; // what is left over is being removed
        else if (_isSwitched)
            End(); // the next opening removes what is left over
        else if (isSwitching)
            Refuse(why); // whether it had come to the switch the next opening sees
        else
        {
            _isWaiting = false;
            Fail(why);
            Undo();
        }
    }

    /// <summary>DM3. Without a note of the winner the next opening does it.</summary>
    private void RemoveLeftOvers()
    {
        if (!_job.LeavesFiles)
        {
            if (_isSwitchNoted)
                End();
            else
                ChangeControl(_job.Settle); // once more; else the next opening finds the note
            return;
        }

        PlannedMove note = _note!;
        bool isReadable = _engine.Slots.TryOf(note.FileId)?.File is not null; // else the former file may be the better one
        if (note.Winner is null || !isReadable)
        {
            _log.Warning("What the move of datafile {0} left over stays until the next opening.", _job.Datafile);
            End();
            return;
        }

        EngineContext engine = _engine;
        SystemIdentifier system = _system;
        Action<NamelessFile> returnRoom = RoomReturn.Through(engine, Context.Parent); // DM4
        Work(_ =>
        {
            engine.Epochs.Collect(); // closes the former file, unless it is read: with its lock held it could not be cut
            var settlement = new MoveSettlement(engine.FileSystem, engine.Folder, note.Place, system)
            {
                IsOwner = true,
                TakesNameless = returnRoom,
                CutBytes = engine.PacedWriter.CutBytes,
            };
            bool isAll = settlement.Remove(note, engine.Catalogue.Catalogue);
            return new Removed(isAll, settlement.Told);
        });
    }

    private void End()
    {
        object ended = _job.Ended(_engine, _engine.Clock.GetElapsedTime(_began).TotalSeconds, _fencedSeconds);
        _log.Info("Datafile {0}: {1}", _job.Datafile, ended);
        _asker.Tell(ended);
        Context.Stop(Self);
    }

    // ---- failures --------------------------------------------------------------------------------

    private void Fail(Problem why)
    {
        if (_isSwitched)
            return;
        if (_failure is null)
        {
            _failure = why;
            _log.Warning("Datafile {0}, {1}: it failed: {2}", _job.Datafile, _job.Words, why.Message);
        }

        Undo();
    }

    /// <summary>The next step back; each one's end comes here again.</summary>
    private void Undo()
    {
        if (_step is not null)
            _step.Cancel();
        else if (_fence is not null)
            GiveFenceBack(); // if the switch was asked for, its answer comes first
        else if (_isWaiting)
            return; // for an answer that may still be good news
        else if (_copy is { } copy)
            Remove(copy);
        else if (_isNoted)
            ForgetMove();
        else
            Refuse(_failure!);
    }

    private void Remove(SwitchableCopy copy)
    {
        _isUndoing = true;
        Work(_ =>
        {
            copy.Remove();
            return new Removed(true, []);
        });
    }

    private void ForgetMove()
    {
        FileId file = _note!.FileId;
        ChangeControl(now => now.WithoutMove(file));
    }

    private void Refuse(Problem why)
    {
        _failure = why;
        LetCopyGo();
        Context.Stop(Self); // PostStop tells it
    }

    private void LetCopyGo()
    {
        if (_copy is { } copy && _engine.HandOver.Take(copy))
            copy.Dispose();
        _copy = null;
    }

    // ---- parts -----------------------------------------------------------------------------------

    private void ChangeControl(Func<ControlFile, ControlFile> change)
    {
        _isWaiting = true;
        _routes.ControlFile.Tell(new ChangeControlFile(change));
    }

    /// <summary>DM1. What it returns comes back in a WorkerEnded.</summary>
    private void Work(Func<CancellationToken, object> work)
    {
        Invariant.Require(_step is null, "DM1", "a worker of this move still runs.");
        _step = new CancellationTokenSource();
        CancellationToken cancel = _step.Token;
        _engine.Workers.Start(
            Self, () => new WorkerEnded(work(cancel)), static error => new WorkerEnded(new StepFailed(error)));
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record CancelAsked : ILocalMessage;

    private sealed record RenewDue : ILocalMessage;

    /// <summary>A worker of this move has ended: with Planned, Copied, Removed or StepFailed.</summary>
    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Planned(PlannedMove Note);

    private sealed record Copied;

    private sealed record Removed(bool IsAll, IReadOnlyList<string> Told);

    private sealed record StepFailed(Exception Error);
}
