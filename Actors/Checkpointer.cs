using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Coordinates checkpoints (design §7): a barrier through WalWriter, the reports of the files, then the checkpoint
/// record and the control file. Fenced, offline and recovering files are skipped and hold the redo point back.
/// </summary>
/// <remarks>
/// States: Idle → Sealing → Flushing → Recording → Idle. One checkpoint at a time; whoever asks meanwhile gets the
/// next. Triggers: WAL volume, time, buffered bytes (told by a datafile), or by hand.
/// One that fails (a full disk) is dropped: the redo point stays, and it is tried again later.
/// A crash of it loses nothing: the supervisor, which knows who waits, refuses them and makes a new one.
/// </remarks>
internal sealed class Checkpointer : UntypedActor, IWithTimers
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    private readonly EngineContext _engine;
    private readonly IActorRef _walWriter;
    private readonly IActorRef _controlFile;
    private readonly IActorRef _folder;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly List<IActorRef> _askers = [];
    private readonly List<IActorRef> _next = [];
    private readonly Dictionary<FileId, FileClean> _clean = [];
    private readonly Dictionary<FileId, SealSkipped> _skipped = [];
    private readonly HashSet<FileId> _failed = [];
    private readonly Dictionary<FileId, Lsn> _keptBack = []; // whom the last one skipped, and up to where each is clean
    private HashSet<FileId> _awaited = [];
    private Lsn _redo;
    private FileId? _keptFor;
    private Lsn _lsn;
    private Lsn _lastBarrier;
    private Lsn _lastLsn;
    private long _lastAt;
    private long? _failedAt;
    private long _beganAt;
    private DateTimeOffset _beganTime;
    private bool _isRunning;
    private bool _isDue;
    private bool _sealSent;
    private bool _snapshotsKeptTooMuch;
    private readonly long _reserveBytes;
    private readonly long _resumeBytes; // so much more than the reserve, and commits are taken again
    private bool _isLookingAtDisks;

    public Checkpointer(EngineContext engine, long segmentBytes, IActorRef walWriter, IActorRef controlFile, IActorRef folder)
    {
        _engine = engine;
        _reserveBytes = engine.Options.DiskReserveBytes ?? DiskReserve.DefaultBytes(segmentBytes);
        _resumeBytes = segmentBytes;
        _walWriter = walWriter;
        _controlFile = controlFile;
        _folder = folder;
        _lastLsn = engine.DurableLsn;
        _lastAt = engine.Clock.GetTimestamp();
    }

    public ITimerScheduler Timers { get; set; } = null!;

    public static Props PropsFor(
        EngineContext engine, long segmentBytes, IActorRef walWriter, IActorRef controlFile, IActorRef folder) =>
        ActorProps.Of(() => new Checkpointer(engine, segmentBytes, walWriter, controlFile, folder));

    protected override void PreStart()
    {
        Timers.StartPeriodicTimer(nameof(Look), new Look(), LookInterval);
        LookAtDisks();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case RunCheckpoint when _isRunning:
                _next.Add(Sender);
                break;
            case RunCheckpoint:
                _askers.Add(Sender);
                Begin("asked for");
                break;
            case CheckpointWanted wanted:
                if (_isRunning)
                    _isDue = true;
                else
                    Begin(wanted.Why);
                break;
            case Look:
                _engine.Environment.Cache.TrimSoon();
                _engine.Snapshots.EndOlderThan(_engine.Options.SnapshotAgeMax);
                EndSnapshotsThatKeepTooMuch();
                KeepWalBounded();
                LookAtDisks();
                if (!_isRunning && WhyDue() is { } why)
                    Begin(why);
                break;
            case DisksSeen seen:
                KeepReserve(seen);
                break;
            case SealSent sent:
                _lsn = sent.Lsn;
                _awaited = [.. sent.Files.Where(file =>
                    !_clean.ContainsKey(file) && !_skipped.ContainsKey(file) && !_failed.Contains(file))];
                EndIfComplete();
                break;
            case FileClean clean:
                _clean[clean.File] = clean;
                _awaited.Remove(clean.File);
                EndIfComplete();
                break;
            case SealSkipped skipped:
                _skipped[skipped.File] = skipped;
                _awaited.Remove(skipped.File);
                EndIfComplete();
                break;
            case DatafileFailed failed: // told by the supervisor: it will not report
                if (!_isRunning)
                    break;
                _failed.Add(failed.File); // it may have failed before the barrier was answered
                if (_awaited.Remove(failed.File))
                    EndIfComplete();
                break;
            case CheckpointRecorded recorded:
                End(recorded);
                break;
            case RequestRefused refused:
                Fail(refused);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private string? WhyDue()
    {
        if (_failedAt is { } failed && _engine.Clock.GetElapsedTime(failed) < RetryAfter)
            return null; // most likely a full disk: the old control file stands, and keeps the WAL that it needs
        long buffered = _engine.Slots.FlushableBytes;
        if (buffered > _engine.WriteBufferBytesMax / 2)
            return $"{buffered} bytes are buffered";
        long bytes = _engine.DurableLsn - _lastLsn;
        if (bytes >= _engine.Options.CheckpointWalBytes)
            return $"{bytes} bytes of WAL";
        bool hasWork = _engine.LastChangeLsn > _lastBarrier || _keptFor is not null;
        return hasWork && _engine.Clock.GetElapsedTime(_lastAt) >= _engine.Options.CheckpointInterval
            ? $"{_engine.Options.CheckpointInterval} since the last one"
            : null;
    }

    /// <summary>
    /// Memory is bounded: past the limit the oldest snapshots are ended (design §4). Only if it was so at the last look
    /// too: buffers that a flush has just emptied go by themselves.
    /// </summary>
    private void EndSnapshotsThatKeepTooMuch()
    {
        long most = _engine.Options.SnapshotBytesMax ?? _engine.WriteBufferBytesMax / 2;
        long kept = _engine.Slots.BytesKeptForSnapshots;
        bool before = _snapshotsKeptTooMuch;
        _snapshotsKeptTooMuch = kept > most;
        if (!before)
            return;
        while (kept > most)
        {
            long tooMuch = kept;
            if (!_engine.Snapshots.TryEndOldest(() => EngineErrors.SnapshotsTooLarge(tooMuch, most)))
                return;
            kept = _engine.Slots.BytesKeptForSnapshots;
        }
    }

    /// <summary>
    /// Disk is bounded (design §5, promise 9; H24): of the files for which more WAL is kept than may be, the one that has
    /// been held longest loses its fences, and at the next look the next one; one that can't be flushed at all is the
    /// operator's choice.
    /// </summary>
    private void KeepWalBounded()
    {
        long most = _engine.Options.FencedWalBytesMax;
        long kept = _engine.DurableLsn - _redo;
        FileSlot? slot = kept > most && _keptFor is { } file ? _engine.Slots.TryOf(file) : null;
        Problem? refusal = null;
        switch (slot?.State)
        {
            case DatafileState.Fenced:
                BreakLongestHeld(slot, most);
                break;
            case DatafileState.Offline or DatafileState.NeedsRecovery:
                refusal = Problem.From(EngineErrors.WalKept(slot.Name, DatafileActor.StateName(slot.State), kept, most));
                if (_engine.Options.KeptWalChoice == KeptWalChoice.GiveFileUp)
                {
                    GiveUp(slot, refusal.Message);
                    refusal = null;
                }

                break;
            default:
                break;
        }

        if (refusal is not null && _engine.WalKept is null)
            _log.Error("Commits are refused: {0}", refusal.Message);
        _engine.WalKept = refusal;
    }

    /// <summary>A fence for which less is kept than may be gives no room back: its copy goes on.</summary>
    /// <param name="least">The file that keeps the redo point back; fenced.</param>
    /// <param name="most">More bytes of WAL are not kept for it.</param>
    private void BreakLongestHeld(FileSlot least, long most)
    {
        FileSlot longest = _keptBack
            .Where(file => _engine.DurableLsn - file.Value > most)
            .Select(file => _engine.Slots.TryOf(file.Key))
            .OfType<FileSlot>()
            .Where(slot => slot.State == DatafileState.Fenced)
            .Append(least)
            .MinBy(static slot => slot.FencedAt)!;
        long kept = _engine.DurableLsn - _keptBack.GetValueOrDefault(longest.Id, _redo);
        Context.Parent.Tell(new BreakFencesOf(longest.Id, Problem.From(EngineErrors.FenceWal(longest.Name, kept))));
    }

    /// <summary>On a worker: a disk that does not answer holds nobody else up.</summary>
    private void LookAtDisks()
    {
        if (_isLookingAtDisks || _reserveBytes == 0)
            return;
        _isLookingAtDisks = true;
        (EngineContext engine, long reserve) = (_engine, _reserveBytes);
        engine.Workers.Start(
            Self,
            () => new DisksSeen(DiskReserve.Look(engine.FileSystem, engine.Folder, engine.Slots, reserve), null),
            static error => new DisksSeen([], error));
    }

    /// <summary>
    /// Always enough is free to stop and start again (<see cref="DiskReserve"/>): below it commits are refused, and a
    /// checkpoint lets WAL go.
    /// </summary>
    private void KeepReserve(DisksSeen seen)
    {
        _isLookingAtDisks = false;
        if (seen.Error is not null)
        {
            _log.Warning("The room on the disks is not known: {0}", seen.Error.Message);
            return;
        }

        long more = _engine.DiskLow is null ? 0 : _resumeBytes;
        _engine.Disks = [.. seen.Disks.Select(disk => new DiskStatus(
            disk.Path, disk.FreeBytes, disk.ReserveBytes, disk.FreeBytes < disk.ReserveBytes + more))];
        Problem? refusal = _engine.Disks.FirstOrDefault(static disk => disk.RefusesCommits) is { } low
            ? Problem.From(EngineErrors.DiskReserved(low.Path, low.FreeBytes, low.ReserveBytes)) : null;
        bool wasLow = _engine.DiskLow is not null;
        _engine.DiskLow = refusal;
        if (refusal is not null && !wasLow)
        {
            _log.Warning("{0}", refusal.Message);
            if (!_isRunning)
                Begin("a disk is nearly full");
        }
        else if (refusal is null && wasLow)
        {
            _log.Info("There is room on the disks again: commits are taken");
        }
    }

    private void GiveUp(FileSlot slot, string why)
    {
        _log.Error("The WAL that datafile {0} needs is given up: {1}", slot.Name, why);
        _keptFor = null;
        _controlFile.Tell(
            new ChangeControlFile(now => now.WithGivenUp(slot.Id, why)), ActorRefs.NoSender); // the next checkpoint tells
        if (_isRunning)
            _isDue = true;
        else
            Begin($"datafile {slot.Name} was given up");
    }

    private void Begin(string why)
    {
        _log.Debug("Checkpoint begins: {0}", why);
        (_beganAt, _beganTime) = (_engine.Clock.GetTimestamp(), _engine.Clock.GetUtcNow());
        _isRunning = true;
        _isDue = false;
        _sealSent = false;
        _clean.Clear();
        _skipped.Clear();
        _failed.Clear();
        _awaited.Clear();
        _walWriter.Tell(new RequestSeal([.. _engine.Slots.All.Select(slot => slot.Id)]));
    }

    private void EndIfComplete()
    {
        if (!_isRunning || _awaited.Count > 0 || _lsn.IsZero)
            return;
        if (_sealSent)
            return;
        _sealSent = true;
        _controlFile.Tell(new RecordCheckpoint(_lsn, [.. _clean.Values]));
    }

    private void End(CheckpointRecorded recorded)
    {
        string[] flushed = [.. _clean.Values.Select(file => file.Name).Order(StringComparer.Ordinal)];
        string[] skipped = [.. _engine.Slots.All.Where(slot => !_clean.ContainsKey(slot.Id))
            .Select(slot => slot.Name).Order(StringComparer.Ordinal)];
        (_redo, _keptFor) = (recorded.RedoLsn, recorded.KeptFor);
        _keptBack.Clear();
        foreach (SealSkipped file in _skipped.Values)
            _keptBack[file.File] = file.CleanUpTo;
        _lastBarrier = recorded.CheckpointLsn;
        _failedAt = null;
        _engine.RedoLsn = recorded.RedoLsn;
        NoteEnd("ended", null);
        _folder.Tell(new WalFolderProtocol.RedoMoved(recorded.RedoLsn));
        _log.Info(
            "Checkpoint at {0}: redo point {1}; skipped: {2}", recorded.CheckpointLsn, recorded.RedoLsn,
            skipped.Length == 0 ? "none" : string.Join(", ", skipped));
        _lastLsn = _engine.DurableLsn;
        var result =
            new CheckpointEnded(new CheckpointResult(recorded.RedoLsn, recorded.CheckpointLsn, flushed, skipped));
        foreach (IActorRef asker in _askers)
            asker.Tell(result);
        Settle();
    }

    private void Fail(RequestRefused refused)
    {
        _log.Warning("The checkpoint was dropped, it is tried again: {0}", refused.Why.Message);
        _failedAt = _engine.Clock.GetTimestamp();
        NoteEnd("dropped", refused.Why.Message);
        foreach (IActorRef asker in _askers)
            asker.Tell(refused);
        Settle();
    }

    /// <summary>One that somebody asked for is part of the asker's trace.</summary>
    private void NoteEnd(string outcome, string? failure)
    {
        _engine.Metrics.NoteCheckpoint(_engine.Clock.GetElapsedTime(_beganAt), outcome);
        if (_askers.Count == 0)
            Traces.Note("pitr.checkpoint", _engine.Folder, _beganTime, _engine.Clock.GetUtcNow(), failure);
    }

    private void Settle()
    {
        _isRunning = false;
        _lastAt = _engine.Clock.GetTimestamp();
        _lsn = default;
        _askers.Clear();
        _askers.AddRange(_next);
        _next.Clear();
        if (_askers.Count > 0)
            Begin("asked for");
        else if (_isDue)
            Begin("asked for by a datafile");
    }

    private sealed record Look : ILocalMessage;

    private sealed record DisksSeen(IReadOnlyList<DiskRoom> Disks, Exception? Error) : ILocalMessage;
}
