using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;

namespace Pitr.Actors;

/// <summary>
/// Ships the WAL into every store of the database: finished segments in order, the tail at least each second when there
/// is something new. The steps are <see cref="StoreShipper"/>'s; this actor owns the timer, the workers and the order.
/// </summary>
/// <remarks>
/// A store that fails is tried again with growing pauses and holds up neither commits nor other stores. Everything that
/// reads or writes a store is done by a worker, one at a time for each store; what is told here of a store (its lag,
/// which segments may go) is what its last step published.
/// A crash of it loses nothing: what was shipped is found again. The supervisor makes a new one.
/// </remarks>
internal sealed class Archiver : UntypedActor, IWithTimers
{
    private static readonly TimeSpan TailInterval = TimeSpan.FromMilliseconds(500);

    private readonly EngineContext _engine;
    private readonly ArchiveShipper _shipper;
    private readonly IActorRef _folder;
    private readonly TimelineId _timeline;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly HashSet<StoreShipper> _busy = [];
    private readonly Dictionary<StoreShipper, ShipStep> _lastStep = [];
    private IReadOnlyList<SegmentName> _candidates = [];
    private IActorRef? _drainAsker;

    public Archiver(EngineContext engine, OpenedEngine opened, WalStart wal, IActorRef folder)
    {
        _engine = engine;
        _folder = folder;
        _timeline = wal.Folder.Identity.Timeline;
        _shipper = new ArchiveShipper([.. opened.Stores.Select(store =>
            new StoreShipper(store, wal.Folder, wal.History, opened.Start, engine.Clock))]);
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, IActorRef folder) =>
        Props.Create(() => new Archiver(engine, opened, wal, folder));

    protected override void PreStart()
    {
        if (_shipper.Stores.Count > 0)
            Timers.StartPeriodicTimer(nameof(ShipDue), ShipDue.Instance, TimeSpan.Zero, TailInterval);
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ShipDue:
                foreach (StoreShipper store in _shipper.Stores)
                    Step(store);
                break;
            case StepDone done:
                Settle(done);
                break;
            case WhichMayGo ask:
                _candidates = ask.Segments;
                LetGo();
                break;
            case GetArchiveStatus:
                Sender.Tell(new ArchiveReported([.. _shipper.Stores.Select(StatusOf)]));
                break;
            case DrainArchive:
                _drainAsker = Sender;
                Timers.StartSingleTimer(nameof(DrainTimeIsUp), new DrainTimeIsUp(), _engine.Options.ArchiveShutdownWait);
                foreach (StoreShipper store in _shipper.Stores)
                {
                    _lastStep.Remove(store); // what was nothing before may be something now
                    Step(store);
                }

                EndDrain(isTimeUp: false);
                break;
            case DrainTimeIsUp:
                EndDrain(isTimeUp: true);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Step(StoreShipper store)
    {
        if (!_busy.Add(store))
            return;
        EngineContext engine = _engine;
        _engine.Workers.Start(
            Self,
            () => new StepDone(store, store.Ship(engine.DurableLsn), null),
            error => new StepDone(store, ShipStep.Failed, error));
    }

    private void Settle(StepDone done)
    {
        _busy.Remove(done.Store);
        _lastStep[done.Store] = done.Step;
        if (done.Error is not null)
            _log.Error(done.Error, "Shipping to {0} met a bug", done.Store.StoreName);
        else if (done.Step == ShipStep.Failed)
            _log.Warning("Shipping to {0} failed: {1}", done.Store.StoreName, done.Store.Retry.LastError!.Message);
        LetGo();
        if (done.Step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail)
            Step(done.Store); // until there is nothing
        EndDrain(isTimeUp: false);
    }

    private void LetGo()
    {
        if (_candidates.Count == 0)
            return;
        IReadOnlyList<SegmentName> free = _shipper.Recyclable(_candidates);
        if (free.Count == 0)
            return;
        _candidates = [.. _candidates.Except(free)];
        _folder.Tell(new MayGo(free));
    }

    private void EndDrain(bool isTimeUp)
    {
        if (_drainAsker is null)
            return;
        bool isDrained = _busy.Count == 0
            && _shipper.Stores.All(store => _lastStep.GetValueOrDefault(store, ShipStep.Waiting) == ShipStep.Nothing);
        if (!isDrained && !isTimeUp)
            return;
        string? left = null;
        if (!isDrained)
        {
            ArchiveLag lag = _shipper.Lag(_engine.DurableLsn);
            left = string.Create(CultureInfo.InvariantCulture, $"{lag.Segments} segments, {lag.Bytes} bytes");
        }
        else
        {
            foreach (StoreShipper store in _shipper.Stores)
                Release(store);
        }

        _drainAsker.Tell(new ArchiveDrained(left));
        _drainAsker = null;
        Timers.CancelAll();
    }

    /// <summary>
    /// Best effort: an owner object that is not released only makes the next start from another place ask.
    /// </summary>
    private void Release(StoreShipper store)
    {
        try
        {
            store.Release();
        }
        catch (StorageFailedException error)
        {
            _log.Debug("The owner object in {0} was not released: {1}", store.StoreName, error.Message);
        }
    }

    private ArchiveStatus StatusOf(StoreShipper store)
    {
        ArchiveLag lag = store.Lag(_engine.DurableLsn);
        string? last = store.LastSegment == 0
            ? null
            : new SegmentName(_timeline, store.LastSegment).ToString();
        return new ArchiveStatus(
            store.StoreName, last, lag.Segments, lag.Bytes, lag.Age.TotalSeconds, store.Retry.LastError?.Message);
    }

    private sealed record ShipDue : ILocalMessage
    {
        public static readonly ShipDue Instance = new();
    }

    private sealed record StepDone(StoreShipper Store, ShipStep Step, Exception? Error) : ILocalMessage;

    private sealed record DrainTimeIsUp : ILocalMessage;
}
