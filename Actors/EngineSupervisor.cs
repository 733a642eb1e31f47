using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.FileRecoveryProtocol;
using static Pitr.Actors.MoveProtocol;
using static Pitr.Actors.RecoveryProtocol;
using static Pitr.Actors.SetProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Runs one database: opens it, starts its actors in order, decides what a failure of each means, and closes it.
/// </summary>
/// <remarks>
/// <code>
///   Opening ──▶ Recovering ──▶ Running ──▶ Closing ──▶ (stopped)
///      │            │             │            ▲
///      └────────────┴── failed ───┴────────────┘      a failure closes without checkpoint and archive
/// </code>
/// Supervision (design §8): no child is ever restarted with its state. WalWriter, control file, segment folder: the
/// engine stops. A datafile's actor: its buffers are lost, so the file needs recovery; the others go on. The
/// Checkpointer and the Archiver hold nothing: new ones are made.
/// The database lock is released only after every datafile is closed, which waits for its workers (H13), and after every
/// backup, set, move, return of room and recovery of a datafile has ended or has had
/// <see cref="PitrOptions.ArchiveShutdownWait"/> to remove what it began. A datafile that a late recovery is making has
/// a lock of its own, which that one holds.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its readers.")]
internal sealed partial class EngineSupervisor : UntypedActor, IWithUnboundedStash, IWithTimers
{
    private readonly EngineContext _engine;
    private readonly TaskCompletionSource<EngineStarted> _started;
    private readonly TaskCompletionSource _completion;
    private readonly CancellationTokenSource _stopped = new();
    private readonly DatafileOwners _datafiles;
    private readonly FileRecoveries _recoveries;
    private readonly HashSet<FileId> _replaying = [];
    private readonly CheckpointAsks _checkpoints = new();
    private readonly EngineJobs _jobs = new();
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly long _began;
    private OpenedEngine? _opened;
    private IActorRef _folder = ActorRefs.Nobody;
    private IActorRef _controlFile = ActorRefs.Nobody;
    private IActorRef _walWriter = ActorRefs.Nobody;
    private IActorRef _checkpointer = ActorRefs.Nobody;
    private IActorRef _archiver = ActorRefs.Nobody;
    private IActorRef _recovery = ActorRefs.Nobody;
    private RecoveryEnded? _recovered;
    private WalStart? _wal;
    private WalStart? _promotedWal; // of the timeline that this recovery has begun
    private Lsn _walEnd;
    private Exception? _childError;
    private Problem? _failure;
    private bool _areRecoveriesLate; // the orderly end waits for them no longer
    private Exception? _completionError;

    public EngineSupervisor(EngineContext engine, TaskCompletionSource<EngineStarted> started)
    {
        _engine = engine;
        _began = engine.Clock.GetTimestamp();
        _datafiles = new DatafileOwners(engine);
        _recoveries = new FileRecoveries(engine, _datafiles);
        _started = started;
        _completion = new TaskCompletionSource(engine.Threads.Promises);
        _ = _completion.Task.ContinueWith(
            static task =>
                task.Exception, CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
    }

    public IStash Stash { get; set; } = null!;

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, TaskCompletionSource<EngineStarted> started) =>
        ActorProps.Of(() => new EngineSupervisor(engine, started));

    protected override SupervisorStrategy SupervisorStrategy() => new OneForOneStrategy(
        error =>
        {
            _log.Error(error, "An actor of the engine failed.");
            _childError = error;
            return Directive.Stop; // never a restart: it would be a retry with lost state
        });

    protected override void PreStart()
    {
        EngineContext engine = _engine;
        engine.Workers.Start(
            Self, () => engine.HandOver.Give(EngineOpening.Open(engine), static opened => opened.LetGo()),
            static error => new OpeningFailed(error));
    }

    /// <summary>However it ended, nobody waits for ever.</summary>
    protected override void PostStop() => Finish();

    /// <summary>
    /// A bug of this actor ends the engine: the guardian above would begin it anew, unseen and with the lock.
    /// </summary>
    protected override void PreRestart(Exception reason, object message)
    {
        _completionError ??= reason;
        base.PreRestart(reason, message);
    }

    protected override void PostRestart(Exception reason) => Context.Stop(Self);

    // ---- states ----------------------------------------------------------------------------------

    protected override void OnReceive(object message) => WhenOpening(message);

    private void WhenOpening(object message)
    {
        switch (message)
        {
            case OpenedEngine opened:
                _engine.HandOver.Take(opened);
                _opened = opened;
                StartRecovery(opened);
                break;
            case OpeningFailed failed:
                _completionError = failed.Error;
                Context.Stop(Self);
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    private void WhenRecovering(object message)
    {
        switch (message)
        {
            case StartNewDatafile start:
                AddDatafile(start, isRecovering: true);
                Sender.Tell(new NewDatafileStarted(start.File, _datafiles[start.File]));
                break;
            case StopDroppedDatafile stop:
                StopDropped(stop);
                break;
            case DroppedClosed closed:
                ForgetDropped(closed);
                break;
            case RecoveryEnded ended:
                EndReplays(ended);
                break;
            case ReplayEnded ended:
                _replaying.Remove(ended.File);
                StartIfReplaysEnded();
                break;
            case RecoveryFailed failed:
                Fail(failed.Error is PitrException ours ? Problem.From(ours)
                    : Problem.From(failed.Error), failed.Error);
                break;
            case DatafileFailed failed:
                DatafileHasFailed(failed);
                break;
            case WalFailed failed:
                Fail(failed.Why, null);
                break;
            case Terminated dead when _datafiles.TryFileOf(dead.ActorRef, out _) || dead.ActorRef.Equals(_recovery):
                // Replay waits for its answer: a refusal to open, not a hang.
                Fail(DeathOf(dead.ActorRef), null);
                break;
            case Terminated dead:
                ChildDied(dead.ActorRef);
                _replaying.IntersectWith(_datafiles.All.Keys);
                StartIfReplaysEnded();
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    private void WhenRunning(object message)
    {
        switch (message)
        {
            case Fence fence:
                _datafiles.Route(fence, Sender);
                break;
            case BeginSet:
                _jobs.Start(SetKeeper.PropsFor(_engine, _opened!, _wal!, Routes()), message, Context, Sender);
                break;
            case RunBackup:
                _jobs.Start(BackupRunner.PropsFor(_engine, _opened!, _wal!, Routes(), _jobs.HasNoBackup), message, Context, Sender);
                break;
            case RunMover run when _recoveries.WhyNotMoved(run.Job.Datafile) is { } why:
                Sender.Tell(new RequestRefused(why));
                break;
            case RunMover:
                _jobs.Start(
                    DatafileMover.PropsFor(_engine, _opened!.ControlFile.SystemId, Routes()), message, Context, Sender);
                break;
            case RunFileRecovery run:
                Context.Watch(
                    Context.ActorOf(DatafileRecoverer.PropsFor(_engine, _opened!, _wal!, Routes()))).Forward(run);
                break;
            case ClaimFile claim:
                Sender.Tell(_recoveries.Claim(claim, Sender, _jobs.MoverOf(claim.Datafile)));
                break;
            case TakeFileOver take:
                _recoveries.TakeOver(take.File, Sender, Self);
                break;
            case AddStore or RemoveStore or SeeArchive:
                _archiver.Forward(message);
                break;
            case ShutDown shutDown:
                BeginShutdown(shutDown.Force);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>
    /// New fences are refused; commits and held fences go on until the last of them has left (design §5, promise 5).
    /// </summary>
    private void WhenWaitingForFences(object message)
    {
        switch (message)
        {
            case FencesEnded ended:
                NoteFencesEnded(ended.File);
                break;
            case ShutDown { Force: true }:
                _datafiles.EndFences(isForced: true);
                break;
            case RecoveriesAreLate:
                _areRecoveriesLate = true;
                CloseIfFencesEnded();
                break;
            case Terminated dead when _datafiles.TryFileOf(dead.ActorRef, out FileId died):
                WhenAny(message);
                NoteFencesEnded(died);
                break;
            case DroppedClosed closed:
                WhenAny(message);
                NoteFencesEnded(closed.File);
                break;
            case DatafileClosed closed: // of a recovery that was given up
                WhenAny(message);
                NoteFencesEnded(closed.File);
                CloseIfFencesEnded();
                break;
            case FileRecoveryEnded or Terminated:
                WhenAny(message);
                CloseIfFencesEnded();
                break;
            default:
                WhenEnding(message);
                break;
        }
    }

    /// <summary>Checkpoint, end of WAL, archive, control file, datafiles: each step's answer starts the next.</summary>
    private void WhenClosing(object message)
    {
        switch (message)
        {
            // the last one, which this actor had asked for
            case CheckpointEnded or RequestRefused when Sender.Equals(Self):
                _walWriter.Tell(new CloseWal());
                break;
            case Terminated checkpointer when checkpointer.ActorRef.Equals(_checkpointer):
                _checkpoints.RefuseAll(new RequestRefused(Problem.From(EngineErrors.CheckpointLost())), Self);
                break;
            case WalClosed closed:
                _walEnd = closed.End;
                _archiver.Tell(new DrainArchive());
                break;
            case ArchiveDrained drained:
                _engine.ArchiveLeft = drained.Left;
                if (drained.Left is not null)
                    _log.Warning("The archive lacks what the shutdown could not ship: {0}", drained.Left);
                Lsn end = _walEnd;
                _controlFile.Tell(
                    new ChangeControlFile(now => now with { State = EngineState.CleanShutdown, KnownEndOfWal = end }));
                break;
            case Terminated archiver when archiver.ActorRef.Equals(_archiver):
                Self.Tell(new ArchiveDrained("its archiver died"));
                break;
            case ControlFileChanged or RequestRefused when Sender.Equals(_controlFile):
                CloseDatafiles();
                break;
            default:
                WhenEnding(message);
                break;
        }
    }

    /// <summary>What holds once a shutdown has begun: nothing new begins.</summary>
    private void WhenEnding(object message)
    {
        switch (message)
        {
            case Fence fence:
                Sender.Tell(new FenceRefused(fence.Datafile, Problem.From(EngineErrors.ShuttingDown())));
                break;
            case RunBackup or RunMover or BeginSet or RunFileRecovery or ClaimFile or TakeFileOver or AddStore
                or RemoveStore or SeeArchive:
                Sender.Tell(new RequestRefused(Problem.From(EngineErrors.ShuttingDown())));
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void WhenClosingDatafiles(object message)
    {
        switch (message)
        {
            case DatafileClosed closed:
                if (!_recoveries.NoteOwnerEnded(Sender, ForgetOwner))
                    _datafiles.Remove(closed.File, out _);
                EndIfClosed();
                break;
            case Terminated dead:
                _recoveries.NoteOwnerEnded(dead.ActorRef, ForgetOwner);
                if (_jobs.NoteEnd(dead.ActorRef) | _datafiles.Remove(dead.ActorRef, out _)
                    | _recoveries.TryEnd(dead.ActorRef, out _))
                    EndIfClosed();
                break;
            case JobsTimeIsUp:
                _log.Warning(
                    "A backup, a set, a move or a recovery has not removed what it began, or a former file is not closed: "
                    + "its store or disk does not answer.");
                Context.Stop(Self);
                break;
            case FindDatafile find:
                Sender.Tell(new DatafileFound(find.File, Owner: null));
                break;
            case ReturnRoom request:
                _jobs.ReturnRoom(request, _engine, Context);
                break;
            case FileRecoveryEnded ended:
                _recoveries.End(ended.File);
                EndIfClosed();
                break;
            case Fence fence:
                Sender.Tell(new FenceRefused(fence.Datafile, Problem.From(EngineErrors.ShuttingDown())));
                break;
            case RunBackup or RunMover or BeginSet or GetStatus or RunCheckpoint or RunFileRecovery or ClaimFile
                or TakeFileOver or AddStore or RemoveStore or SeeArchive:
                Sender.Tell(new RequestRefused(Problem.From(EngineErrors.ShuttingDown())));
                break;
            default:
                break;
        }
    }

    private void WhenAny(object message)
    {
        switch (message)
        {
            case RenewFence renew:
                _datafiles.Route(renew.Token, renew, Sender);
                break;
            case Unfence unfence:
                _datafiles.Route(unfence, Sender, Context);
                break;
            case GetStatus:
                StatusReport.Collect(_engine, _opened!, [.. _datafiles.All.Values], _archiver, _controlFile)
                    .PipeTo(Sender, Self, failure: static error => new RequestRefused(Problem.From(error)));
                break;
            case FindDatafile find:
                Sender.Tell(
                    new DatafileFound(find.File, _datafiles.TryGet(find.File, out IActorRef? found) ? found : null));
                break;
            case BreakFencesOf order:
                if (_datafiles.TryGet(order.File, out IActorRef? fenced))
                    fenced.Tell(new BreakFences(order.Why));
                break;
            case ReturnRoom request:
                _jobs.ReturnRoom(request, _engine, Context);
                break;
            case MoverEnds:
                _jobs.NoteMoverEnds(Sender);
                break;
            case CheckpointWanted wanted:
                _checkpointer.Tell(wanted);
                break;
            case RunCheckpoint:
                _checkpoints.Ask(Sender, _checkpointer, Self);
                break;
            case CheckpointEnded or RequestRefused when Sender.Equals(_checkpointer):
                _checkpoints.Answer(message, _checkpointer, Self);
                break;
            case StartNewDatafile start when _recoveries.Has(start.File):
                AddDatafile(start, isRecovering: true, _recoveries.NextName(start.Name));
                Sender.Tell(new NewDatafileStarted(start.File, _datafiles[start.File]));
                break;
            case FileRecoveryEnded ended:
                if (_recoveries.End(ended.File) && ended.Why is { } why)
                    EndInNeed(ended.File, why);
                break;
            case DatafileClosed closed:
                NoteClosed(closed.File);
                break;
            case StartNewDatafile start:
                AddDatafile(start, isRecovering: false);
                IActorRef asker = Sender;
                _walWriter.Tell(new OpenFile(start.File, start.Name, _datafiles[start.File]), asker);
                asker.Tell(new NewDatafileStarted(start.File, _datafiles[start.File]));
                break;
            case StopDroppedDatafile stop:
                StopDropped(stop);
                break;
            case DroppedClosed closed:
                ForgetDropped(closed);
                break;
            case DatafileFailed failed:
                DatafileHasFailed(failed);
                break;
            case WalFailed failed:
                Fail(failed.Why, null);
                break;
            case Terminated dead:
                ChildDied(dead.ActorRef);
                break;
            case FileClosed or FileOpened or FencesEnded:
                break;
            case ShutDown:
                break; // it is on its way
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- starting --------------------------------------------------------------------------------

    private void StartRecovery(OpenedEngine opened)
    {
        _controlFile =
            Watched(ControlFileActor.PropsFor(_engine, opened.ControlFileStore, opened.ControlFile), "control-file");
        foreach (string line in opened.ToldOfMoves)
            _log.Warning("A move that had not ended: {0}", line);
        foreach (OpenedDatafile file in opened.Datafiles)
        {
            if (file.File is null)
                continue; // its slot says why it can't be used
            _datafiles[file.Id] = Watched(
                DatafileActor.PropsFor(
                    _engine, _engine.Slots.Of(file.Id), file.File,
                    new DatafileStart(opened.ControlFile.Lineage, file.CleanUpTo, IsRecovering: true), _controlFile),
                $"datafile-{file.Name}");
        }

        Become(WhenRecovering);
        _recovery = Watched(RecoveryCoordinator.PropsFor(
            _engine, opened, _controlFile, new Dictionary<FileId, IActorRef>(_datafiles.All)), "recovery");
    }

    /// <summary>Nobody gets the database before each of its files can be read.</summary>
    private void EndReplays(RecoveryEnded ended)
    {
        _recovered = ended;
        if (ended.Wal is { } wal && _engine.HandOver.Take(wal))
            _promotedWal = wal;
        Context.Unwatch(_recovery); // it stops now, having done its work
        _recovery = ActorRefs.Nobody;
        _engine.Visibility.Start(ended.End);
        _engine.DurableLsn = _engine.LastChangeLsn = ended.End; // what was replayed is to be flushed
        _replaying.UnionWith(_datafiles.All.Keys);
        foreach (IActorRef datafile in _datafiles.All.Values)
            datafile.Tell(new EndReplay(ended.End, ended.Lineage));
        StartIfReplaysEnded();
    }

    private void StartIfReplaysEnded()
    {
        if (_recovered is null || _replaying.Count > 0 || _failure is not null)
            return;
        StartEngine(_recovered);
        Stash.UnstashAll();
    }

    private void StartEngine(RecoveryEnded ended)
    {
        _wal = ended.Wal;
        _engine.RedoLsn = _opened!.ControlFile.RedoLsn;
        _engine.Metrics.Begin(_engine, new EngineOpenedNote(
            ended.End, ended.Progress.Records, _engine.Clock.GetElapsedTime(_began)));
        bool isReadOnly = ended.Wal is null;
        if (!isReadOnly)
        {
            _folder = Watched(WalFolderActor.PropsFor(ended.Wal!.Folder, ended.Wal.History), "wal-folder");
            _walWriter = Watched(WalWriter.PropsFor(_engine, ended.Wal, _folder), "wal");
            foreach ((FileId file, IActorRef owner) in _datafiles.All)
            {
                FileSlot slot = _engine.Slots.Of(file);
                _walWriter.Tell(new OpenFile(file, slot.Name, owner));
                if (slot.State is DatafileState.Offline or DatafileState.NeedsRecovery) // it failed during replay
                    _walWriter.Tell(new CloseFile(file, slot.State == DatafileState.NeedsRecovery, slot.Why!));
            }

            foreach (FileSlot slot in _engine.Slots.All.Where(slot => !_datafiles.All.ContainsKey(slot.Id)))
                _walWriter.Tell(new CloseFile(slot.Id, IsGone: true, slot.Why!));
            _controlFile.Tell(new ControlFileActor.UseWalWriter(_walWriter));
            StartCheckpointer();
            StartArchiver();
        }

        Become(WhenRunning);
        _started.TrySetResult(new EngineStarted(
            Self, _walWriter, _controlFile, _opened!.ControlFile.SystemId, isReadOnly,
            ended.Progress.Records, ended.End, ended.Timeline, _completion.Task,
            _stopped.Token));
        _log.Info("Database {0} is open at {1}, timeline {2}", _engine.Folder, ended.End, ended.Timeline);
    }

    private void StartCheckpointer() => _checkpointer = Watched(
        Checkpointer.PropsFor(_engine, _wal!.Folder.Geometry.SegmentBytes, _walWriter, _controlFile, _folder),
        "checkpointer");

    private void StartArchiver()
    {
        _archiver = Watched(Archiver.PropsFor(_engine, _opened!, _wal!, _folder), "archiver");
        if (_opened!.Stores.Count > 0)
            _folder.Tell(new WalFolderProtocol.UseArchiver(_archiver));
    }

    private void AddDatafile(StartNewDatafile start, bool isRecovering, string? name = null)
    {
        _engine.HandOver.Take(start.Opened);
        FileSlot slot = _engine.Slots.TryOf(start.File) ?? _engine.Slots.Add(start.File, start.Name);
        if (!isRecovering)
        {
            // Its creator may read it, or drop it, before its actor has begun.
            slot.File = start.Opened;
            slot.State = DatafileState.Open;
        }

        _datafiles[start.File] = Watched(
            DatafileActor.PropsFor(
                _engine, slot, start.Opened, new DatafileStart(start.Lineage, start.CleanUpTo, isRecovering),
                _controlFile),
            name ?? $"datafile-{start.Name}-{start.File}");
    }

    private static IActorRef Watched(Props props, string? name) => Context.Watch(Context.ActorOf(props, name));

    // ---- requests --------------------------------------------------------------------------------

    private EngineRoutes Routes() => new(_walWriter, _controlFile, Self, _folder);

    private void StopDropped(StopDroppedDatafile stop)
    {
        IActorRef asker = Sender;
        _engine.Slots.Remove(stop.File);
        if (!_datafiles.Remove(stop.File, out IActorRef? owner))
        {
            asker.Tell(new DroppedDatafileStopped(stop.File));
            return;
        }

        Context.Unwatch(owner);
        owner.AskAsync<DatafileClosed>(new CloseDatafile(), Timeout.InfiniteTimeSpan, _engine)
            .PipeTo(Self, success: closed => new DroppedClosed(closed.File, asker));
    }

    private void ForgetDropped(DroppedClosed closed)
    {
        ForgetOwner(closed.File, Problem.From(EngineErrors.DatafileUnknown(closed.File)));
        closed.Asker.Tell(new DroppedDatafileStopped(closed.File));
    }

    /// <summary>
    /// A file's actor has applied all that was sent to it, and ended: only now may it count as having applied, since the
    /// members of a group that is complete are used again. A checkpoint that waits for its report goes on; WalWriter is
    /// told first, so that no seal of a later one goes to an actor that is no more.
    /// </summary>
    private void ForgetOwner(FileId file, Problem why)
    {
        if (!_walWriter.IsNobody())
            _walWriter.Tell(new CloseFile(file, IsGone: true, why));
        if (!_checkpointer.IsNobody())
            _checkpointer.Tell(new DatafileFailed(file, "", DatafileState.NeedsRecovery, why));
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record OpeningFailed(Exception Error) : ILocalMessage;

    private sealed record JobsTimeIsUp : ILocalMessage;

    private sealed record RecoveriesAreLate : ILocalMessage;

    private sealed record DroppedClosed(FileId File, IActorRef Asker) : ILocalMessage;
}
