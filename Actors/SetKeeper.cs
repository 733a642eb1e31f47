using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.SetProtocol;
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Keeps still what a backup set needs that is made outside of the engine (pgtar): WAL, one datafile at a time, intents.
/// </summary>
/// <remarks>
/// It copies nothing. The order is that of <see cref="BackupRunner"/>, its steps are asked for one by one.
/// INVARIANTS
///   SK1  One request at a time: another one meanwhile is refused. RenewSet is none of them.
///   SK2  A copy is certified only if its fence was held from SetFenced until Unfenced was answered (K2).
///   SK3  From SetBegun until the end, WAL from the redo point of that moment on is kept.
///   SK4  Its end lets the WAL go, ends its fence, removes its intents, and makes <see cref="SetBegun.Ended"/> tell so:
///        nobody waits for it. The WAL goes at once: removing an intent may take as long as a store likes.
///   SK5  It ends by itself when more WAL is kept for it than for a fence (design §5, promise 9). That somebody renews
///        it proves nothing: who writes into a pipe that nobody reads renews it all the same. So a fence of it that has
///        broken is to be given back within <see cref="Lease"/>, and no renewal prolongs that.
///
/// It ends when it is released, when nobody has renewed it for <see cref="Lease"/>, by SK5, or with the engine.
/// A crash of it: its fence ends with it (death watch), its intents stay in the archives, and expire will have more.
/// </remarks>
internal sealed class SetKeeper : UntypedActor, IWithTimers
{
    /// <summary>A set that nobody has renewed for so long is let go.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(60);

    /// <summary>Where such a set is written to, in its intent: no address, so that nobody looks there.</summary>
    public const string SetStore = BackupIntent.StoreOfTar;

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly WalStart _wal;
    private readonly EngineRoutes _routes;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly SetEnding _ended = new();
    private readonly WalAllowance _allowance;
    private readonly Guid _hold;
    private IActorRef _asker = ActorRefs.Nobody; // of the request that is under way (SK1)
    private string _reason = "";
    private BackupStart? _start;
    private SetIntents? _intents;
    private CatalogueFile? _current;
    private IActorRef _owner = ActorRefs.Nobody;
    private Fenced? _fence;
    private Problem? _void;
    private Problem? _whyLetGo;
    private Lsn _startLsn;
    private Lsn _stopLsn;
    private bool _isLeaving; // the fence is being given back: its token is no longer to be renewed
    private bool _isWorking;
    private bool _isReleased;
    private bool _isEngineEnding;

    public SetKeeper(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes)
    {
        _engine = engine;
        _opened = opened;
        _wal = wal;
        _routes = routes;
        _allowance = new WalAllowance(engine);
        _hold = FenceToken.Draw(default, engine.Draw);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes) =>
        ActorProps.Of(() => new SetKeeper(engine, opened, wal, routes));

    protected override void PostStop()
    {
        _routes.Folder.Tell(new ReleaseWal(_hold), ActorRefs.NoSender);
        _asker.Tell(new RequestRefused(WhyEnded()));
        _ended.End(WhyEnded());
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case WorkerEnded ended:
                _isWorking = false;
                TakeWorkersEnd(ended);
                break;
            case ReleaseSet:
                _asker.Tell(new RequestRefused(WhyEnded()));
                _asker = Sender;
                Release();
                break;
            case EndJob:
                _isEngineEnding = true;
                Answer(new RequestRefused(WhyEnded()));
                Release();
                break;
            case LeaseOver:
                _log.Warning(
                    "The backup set of {0} is let go: nobody has {1} within {2}", _reason,
                    _void is null ? "renewed it" : "given its broken fence back", Lease);
                Answer(new RequestRefused(WhyEnded())); // who waits is not to wait for what was let go
                Release();
                break;
            case LookAtWal:
                KeepWalBounded();
                break;
            case Fenced fenced when _isReleased:
                Context.Parent.Tell(new Unfence(fenced.Token));
                break;
            case BeginSet or RenewSet or FenceForSet or UnfenceForSet or EndSet or ConfirmSet:
                TakeRequest(message);
                break;
            case var _ when _isReleased:
                break; // what is on its way to a set that is let go
            case RequestRefused refused:
                Answer(refused);
                if (_start is null)
                    Release();
                break;
            case EventRefused refused:
                Answer(new RequestRefused(refused.Why));
                break;
            case WalHeld when _start is null && !_isWorking:
                _routes.Checkpointer.Tell(new RunCheckpoint());
                break;
            case CheckpointEnded:
                _routes.ControlFile.Tell(new GetControlFile());
                break;
            case ControlFileChanged changed:
                Begin(changed.Now);
                break;
            case EventLogged logged:
                Ended(logged);
                break;
            default:
                TakeOfFile(message);
                break;
        }
    }

    // ---- requests --------------------------------------------------------------------------------

    private void TakeRequest(object request)
    {
        if (_isReleased)
        {
            Sender.Tell(new RequestRefused(WhyEnded()));
            return;
        }

        if (request is RenewSet)
        {
            Renew(Sender);
            return;
        }

        if (!_asker.IsNobody()) // SK1
        {
            Sender.Tell(new RequestRefused(Problem.From(EngineErrors.SetIsBusy(_reason))));
            return;
        }

        _asker = Sender;
        switch (request)
        {
            case BeginSet begin:
                _reason = begin.Reason;
                Timers.StartPeriodicTimer(nameof(LookAtWal), new LookAtWal(), WalAllowance.LookInterval);
                _routes.Folder.Tell(new HoldWal(_hold, Lsn.Zero));
                break;
            case FenceForSet fence when _fence is null:
                FindFile(fence.File);
                break;
            case UnfenceForSet when _void is not null:
                CopyIsVoid();
                break;
            case UnfenceForSet when _fence is not null:
                _isLeaving = true;
                Context.Parent.Tell(new Unfence(_fence.Token));
                break;
            case EndSet when _fence is null:
                _routes.WalWriter.Tell(new LogEvent(new WalEvent.BackupEnd(_start!.BackupId, _startLsn)));
                break;
            case ConfirmSet confirm when !_stopLsn.IsZero:
                Confirm(confirm.NeedsArchive);
                break;
            default:
                Answer(new RequestRefused(Problem.From(EngineErrors.SetIsBusy(_reason))));
                break;
        }
    }

    private void Answer(object answer)
    {
        _asker.Tell(answer);
        _asker = ActorRefs.Nobody;
    }

    private void Renew(IActorRef from)
    {
        if (_void is null)
            StartLease(); // SK5
        if (_fence is not null && _void is null && !_isLeaving)
            Context.Parent.Tell(new RenewFence(_fence.Token, Lease));
        from.Tell(_void is null ? new SetRenewed() : new FenceBroken(_fence!.Token, _void));
    }

    private void StartLease() => Timers.StartSingleTimer(nameof(LeaseOver), new LeaseOver(), Lease);

    /// <summary>SK5.</summary>
    private void KeepWalBounded()
    {
        if (_isReleased || _allowance.WhyOver($"the backup set of {_reason}") is not { } why)
            return;
        _log.Warning("{0}", why.Message);
        _whyLetGo = why;
        Answer(new RequestRefused(why));
        Release();
    }

    // ---- begin -----------------------------------------------------------------------------------

    private void Begin(ControlFile control)
    {
        EngineContext engine = _engine;
        _routes.Folder.Tell(new HoldWal(_hold, control.RedoLsn)); // SK3, H39
        _allowance.CountFrom(control.RedoLsn);
        var start = new BackupStart(
            BackupSet.NewId(engine.Clock.GetUtcNow(), engine.Draw()), control,
            Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), // C: what was created since is above it (H29)
            engine.Clock.GetUtcNow());
        var intents = new SetIntents(start, _opened.Stores, SetStore);
        _intents = intents; // before its first byte, so that the end finds what there is to remove
        Work(() =>
        {
            intents.Register();
            return new Begun(start);
        });
    }

    // ---- files -----------------------------------------------------------------------------------

    private void FindFile(FileId file)
    {
        _current = _start!.Control.Catalogue.File(file);
        if (_current is null)
            Answer(new SetFileGone(file));
        else
            Context.Parent.Tell(new FindDatafile(file));
    }

    private void TakeOfFile(object message)
    {
        switch (message)
        {
            case DatafileFound found when found.File == _current?.Id && _fence is null && !_asker.IsNobody():
                AskForFence(found.Owner);
                break;
            case FenceRefused refused:
                Forget();
                if (_engine.Catalogue.Catalogue.File(_current!.Id) is null)
                    Answer(new SetFileGone(_current.Id)); // dropped after its owner was found
                else
                    Answer(new RequestRefused(refused.Why));
                break;
            case Fenced fenced:
                _fence = fenced;
                Answer(new SetFenced(FencedFileOf(_engine.Folder, fenced)));
                break;
            case Unfenced unfenced when _fence?.Token == unfenced.Token && _void is null:
                _startLsn = Lsn.Min(_startLsn, _fence.CheckpointLsn); // SK2
                Forget();
                Answer(new SetUnfenced());
                break;
            case FenceBroken broken when _fence?.Token == broken.Token:
                BecomeVoid(broken.Why);
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner) && _fence is not null:
                BecomeVoid(Problem.From(
                    EngineErrors.DatafileNeedsRecovery(_current!.Name, "its actor ended while it was copied.")));
                break;
            case Terminated dead when dead.ActorRef.Equals(_owner):
                _owner = ActorRefs.Nobody;
                Context.Parent.Tell(new FindDatafile(_current!.Id)); // dropped, or gone: the answer says which
                break;
            case WalHeld or FenceRenewed or DatafileFound or Unfenced or FenceBroken or Terminated:
                break; // of what has ended
            default:
                Unhandled(message);
                break;
        }
    }

    private void AskForFence(IActorRef? owner)
    {
        if (_engine.Catalogue.Catalogue.File(_current!.Id) is null)
        {
            Answer(new SetFileGone(_current.Id)); // replay passes over it up to its drop (H29)
        }
        else if (owner is null)
        {
            Answer(new RequestRefused(
                _engine.Slots.TryOf(_current.Id)?.Why ?? Problem.From(EngineErrors.DatafileRecovering(_current.Name))));
        }
        else
        {
            _owner = Context.Watch(owner);
            _owner.Tell(new Fence(_current.Name, Self, Self.Path.ToString(), _reason, Lease));
        }
    }

    /// <summary>Its copier hears of it when it renews or leaves: whatever it copied until then proves nothing.</summary>
    private void BecomeVoid(Problem why)
    {
        _void ??= why with { Code = ErrorCode.FenceBroken }; // whatever broke it
        if (!_asker.IsNobody())
            CopyIsVoid(); // it waits for the answer to its unfence
    }

    private void CopyIsVoid()
    {
        var broken = new FenceBroken(_fence!.Token, _void!);
        Forget();
        Answer(broken);
    }

    private void Forget()
    {
        if (!_owner.IsNobody())
            Context.Unwatch(_owner);
        _owner = ActorRefs.Nobody;
        _fence = null;
        _void = null;
        _isLeaving = false;
    }

    public static FencedFile FencedFileOf(string folder, Fenced fenced) => new(
        fenced.File, fenced.Datafile, fenced.Path, fenced.LengthBytes, fenced.CheckpointLsn, fenced.Incarnation,
        fenced.Generation, fenced.Lineage,
        Path.IsPathRooted(Catalogue.StoredPath(folder, fenced.Path)) ? fenced.Path : null);

    // ---- the end ---------------------------------------------------------------------------------

    private void Ended(EventLogged logged)
    {
        _stopLsn = logged.Lsn;
        Catalogue now = _engine.Catalogue.Catalogue;
        Answer(new SetEnded(
            _startLsn, logged.Lsn, logged.Time, logged.LastTransaction,
            [.. _start!.Control.Catalogue.Files.Select(file => file.Id).Where(id => now.File(id) is null)]));
    }

    private void Confirm(bool needsArchive)
    {
        SetIntents intents = _intents!;
        TimelineHistory history = _wal.History;
        WalGeometry geometry = _wal.Folder.Geometry;
        (Lsn start, Lsn stop) = (_startLsn, _stopLsn);
        Work(() =>
        {
            intents.Require();
            return new SetConfirmed(!needsArchive || _opened.Stores.ThatList().All(store =>
            {
                ArchivedRange range = ArchiveCatalog.Load(store).Along(history, start, stop, geometry.PayloadBytes);
                return range.Gaps.Count == 0 && range.End >= stop;
            }));
        });
    }

    /// <summary>It is let go, once the worker that runs has ended.</summary>
    private void Release()
    {
        _isReleased = true;
        _routes.Folder.Tell(new ReleaseWal(_hold)); // SK4
        if (_fence is not null)
            Context.Parent.Tell(new Unfence(_fence.Token));
        Forget();
        if (!_isWorking)
            RemoveIntents();
    }

    private void RemoveIntents()
    {
        if (_intents is not { } intents)
        {
            Stop();
            return;
        }

        _intents = null;
        Work(() =>
        {
            intents.Remove();
            return new Removed();
        });
    }

    private void Stop()
    {
        Answer(new SetReleased());
        Context.Stop(Self);
    }

    private Problem WhyEnded() =>
        _whyLetGo ?? Problem.From(_isEngineEnding ? EngineErrors.ShuttingDown() : EngineErrors.SetLetGo(_reason));

    // ---- workers ---------------------------------------------------------------------------------

    private void Work(Func<object> work)
    {
        Invariant.Require(!_isWorking, "SK1", "a worker of this set still runs.");
        _isWorking = true;
        _engine.Workers.Start(
            Self, () => new WorkerEnded(work()),
            static error => new WorkerEnded(new RequestRefused(Problem.From(error))));
    }

    private void TakeWorkersEnd(WorkerEnded ended)
    {
        switch (ended.Result)
        {
            case Removed:
                Stop();
                break;
            case RequestRefused when _isReleased && _intents is null:
                Stop(); // an intent that could not be removed: expire keeps more than it must
                break;
            case var _ when _isReleased:
                RemoveIntents();
                break;
            case Begun begun:
                _start = begun.Start;
                _startLsn = begun.Start.CatalogueLsn;
                StartLease(); // nobody can renew a set before it has begun, however long the checkpoint took
                Answer(new SetBegun(Self, begun.Start, _opened.Stores.Count > 0, _ended));
                break;
            case RequestRefused refused:
                Answer(refused);
                if (_start is null)
                    Release();
                break;
            default:
                Answer(ended.Result);
                break;
        }
    }

    private sealed record LeaseOver : ILocalMessage;

    private sealed record LookAtWal : ILocalMessage;

    private sealed record WorkerEnded(object Result) : ILocalMessage;

    private sealed record Begun(BackupStart Start);

    private sealed record Removed;
}
