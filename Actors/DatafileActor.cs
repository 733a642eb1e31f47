using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>Owns one datafile: decides in which order things happen to it, and who may hold it still.</summary>
/// <remarks>
/// Invariants (each is named in a test):
///   F1  The state is Fenced if and only if at least one fence is held.
///   F2  While Fenced no flush runs: one that ran before has ended, none is started (H13).
///   F3  ApplyPart is taken in every state but NeedsRecovery. A fence never stalls a commit.
///   F4  Once FenceBroken was sent for a token, Unfenced never is.
///   F5  A seal takes effect only after a last part, at that LSN or above (H1).
///   F6  A new root is published only once visible LSN has reached what it holds.
///   F7  Fenced is answered only after the control file noted the generation (H16) and a lagging meta page was brought
///       up to date (H22).
///   F8  Switching is entered from Fenced, with one fence and no spill under way; it ends in Fenced or Offline. What would end the fence
///       waits meanwhile, and nothing is flushed (H20).
/// A crash of this actor means that its buffers are lost: it is stopped, not restarted, and the file needs recovery. So
/// does damage that a read or a flush meets; then the actor stays, to say so. Its parts: <see cref="Datafile"/> (all
/// about bytes), <see cref="DatafileProgress"/> (how far it is),
/// <see cref="FenceBook"/>, <see cref="FlushRun"/> (one runs at a time), <see cref="DatafileReplay"/>.
/// </remarks>
internal sealed partial class DatafileActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan RetryAfterFullDisk = TimeSpan.FromSeconds(5);

    private readonly EngineContext _engine;
    private readonly FileSlot _slot;
    private readonly Datafile _file;
    private readonly IActorRef _controlFile;
    private readonly DatafileProgress _progress;
    private readonly DatafileReplay _replay;
    private readonly FenceDesk _fences;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private DatafileState _state;
    private FlushRun? _flush;
    private IActorRef _closedTo = ActorRefs.Nobody;
    private bool _isNoteAsked;
    private bool _isFlushAsked;
    private bool _isClosing;
    private bool _isLetGo;
    private bool _isLetGoDone;

    public DatafileActor(EngineContext engine, FileSlot slot, Datafile file, DatafileStart start, IActorRef controlFile)
    {
        _engine = engine;
        _slot = slot;
        _file = file;
        _controlFile = controlFile;
        _progress = new DatafileProgress(slot.Id, file, start);
        _replay = new DatafileReplay(file, _progress, engine.Draw);
        _fences = new FenceDesk(engine, slot, file, Context, () => Timers);
        _state = start.IsRecovering ? DatafileState.Recovering : DatafileState.Open;
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(
        EngineContext engine, FileSlot slot, Datafile file, DatafileStart start, IActorRef controlFile) =>
        ActorProps.Of(() => new DatafileActor(engine, slot, file, start, controlFile))
            .WithDispatcher(EngineConfig.DatafileDispatcher);

    protected override void PreStart()
    {
        IActorRef self = Self;
        _file.WhenDamaged = damage => self.Tell(new PageDamaged(damage), ActorRefs.NoSender);
        if (_state != DatafileState.Recovering)
            _slot.File = _file;
        Enter(_state, "opened");
    }

    // ---- states ----------------------------------------------------------------------------------

    protected override void OnReceive(object message) => WhenOpen(message);

    private void WhenOpen(object message)
    {
        switch (message)
        {
            case Seal request:
                TakeSeal(request);
                break;
            case Fence fence:
                AskForFence(fence);
                break;
            case FlushNow:
                StartFlush("retried");
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void WhenFlushing(object message)
    {
        switch (message)
        {
            case Seal request:
                TakeSeal(request);
                break;
            case Fence fence:
                AskForFence(fence); // F2: the flush first
                break;
            case FlushOutcome.Ended when _isClosing:
                _flush!.NoteOutcome();
                CloseIfIdle(); // durable; the control file may know less (H16)
                break;
            case FlushOutcome.Ended:
                _flush!.NoteOutcome();
                _engine.Visibility.WhenVisible(_flush.Job.CheckpointLsn, Self, new FlushVisible(_flush.Job)); // F6
                break;
            case FlushVisible visible when visible.Job == _flush?.Job:
                PublishFlush();
                break;
            case FlushOutcome.Dropped dropped:
                DropFlush(dropped.Why);
                break;
            case FileNoted noted:
                GrantWaiting(noted);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void WhenFenced(object message)
    {
        switch (message)
        {
            case Fence fence:
                _fences.Take(fence, Sender);
                if (_switch is null)
                    _fences.GrantWaiting(); // several holders at once: the last one out unfences
                break;
            case SwitchDatafile request:
                TakeSwitch(request);
                break;
            case SwitchIsOver when _switch is null:
                _fences.GrantWaiting();
                break;
            case Unfence unfence when _fences.Book.Holds(unfence.Token):
                _fences.Leave(unfence.Token, Sender);
                FlushIfLeft("unfenced");
                break;
            case LeaseEnded lease when _fences.Book.Holds(lease.Token):
                Break([lease.Token], Problem.From(EngineErrors.LeaseEnded(_slot.Name)));
                break;
            case Terminated dead:
                Break(_fences.Book.HeldBy(dead.ActorRef), Problem.From(EngineErrors.HolderDied(_slot.Name)));
                break;
            case BreakFences all:
                Break(_fences.Book.Tokens, all.Why);
                break;
            case EndFences { Break: not null } end:
                _fences.Close(end, Sender);
                FlushIfLeft(end.Break.Message);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>
    /// Buffers and pages go on serving reads; what was stamped is still applied; nothing is written any more.
    /// </summary>
    private void WhenOffline(object message)
    {
        switch (message)
        {
            case ApplyReplay replay: // a flush failed on the way: the others' replay goes on
                Sender.Tell(new ReplayApplied(_slot.Id, _replay.Apply(replay.Batch)));
                break;
            case ReplayDropTable drop:
                _replay.DropTable(drop);
                break;
            case EndReplay:
                _file.KeepVersions = true;
                _slot.File = _file;
                Sender.Tell(new ReplayEnded(_slot.Id));
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>
    /// Neither commits nor reads: a page is damaged. WalWriter counts the file as gone, so that nothing that was
    /// stamped for it may be looked at any more. The actor stays to say so, and to close the file.
    /// </summary>
    private void WhenNeedsRecovery(object message)
    {
        switch (message)
        {
            case ApplyPart or TableDropped or ReplayDropTable or PageDamaged:
                break;
            case FlushOutcome:
                _flush?.NoteOutcome();
                CloseIfIdle();
                break;
            case ApplyReplay replay:
                int changes = replay.Batch.ChangeCount;
                replay.Batch.Recycle();
                Sender.Tell(new ReplayApplied(_slot.Id, changes));
                break;
            case EndReplay:
                Sender.Tell(new ReplayEnded(_slot.Id));
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void WhenRecovering(object message)
    {
        switch (message)
        {
            case ApplyReplay replay:
                Sender.Tell(new ReplayApplied(_slot.Id, _replay.Apply(replay.Batch)));
                break;
            case FlushOutcome.Ended when _isClosing:
                _flush!.NoteOutcome();
                CloseIfIdle();
                break;
            case FlushOutcome.Ended:
                _flush!.NoteOutcome();
                CompleteFlush(); // nobody reads a file while it is replayed
                FinishRestoreIfDue();
                break;
            case FlushOutcome.Dropped dropped:
                GoOffline(Problem.From(dropped.Why));
                break;
            case SealReplay request:
                _progress.Await(request.Lsn, request.ReplyTo);
                if (_replay.SealAt(request) is { } job)
                    RunFlush(job);
                else
                    AnswerSeals();
                break;
            case ReplayDropTable drop:
                _replay.DropTable(drop);
                break;
            case FinishRestore finish:
                _replay.BeginFinish(finish, Sender);
                FinishRestoreIfDue();
                break;
            case EndReplay end:
                _replay.End(end);
                _slot.File = _file;
                _slot.Why = null;
                Enter(_flush is null ? DatafileState.Open : DatafileState.Flushing, $"replayed to {end.Lsn}");
                Sender.Tell(new ReplayEnded(_slot.Id));
                break;
            case Fence fence:
                Sender.Tell(new FenceRefused(
                    fence.Datafile, _slot.Why ?? Problem.From(EngineErrors.DatafileRecovering(_slot.Name))));
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>What holds in every state: the last arm of every state's switch.</summary>
    private void WhenAny(object message)
    {
        switch (message)
        {
            case ApplyPart part:
                Apply(part); // F3
                break;
            case TableDropped drop:
                _file.DropTable(drop.Table, drop.Lsn);
                _progress.Reach(drop.Lsn);
                _engine.Visibility.Applied(drop.Group, _slot.Id);
                break;
            case ReplayDropTable drop: // while it was recovered; its replay may have met it
                if (drop.Lsn > _file.SealedUpTo)
                    _replay.DropTable(drop);
                break;
            case Seal request:
                request.ReplyTo.Tell(SkippedNow());
                break;
            case SealReplay request:
                request.ReplyTo.Tell(SkippedNow());
                break;
            case FinishRestore:
                Sender.Tell(SkippedNow());
                break;
            case Fence fence: // offline, or in need of recovery
                Sender.Tell(new FenceRefused(fence.Datafile, _slot.Why!));
                break;
            case RenewFence renew:
                _fences.Renew(renew, Sender);
                break;
            case Unfence unfence: // F4
                _fences.RefuseToken(unfence.Token, Sender);
                break;
            case EndFences end:
                _fences.Close(end, Sender);
                break;
            case GetDatafileStatus:
                Sender.Tell(StatusNow());
                break;
            case CloseDatafile:
                _isClosing = true;
                _closedTo = Sender;
                _flush?.Drop();
                CloseIfIdle();
                break;
            case PageDamaged damage:
                NeedRecovery(Problem.From(damage.Error));
                break;
            case FlushOutcome.Failed { Cause: DamageException damage }:
                NeedRecovery(Problem.From(damage));
                break;
            case FlushOutcome.Failed failed when _state is DatafileState.Flushing or DatafileState.Recovering:
                GoOffline(Problem.From(failed.Cause));
                break;
            case FlushOutcome: // nobody waits for it any more
                _flush?.NoteOutcome();
                CloseIfIdle();
                break;
            case SwitchDatafile request: // its fence is no more
                Sender.Tell(new SwitchRefused(_fences.Book.WhyNotHeld(request.Token)));
                break;
            case SwitchEnded ended: // the file was closed, or needs recovery, meanwhile
                LetSwitchGo(ended);
                CloseIfIdle();
                break;
            case SpillEnded ended:
                TakeSpillsEnd(ended);
                break;
            case SpillVisible visible:
                TakeSpill(visible.Run);
                break;
            case Deferred deferred:
                BehaviourOf(_state)(deferred.Message);
                break;
            case EventLogged or EventRefused or ControlFileChanged or RequestRefused: // of a switch that was given up
            case FileNoted or LeaseEnded or Terminated or BreakFences or FlushVisible or FlushNow or SwitchIsOver:
                break; // who asked for it went, or the flush was dropped, while this was in the mailbox
            case FileLetGo:
                _isLetGoDone = true;
                CloseIfIdle();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Enter(DatafileState next, string why)
    {
        if (next != _state)
            _log.Debug("Datafile {0}: {1} -> {2}: {3}", _slot.Name, _state, next, why);
        _state = next;
        _slot.State = next;
        Become(BehaviourOf(next));
    }

    private UntypedReceive BehaviourOf(DatafileState state) => state switch
    {
        DatafileState.Open => WhenOpen,
        DatafileState.Flushing => WhenFlushing,
        DatafileState.Fenced => WhenFenced,
        DatafileState.Switching => WhenSwitching,
        DatafileState.Offline => WhenOffline,
        DatafileState.NeedsRecovery => WhenNeedsRecovery,
        DatafileState.Recovering => WhenRecovering,
        _ => throw new BugException($"No behaviour for state {state}."),
    };

    // ---- fences ----------------------------------------------------------------------------------

    private void AskForFence(Fence fence)
    {
        if (_fences.Take(fence, Sender) && _state == DatafileState.Open)
            PrepareFence();
    }

    /// <summary>
    /// No flush runs. Brings a lagging meta page up to date, then has the control file note the generation (F7).
    /// </summary>
    /// <remarks>
    /// A last one out whose flush was dropped, for want of room, is answered: nothing is flushed until the next holders
    /// leave, and he is not to wait for them. His copy is good: it was made before he left.
    /// </remarks>
    private void PrepareFence()
    {
        _fences.AnswerLastOut(_file.CheckpointLsn);
        SkipSeals(); // a checkpoint does not wait for a fence; a seal that is still wanted would flush under it (F2)
        Lsn clean = _file.CleanUpTo;
        if (clean > _file.CheckpointLsn)
        {
            Enter(DatafileState.Flushing, "meta page before a fence");
            RunFlush(_file.PrepareMetaFlush(_progress.Lineage, clean));
            return;
        }

        if (_isNoteAsked)
            return;
        _isNoteAsked = true;
        Enter(DatafileState.Flushing, "noting the generation before a fence");
        _controlFile.Tell(new NoteFile(CleanNow()));
    }

    private void GrantWaiting(FileNoted noted)
    {
        _isNoteAsked = false;
        if (noted.Why is not null)
            _fences.RefuseWaiting(noted.Why);
        if (_isClosing || !_fences.Book.IsWanted)
        {
            SettleAfterFlush(); // nobody waits any more
            return;
        }

        _file.IsStill = true;
        Enter(DatafileState.Fenced, "asked for");
        _fences.GrantWaiting();
    }

    private void Break(IReadOnlyList<Guid> tokens, Problem why)
    {
        _fences.Break(tokens, why);
        FlushIfLeft(why.Message);
    }

    /// <summary>F1: when the last one has left, what waited for him is flushed.</summary>
    private void FlushIfLeft(string why)
    {
        BeginSwitchIfAlone(); // or refuses it, if its own fence has ended
        if (_fences.Book.IsHeld)
            return;
        _fences.TellIfEnded();
        _file.IsStill = false;
        StartFlush(why);
    }

    // ---- failures and the end --------------------------------------------------------------------

    private void GoOffline(Problem why)
    {
        _flush?.NoteOutcome();
        _slot.Why = Problem.From(EngineErrors.DatafileOffline(_slot.Name, why));
        Enter(DatafileState.Offline, why.Message);
        SkipSeals();
        _fences.AnswerLastOut(_file.CheckpointLsn); // the copy was good before the flush began
        _fences.RefuseWaiting(_slot.Why);
        Context.Parent.Tell(new DatafileFailed(_slot.Id, _slot.Name, DatafileState.Offline, _slot.Why));
        CloseIfIdle();
    }

    /// <summary>
    /// A page is damaged: reads and commits get the typed error from now on, copies that were made under a fence are
    /// void, and the file is closed when its worker and its readers have ended (H13, H41).
    /// </summary>
    private void NeedRecovery(Problem why)
    {
        _slot.Why = Problem.From(EngineErrors.DatafileNeedsRecovery(_slot.Name, why.Message));
        _slot.File = null;
        Enter(DatafileState.NeedsRecovery, why.Message);
        SkipSeals();
        _fences.Break(_fences.Book.Tokens, _slot.Why);
        _fences.VoidLastOut(_slot.Why);
        _fences.RefuseWaiting(_slot.Why);
        _fences.TellIfEnded();
        GiveSwitchUp(_slot.Why);
        Context.Parent.Tell(new DatafileFailed(_slot.Id, _slot.Name, DatafileState.NeedsRecovery, _slot.Why));
        LetGo();
    }

    /// <summary>
    /// H13: the file is closed, and its lock released, only after the last worker that can write it has ended.
    /// </summary>
    private void CloseIfIdle()
    {
        if (!_isClosing || _flush is { IsWriting: true } || _switch is { IsWorking: true })
            return;
        if (!_isLetGo)
        {
            LetEverybodyGo();
            _slot.File = null;
            _slot.Why ??= WhyClosing();
            Become(WhenClosing);
            LetGo();
        }
        else if (_isLetGoDone)
        {
            _closedTo.Tell(new DatafileClosed(_slot.Id));
            Context.Stop(Self);
        }
    }

    /// <summary>
    /// Nothing is taken any more; whoever sends is ended by the supervisor. But for a checkpoint: while a recovery takes the
    /// file over, the others' goes on.
    /// </summary>
    private void WhenClosing(object message)
    {
        if (message is FileLetGo or Seal or Fence or Unfence or RenewFence or GetDatafileStatus or EndFences
            or SwitchDatafile)
            WhenAny(message);
    }

    /// <summary>On a worker: it waits for whoever still writes or reads.</summary>
    private void LetGo()
    {
        if (_isLetGo)
            return;
        _isLetGo = true;
        _slot.Former = _file;
        _flush?.Drop();
        Datafile file = _file;
        _engine.Workers.Start(
            Self,
            () =>
            {
                file.Dispose();
                return new FileLetGo();
            },
            static _ => new FileLetGo());
    }

    /// <summary>
    /// Whoever waits for this file is answered: a checkpoint, who wants a fence, who holds one, the last one out.
    /// </summary>
    private void LetEverybodyGo()
    {
        SkipSeals();
        EndSwitch();
        _fences.AnswerLastOut(_file.CheckpointLsn); // the copy was good before
        Problem why = WhyClosing();
        _fences.RefuseWaiting(why);
        _fences.Break(_fences.Book.Tokens, why);
        _fences.TellIfEnded();
    }

    private Problem WhyClosing() => Problem.From(
        _engine.Catalogue.Catalogue.File(_slot.Id) is null
            ? EngineErrors.DatafileUnknown(_slot.Name)
            : EngineErrors.ShuttingDown());

    /// <summary>It died or was stopped without a word: the file is closed when its worker has ended (H13).</summary>
    protected override void PostStop()
    {
        if (_isLetGo)
            return;
        LetEverybodyGo();
        _slot.File = null;
        LetGo();
    }

    // ---- answers ---------------------------------------------------------------------------------

    private FileClean CleanNow() => new(
        _slot.Id, _slot.Name, _file.Incarnation, _file.Generation, _file.CheckpointLsn, _progress.CleanUpTo);

    private SealSkipped SkippedNow() => new(_slot.Id, _slot.Name, _progress.CleanUpTo, _state);

    private DatafileStatus StatusNow() => new(
        _slot.Name, _file.Path, StateName(_state), _file.CheckpointLsn, _file.LengthBytes,
        _engine.Catalogue.Tables.Count(table => table.DatafileId == _slot.Id), _isLetGo ? 0 : _file.BufferedBytes,
        _file.LiveBytes, _file.FreeBytes, _file.PinnedBytes,
        [.. _fences.Book.All.Select(hold => new FenceStatus(
            hold.Token, hold.HolderName, hold.Reason, hold.Since, hold.Until))]);

    /// <summary>The state's word in status.</summary>
    internal static string StateName(DatafileState state) =>
        System.Text.Json.JsonNamingPolicy.CamelCase.ConvertName(state.ToString());

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record FlushVisible(FlushJob Job) : ILocalMessage;

    private sealed record FlushNow : ILocalMessage;

    private sealed record PageDamaged(DamageException Error) : ILocalMessage;

    private sealed record FileLetGo : ILocalMessage;
}

/// <summary>How a datafile's actor begins.</summary>
/// <param name="Lineage">The timeline's, for the next flush's meta page.</param>
/// <param name="CleanUpTo">What the control file knows: every change at or below is in the file.</param>
/// <param name="IsRecovering">WAL will be replayed into it before it takes commits.</param>
internal sealed record DatafileStart(Lineage Lineage, Lsn CleanUpTo, bool IsRecovering);
