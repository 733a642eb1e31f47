using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.RecoveryProtocol;

namespace Pitr.Actors;

/// <summary>
/// Replays the WAL into the datafile actors: one reader decodes and sorts on a worker, the files apply in parallel,
/// credits hold the reader back.
/// </summary>
/// <remarks>
/// <code>
///   worker: next step ──▶ Changes ──▶ ApplyReplay ──▶ datafile        at most BatchesMax on their way; half of the
///                    │                                                write buffers is full: a barrier is wanted
///                    └──▶ Ddl     ──▶ catalogue, files made or removed
///                    └──▶ Barrier ──▶ everybody flushes; the control file notes it without a WAL record (H21)
///                    └──▶ end     ──▶ catalogue into the control file ──▶ RecoveryEnded
/// </code>
/// Invariant R1: a step is asked for only when the one before was handed on, so that what a file gets is in LSN order
/// (P4). A crash of it, or a failed step, keeps the database closed; nothing was acknowledged that is not in the WAL,
/// and the next opening begins again at the redo point.
/// </remarks>
internal sealed class RecoveryCoordinator : UntypedActor
{
    private const int BatchesMax = 6;

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly IActorRef _controlFile;
    private readonly Dictionary<FileId, IActorRef> _datafiles;
    private readonly ReplayJob _job;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly HashSet<FileId> _flushing = [];
    private readonly List<FileClean> _flushed = [];
    private readonly long _began;
    private Catalogue _catalogue;
    private ReplayStep.Barrier? _barrier;
    private WalStart? _wal;
    private int _batches;
    private readonly WorkerGate _streamGate; // a step of the stream, or its end
    private bool _isReading;
    private bool _isHeld;
    private bool _isRead;
    private bool _isEnding;

    public RecoveryCoordinator(
        EngineContext engine, OpenedEngine opened, IActorRef controlFile, Dictionary<FileId, IActorRef> datafiles)
    {
        _engine = engine;
        _opened = opened;
        _controlFile = controlFile;
        _datafiles = datafiles;
        _catalogue = opened.ControlFile.Catalogue;
        _job = ReplayJob.For(engine, opened);
        _streamGate = new WorkerGate(engine.Threads);
        _began = engine.Clock.GetTimestamp();
    }

    public static Props PropsFor(
        EngineContext engine, OpenedEngine opened, IActorRef controlFile, Dictionary<FileId, IActorRef> datafiles) =>
        ActorProps.Of(() => new RecoveryCoordinator(engine, opened, controlFile, datafiles));

    protected override void PreStart()
    {
        foreach (string finding in _opened.Restore?.Plan.Findings ?? [])
            _log.Info("The plan of this recovery notes: {0}", finding);
        ReadOn();
    }

    /// <summary>A worker may be inside the stream: it is disposed after that, elsewhere.</summary>
    protected override void PostStop()
    {
        ReplayStream stream = _job.Stream;
        WorkerGate gate = _streamGate;
        _engine.Workers.Start(
            ActorRefs.Nobody,
            () => gate.Run<object>(() =>
            {
                stream.Dispose();
                return AllRead.Instance;
            }),
            static error => new StepFailed(error));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case StepRead step:
                _isReading = false;
                Take(step.Step);
                break;
            case ReplayApplied:
                _batches--;
                if (_barrier is null && _engine.Slots.BufferedBytes > _engine.WriteBufferBytesMax / 2)
                    _job.Stream.WantBarrier();
                AfterBarrier();
                ReadOn();
                EndIfApplied();
                break;
            case AllRead:
                _isReading = false;
                _isRead = true;
                EndIfApplied();
                break;
            case FileMade made:
                Context.Parent.Tell(new StartNewDatafile(
                    made.File, made.Name, made.Opened, made.Opened.Meta.Lineage, made.Lsn));
                break;
            case NewDatafileStarted started:
                _datafiles[started.File] = started.Owner;
                Release();
                break;
            case DroppedDatafileStopped stopped:
                RemoveDropped(stopped.File);
                break;
            case DropDone:
                Release();
                break;
            case FileClean clean:
                _flushed.Add(clean);
                Flushed(clean.File);
                break;
            case SealSkipped skipped when _opened.Restore is not null:
                Fail(
                    _engine.Slots.Of(skipped.File).Why?.ToException() ?? EngineErrors.DatafileRecovering(skipped.Name));
                break;
            case SealSkipped skipped:
                Flushed(skipped.File);
                break;
            case ControlFileChanged changed when _isEnding:
                AfterNoted(changed.Now);
                break;
            case ControlFileChanged changed:
                _catalogue = changed.Now.Catalogue; // with what the files reported at the barrier
                Release();
                break;
            case Promoted promoted:
                _controlFile.Tell(new AdoptControlFile(promoted.Control));
                SettleStrays(promoted.Wal);
                break;
            case StraysSettled:
                End(_wal);
                break;
            case RequestRefused refused:
                Fail(refused.Why.ToException());
                break;
            case StepFailed failed:
                Fail(failed.Error);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- reading ---------------------------------------------------------------------------------

    private void ReadOn()
    {
        if (_isReading || _isHeld || _isRead || _batches >= BatchesMax)
            return;
        _isReading = true;
        ReplayStream stream = _job.Stream;
        WorkerGate gate = _streamGate;
        RestoreHold? held = _opened.Restore?.Hold;
        _engine.Workers.Start(
            Self,
            () => gate.Run<object>(() =>
            {
                held?.RenewIfDue();
                return stream.MoveNext() ? new StepRead(stream.Current) : AllRead.Instance;
            }),
            static error => new StepFailed(error));
    }

    private void Take(ReplayStep step)
    {
        switch (step)
        {
            case ReplayStep.Changes changes:
                _batches++;
                _datafiles[changes.Batch.File].Tell(new ApplyReplay(changes.Batch));
                break;
            case ReplayStep.Ddl ddl:
                TakeDdl(ddl);
                break;
            case ReplayStep.Barrier barrier:
                _barrier = barrier;
                _isHeld = true;
                AfterBarrier();
                break;
            default:
                throw new BugException($"Replay handed out a {step.GetType().Name}.");
        }

        ReadOn();
    }

    /// <summary>Of the timeline on the path whose records end at an LSN (H14).</summary>
    private Lineage LineageOf(Lsn lsn)
    {
        ControlFile control = _opened.ControlFile;
        return TimelineHistory.Of(control.SystemId, control.History).OwnerOf(lsn + -8).Lineage;
    }

    private void Release()
    {
        _isHeld = false;
        ReadOn();
        EndIfApplied();
    }

    // ---- DDL -------------------------------------------------------------------------------------

    private void TakeDdl(ReplayStep.Ddl ddl)
    {
        switch (ddl.Event)
        {
            case WalEvent.CreateTable create when ddl.IsNew:
                _catalogue = _catalogue.CreateTable(create.TableId, create.Name, create.FileId, ddl.Lsn);
                break;
            case WalEvent.DropTable drop:
                if (ddl.IsNew)
                    _catalogue = _catalogue.DropTable(drop.TableId, ddl.Lsn);
                if (_datafiles.TryGetValue(drop.FileId, out IActorRef? owner))
                    owner.Tell(new ReplayDropTable(drop.TableId, ddl.Lsn));
                break;
            case WalEvent.CreateDatafile create when ddl.IsNew:
                MakeFile(create, ddl.Lsn);
                break;
            case WalEvent.DropDatafile drop when ddl.IsNew:
                if (_catalogue.File(drop.FileId) is { } dropped)
                    _job.NoteDropped(drop.FileId, dropped.Path);
                _catalogue = _catalogue.DropFile(drop.FileId, ddl.Lsn);
                _isHeld = true;
                _datafiles.Remove(drop.FileId);
                Context.Parent.Tell(new StopDroppedDatafile(drop.FileId));
                break;
            default:
                break;
        }
    }

    private void MakeFile(WalEvent.CreateDatafile create, Lsn lsn)
    {
        string stored = Catalogue.StoredPath(_engine.Folder, _job.PathFor(create));
        _catalogue = _catalogue.CreateFile(
            new CatalogueFile(create.FileId, create.Name, stored, create.Incarnation, 0, Lsn.Zero, lsn), lsn);
        _isHeld = true;
        EngineContext engine = _engine;
        ReplayJob job = _job;
        Lineage lineage = LineageOf(_opened.ControlFile.RedoLsn);
        _engine.Workers.Start(
            Self,
            () => new FileMade(
                create.FileId, create.Name, lsn,
                engine.HandOver.Give(job.MakeFile(engine, create, lineage), static file => file.Dispose())),
            static error => new StepFailed(error));
    }

    private void RemoveDropped(FileId file)
    {
        EngineContext engine = _engine;
        string? path = _job.PathOfDropped(file);
        _engine.Workers.Start(
            Self,
            () =>
            {
                if (path is not null && engine.FileSystem.Stat(path) is not null)
                    engine.Outside.Remove(path);

                return new DropDone();
            },
            static error => new StepFailed(error));
    }

    // ---- barriers --------------------------------------------------------------------------------

    private void AfterBarrier()
    {
        if (_barrier is null || _batches > 0 || _flushing.Count > 0)
            return;
        _flushed.Clear();
        foreach ((FileId file, IActorRef owner) in _datafiles)
        {
            _flushing.Add(file);
            owner.Tell(new SealReplay(_barrier.Through, LineageOf(_barrier.Through), Self));
        }

        if (_flushing.Count == 0)
            Flushed(default); // no file can be used: nobody will report
    }

    private void Flushed(FileId file)
    {
        _flushing.Remove(file);
        if (_flushing.Count > 0)
            return;
        FileClean[] clean = [.. _flushed];
        Catalogue catalogue = _catalogue;
        if (_isEnding)
        {
            Lsn cut = _opened.Restore!.Cut;
            _controlFile.Tell(new ChangeControlFile(now => now.AfterReplay(catalogue, clean, cut)));
            return;
        }

        if (_barrier is not { } barrier)
            return;
        _barrier = null;
        ControlFile Note(ControlFile now) => now.AfterReplay(catalogue, clean, barrier.Through) with
        {
            // What lies below the redo point is not read again: ids and times go on from here (I9).
            NextTransactionId = new TransactionId(
                Math.Max(now.NextTransactionId.Value, barrier.TransactionId.Value + 1)),
            LastCommitTime = now.LastCommitTime is { } last && last > barrier.Time ? last : barrier.Time,
        };
        // A restore writes all that it makes: one that has no room says so. An opening has changed nothing that it
        // needs.
        _controlFile.Tell(new ChangeControlFile(Note, MayWait: _opened.Restore is null));
    }

    // ---- the end ---------------------------------------------------------------------------------

    private void EndIfApplied()
    {
        if (!_isRead || _batches > 0 || _isHeld || _isEnding)
            return;
        _isEnding = true;
        ReplayProgress progress = _job.Stream.Progress;
        _log.Info(
            "Replayed {0} records, {1} changes in {2}, to {3}", progress.Records, progress.Changes,
            _engine.Clock.GetElapsedTime(_began), progress.Through);
        Catalogue catalogue = _catalogue;
        if (_opened.Restore is null)
        {
            OutsideFiles outside = _engine.Outside;
            _controlFile.Tell(new ChangeControlFile(
                now => outside.Settled(now.WithReplayed(catalogue)), MayWait: true));
            return;
        }

        if (catalogue.Files.FirstOrDefault(file => !_datafiles.ContainsKey(file.Id)) is { } lacking)
        {
            // One that the WAL dropped further on is gone by now; without any other the target is not reached (I11).
            Fail(_engine.Slots.Of(lacking.Id).Why!.ToException());
            return;
        }

        foreach (FileId file in _datafiles.Keys)
            _flushing.Add(file);
        foreach (IActorRef owner in _datafiles.Values)
            owner.Tell(
                new FinishRestore(_opened.Restore.Cut, LineageOf(_opened.Restore.Cut), _opened.Restore.RecoveryId));
    }

    private void AfterNoted(ControlFile now)
    {
        if (_opened.Restore is not { } restore)
        {
            _engine.Outside = _engine.Outside.As(now.Place);
            SettleStrays(_opened.WalStart(_engine.Clock));
            return;
        }

        if (now.Recovery!.IsPaused)
        {
            End(null);
            return;
        }

        EngineContext engine = _engine;
        OpenedEngine opened = _opened;
        _engine.Workers.Start(
            Self, () => Promotion.Run(engine, opened, now, restore), static error => new StepFailed(error));
    }

    private void SettleStrays(WalStart wal)
    {
        _wal = wal;
        _controlFile.Tell(new LookForStrays());
    }

    private void End(WalStart? wal)
    {
        ReplayProgress progress = _job.Stream.Progress;
        Lsn end = wal?.Appender.DurableLsn ?? _opened.Restore!.Cut;
        WalIdentity identity = wal?.Folder.Identity ?? _opened.WalFolder.Identity;
        Context.Parent.Tell(new RecoveryEnded(end, identity.Timeline, identity.Lineage, wal, progress));
        Context.Stop(Self);
    }

    private void Fail(Exception error)
    {
        _log.Error(error, "Recovery failed.");
        Context.Parent.Tell(new RecoveryFailed(error));
        Context.Stop(Self);
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record StepRead(ReplayStep Step) : ILocalMessage;

    private sealed record AllRead : ILocalMessage
    {
        public static readonly AllRead Instance = new();
    }

    private sealed record StepFailed(Exception Error) : ILocalMessage;

    private sealed record FileMade(FileId File, string Name, Lsn Lsn, Datafile Opened) : ILocalMessage;

    private sealed record DropDone : ILocalMessage;
}
