using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.ControlFileProtocol;

namespace Pitr.Actors;

/// <summary>
/// Ships the WAL into every store of the database: finished segments in order, the tail at least each second when there
/// is something new. The steps are <see cref="StoreShipper"/>'s; this actor owns the timer, the workers and the order.
/// </summary>
/// <remarks>
/// A store that fails is tried again with growing pauses and holds up neither commits nor other stores, until it lacks
/// more than <see cref="ArchiveBound"/> says; one that does not answer at all, likewise. Everything that reads or writes a
/// store is done by workers, of finished segments several side by side (<see cref="ShipWindow"/>), else one at a time for
/// each store; beside them one looks for its recovery window. What is told here of a store (its lag, which segments may go)
/// is what its last step published.
/// Stores come and go while it runs: Archiver.Stores.cs.
/// At an orderly shutdown each store is drained, and then its timeline released (H26).
/// A crash of it loses nothing: what was shipped is found again. The supervisor makes a new one.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its workers.")]
internal sealed partial class Archiver : UntypedActor, IWithTimers
{
    /// <summary>
    /// So long the bound waits for a store's first answer after a start: before that, all local WAL counts as lacked.
    /// </summary>
    public static readonly TimeSpan FirstAnswerMax = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan TailInterval = TimeSpan.FromMilliseconds(500);

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly TimelineHistory _path;
    private readonly Func<IArchiveStore, StoreLine> _lineFor;
    private readonly List<StoreLine> _lines;
    private ArchiveShipper _shipper;
    private readonly ArchiveBound _bound;
    private readonly WalGeometry _geometry;
    private readonly IActorRef _folder;
    private readonly TimelineId _timeline;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private IReadOnlyList<SegmentName> _candidates = [];
    private readonly CancellationTokenSource _over = new(); // of looks for recovery windows: nobody asks for them any more
    private int _isWanted; // 1: a ShipWanted is on its way
    private IActorRef? _drainAsker;

    public Archiver(EngineContext engine, OpenedEngine opened, WalStart wal, IActorRef folder)
    {
        _engine = engine;
        _folder = folder;
        _bound = opened.ArchiveBound;
        _geometry = wal.Folder.Geometry;
        _timeline = wal.Folder.Identity.Timeline;
        _opened = opened;
        _path = wal.History;
        Lsn endAtStart = opened.Wal?.End ?? wal.Appender.DurableLsn;
        _lineFor = store => new StoreLine(
            store,
            new StoreShipper(store, wal.Folder, wal.History, opened.Start, engine.Clock, endAtStart)
            {
                Width = engine.Options.ArchiveSegmentsAtOnce,
                Standing = opened.Standings.In(store),
            },
            new RecoveryWindowScan(
                store, wal.History, _geometry.PayloadBytes, name => engine.Stores.TryOpen(name, engine.Folder),
                engine.Clock),
            engine.Clock.GetTimestamp());
        _lines = [.. opened.Stores.Select(_lineFor)];
        _shipper = ShipperOfAll();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, IActorRef folder) =>
        ActorProps.Of(() => new Archiver(engine, opened, wal, folder));

    protected override void PreStart()
    {
        _engine.ArchiveBehind = null;
        IActorRef self = Self;
        _engine.ArchiveWait?.AskWith(() =>
        {
            if (Interlocked.Exchange(ref _isWanted, 1) == 0)
                self.Tell(ShipWanted.Instance, ActorRefs.NoSender);
        });
        TellWaiters();
        if (_lines.Count > 0)
            Timers.StartPeriodicTimer(nameof(ShipDue), ShipDue.Instance, TimeSpan.Zero, TailInterval);
    }

    /// <summary>However it ends: what has no name in a store yet is not left open.</summary>
    protected override void PostStop()
    {
        LetHoldGo();
        _over.Cancel();
        foreach (IStagedObject left in _lines.Concat(_removed).SelectMany(static line => line.Shipper.LetGo()))
        {
            _engine.Workers.Start(
                ActorRefs.Nobody,
                () =>
                {
                    left.Dispose();
                    return left;
                },
                static error => error);
        }
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ShipDue:
                KeepBound();
                foreach (StoreLine line in _lines)
                    Step(line);
                break;
            case ShipWanted:
                Volatile.Write(ref _isWanted, 0);
                foreach (StoreLine line in _lines)
                {
                    line.IsWanted = !line.Shipper.IsIdle;
                    Step(line);
                }
                break;
            case StepDone done:
                Settle(done);
                break;
            case Looked looked:
                Take(looked);
                break;
            case WhichMayGo ask:
                _candidates = ask.Segments;
                LetGo();
                break;
            case AddStore or RemoveStore:
                _changes.Enqueue((message, Sender));
                NextChange();
                break;
            case WalFolderProtocol.WalHeld:
                BeginSetUp();
                break;
            case HoldDue:
                LookAtHold();
                break;
            case StoreSetUp made:
                Adopt(made);
                break;
            case StoreTakenOut taken:
                Remove(taken);
                break;
            case StoreChangeFailed failed:
                FailChange(failed);
                break;
            case SeeArchive:
                Sender.Tell(new ArchiveSeen([.. _lines.Select(line => (line.Store, line.Shipper.Progress))], _path, _geometry));
                break;
            case GetArchiveStatus:
                Sender.Tell(new ArchiveReported([.. _lines.Select(StatusOf)], Window()));
                break;
            case DrainArchive:
                BeginDrain();
                break;
            case Released released:
                (released.Line.IsReleasing, released.Line.IsReleased) = (false, true);
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

    // ---- shipping --------------------------------------------------------------------------------

    /// <summary>Begins all that may begin.</summary>
    private void Step(StoreLine line)
    {
        while (!line.IsReleasing && !line.IsReleased
            && line.Shipper.TryBegin(_engine.DurableLsn, mayAdd: !line.IsUrgent) is { } work)
            Start(line, work);
    }

    private void Start(StoreLine line, ShipWork work)
    {
        bool isUrgent = work.IsAlone && line.IsUrgent;
        if (work.IsAlone)
            line.IsUrgent = false;
        EngineContext engine = _engine;
        engine.Workers.Start(
            Self,
            () =>
            {
                if (isUrgent)
                    line.Shipper.Retry.TryNow();
                if (!work.IsAlone)
                {
                    line.Shipper.Do(work);
                    return new StepDone(line, work, null);
                }
                MeasuredWork.ShipAlone(engine, line.Shipper, work);
                return new StepDone(line, work, null);
            },
            error => new StepDone(line, work, error));
    }

    private void Settle(StepDone done)
    {
        StoreLine line = done.Line;
        ShipStep step = line.Shipper.End(done.Work, done.Error);
        if (!done.Work.IsAlone)
            MeasuredWork.NoteShipped(_engine, line.Shipper, done.Work, step);
        if (!_lines.Contains(line))
        {
            if (line.Shipper.IsIdle && _removed.Remove(line))
                Release(line); // it was removed while this step ran
            return;
        }
        Exception? bugBefore = line.Bug;
        line.Bug = done.Error;
        if (done.Error is not null && bugBefore?.Message != done.Error.Message)
            _log.Error(done.Error, "Shipping to {0} met a bug", line.Shipper.StoreName);
        else if (done.Error is null && step == ShipStep.Failed)
            _log.Warning("Shipping to {0} failed: {1}", line.Shipper.StoreName, ErrorOf(line));
        if (step == ShipStep.Nothing)
            Look(line);
        KeepBound();
        LetGo();
        TellWaiters();
        bool isWanted = line.IsWanted && step == ShipStep.Nothing;
        line.IsWanted = false;
        bool isMore = step is ShipStep.Prepared or ShipStep.Segment or ShipStep.Tail or ShipStep.UnderWay;
        if (isWanted || line.IsUrgent || isMore)
            Step(line); // until there is nothing
        else if (_drainAsker is not null && step == ShipStep.Nothing)
            Release(line);
        else if (_drainAsker is not null && line.Shipper.Retry.LastError?.Code == ErrorCode.ArchiveOwned)
        {
            line.IsRefused = true;
            EndDrain(isTimeUp: false);
        }
    }

    /// <summary>A look reads many objects: it goes beside the steps, which commits may wait for.</summary>
    private void Look(StoreLine line)
    {
        if (_isEnding || line.IsLooking || !line.Scan.IsDue)
            return;
        line.IsLooking = true;
        CancellationToken over = _over.Token;
        _engine.Workers.Start(
            Self,
            () =>
            {
                line.Scan.Look(over);
                return new Looked(line, line.Scan.Window, null);
            },
            error => new Looked(line, line.Window, error));
    }

    private void Take(Looked looked)
    {
        StoreLine line = looked.Line;
        (line.IsLooking, line.Window) = (false, looked.Window);
        if (looked.Error is { } error and not OperationCanceledException)
            _log.Error(error, "Looking for the recovery window of {0} met a bug", line.Shipper.StoreName);
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

    /// <summary>Commits that wait for the archive: up to where every store that takes the tail has everything.</summary>
    private void TellWaiters()
    {
        if (_engine.ArchiveWait is not { } wait)
            return;
        (Lsn archived, Lsn lostTo) = (Lsn.MaxValue, Lsn.Zero);
        string lacking = "";
        foreach (StoreLine line in _lines.Where(static line => line.Shipper.TakesParts))
        {
            ShipProgress progress = line.Shipper.Progress;
            lostTo = progress.Dropped.Aggregate(lostTo, static (end, gap) => Lsn.Max(end, gap.To));
            Lsn here = progress.Next > 0 ? progress.LackedFrom : Lsn.Zero;
            if (here >= archived)
                continue;
            archived = here;
            lacking = $"'{line.Shipper.StoreName}' lacks it ({ErrorOf(line) ?? "it is slow"})";
        }
        wait.Move(archived, lostTo, lacking);
    }

    /// <summary>A store that lacks more than the bound: the choice is carried out (design §8).</summary>
    private void KeepBound()
    {
        Lsn durable = _engine.DurableLsn;
        Problem? refusal = null;
        foreach (StoreLine line in _lines)
        {
            ArchiveLag lag = line.Shipper.Lag(durable);
            if (!IsBeyondBound(line, lag))
                continue;
            if (_bound.Choice == ArchiveLagChoice.RefuseCommits)
            {
                refusal ??= Problem.From(
                    EngineErrors.ArchiveBehind(line.Shipper.StoreName, lag.Bytes, _bound.LagBytesMax));
            }
            else if (NumberToKeep(durable) is var number
                && _geometry.StartOf(number) > line.Shipper.Progress.FirstLacked)
            {
                GiveUp(line, number);
            }
        }
        if ((refusal is null) != (_engine.ArchiveBehind is null))
        {
            if (refusal is null)
                _log.Info("The archive is below its bound again: commits are taken");
            else
                _log.Error("Commits are refused: {0}", refusal.Message);
        }
        _engine.ArchiveBehind = refusal;
    }

    private bool IsBeyondBound(StoreLine line, ArchiveLag lag) => lag.Bytes > _bound.LagBytesMax
        && (line.Shipper.Progress.IsKnown || _engine.Clock.GetElapsedTime(line.Began) >= FirstAnswerMax);

    private void GiveUp(StoreLine line, ulong number)
    {
        _log.Error(
            "Archive store {0} lacks more than {1} bytes of WAL: what it lacks below segment {2} is given up, a gap remains "
            + "in it",
            line.Shipper.StoreName, _bound.LagBytesMax, new SegmentName(_timeline, number));
        line.Shipper.GiveUpBelow(number);
        LetGo();
        TellWaiters();
    }

    /// <summary>The first segment of those that together, with the unfinished one, are below the bound.</summary>
    private ulong NumberToKeep(Lsn durable) => Math.Min(
        _geometry.NumberOf(durable), _geometry.NumberOf(new Lsn(durable.Value - (ulong)_bound.LagBytesMax)) + 1);

    // ---- the end ---------------------------------------------------------------------------------

    private void BeginDrain()
    {
        _drainAsker = Sender;
        _isEnding = true;
        _over.Cancel();
        Timers.StartSingleTimer(nameof(DrainTimeIsUp), new DrainTimeIsUp(), _engine.Options.ArchiveShutdownWait);
        foreach (StoreLine line in _lines)
        {
            line.IsUrgent = true; // what was nothing before may be something now, and no pause is waited for
            Step(line);
        }

        EndDrain(isTimeUp: false);
    }

    /// <summary>
    /// Best effort: an owner object that is not released only makes the next start from another place ask.
    /// </summary>
    private void Release(StoreLine line)
    {
        line.IsReleasing = true;
        ILoggingAdapter log = _log;
        _engine.Workers.Start(
            Self,
            () =>
            {
                line.Shipper.Release();
                return new Released(line);
            },
            error =>
            {
                log.Warning("The timeline in {0} was not released: {1}", line.Shipper.StoreName, error.Message);
                return new Released(line);
            });
    }

    private void EndDrain(bool isTimeUp)
    {
        if (_drainAsker is null || (!isTimeUp && !_lines.All(line => !line.IsLooking && (line.IsReleased || line.IsRefused))))
            return;
        string[] left = [.. _lines.Where(line => !line.IsReleased).Select(WhatIsLeft)];
        _drainAsker.Tell(new ArchiveDrained(left.Length == 0 ? null : string.Join("; ", left)));
        _drainAsker = null;
        Timers.CancelAll();
    }

    private string WhatIsLeft(StoreLine line)
    {
        ArchiveLag lag = line.Shipper.Lag(_engine.DurableLsn);
        string why = ErrorOf(line) is { } error ? $" ({error})" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"'{line.Shipper.StoreName}' lacks {lag.Segments} segments, {lag.Bytes} bytes{why}");
    }

    // ---- status ----------------------------------------------------------------------------------

    private ArchiveStatus StatusOf(StoreLine line)
    {
        ShipProgress progress = line.Shipper.Progress;
        ArchiveLag lag = line.Shipper.Lag(_engine.DurableLsn);
        string? last = progress.Next <= 1 ? null : new SegmentName(_timeline, progress.Next - 1).ToString();
        return new ArchiveStatus(
            line.Shipper.StoreName, last, lag.Segments, lag.Bytes, lag.Age.TotalSeconds, ErrorOf(line))
        {
            LagBytesMax = _bound.LagBytesMax,
            IsUnclaimed = line.Shipper.IsUnclaimed,
            RefusesCommits = _bound.Choice == ArchiveLagChoice.RefuseCommits && IsBeyondBound(line, lag),
            Dropped = progress.Dropped.IsEmpty
                ? null
                : string.Join(", ", progress.Dropped.Select(gap => $"{gap.From} to {gap.To}")),
        };
    }

    private static string? ErrorOf(StoreLine line) =>
        line.Bug is { } bug ? Problem.From(bug).Message : line.Shipper.Progress.LastError?.Message;

    /// <summary>The longest of those of the stores.</summary>
    private RecoveryWindow? Window()
    {
        RecoveryWindow? longest = null;
        foreach (StoreLine line in _lines)
        {
            if (line.Window is { } window && (longest is null || window.To - window.From > longest.To - longest.From))
                longest = new RecoveryWindow(window.From, window.To, window.VerifiedAt);
        }
        return longest;
    }

    /// <summary>
    /// One store, and where its shipping stands. Touched by the actor only; its scan by one worker.
    /// </summary>
    private sealed class StoreLine(IArchiveStore store, StoreShipper shipper, RecoveryWindowScan scan, long began)
    {
        public IArchiveStore Store => store;
        public StoreShipper Shipper => shipper;
        public RecoveryWindowScan Scan => scan;

        /// <summary>Since when it has been shipped to; a timestamp.</summary>
        public long Began => began;
        public bool IsReleasing { get; set; }
        public bool IsUrgent { get; set; }

        /// <summary>Somebody waits for what became durable while a step ran.</summary>
        public bool IsWanted { get; set; }
        public bool IsReleased { get; set; }

        /// <summary>A worker looks for its recovery window.</summary>
        public bool IsLooking { get; set; }

        /// <summary>Another place's, as it was found while it was drained: nothing is waited for.</summary>
        public bool IsRefused { get; set; }
        public (DateTimeOffset From, DateTimeOffset To, DateTimeOffset? VerifiedAt)? Window { get; set; }
        public Exception? Bug { get; set; }
    }

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record ShipDue : ILocalMessage
    {
        public static readonly ShipDue Instance = new();
    }

    private sealed record ShipWanted : ILocalMessage
    {
        public static readonly ShipWanted Instance = new();
    }

    private sealed record StepDone(StoreLine Line, ShipWork Work, Exception? Error) : ILocalMessage;

    private sealed record Looked(
        StoreLine Line, (DateTimeOffset From, DateTimeOffset To, DateTimeOffset? VerifiedAt)? Window, Exception? Error)
        : ILocalMessage;

    private sealed record Released(StoreLine Line) : ILocalMessage;

    private sealed record DrainTimeIsUp : ILocalMessage;
}
