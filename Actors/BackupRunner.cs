using System.Globalization;
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
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Makes one full backup set while commits go on: each datafile is fenced only while it is copied (design §9).
/// </summary>
/// <remarks>
/// <code>
///   hold all WAL ─▶ checkpoint ─▶ catalogue at C, hold from the redo point ─▶ intent (H35, H39)
///     ─▶ for each file: Fence ─▶ copy ─▶ Unfence ─▶ BackupEnd logged (H29) ─▶ WAL from start to stop ─▶ label, manifest
/// </code>
/// A fence that broke while its file was copied makes that copy void: it is made again, whole, under a new fence, once.
/// Any failure, or the caller's cancellation, ends the fence it holds, removes the unfinished set and lets the WAL go.
/// A crash of it: its fences end with it (death watch), and the set has no manifest, so there is none.
/// </remarks>
internal sealed class BackupRunner : UntypedActor
{
    private static readonly TimeSpan Lease = TimeSpan.FromHours(4);

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly WalStart _wal;
    private readonly EngineRoutes _routes;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Queue<CatalogueFile> _todo = new();
    private readonly Guid _hold;
    private readonly long _began;
    private RunBackup _request = null!;
    private IActorRef _asker = ActorRefs.Nobody;
    private BackupWriter? _writer;
    private IArchiveStore? _store;
    private ControlFile? _control;
    private Fenced? _fence;
    private CatalogueFile? _current;
    private string _backupId = "";
    private readonly HashSet<FileId> _voided = [];
    private bool _isFailing;
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

    public static Props PropsFor(EngineContext engine, OpenedEngine opened, WalStart wal, EngineRoutes routes) =>
        Props.Create(() => new BackupRunner(engine, opened, wal, routes));

    /// <summary>An answer after the first is nobody's: the asker has gone.</summary>
    protected override void PostStop()
    {
        _routes.Folder.Tell(new ReleaseWal(_hold), ActorRefs.NoSender);
        _asker.Tell(new RequestRefused(Problem.From(EngineErrors.BackupCancelled())));
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case RunBackup run:
                _request = run;
                _asker = Sender;
                _routes.Folder.Tell(new HoldWal(_hold, Lsn.Zero));
                break;
            case WalHeld when _control is null:
                _routes.Checkpointer.Tell(new RunCheckpoint());
                break;
            case CheckpointEnded:
                _routes.ControlFile.Tell(new GetControlFile());
                break;
            case ControlFileChanged changed:
                Begin(changed.Now);
                break;
            case WalHeld:
                break;
            case Begun:
                NextFile();
                break;
            case Fenced fenced:
                _fence = fenced;
                Copy(fenced);
                break;
            case FenceRefused refused when refused.Why.Code == ErrorCode.DatafileUnknown:
                NextFile(); // dropped meanwhile: H29 says what that means for the set
                break;
            case FenceRefused refused:
                Fail(refused.Why);
                break;
            case Copied when _fence is null:
                break; // the fence broke meanwhile: the copy is void already
            case Copied:
                Context.Parent.Tell(new Unfence(_fence!.Token));
                break;
            case Unfenced:
                _fence = null;
                NextFile();
                break;
            case FenceBroken broken when _fence?.Token == broken.Token:
                CopyIsVoid(broken.Why);
                break;
            case EventLogged logged:
                Complete(logged);
                break;
            case Completed completed:
                _log.Info(
                    "Backup {0} is complete: {1} files, {2} bytes",
                    completed.Result.BackupId, completed.Result.Files, completed.Result.Bytes);
                _asker.Tell(new BackupEnded(completed.Result));
                Context.Stop(Self);
                break;
            case EventRefused refused:
                Fail(refused.Why);
                break;
            case RequestRefused refused:
                Fail(refused.Why);
                break;
            case StepFailed failed:
                Fail(failed.Error is OperationCanceledException
                    ? Problem.From(EngineErrors.BackupCancelled())
                    : Problem.From(failed.Error));
                break;
            case Abandoned abandoned:
                _asker.Tell(new RequestRefused(abandoned.Why));
                Context.Stop(Self);
                break;
            case Terminated dead when _current is not null && _routes.Datafiles.TryGetValue(_current.Id, out IActorRef? owner)
                && owner.Equals(dead.ActorRef) && _engine.Catalogue.Catalogue.File(_current.Id) is not null:
                Fail(Problem.From(EngineErrors.DatafileNeedsRecovery(_current.Name, "its actor died while it was copied.")));
                break;
            case FenceBroken or Terminated:
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Begin(ControlFile control)
    {
        _control = control;
        _routes.Folder.Tell(new HoldWal(_hold, control.RedoLsn));
        foreach (CatalogueFile file in control.Catalogue.Files)
            _todo.Enqueue(file);
        EngineContext engine = _engine;
        BackupRequest request = _request.Request;
        CancellationToken cancel = _request.Cancel;
        string id = engine.Clock.GetUtcNow().ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture)
            + "-" + engine.Draw().ToString("x16", CultureInfo.InvariantCulture)[..6];
        _backupId = id;
        var start = new BackupStart(
            id, control, Lsn.Max(control.RedoLsn, control.Catalogue.Lsn), // C: what was created since the list was read is above it (H29)
            engine.Clock.GetUtcNow());
        Work(() =>
        {
            var limit = request.BytesPerSecondMax is { } most ? new RateLimit(engine.Clock, most) : null;
            var store = EngineFactory.OpenStore(
                engine.FileSystem, engine.Draw, StoreAddress.Parse(request.Store, Environment.CurrentDirectory),
                (file, offset, bytes) => engine.PacedWriter.Write(file, offset, bytes));
            store.CreateRoot();
            _store = store;
            _writer = new BackupWriter(
                engine.FileSystem, store, _opened.Stores, start, new ReachablePages(engine.Environment, cancel),
                bytes => Pace(bytes, limit, cancel));
            _writer.Begin();
            return new Begun();
        });
    }

    private void NextFile()
    {
        if (!_todo.TryDequeue(out _current))
        {
            _routes.WalWriter.Tell(new LogEvent(new WalEvent.BackupEnd(_backupId, _writer!.StartLsn)));
            return;
        }

        FenceCurrent();
    }

    private void FenceCurrent()
    {
        if (_request.Cancel.IsCancellationRequested)
            Fail(Problem.From(EngineErrors.BackupCancelled()));
        else if (_engine.Catalogue.Catalogue.File(_current!.Id) is null
            || !_routes.Datafiles.TryGetValue(_current.Id, out IActorRef? owner))
            NextFile(); // dropped meanwhile: H29 says what that means for the set
        else
            Context.Watch(owner).Tell(new Fence(_current.Name, Self, Self.Path.ToString(), $"backup {_backupId}", Lease));
    }

    private void Copy(Fenced fenced)
    {
        BackupWriter writer = _writer!;
        CancellationToken cancel = _request.Cancel;
        FencedFile file = FileOf(fenced);
        Interlocked.Add(ref _bytesTotal, fenced.LengthBytes);
        Work(() =>
        {
            writer.Copy(file, cancel);
            return new Copied();
        });
    }

    private FencedFile FileOf(Fenced fenced) => new(
        fenced.File, fenced.Datafile, fenced.Path, fenced.LengthBytes, fenced.CheckpointLsn, fenced.Incarnation,
        fenced.Generation, fenced.Lineage,
        Path.IsPathRooted(Catalogue.StoredPath(_engine.Folder, fenced.Path)) ? fenced.Path : null);

    private void CopyIsVoid(Problem why)
    {
        FencedFile file = FileOf(_fence!);
        _fence = null;
        if (!_voided.Add(file.Id))
        {
            Fail(why);
            return;
        }

        _log.Warning("The copy of datafile {0} is void and is made again: {1}", file.Name, why.Message);
        BackupWriter writer = _writer!;
        Work(() =>
        {
            writer.Discard(file);
            return new Begun();
        });
        _todo.Enqueue(_current!);
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
        CancellationToken cancel = _request.Cancel;
        Work(() =>
        {
            IWalSource[] places = [new FolderWalSource(folder, folder.Folder),
                .. _opened.Stores.Select(store => new ArchiveWalSource(store, ArchiveCatalog.Load(store), folder.Geometry))];
            writer.IncludeWal(history, new WalSources(places, folder.Geometry), stop.StopLsn, cancel);
            BackupSet set = writer.Complete(stop);
            return new Completed(new BackupResult(
                set.Label.BackupId, set.Label.StartLsn, set.Label.StopLsn, writer.BytesWritten, set.Label.Files.Count, seconds));
        });
    }

    private void Fail(Problem why)
    {
        if (_isFailing)
            return;
        _isFailing = true;
        _log.Warning("The backup failed: {0}", why.Message);
        if (_fence is not null)
            Context.Parent.Tell(new Unfence(_fence.Token));
        BackupWriter? writer = _writer;
        _engine.Workers.Start(
            Self,
            () =>
            {
                writer?.Abandon();
                return new Abandoned(why);
            },
            _ => new Abandoned(why)); // what is left has no manifest, so it is no set; expire removes it
    }

    private void Pace(long bytes, RateLimit? limit, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (limit?.Book((int)bytes) is { } wait && wait > TimeSpan.Zero)
            _engine.Pause(wait);
        long done = Interlocked.Add(ref _bytesDone, bytes);
        _request.Request.Progress?.Report(new JobProgress("copying", done, Interlocked.Read(ref _bytesTotal)));
    }

    private void Work(Func<object> work) => _engine.Workers.Start(Self, work, static error => new StepFailed(error));

    // ---- messages to self ------------------------------------------------------------------------

    private sealed record Begun : ILocalMessage;

    private sealed record Copied : ILocalMessage;

    private sealed record Completed(BackupResult Result) : ILocalMessage;

    private sealed record StepFailed(Exception Error) : ILocalMessage;

    private sealed record Abandoned(Problem Why) : ILocalMessage;
}
