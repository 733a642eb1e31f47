using Akka.Actor;
using Akka.Event;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Makes one full backup set while commits go on: each datafile is fenced only while it is copied (design §9).
/// </summary>
/// <remarks>
/// <code>
///   hold all WAL ─▶ checkpoint ─▶ catalogue at C, hold from the redo point ─▶ intent (H35, H39)
///     ─▶ for each file: Fence ─▶ copy ─▶ Unfence
///     ─▶ BackupEnd logged (H29) ─▶ WAL from start to stop ─▶ label, manifest
/// </code>
/// INVARIANTS
///   K1  One worker at a time: the next step, also Discard and Abandon, begins after the one before has told its end.
///   K2  A copy counts only if its fence was held from before its first byte until Unfence was answered with Unfenced.
///   K3  A set that lacks a datafile alive at its stop is not made: the backup fails and says which (H29).
///   K4  A fence that is being given back is not renewed: its token is void until Unfenced comes, so that the answer
///       would be FenceBroken, for a copy that is good.
///
/// A fence that broke while its file was copied makes that copy void: it is made again, whole, under a new fence, once
/// for each file. The fence is renewed while the copying goes on.
/// Any failure, the caller's cancellation, or the engine's end ends the fence it holds, removes the unfinished set and
/// lets the WAL go. What of the set can't be removed is told in the log; it has no manifest.
/// A crash of it: its fences end with it (death watch), and the set has no manifest, so there is none.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed class BackupRunner : UntypedActor, IWithTimers
{
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(10);

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly WalStart _wal;
    private readonly EngineRoutes _routes;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Queue<CatalogueFile> _todo = new();
    private readonly HashSet<FileId> _voided = [];
    private readonly Guid _hold;
    private readonly long _began;
    private RunBackup _request = null!;
    private IActorRef _asker = ActorRefs.Nobody;
    private CancellationTokenRegistration _whenCancelled;
    private BackupWriter? _writer;
    private ControlFile? _control;
    private CatalogueFile? _current;
    private IActorRef _owner = ActorRefs.Nobody;
    private Fenced? _fence;
    private CancellationTokenSource? _step; // of the worker that runs; null if none does (K1)
    private volatile bool _isStepOver; // for that worker, where it waits
    private Problem? _void;
    private Problem? _failure;
    private bool _isAbandoning;
    private string _backupId = "";
    private long _bytesTotal;
    private long _bytesDone;

    public BackupRunner(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes)
    {
        _engine = engine;
        _opened = opened;
        _wal = wal;
        _routes = routes;
        _hold = FenceToken.Draw(default, engine.Draw);
        _began = engine.Clock.GetTimestamp();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes) =>
        ActorProps.Of(() => new BackupRunner(engine, opened, wal, routes));

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
            case WalHeld:
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
            case FenceRenewed:
                break;
            case Fenced fenced when _failure is not null:
                Context.Parent.Tell(new Unfence(fenced.Token));
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
                Complete(logged);
                break;
            default:
                TakeOfFile(message);
                break;
        }
    }

    /// <summary>What concerns the file that is being copied.</summary>
    private void TakeOfFile(object message)
    {
        switch (message)
        {
            case DatafileFound found when found.File == _current?.Id:
                AskForFence(found.Owner);
                break;
            case FenceRefused refused:
                FenceWasRefused(refused.Why);
                break;
            case Fenced fenced:
                Copy(fenced);
                break;
            case RenewDue when _fence is not null:
                Context.Parent.Tell(new RenewFence(_fence.Token, Lease));
                break;
            case Unfenced unfenced when _fence?.Token == unfenced.Token:
                EndFence();
                NextFile();
                break;
            case FenceBroken broken when _fence?.Token == broken.Token:
                CopyIsVoid(broken.Why);
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner):
                OwnerEnded();
                break;
            case DatafileFound or RenewDue or Unfenced or FenceBroken or Terminated:
                break; // of a fence that has ended
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
        _routes.Folder.Tell(new HoldWal(_hold, Lsn.Zero));
    }

    private void Begin(ControlFile control)
    {
        _control = control;
        _routes.Folder.Tell(new HoldWal(_hold, control.RedoLsn));
        foreach (CatalogueFile file in control.Catalogue.Files)
            _todo.Enqueue(file);
        EngineContext engine = _engine;
        BackupRequest request = _request.Request;
        string id = BackupSet.NewId(engine.Clock.GetUtcNow(), engine.Draw());
        _backupId = id;
        var start = new BackupStart(
            id, control, Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), // C: what was created since is above it (H29)
            engine.Clock.GetUtcNow());
        CancellationToken cancel = _request.Cancel;
        Work(_ =>
        {
            var limit = request.BytesPerSecondMax is { } most ? new RateLimit(engine.Clock, most) : null;
            IArchiveStore store = OpenStore(engine, request, control.SystemId);
            var writer = new BackupWriter(
                engine.FileSystem, store, _opened.Stores, start, new ReachablePages(engine.Environment, cancel),
                bytes => Pace(bytes, limit));
            _writer = writer; // before its first byte, so that a failure finds what there is to remove
            writer.Begin();
            return new Begun();
        });
    }

    /// <summary>
    /// The set's store, as an object of its own. If it is one of the database's archives it goes by that one's name,
    /// however it was written, and has to be that archive: the empty folder of a disk that is not mounted is not.
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

    private void NextFile()
    {
        if (_todo.TryDequeue(out _current))
            Context.Parent.Tell(new FindDatafile(_current.Id));
        else
            _routes.WalWriter.Tell(new LogEvent(new WalEvent.BackupEnd(_backupId, _writer!.StartLsn)));
    }

    /// <param name="owner">Whom the file has now: it may have been made after the backup began.</param>
    private void AskForFence(IActorRef? owner)
    {
        if (_engine.Catalogue.Catalogue.File(_current!.Id) is null)
        {
            NextFile(); // dropped meanwhile: replay passes over it up to its drop (H29)
        }
        else if (owner is null)
        {
            // K3: without it the set would not count.
            Fail(_engine.Slots.TryOf(_current.Id)?.Why ?? Problem.From(EngineErrors.DatafileRecovering(_current.Name)));
        }
        else
        {
            _owner = Context.Watch(owner);
            _owner.Tell(new Fence(_current.Name, Self, Self.Path.ToString(), $"backup {_backupId}", Lease));
        }
    }

    private void FenceWasRefused(Problem why)
    {
        if (_engine.Catalogue.Catalogue.File(_current!.Id) is not null)
        {
            Fail(why);
            return;
        }

        Context.Unwatch(_owner); // dropped after its owner was found, as above
        _owner = ActorRefs.Nobody;
        NextFile();
    }

    private void Copy(Fenced fenced)
    {
        _fence = fenced;
        _void = null;
        Timers.StartPeriodicTimer(nameof(RenewDue), new RenewDue(), Lease / 3);
        BackupWriter writer = _writer!;
        FencedFile file = FileOf(fenced);
        Interlocked.Add(ref _bytesTotal, fenced.LengthBytes);
        Work(cancel =>
        {
            writer.Copy(file, cancel);
            return new Copied();
        });
    }

    private FencedFile FileOf(Fenced fenced) => SetKeeper.FencedFileOf(_engine.Folder, fenced);

    private void EndFence()
    {
        Timers.Cancel(nameof(RenewDue));
        Context.Unwatch(_owner);
        _owner = ActorRefs.Nobody;
        _fence = null;
    }

    /// <summary>K2. A worker that still copies is told to end; what it has done goes after that.</summary>
    private void CopyIsVoid(Problem why)
    {
        _void ??= why;
        if (_step is null)
            Discard();
        else
            EndStep();
    }

    private void Discard()
    {
        FencedFile file = FileOf(_fence!);
        Problem why = _void!;
        EndFence();
        if (!_voided.Add(file.Id))
        {
            Fail(why);
            return;
        }

        _log.Warning("The copy of datafile {0} is void and is made again: {1}", file.Name, why.Message);
        _todo.Enqueue(_current!);
        BackupWriter writer = _writer!;
        Work(_ =>
        {
            writer.Discard(file);
            return new Begun();
        });
    }

    /// <summary>The datafile's actor is no more: it was dropped, or it died.</summary>
    private void OwnerEnded()
    {
        Problem why = Problem.From(
            EngineErrors.DatafileNeedsRecovery(_current!.Name, "its actor ended while it was copied."));
        if (_fence is not null)
        {
            CopyIsVoid(why);
            return;
        }

        _owner = ActorRefs.Nobody;
        Context.Parent.Tell(new FindDatafile(_current.Id)); // dropped, or gone: the answer says which
    }

    private void Complete(EventLogged logged)
    {
        BackupWriter writer = _writer!;
        var stop = new BackupStop(
            logged.Lsn, logged.Time, logged.LastTransaction,
            _engine.Catalogue.Catalogue.Files.Select(file => file.Id).ToHashSet());
        TimelineHistory history = _wal.History;
        WalFolder folder = _wal.Folder;
        double seconds = _engine.Clock.GetElapsedTime(_began).TotalSeconds;
        Work(cancel =>
        {
            IWalSource[] places = [new FolderWalSource(folder, folder.Folder),
                .. _opened.Stores.Select(
                    store => new ArchiveWalSource(store, ArchiveCatalog.Load(store), folder.Geometry))];
            writer.IncludeWal(history, new WalSources(places, folder.Geometry), stop.StopLsn, cancel);
            BackupSet set = writer.Complete(stop);
            return new Completed(new BackupResult(
                set.Label.BackupId, set.Label.StartLsn, set.Label.StopLsn, writer.BytesWritten, set.Label.Files.Count,
                seconds));
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

            _engine.Metrics.NoteBackup(_engine.Clock.GetElapsedTime(_began), "failed");
            _asker.Tell(new RequestRefused(abandoned.Why));
            Context.Stop(Self);
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
            Abandon();
        }
        else if (_void is not null && _fence is not null)
        {
            Discard(); // whatever came of the copying: its fence had broken
        }
        else if (ended.Result is StepFailed failed)
        {
            Fail(failed.Error is OperationCanceledException
                ? Problem.From(EngineErrors.BackupCancelled())
                : Problem.From(failed.Error));
        }
        else if (ended.Result is Copied)
        {
            Timers.Cancel(nameof(RenewDue)); // K4
            Context.Parent.Tell(new Unfence(_fence!.Token));
        }
        else
        {
            NextFile();
        }
    }

    private void Fail(Problem why)
    {
        if (_failure is not null)
            return;
        _failure = why;
        _log.Warning("The backup failed: {0}", why.Message);
        Timers.Cancel(nameof(RenewDue)); // K4
        if (_fence is not null)
            Context.Parent.Tell(new Unfence(_fence.Token));
        if (_step is null)
            Abandon();
        else
            EndStep();
    }

    /// <summary>The worker that runs comes to its end soon, and tells of it.</summary>
    private void EndStep()
    {
        _isStepOver = true;
        _step!.Cancel();
    }

    private void Abandon()
    {
        if (_isAbandoning)
            return;
        _isAbandoning = true;
        Problem why = _failure!;
        BackupWriter? writer = _writer;
        Work(
            _ =>
            {
                writer?.Abandon();
                return new Abandoned(why);
            },
            error => new Abandoned(why, error)); // what is left has no manifest, so it is no set
    }

    private void Pace(long bytes, RateLimit? limit)
    {
        limit?.Wait((int)bytes, _engine.Pause, () => _isStepOver);
        long done = Interlocked.Add(ref _bytesDone, bytes);
        _request.Request.Progress?.Report(new JobProgress("copying", done, Interlocked.Read(ref _bytesTotal)));
    }

    /// <summary>K1. What it returns comes back in a WorkerEnded.</summary>
    private void Work(Func<CancellationToken, object> work, Func<Exception, object>? failed = null)
    {
        Invariant.Require(_step is null, "K1", "a worker of this backup still runs.");
        _step = new CancellationTokenSource();
        _isStepOver = false;
        CancellationToken cancel = _step.Token;
        _engine.Workers.Start(
            Self,
            () => new WorkerEnded(work(cancel)),
            error => new WorkerEnded(failed?.Invoke(error) ?? new StepFailed(error)));
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record CancelAsked : ILocalMessage;

    private sealed record RenewDue : ILocalMessage;

    /// <summary>A worker of this backup has ended: with Begun, Copied, Completed, Abandoned or StepFailed.</summary>
    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Begun;

    private sealed record Copied;

    private sealed record Completed(BackupResult Result);

    private sealed record StepFailed(Exception Error);

    /// <param name="Why">Of the backup's failure.</param>
    /// <param name="Left">Why something of it is left in a store; null: nothing is.</param>
    private sealed record Abandoned(Problem Why, Exception? Left = null);
}
