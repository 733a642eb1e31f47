using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>What a backup's copiers have in common: where they write, and who is asked for fences.</summary>
/// <param name="Writer">The set.</param>
/// <param name="BackupId">Its id.</param>
/// <param name="Supervisor">Knows the owners of datafiles, and routes tokens.</param>
/// <param name="Begun">Called with the length of each file whose copy begins.</param>
internal sealed record BackupCopies(
    BackupWriter Writer, string BackupId, IActorRef Supervisor, Action<long> Begun);

/// <summary>
/// Copies one datafile into a backup set, under a fence of its own; several of them work beside each other.
/// </summary>
/// <remarks>
/// <code>
///   one of a backup that was cut off is there: it is read back (a worker): Copied; else
///   FindDatafile ─▶ Fence ─▶ copy (a worker) ─▶ Unfence ─▶ Unfenced ─▶ keep (a worker): Copied
///                     │        └─ FenceBroken, or the owner ended: Void, when the worker has ended and the copy is gone
///                     └─ the datafile was dropped: Dropped
/// </code>
/// INVARIANTS
///   K2  A copy counts only if its fence was held from before its first byte until Unfence was answered with Unfenced.
///   K4  A fence that is being given back is not renewed: its token is void until Unfenced comes, so that the answer
///       would be FenceBroken, for a copy that is good.
///   K5  It tells its end, CopyEnded, only when no worker of it runs and its fence is given back.
///
/// A crash of it: its fence ends with it (death watch), its worker is told to end, and the backup fails.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed class BackupCopier : UntypedActor, IWithTimers
{
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(10);

    private readonly EngineContext _engine;
    private readonly BackupCopies _copies;
    private readonly CatalogueFile _file;
    private IActorRef _owner = ActorRefs.Nobody;
    private Fenced? _fence;
    private CancellationTokenSource? _step; // of the worker that runs; null if none does
    private Problem? _void;
    private bool _isOver; // told to end

    /// <param name="engine">The engine.</param>
    /// <param name="copies">The backup's.</param>
    /// <param name="file">As the set's catalogue has it.</param>
    public BackupCopier(EngineContext engine, BackupCopies copies, CatalogueFile file) =>
        (_engine, _copies, _file) = (engine, copies, file);

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, BackupCopies copies, CatalogueFile file) =>
        ActorProps.Of(() => new BackupCopier(engine, copies, file));

    protected override void PreStart()
    {
        if (_copies.Writer.CanResume(_file.Id))
            Resume();
        else
            FindOwner();
    }

    protected override void PostStop()
    {
        if (_step is not null)
            EndStep();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case WorkerEnded ended:
                TakeWorkersEnd(ended.Result);
                break;
            case EndCopy when !_isOver:
                End();
                break;
            case var _ when _isOver:
                break; // what is on its way to a copy that is wanted no longer
            case DatafileFound found:
                AskForFence(found.Owner);
                break;
            case FenceRefused refused:
                FenceWasRefused(refused.Why);
                break;
            case Fenced fenced:
                Copy(fenced);
                break;
            case RenewDue when _fence is not null:
                _copies.Supervisor.Tell(new RenewFence(_fence.Token, Lease));
                break;
            case Unfenced unfenced when _fence?.Token == unfenced.Token:
                Keep();
                break;
            case FenceBroken broken when _fence?.Token == broken.Token:
                CopyIsVoid(broken.Why);
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner):
                OwnerEnded();
                break;
            case FenceRenewed or RenewDue or Unfenced or FenceBroken or Terminated:
                break; // of a fence that has ended
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- the fence -------------------------------------------------------------------------------

    private void FindOwner() => _copies.Supervisor.Tell(new FindDatafile(_file.Id));

    /// <param name="owner">Whom the file has now: it may have been made after the backup began.</param>
    private void AskForFence(IActorRef? owner)
    {
        if (IsDropped)
        {
            Finish(CopyOutcome.Dropped); // replay passes over it up to its drop (H29)
        }
        else if (owner is null)
        {
            // K3: without it the set would not count.
            Finish(
                CopyOutcome.Failed,
                _engine.Slots.TryOf(_file.Id)?.Why ?? Problem.From(EngineErrors.DatafileRecovering(_file.Name)));
        }
        else
        {
            _owner = Context.Watch(owner);
            _owner.Tell(new Fence(
                _file.Name, Self, Self.Path.ToString(), $"backup {_copies.BackupId}", Lease));
        }
    }

    private bool IsDropped => _engine.Catalogue.Catalogue.File(_file.Id) is null;

    private void FenceWasRefused(Problem why) =>
        Finish(IsDropped ? CopyOutcome.Dropped : CopyOutcome.Failed, IsDropped ? null : why);

    private void EndFence()
    {
        Timers.Cancel(nameof(RenewDue));
        Context.Unwatch(_owner);
        _owner = ActorRefs.Nobody;
        _fence = null;
    }

    /// <summary>The datafile's actor is no more: it was dropped, or it died.</summary>
    private void OwnerEnded()
    {
        if (_fence is not null)
        {
            CopyIsVoid(Problem.From(
                EngineErrors.DatafileNeedsRecovery(_file.Name, "its actor ended while it was copied.")));
            return;
        }

        _owner = ActorRefs.Nobody;
        FindOwner(); // dropped, or gone: the answer says which
    }

    // ---- the copy --------------------------------------------------------------------------------

    /// <summary>A copy that was left by a backup that was cut off: no fence is needed to read it back.</summary>
    private void Resume() => Work(cancel => new Resumed(_copies.Writer.TryResume(_file.Id, cancel)));

    private void Copy(Fenced fenced)
    {
        _fence = fenced;
        Timers.StartPeriodicTimer(nameof(RenewDue), new RenewDue(), Lease / 3);
        FencedFile file = SetKeeper.FencedFileOf(_engine.Folder, fenced);
        _copies.Begun(fenced.LengthBytes);
        Work(cancel =>
        {
            _copies.Writer.Copy(file, cancel);
            return new Copied();
        });
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

    /// <summary>The copy is certified, and stays so if the backup is cut off.</summary>
    private void Keep()
    {
        FencedFile file = SetKeeper.FencedFileOf(_engine.Folder, _fence!);
        EndFence();
        Work(_ =>
        {
            _copies.Writer.Keep(file);
            return new Kept();
        });
    }

    private void Discard()
    {
        FencedFile file = SetKeeper.FencedFileOf(_engine.Folder, _fence!);
        EndFence();
        Work(_ =>
        {
            _copies.Writer.Discard(file);
            return new Discarded();
        });
    }

    private void TakeWorkersEnd(object result)
    {
        _step!.Dispose();
        _step = null;
        if (_isOver)
            Finish(CopyOutcome.Failed);
        else if (result is Resumed { IsGood: false })
            FindOwner();
        else if (result is Kept or Resumed)
            Finish(CopyOutcome.Copied);
        else if (result is Discarded)
            Finish(CopyOutcome.Void, _void);
        else if (_void is not null && _fence is not null)
            Discard(); // whatever came of the copying: its fence had broken
        else if (result is StepFailed failed)
            GiveUp(failed.Error);
        else
            GiveBack();
    }

    private void GiveBack()
    {
        Timers.Cancel(nameof(RenewDue)); // K4
        if (_fence is not null)
            _copies.Supervisor.Tell(new Unfence(_fence.Token));
    }

    private void GiveUp(Exception why)
    {
        GiveBack();
        Finish(IsCutOff(why) ? CopyOutcome.CutOff : CopyOutcome.Failed, Problem.From(why));
    }

    /// <summary>True if the same may go on when the store is back; one without room is not filled up for ever.</summary>
    public static bool IsCutOff(Exception error) => error is StorageFailedException
    {
        Code: ErrorCode.StoreFailed,
        Errno: not (Errno.ENOSPC or Errno.EDQUOT),
    };

    /// <summary>The backup has failed: what was copied is nothing.</summary>
    private void End()
    {
        _isOver = true;
        GiveBack();
        if (_step is null)
            Finish(CopyOutcome.Failed);
        else
            EndStep();
    }

    /// <summary>K5.</summary>
    private void Finish(CopyOutcome outcome, Problem? why = null)
    {
        Context.Parent.Tell(new CopyEnded(_file, outcome, why));
        Context.Stop(Self);
    }

    // ---- the worker ------------------------------------------------------------------------------

    /// <summary>The worker that runs comes to its end soon, and tells of it.</summary>
    private void EndStep() => _step!.Cancel();

    private void Work(Func<CancellationToken, object> work)
    {
        _step = new CancellationTokenSource();
        CancellationToken cancel = _step.Token;
        _engine.Workers.Start(
            Self, () => new WorkerEnded(work(cancel)), static error => new WorkerEnded(new StepFailed(error)));
    }

    private sealed record RenewDue : ILocalMessage;

    /// <summary>The worker has ended: with Copied, Kept, Resumed, Discarded or StepFailed.</summary>
    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Copied;

    private sealed record Kept;

    private sealed record Resumed(bool IsGood);

    private sealed record Discarded;

    private sealed record StepFailed(Exception Error);
}
