using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;

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
/// A crash of this actor means that its buffers are lost: it is stopped, not restarted, and the file needs recovery.
/// Everything about bytes is in <see cref="Datafile"/>, which knows no actors. One flush runs at a time.
/// </remarks>
internal sealed class DatafileActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan LeaseMax = TimeSpan.FromHours(24);
    private static readonly TimeSpan RetryAfterFullDisk = TimeSpan.FromSeconds(5);

    private readonly EngineContext _engine;
    private readonly FileSlot _slot;
    private readonly Datafile _file;
    private readonly IActorRef _controlFile;
    private readonly FenceBook _fences = new();
    private readonly Queue<(Fence Request, IActorRef From)> _waitingFences = new();
    private readonly List<(Lsn Lsn, IActorRef ReplyTo)> _sealWaiters = [];
    private readonly List<(Unfenced Answer, IActorRef To)> _lastOut = [];
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private DatafileState _state;
    private Lineage _lineage;
    private Lsn _cleanUpTo;
    private Lsn _lastWhole;
    private bool _inGroup;
    private bool _sealWanted;
    private bool _noteAsked;
    private bool _flushAsked;
    private bool _closing;
    private bool _isClosed;
    private (FinishRestore Request, IActorRef From)? _finish;
    private IActorRef _closeReplyTo = ActorRefs.Nobody;
    private FlushJob? _flush;
    private CancellationTokenSource? _flushDrop;
    private bool _flushIsWriting;

    public DatafileActor(EngineContext engine, FileSlot slot, Datafile file, DatafileStart start, IActorRef controlFile)
    {
        _engine = engine;
        _slot = slot;
        _file = file;
        _controlFile = controlFile;
        _lineage = start.Lineage;
        _cleanUpTo = Lsn.Max(start.CleanUpTo, file.CheckpointLsn);
        _lastWhole = _cleanUpTo;
        _state = start.IsRecovering ? DatafileState.Recovering : DatafileState.Open;
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(
        EngineContext engine, FileSlot slot, Datafile file, DatafileStart start, IActorRef controlFile) =>
        Props.Create(() => new DatafileActor(engine, slot, file, start, controlFile))
            .WithDispatcher(EngineConfig.DatafileDispatcher);

    protected override void PreStart()
    {
        if (_state == DatafileState.Recovering)
        {
            _slot.State = DatafileState.Recovering;
            Become(WhenRecovering);
        }
        else
        {
            _slot.File = _file;
            Enter(DatafileState.Open, "opened");
        }
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
            case FlushEnded when _closing:
                _flushIsWriting = false;
                CloseIfIdle(); // durable; the control file may know less (H16)
                break;
            case FlushEnded:
                _flushIsWriting = false;
                _engine.Visibility.WhenVisible(_flush!.CheckpointLsn, Self, new FlushVisible(_flush)); // F6
                break;
            case FlushVisible visible when visible.Job == _flush:
                PublishFlush();
                break;
            case FlushDropped dropped:
                DropFlush(dropped.Why);
                break;
            case FlushFailed failed:
                GoOffline(Problem.From(failed.Cause));
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
            case Fence fence when !_fences.IsHeld:
                AskForFence(fence);
                break;
            case Fence fence:
                Grant(fence, Sender); // several holders at once: the last one out unfences
                break;
            case Seal request:
                request.ReplyTo.Tell(new SealSkipped(_slot.Id, _slot.Name, _cleanUpTo, _state));
                break;
            case RenewFence renew:
                Renew(renew);
                break;
            case Unfence unfence when _fences.Holds(unfence.Token):
                LeaveFence(unfence.Token, Sender);
                break;
            case LeaseEnded lease when _fences.Holds(lease.Token):
                Break(lease.Token, Problem.From(EngineErrors.LeaseEnded(_slot.Name)));
                break;
            case Terminated dead:
                foreach (Guid token in _fences.HeldBy(dead.ActorRef))
                    Break(token, Problem.From(EngineErrors.HolderDied(_slot.Name)));
                break;
            case BreakFences all:
                foreach (Guid token in _fences.Tokens)
                    Break(token, all.Why);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>Buffers and pages go on serving reads; what was stamped is still applied; nothing is written any more.</summary>
    private void WhenOffline(object message)
    {
        switch (message)
        {
            case Fence fence:
                Sender.Tell(new FenceRefused(fence.Datafile, _slot.Why!));
                break;
            case ApplyReplay replay: // a flush failed on the way: the others' replay goes on
                ReplayBatch(replay.Batch);
                break;
            case ReplayDropTable drop:
                _file.DropTable(drop.Table, drop.Lsn);
                break;
            case FinishRestore _:
                Sender.Tell(new SealSkipped(_slot.Id, _slot.Name, _cleanUpTo, _state));
                break;
            case EndReplay:
                _file.KeepVersions = true;
                _slot.File = _file;
                Sender.Tell(new ReplayEnded(_slot.Id));
                break;
            case Seal request:
                request.ReplyTo.Tell(new SealSkipped(_slot.Id, _slot.Name, _cleanUpTo, _state));
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
                ReplayBatch(replay.Batch);
                break;
            case FlushEnded when _closing:
                _flushIsWriting = false;
                CloseIfIdle();
                break;
            case FlushEnded:
                _flushIsWriting = false;
                _file.CompleteFlush(_flush!); // nobody reads a file while it is replayed
                NoteClean(_flush!.CheckpointLsn);
                _flush = null;
                AnswerSeals();
                FinishRestore();
                break;
            case FlushDropped dropped:
                GoOffline(Problem.From(dropped.Why));
                break;
            case FlushFailed failed:
                GoOffline(Problem.From(failed.Cause));
                break;
            case SealReplay request:
                SealReplayed(request);
                break;
            case ReplayDropTable drop:
                _file.DropTable(drop.Table, drop.Lsn);
                _lastWhole = Lsn.Max(_lastWhole, drop.Lsn);
                break;
            case FinishRestore finish:
                _finish = (finish, Sender);
                _lineage = finish.Lineage;
                FinishRestore();
                break;
            case EndReplay end:
                _file.KeepVersions = true;
                _lastWhole = Lsn.Max(_lastWhole, end.Lsn);
                if (_file.CanSeal)
                    Seal(_lastWhole); // what was replayed has one version a key; what is committed from now on has all
                _lineage = end.Lineage;
                _slot.File = _file;
                Enter(_flush is null ? DatafileState.Open : DatafileState.Flushing, $"replayed to {end.Lsn}");
                Sender.Tell(new ReplayEnded(_slot.Id));
                break;
            case Fence fence:
                Sender.Tell(new FenceRefused(fence.Datafile, Problem.From(EngineErrors.DatafileRecovering(_slot.Name))));
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
                _lastWhole = Lsn.Max(_lastWhole, drop.Lsn);
                _engine.Visibility.Applied(drop.Group, _slot.Id);
                break;
            case RenewFence renew:
                Renew(renew);
                break;
            case Unfence unfence: // F4
                Sender.Tell(new FenceBroken(unfence.Token, Problem.From(EngineErrors.FenceUnknown(unfence.Token))));
                break;
            case GetDatafileStatus:
                Sender.Tell(StatusNow());
                break;
            case FileNoted:
                break; // the fence that asked for it went offline meanwhile
            case LeaseEnded or Terminated or BreakFences or FlushVisible or FlushNow:
                break; // the holder left, or the flush was dropped, while this was in the mailbox
            case CloseDatafile:
                _closing = true;
                _closeReplyTo = Sender;
                _flushDrop?.Cancel();
                CloseIfIdle();
                break;
            case FlushEnded or FlushDropped or FlushFailed: // Offline: the last worker has ended
                _flushIsWriting = false;
                CloseIfIdle();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- applying --------------------------------------------------------------------------------

    private void Apply(ApplyPart part)
    {
        CommitGroup group = part.Group;
        for (int i = part.From; i < part.To; i++)
        {
            PendingCommit member = group.Members[i];
            if (member.FileCount == 0 || !member.Files.AsSpan(0, member.FileCount).Contains(_slot.Id))
                continue;
            uint operations = part.Operations == 0 ? member.OperationCount : part.Operations;
            var reader = new OperationReader(
                member.Record.AsSpan(Wal.RecordCodec.HeaderBytes + part.BodyFrom), operations);
            Lsn lsn = member.Result.Lsn;
            while (reader.MoveNext())
            {
                if (reader.File == _slot.Id)
                    _file.Apply(reader.Kind, reader.Key, reader.Value, lsn);
            }
        }

        _inGroup = !part.IsLast;
        if (!part.IsLast)
            return;
        _lastWhole = Lsn.Max(_lastWhole, group.Lsn);
        if (_sealWanted)
            SealIfPossible();
        _engine.Visibility.Applied(group, _slot.Id);
        AskForFlushIfLarge();
    }

    private void ReplayBatch(ReplayBatch batch)
    {
        int changes = batch.ChangeCount;
        while (batch.MoveNext())
        {
            if (batch.Lsn <= _file.CheckpointLsn)
                continue; // an earlier try flushed it, and crashed before the control file knew the file
            _file.Apply(batch.Kind, batch.Key, batch.Value, batch.Lsn);
        }

        batch.Recycle();
        Sender.Tell(new ReplayApplied(_slot.Id, changes));
    }

    /// <summary>The file's share of the write buffers is large: a checkpoint is due. A fenced file's buffers are bounded too.</summary>
    private void AskForFlushIfLarge()
    {
        long limit = _engine.WriteBufferBytesMax;
        if (_file.BufferedBytes < limit / 8 * 3)
        {
            _flushAsked = false;
            return;
        }

        if (_state == DatafileState.Fenced && _file.BufferedBytes > limit / 4 * 3)
            Self.Tell(new BreakFences(Problem.From(EngineErrors.FenceMemory(_slot.Name, _file.BufferedBytes))));
        if (_flushAsked || _state != DatafileState.Open)
            return;
        _flushAsked = true;
        Context.Parent.Tell(new CheckpointProtocol.CheckpointWanted($"datafile {_slot.Name} buffers {_file.BufferedBytes} bytes"));
    }

    // ---- sealing and flushing --------------------------------------------------------------------

    private void TakeSeal(Seal request)
    {
        _lastWhole = Lsn.Max(_lastWhole, request.Lsn); // the barrier stands between two groups
        if (_waitingFences.Count > 0)
        {
            request.ReplyTo.Tell(new SealSkipped(_slot.Id, _slot.Name, _cleanUpTo, DatafileState.Fenced));
            return;
        }

        if (_flush is null && !_inGroup && !_file.HasChanges)
        {
            Seal(request.Lsn);
            _cleanUpTo = Lsn.Max(_cleanUpTo, request.Lsn);
            request.ReplyTo.Tell(CleanNow());
            return;
        }

        _sealWaiters.Add((request.Lsn, request.ReplyTo));
        _sealWanted = true;
        SealIfPossible();
    }

    private void SealIfPossible()
    {
        if (_inGroup || !_file.CanSeal)
            return; // F5: after the last part, or when the running flush has ended
        _sealWanted = false;
        Seal(_lastWhole);
        if (_flush is null)
            StartFlush("checkpoint");
    }

    private void Seal(Lsn lsn) => _file.Seal(lsn);

    private void StartFlush(string why)
    {
        if (!_file.HasSealed && _file.HasChanges)
        {
            if (_inGroup)
            {
                _sealWanted = true; // F5: the last part of the group is in the mailbox
                Enter(DatafileState.Flushing, why);
                return;
            }

            Seal(_lastWhole);
        }

        FlushJob? job = _file.PrepareFlush(_lineage);
        if (job is null)
        {
            SettleAfterFlush();
            return;
        }

        Enter(DatafileState.Flushing, why);
        RunFlush(job);
    }

    /// <summary>A long replay makes room: all that was replayed, which is everything at or below the LSN, goes to the file.</summary>
    private void SealReplayed(SealReplay request)
    {
        _lineage = request.Lineage;
        _lastWhole = Lsn.Max(_lastWhole, request.Lsn);
        if (!_file.HasChanges)
        {
            Seal(Lsn.Max(request.Lsn, _file.SealedUpTo));
            _cleanUpTo = Lsn.Max(_cleanUpTo, request.Lsn);
            request.ReplyTo.Tell(CleanNow());
            return;
        }

        _sealWaiters.Add((request.Lsn, request.ReplyTo));
        Seal(Lsn.Max(request.Lsn, _file.SealedUpTo)); // the barrier may lie below what the file already had (D2)
        RunFlush(_file.PrepareFlush(_lineage)!);
    }

    private void RunFlush(FlushJob job)
    {
        _flush = job;
        _flushIsWriting = true;
        var drop = new CancellationTokenSource();
        _flushDrop = drop;
        _engine.Workers.Start(
            Self,
            () =>
            {
                try
                {
                    job.WritePages(drop.Token);
                    drop.Token.ThrowIfCancellationRequested();
                }
                catch (OperationCanceledException error)
                {
                    return new FlushDropped(error);
                }
                catch (StorageFailedException error) when (error.IsDiskFull) // H9: its meta page was not submitted
                {
                    return new FlushDropped(error);
                }

                job.WriteMeta();
                return new FlushEnded();
            },
            static error => new FlushFailed(error));
    }

    private void PublishFlush()
    {
        _file.CompleteFlush(_flush!);
        NoteClean(_flush!.CheckpointLsn);
        _flush = null;
        _flushDrop?.Dispose();
        _flushDrop = null;
        AnswerSeals();
        SettleAfterFlush();
    }

    private void NoteClean(Lsn lsn)
    {
        _cleanUpTo = Lsn.Max(_cleanUpTo, lsn);
        _flushAsked = false;
    }

    /// <summary>What comes after a flush: the last one out is answered, fences are granted, or the next flush begins.</summary>
    private void SettleAfterFlush()
    {
        if (_closing)
        {
            CloseIfIdle();
            return;
        }

        foreach ((Unfenced answer, IActorRef to) in _lastOut)
            to.Tell(answer with { FlushedLsn = _cleanUpTo });
        _lastOut.Clear();
        if (_waitingFences.Count > 0)
        {
            PrepareFence();
            return;
        }

        if (_sealWanted)
            SealIfPossible();
        if (_flush is not null)
            return;
        if (_file.HasSealed)
            StartFlush("sealed meanwhile");
        else
            BeOpen();
    }

    /// <summary>Flush, then generation and incarnation of its own and the recovery's stamp; the answer is how the file then is.</summary>
    private void FinishRestore()
    {
        if (_finish is not { } finish || _flush is not null)
            return;
        if (_file.HasChanges)
        {
            _lastWhole = Lsn.Max(_lastWhole, finish.Request.Lsn);
            Seal(finish.Request.Lsn);
            RunFlush(_file.PrepareFlush(_lineage)!);
            return;
        }

        if (_file.Meta.RestoreStamp != finish.Request.RecoveryId || _file.CheckpointLsn != finish.Request.Lsn)
        {
            Seal(finish.Request.Lsn);
            _cleanUpTo = Lsn.Max(_cleanUpTo, finish.Request.Lsn);
            RunFlush(_file.PrepareMetaFlush(
                _lineage, finish.Request.Lsn, new Incarnation(_engine.Draw()), finish.Request.RecoveryId));
            return;
        }

        _finish = null;
        finish.From.Tell(CleanNow());
    }

    /// <summary>What was buffered during the flush may be so much that commits wait: then nobody else would ask for the next one.</summary>
    private void BeOpen()
    {
        if (_state != DatafileState.Open)
            Enter(DatafileState.Open, $"flushed to {_cleanUpTo}");
        AskForFlushIfLarge();
    }

    private void AnswerSeals()
    {
        for (int i = _sealWaiters.Count - 1; i >= 0; i--)
        {
            if (_sealWaiters[i].Lsn > _cleanUpTo)
                continue;
            _sealWaiters[i].ReplyTo.Tell(CleanNow());
            _sealWaiters.RemoveAt(i);
        }
    }

    private void DropFlush(Exception why)
    {
        _flushIsWriting = false;
        _file.DropFlush(_flush!);
        _flush = null;
        _flushDrop?.Dispose();
        _flushDrop = null;
        SkipSealWaiters();
        if (_closing)
        {
            CloseIfIdle();
            return;
        }

        if (why is StorageFailedException full)
        {
            _log.Warning("Datafile {0}: the flush was dropped, it is tried again: {1}", _slot.Name, full.Message);
            Timers.StartSingleTimer(nameof(FlushNow), new FlushNow(), RetryAfterFullDisk);
        }

        if (_waitingFences.Count > 0)
            PrepareFence();
        else
            Enter(DatafileState.Open, "flush dropped");
    }

    private void SkipSealWaiters()
    {
        foreach ((Lsn _, IActorRef replyTo) in _sealWaiters)
            replyTo.Tell(new SealSkipped(_slot.Id, _slot.Name, _cleanUpTo, _state));
        _sealWaiters.Clear();
        _sealWanted = false;
    }

    private void GoOffline(Problem why)
    {
        _flushIsWriting = false;
        _slot.Why = Problem.From(EngineErrors.DatafileOffline(_slot.Name, why));
        Enter(DatafileState.Offline, why.Message);
        SkipSealWaiters();
        foreach ((Unfenced answer, IActorRef to) in _lastOut)
            to.Tell(answer with { FlushedLsn = _file.CheckpointLsn }); // the copy was good before the flush began
        _lastOut.Clear();
        while (_waitingFences.TryDequeue(out (Fence Request, IActorRef From) waiting))
            waiting.From.Tell(new FenceRefused(_slot.Name, _slot.Why));
        Context.Parent.Tell(new DatafileFailed(_slot.Id, _slot.Name, DatafileState.Offline, _slot.Why));
        CloseIfIdle();
    }

    // ---- fences ----------------------------------------------------------------------------------

    private void AskForFence(Fence fence)
    {
        if (fence.Lease <= TimeSpan.Zero || fence.Lease > LeaseMax)
        {
            Sender.Tell(new FenceRefused(_slot.Name, Problem.From(EngineErrors.LeaseOutOfRange(fence.Lease))));
            return;
        }

        if (_closing)
        {
            Sender.Tell(new FenceRefused(_slot.Name, Problem.From(EngineErrors.ShuttingDown())));
            return;
        }

        _waitingFences.Enqueue((fence, Sender));
        if (_state == DatafileState.Open)
            PrepareFence();
    }

    /// <summary>No flush runs. Brings a lagging meta page up to date, then has the control file note the generation (F7).</summary>
    private void PrepareFence()
    {
        SkipSealWaiters(); // a checkpoint does not wait for a fence; a seal that is still wanted would flush under it (F2)
        Lsn clean = _file.CleanUpTo;
        if (clean > _file.CheckpointLsn)
        {
            Enter(DatafileState.Flushing, "meta page before a fence");
            RunFlush(_file.PrepareMetaFlush(_lineage, clean));
            return;
        }

        if (_noteAsked)
            return;
        _noteAsked = true;
        Enter(DatafileState.Flushing, "noting the generation before a fence");
        _controlFile.Tell(new NoteFile(CleanNow()));
    }

    private void GrantWaiting(FileNoted noted)
    {
        _noteAsked = false;
        if (noted.Why is not null)
        {
            while (_waitingFences.TryDequeue(out (Fence Request, IActorRef From) refused))
                refused.From.Tell(new FenceRefused(_slot.Name, noted.Why));
            SettleAfterFlush();
            return;
        }

        if (_closing)
        {
            CloseIfIdle();
            return;
        }

        _file.IsStill = true;
        Enter(DatafileState.Fenced, _waitingFences.Peek().Request.Reason);
        while (_waitingFences.TryDequeue(out (Fence Request, IActorRef From) waiting))
            Grant(waiting.Request, waiting.From);
    }

    private void Grant(Fence fence, IActorRef from)
    {
        if (fence.Lease <= TimeSpan.Zero || fence.Lease > LeaseMax)
        {
            from.Tell(new FenceRefused(_slot.Name, Problem.From(EngineErrors.LeaseOutOfRange(fence.Lease))));
            return;
        }

        DateTimeOffset now = _engine.Clock.GetUtcNow();
        Guid token = FenceToken.Draw(_slot.Id, _engine.Draw);
        _fences.Add(new FenceHold(token, fence.Holder, fence.HolderName, fence.Reason, now, now + fence.Lease));
        if (fence.Holder is not null)
            Context.Watch(fence.Holder);
        Timers.StartSingleTimer(token, new LeaseEnded(token), fence.Lease);
        from.Tell(new Fenced(
            token, _slot.Name, _file.Path, _file.LengthBytes, _file.CheckpointLsn, now + fence.Lease,
            _slot.Id, _file.Incarnation, _file.Generation, _file.Meta.Lineage));
    }

    private void Renew(RenewFence renew)
    {
        if (!_fences.Holds(renew.Token))
        {
            Sender.Tell(new FenceBroken(renew.Token, Problem.From(EngineErrors.FenceUnknown(renew.Token))));
            return;
        }

        if (renew.Lease <= TimeSpan.Zero || renew.Lease > LeaseMax)
        {
            Sender.Tell(new FenceRefused(_slot.Name, Problem.From(EngineErrors.LeaseOutOfRange(renew.Lease))));
            return;
        }

        DateTimeOffset until = _engine.Clock.GetUtcNow() + renew.Lease;
        _fences.Renew(renew.Token, until);
        Timers.StartSingleTimer(renew.Token, new LeaseEnded(renew.Token), renew.Lease);
        Sender.Tell(new FenceRenewed(renew.Token, until));
    }

    private void LeaveFence(Guid token, IActorRef holder)
    {
        var answer = new Unfenced(token, _slot.Name, _file.CheckpointLsn, _fences.Count - 1);
        if (_fences.Count > 1)
            holder.Tell(answer); // others stay: his copy is good, nothing is flushed yet
        else
            _lastOut.Add((answer, holder));
        Release(token, "unfenced");
    }

    private void Break(Guid token, Problem why)
    {
        FenceHold hold = _fences.Of(token);
        _log.Warning("Datafile {0}: the fence of {1} ({2}) is broken: {3}", _slot.Name, hold.HolderName, hold.Reason, why.Message);
        hold.Holder?.Tell(new FenceBroken(token, why));
        Release(token, why.Message);
    }

    private void Release(Guid token, string why)
    {
        IActorRef? holder = _fences.Of(token).Holder;
        _fences.Remove(token);
        Timers.Cancel(token);
        if (holder is not null && _fences.HeldBy(holder).Count == 0)
            Context.Unwatch(holder);
        if (_fences.IsHeld)
            return; // F1: another holder is still inside
        _file.IsStill = false;
        StartFlush(why);
    }

    // ---- the rest --------------------------------------------------------------------------------

    private FileClean CleanNow() =>
        new(_slot.Id, _slot.Name, _file.Incarnation, _file.Generation, _file.CheckpointLsn, _cleanUpTo);

    private DatafileStatus StatusNow() => new(
        _slot.Name, _file.Path, StateName(_state), _file.CheckpointLsn, _file.LengthBytes,
        _engine.Catalogue.Tables.Count(table => table.DatafileId == _slot.Id), _file.BufferedBytes, _file.LiveBytes,
        _file.FreeBytes, _file.PinnedBytes,
        [.. _fences.All.Select(hold => new FenceStatus(hold.Token, hold.HolderName, hold.Reason, hold.Since, hold.Until))]);

    private static string StateName(DatafileState state) =>
        System.Text.Json.JsonNamingPolicy.CamelCase.ConvertName(state.ToString());

    /// <summary>H13: the file is closed, and its lock released, only after the last worker that can write it has ended.</summary>
    private void CloseIfIdle()
    {
        if (!_closing || _flushIsWriting)
            return;
        LetEverybodyGo();
        _slot.File = null;
        _slot.Why ??= Problem.From(EngineErrors.ShuttingDown());
        _isClosed = true;
        _file.Dispose();
        _closeReplyTo.Tell(new DatafileClosed(_slot.Id));
        Context.Stop(Self);
    }

    /// <summary>Whoever waits for this file is answered: a checkpoint, who wants a fence, who holds one, the last one out.</summary>
    private void LetEverybodyGo()
    {
        SkipSealWaiters();
        Problem why = Problem.From(EngineErrors.ShuttingDown());
        foreach ((Unfenced answer, IActorRef to) in _lastOut)
            to.Tell(answer with { FlushedLsn = _file.CheckpointLsn }); // the copy was good before
        _lastOut.Clear();
        while (_waitingFences.TryDequeue(out (Fence Request, IActorRef From) waiting))
            waiting.From.Tell(new FenceRefused(_slot.Name, why));
        foreach (FenceHold hold in _fences.All)
            hold.Holder?.Tell(new FenceBroken(hold.Token, why));
    }

    /// <summary>It died or was stopped without a word: the file is closed when its worker has ended (H13), off this thread.</summary>
    protected override void PostStop()
    {
        if (_isClosed)
            return;
        LetEverybodyGo();
        _slot.File = null;
        Datafile file = _file;
        _engine.Workers.Start(
            ActorRefs.Nobody,
            () =>
            {
                file.Dispose();
                return new FlushNow();
            },
            static error => new FlushFailed(error));
    }

    private void Enter(DatafileState next, string why)
    {
        if (next != _state)
            _log.Debug("Datafile {0}: {1} -> {2}: {3}", _slot.Name, _state, next, why);
        _state = next;
        _slot.State = next;
        Become(next switch
        {
            DatafileState.Open => WhenOpen,
            DatafileState.Flushing => WhenFlushing,
            DatafileState.Fenced => WhenFenced,
            DatafileState.Offline => WhenOffline,
            DatafileState.Recovering => WhenRecovering,
            _ => throw new BugException($"No behaviour for state {next}."),
        });
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record FlushEnded : ILocalMessage;

    private sealed record FlushVisible(FlushJob Job) : ILocalMessage;

    private sealed record FlushDropped(Exception Why) : ILocalMessage;

    private sealed record FlushFailed(Exception Cause) : ILocalMessage;

    private sealed record FlushNow : ILocalMessage;

    private sealed record LeaseEnded(Guid Token) : ILocalMessage;
}

/// <summary>How a datafile's actor begins.</summary>
/// <param name="Lineage">The timeline's, for the next flush's meta page.</param>
/// <param name="CleanUpTo">What the control file knows: every change at or below is in the file.</param>
/// <param name="IsRecovering">WAL will be replayed into it before it takes commits.</param>
internal sealed record DatafileStart(Lineage Lineage, Lsn CleanUpTo, bool IsRecovering);
