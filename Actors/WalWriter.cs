using Akka.Actor;
using Akka.Event;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// The one place where the order of everything is decided: takes whole intakes as groups, stamps them, makes each
/// durable with one write and one sync, and hands them to the datafiles.
/// </summary>
/// <remarks>
/// Runs on a thread of its own (pinned dispatcher): its handlers write and sync.
/// Invariants (each is named in a test):
///   W1  A group's first byte is written only when ready segments hold all of it (H4).
///   W2  ApplyPart is sent only for what is synced. Only a group's last part carries its LSN (H1).
///   W3  A commit is stamped only if its tables and files are open to commits at that LSN (H40, H43).
///   W4  After a failed write or sync nothing is written again: the engine stops (design §8).
///   W5  It is at most <see cref="VisibilityTracker.GroupsMax"/> groups ahead of the slowest datafile.
/// A crash of this actor stops the engine: it is never restarted, since that would be the forbidden retry.
/// </remarks>
internal sealed class WalWriter : UntypedActor, IWithTimers, IWithUnboundedStash
{
    /// <summary>A group is cut here, unless a single record is larger.</summary>
    private const long GroupBytesMax = 4 << 20;

    private readonly EngineContext _engine;
    private readonly WalAppender _appender;
    private readonly CommitClock _clock;
    private readonly CommitValidation _validation;
    private readonly WalFolder _walFolder;
    private readonly IActorRef _folder;
    private readonly FileGates _files = new();
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly List<FileId> _concerned = [];
    private readonly List<ApplyPart> _parts = []; // used again, so that a commit allocates nothing but its message
    private PendingCommit? _backlog;
    private PendingCommit? _current; // taken, and in no group yet
    private CommitGroup? _group; // being filled or written, and not published yet
    private ulong _lastTransaction;
    private Lsn _lastStamped;
    private DateTimeOffset _lastTime;
    private long _segmentSince;
    private bool _groupIsBegun;
    private bool _segmentHasRecords;
    private bool _segmentsAsked;
    private bool _loggedSinceTick;
    private int _idleTicks;

    public WalWriter(EngineContext engine, WalStart start, IActorRef folder)
    {
        _engine = engine;
        _appender = start.Appender;
        _clock = start.Clock;
        _validation = new CommitValidation();
        _walFolder = start.Folder;
        _folder = folder;
        _lastTransaction = start.LastTransaction.Value;
        _lastStamped = start.Appender.DurableLsn;
        _lastTime = start.LastCommitTime;
        _segmentSince = engine.Clock.GetTimestamp();
        _segmentHasRecords = start.Folder.Geometry.BoundaryAtOrAbove(start.Appender.NextLsn) != start.Appender.NextLsn;
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public IStash Stash { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, WalStart start, IActorRef folder) =>
        ActorProps.Of(() => new WalWriter(engine, start, folder)).WithDispatcher(EngineConfig.WalDispatcher);

    protected override void PreStart() => Timers.StartPeriodicTimer(
        nameof(HeartbeatDue), new HeartbeatDue(), _engine.Options.HeartbeatInterval);

    /// <summary>
    /// However it ended, also by a bug in the middle of a group: who is in neither intake nor tracker is told here.
    /// </summary>
    protected override void PostStop()
    {
        PitrException stopped = EngineErrors.ShuttingDown();
        _engine.Intake.Close(stopped);
        for (int i = 0; i < _group?.Count; i++)
            _group.Members[i].Complete(EngineErrors.CommitFateUnknown(stopped));
        _current?.Complete(EngineErrors.CommitFateUnknown(stopped));
        RefuseBacklog(EngineErrors.CommitRefused(stopped));
    }

    // ---- states ----------------------------------------------------------------------------------

    protected override void OnReceive(object message) => WhenOpen(message);

    private void WhenOpen(object message)
    {
        switch (message)
        {
            case Drain:
                TakeIntake();
                break;
            case LogEvent log:
                Log(log);
                break;
            case RequestSeal request:
                SealFiles(request);
                break;
            case SwitchSegment:
                Switch();
                break;
            case HeartbeatDue:
                Tick();
                break;
            case CloseWal:
                Close();
                break;
            case CloseWalWithoutRecord close:
                Stop(close.Asker);
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    /// <summary>
    /// No segment is ready for what comes next: nothing is written until one is, nothing is lost meanwhile.
    /// </summary>
    private void WhenWaitingForSegments(object message)
    {
        switch (message)
        {
            case SegmentsReady:
                _segmentsAsked = false;
                Become(WhenOpen);
                TakeIntake();
                Stash.UnstashAll();
                break;
            case SegmentsFailed failed:
                _segmentsAsked = false;
                Refuse(failed.Why);
                Become(WhenOpen);
                Stash.UnstashAll();
                break;
            case HeartbeatDue:
                break;
            case Drain:
            case LogEvent:
            case RequestSeal:
            case SwitchSegment:
            case CloseWal:
            case CloseWalWithoutRecord:
                Stash.Stash();
                break;
            default:
                WhenAny(message);
                break;
        }
    }

    private void WhenStopped(object message)
    {
        switch (message)
        {
            case LogEvent log:
                Sender.Tell(new EventRefused(log.Event, Problem.From(_engine.Intake.ClosedWhy!), log.Tag));
                break;
            case OpenFile or CloseFile or EndTransaction:
                WhenAny(message);
                break;
            default:
                break; // whoever waits is ended by the supervisor
        }
    }

    private void WhenAny(object message)
    {
        switch (message)
        {
            case OpenFile open:
                foreach (DroppedTable dropped in _files.Open(open.File, open.Name, open.Owner))
                    open.Owner.Tell(new ReplayDropTable(dropped.Table, dropped.DroppedAt));
                Sender.Tell(new FileOpened(open.File));
                break;
            case CloseFile close:
                _files.Close(close.File, close.Why, close.IsGone);
                if (close.IsGone)
                    _engine.Visibility.FileGone(close.File);
                Sender.Tell(new FileClosed(close.File, _lastStamped));
                break;
            case EndTransaction end:
                _validation.End(end.Ticket);
                break;
            case SegmentsReady:
                _segmentsAsked = false;
                break;
            case SegmentsFailed failed:
                _segmentsAsked = false;
                _log.Warning("No WAL segment could be made ready ahead: {0}", failed.Why.Message);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- commits ---------------------------------------------------------------------------------

    private void TakeIntake()
    {
        // What waited for a credit or a segment has swallowed the wake-up of what came meanwhile.
        bool mayBeMore = _backlog is not null;
        _backlog ??= _engine.Intake.TakeAll();
        while (_backlog is not null)
        {
            if (!_engine.Visibility.TryAwaitCredit(Self, Drain.Instance))
                return; // W5: the tracker sends Drain again
            if (!CommitOneGroup())
                return;
        }

        if (mayBeMore)
            Self.Tell(Drain.Instance, ActorRefs.NoSender);
    }

    /// <summary>One group from the front of the backlog. False if the actor has to wait or has stopped.</summary>
    private bool CommitOneGroup()
    {
        if (!_appender.CanHold(_backlog!.RecordBytes))
        {
            AwaitSegments(_backlog.RecordBytes);
            return false;
        }

        CommitGroup group = _engine.Visibility.Rent();
        ulong before = _lastTransaction;
        _concerned.Clear();
        _groupIsBegun = false;
        _group = group;
        try
        {
            while (_backlog is { } commit)
            {
                long staged = _appender.StagedBytes + commit.RecordBytes;
                if ((group.Count > 0 && staged > GroupBytesMax) || !_appender.CanHold(commit.RecordBytes))
                    break; // also if all before it were withdrawn or refused: then it waits for segments (W1)
                _backlog = commit.Next;
                commit.Next = null;
                long bytes = commit.IntakeBytes;
                if (!commit.TryTake())
                {
                    _engine.Intake.Left(bytes);
                    continue; // withdrawn
                }

                _current = commit;
                if (group.Count == 0)
                    group.Since = commit.Since;
                if (Stamp(commit))
                    group.Add(commit);
                else
                    _engine.Intake.Left(bytes);
                _current = null;
            }

            if (_groupIsBegun)
            {
                MakeDurable();
                _engine.LastChangeLsn = _lastStamped;
                _engine.Metrics.NoteGroup((int)(_lastTransaction - before));
            }
        }
        catch (StorageFailedException error)
        {
            if (_current is not null)
                group.Add(_current);
            (_current, _group) = (null, null);
            Fail(error, group);
            return false;
        }

        group.Lsn = _lastStamped;
        foreach (FileId file in _concerned)
            group.Expect(file);
        // Cut before it is published: a group that is visible may be used again at once.
        _parts.Clear();
        if (_concerned.Count != 0)
            GroupParts.Cut(group, _parts);
        _group = null;
        long taken = group.Bytes;
        _engine.Visibility.Publish(group);
        _engine.Intake.Left(taken);
        foreach (ApplyPart part in _parts)
        {
            foreach (FileId file in _concerned)
                _files.OwnerOf(file).Tell(part);
        }

        _engine.FillAtLastGroup = _engine.Fill;
        AskForSegmentsAhead();
        return true;
    }

    /// <summary>Stamps one taken commit into the group. False if it was refused (and completed so).</summary>
    private bool Stamp(PendingCommit commit)
    {
        if (commit.IsBegin)
        {
            commit.Ticket = _validation.Begin(_lastStamped);
            commit.Result = new CommitResult(_lastStamped, _lastTime, default);
            return true;
        }

        if (RefusalOf(commit) is { } refusal)
        {
            _engine.Metrics.NoteRefused(refusal);
            commit.Complete(refusal);
            return false;
        }

        BeginGroup();
        var transaction = new TransactionId(_lastTransaction + 1);
        Lsn lsn = _appender.Stage(
            commit.Record.AsSpan(0, commit.RecordBytes), WalRecordKind.Transaction, transaction, commit.OperationCount,
            commit.BodyCrc);
        _lastTransaction++;
        _lastStamped = lsn;
        if (_validation.IsTracking)
        {
            _validation.NoteWrites(
                commit.Record.AsSpan(RecordCodec.HeaderBytes, commit.RecordBytes - RecordCodec.HeaderBytes),
                commit.OperationCount, lsn);
        }

        commit.Result = new CommitResult(lsn, _lastTime, transaction);
        for (int i = 0; i < commit.FileCount; i++)
        {
            if (!_concerned.Contains(commit.Files[i]))
                _concerned.Add(commit.Files[i]);
        }

        return true;
    }

    /// <summary>Draws the group's times with its first record: a group of begins alone has none.</summary>
    private void BeginGroup()
    {
        if (_groupIsBegun)
            return;
        GroupTime time = _clock.Next();
        _appender.BeginGroup(time.CommitTime, time.RawClock);
        _lastTime = time.CommitTime;
        _groupIsBegun = true;
    }

    private PitrException? RefusalOf(PendingCommit commit)
    {
        if (_engine.ArchiveBehind is { } behind)
            return behind.ToException();
        if (_engine.WalKept is { } kept)
            return kept.ToException();
        if (_engine.DiskLow is { } low)
            return low.ToException();
        CatalogueView catalogue = _engine.Catalogue;
        for (int i = 0; i < commit.TableCount; i++)
        {
            if (!catalogue.IsAlive(commit.Tables[i]))
                return EngineErrors.TableGone(commit.Tables[i]);
        }

        for (int i = 0; i < commit.FileCount; i++)
        {
            if (_files.WhyClosed(commit.Files[i]) is { } why)
                return why.ToException();
        }

        if (commit.Reads is not null
            && !_validation.TryValidate(commit.Reads, commit.Ticket!, out ConflictException? conflict))
            return conflict;
        return null;
    }

    private void MakeDurable()
    {
        long began = _engine.Clock.GetTimestamp();
        _appender.WriteAndSync();
        TimeSpan elapsed = _engine.Clock.GetElapsedTime(began);
        _engine.PacedWriter.ReportWalSync(elapsed);
        _engine.Metrics.NoteSync(elapsed);
        _engine.DurableLsn = _appender.DurableLsn;
        _loggedSinceTick = true;
        _segmentHasRecords = true;
    }

    // ---- events ----------------------------------------------------------------------------------

    private void Log(LogEvent log)
    {
        int bytes = WalEventCodec.Encode(log.Event).Length;
        if (!_appender.CanHold(bytes))
        {
            Stash.Stash();
            AwaitSegments(bytes);
            return;
        }

        if (TryLog(log.Event, out Lsn lsn))
            Sender.Tell(new EventLogged(log.Event, lsn, _lastTime, new TransactionId(_lastTransaction), log.Tag));
        else
            Sender.Tell(new EventRefused(log.Event, Problem.From(_engine.Intake.ClosedWhy!), log.Tag));
    }

    private bool TryLog(WalEvent happened, out Lsn lsn)
    {
        CommitGroup group = _engine.Visibility.Rent();
        try
        {
            _groupIsBegun = false;
            BeginGroup();
            lsn = _appender.Stage(happened);
            MakeDurable();
        }
        catch (StorageFailedException error)
        {
            lsn = default;
            Fail(error, group);
            return false;
        }

        _lastStamped = lsn;
        group.Lsn = lsn;
        if (happened is WalEvent.CreateDatafile or WalEvent.DropDatafile or WalEvent.CreateTable or WalEvent.DropTable)
            _engine.LastChangeLsn = lsn;
        IActorRef? concerned = null;
        if (happened is WalEvent.DropTable drop)
        {
            _validation.NoteTableDropped(drop.TableId, lsn);
            _engine.ForgetTable(drop.TableId);
            concerned = _files.TryOwnerOf(drop.FileId);
            if (concerned is not null)
                group.Expect(drop.FileId);
            else
                _files.NoteDropped(drop.FileId, drop.TableId, lsn);
            _engine.Visibility.Publish(group);
            concerned?.Tell(new TableDropped(group, drop.TableId, lsn));
        }
        else
        {
            _engine.Visibility.Publish(group);
        }

        AskForSegmentsAhead();
        return true;
    }

    private void SealFiles(RequestSeal request)
    {
        var sealedFiles = new List<FileId>();
        foreach (FileId file in request.Files)
        {
            if (_files.TryOwnerOf(file) is not { } owner)
                continue;
            owner.Tell(new Seal(_lastStamped, Sender));
            sealedFiles.Add(file);
        }

        Sender.Tell(new SealSent(_lastStamped, _lastTime, sealedFiles, request.Tag));
    }

    private void Switch()
    {
        if (_segmentHasRecords)
        {
            if (!_appender.CanHold(RecordCodec.HeaderBytes))
            {
                Stash.Stash();
                AwaitSegments(RecordCodec.HeaderBytes);
                return;
            }

            try
            {
                _appender.Switch();
            }
            catch (StorageFailedException error)
            {
                Fail(error, group: null);
                return;
            }

            _engine.DurableLsn = _appender.DurableLsn;
            _lastStamped = _appender.DurableLsn;
            _segmentHasRecords = false;
            _segmentSince = _engine.Clock.GetTimestamp();
            // The filler is a group that changes nothing: without it a flush sealed here would wait for the next commit
            // (F6).
            CommitGroup filler = _engine.Visibility.Rent();
            filler.Lsn = _lastStamped;
            _engine.Visibility.Publish(filler);
            AskForSegmentsAhead();
        }

        Sender.Tell(new SegmentSwitched(_appender.NextLsn));
    }

    private void Tick()
    {
        if (_loggedSinceTick)
        {
            _loggedSinceTick = false;
            _idleTicks = 0;
        }
        else if (++_idleTicks <= 60 || _idleTicks % 6 == 0)
        {
            var heartbeat = new WalEvent.Heartbeat();
            if (_appender.CanHold(RecordCodec.HeaderBytes) && TryLog(heartbeat, out _))
                _loggedSinceTick = false;
        }

        if (_segmentHasRecords && _engine.Clock.GetElapsedTime(_segmentSince) > _engine.Options.SegmentAgeMax)
            Self.Tell(new SwitchSegment(), ActorRefs.NoSender);
    }

    private void Close()
    {
        var shutdown = new WalEvent.Shutdown();
        const int bytes = RecordCodec.HeaderBytes;
        if (_appender.CanHold(bytes) && TryLog(shutdown, out _))
        {
            Stop(Sender);
            return;
        }

        if (_engine.Intake.ClosedWhy is not null)
            return; // it failed, and said so
        Stash.Stash();
        AwaitSegments(bytes);
    }

    /// <summary>Nothing is taken from here on; what was taken from the intake and not stamped is told so.</summary>
    private void Stop(IActorRef asker)
    {
        _engine.Intake.Close(EngineErrors.ShuttingDown());
        RefuseBacklog(EngineErrors.ShuttingDown());
        Become(WhenStopped);
        asker.Tell(new WalClosed(_appender.DurableLsn));
    }

    // ---- segments and failure --------------------------------------------------------------------

    private void AskForSegmentsAhead()
    {
        if (_segmentsAsked || _walFolder.ReadyCount >= WalFolder.ReadyAhead)
            return;
        _segmentsAsked = true;
        _folder.Tell(new WalFolderProtocol.PrepareSegments(WalFolder.ReadyAhead));
    }

    private void AwaitSegments(long recordBytes)
    {
        _segmentsAsked = true;
        _folder.Tell(new WalFolderProtocol.PrepareSegments(
            Math.Max(WalFolder.ReadyAhead, _walFolder.ReadyCount + _appender.SegmentsMissing(recordBytes))));
        Become(WhenWaitingForSegments);
    }

    /// <summary>
    /// The disk is full before a group's first byte: its callers are told, nothing is damaged, later ones may succeed.
    /// </summary>
    private void Refuse(Problem why)
    {
        RefuseBacklog(why.ToException());
        foreach (Envelope stashed in Stash.ClearStash())
        {
            switch (stashed.Message)
            {
                case LogEvent log:
                    stashed.Sender.Tell(new EventRefused(log.Event, why, log.Tag));
                    break;
                case SwitchSegment:
                    stashed.Sender.Tell(new ControlFileProtocol.RequestRefused(why));
                    break;
                case CloseWal:
                    Self.Tell(new CloseWalWithoutRecord(stashed.Sender), ActorRefs.NoSender);
                    break;
                case Drain or RequestSeal:
                    Self.Tell(stashed.Message, stashed.Sender);
                    break;
                default:
                    break;
            }
        }
    }

    private void Fail(PitrException error, CommitGroup? group)
    {
        _log.Error(error, "The WAL failed; the engine takes no more commits.");
        _engine.Intake.Close(EngineErrors.CommitRefused(error));
        if (group is not null)
        {
            for (int i = 0; i < group.Count; i++)
                group.Members[i].Complete(EngineErrors.CommitFateUnknown(error));
        }

        RefuseBacklog(EngineErrors.CommitRefused(error));
        Become(WhenStopped);
        Context.Parent.Tell(new WalFailed(Problem.From(error)));
    }

    private void RefuseBacklog(PitrException why)
    {
        int refused = 0;
        while (_backlog is { } commit)
        {
            _backlog = commit.Next;
            commit.Next = null;
            _engine.Intake.Left(commit.IntakeBytes);
            commit.Complete(why);
            refused++;
        }

        _engine.Metrics.NoteRefused(why, refused);
    }

    /// <summary>
    /// The disk has no room even for the record of a clean shutdown: the next opening finds the end by itself.
    /// </summary>
    private sealed record CloseWalWithoutRecord(IActorRef Asker) : ILocalMessage;
}
