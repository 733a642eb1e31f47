using Akka.Actor;
using Akka.Event;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Owns the control file and the catalogue in it: decides every creation and drop, has it logged, and writes the file
/// from its present state (H23). What it notes is durable elsewhere before (H21).
/// </summary>
/// <remarks>
/// Orders (each crash between two steps is a test):
///   create datafile: file and folder synced (a stray until logged) → logged → control file → its actor → answer
///   drop datafile:   logged → control file → its actor ends → unlink → folder → answer
///   create or drop a table: logged → control file → answer
///   checkpoint: every file's report → checkpoint record with the whole table (H22) → control file
/// What a crash between two of these steps left lying is settled when an opening has reached the end of the WAL.
/// One request at a time; later ones are stashed, so that a name can't be given twice. Its handlers write and sync a
/// small file, so it runs on the blocking dispatcher.
/// A disk that was full before the new control file got its name is survivable: the old one stands, and says less than
/// is true, never more. What was logged is in the WAL from its redo point on; a checkpoint is dropped; a dropped
/// datafile is unlinked after the next write; what an opening replayed is replayed again by the next. Any other failure
/// leaves it open what a crash would bring: nothing is written any more, and the engine stops.
/// </remarks>
internal sealed class ControlFileActor : UntypedActor, IWithUnboundedStash
{
    private readonly EngineContext _engine;
    private readonly ControlFileStore _store;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private IActorRef _walWriter = ActorRefs.Nobody;
    private readonly List<string> _toUnlink = [];
    private IActorRef _asker = ActorRefs.Nobody;
    private ControlFile _now;
    private ControlFile _written;
    private Problem? _broken;
    private Action? _afterActor;
    private Action? _onRefused;

    public ControlFileActor(EngineContext engine, ControlFileStore store, ControlFile now)
    {
        _engine = engine;
        _store = store;
        _now = now;
        _written = store.ReadAny(); // an opening on a full disk could not write what it found
        _engine.Catalogue = new CatalogueView(now.Catalogue);
    }

    public IStash Stash { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, ControlFileStore store, ControlFile now) =>
        ActorProps.Of(() => new ControlFileActor(engine, store, now)).WithDispatcher(EngineConfig.BlockingDispatcher);

    // ---- states ----------------------------------------------------------------------------------

    protected override void OnReceive(object message) => WhenIdle(message);

    private void WhenIdle(object message)
    {
        switch (message)
        {
            case UseWalWriter use:
                _walWriter = use.WalWriter;
                break;
            case CreateTable create:
                Answering(() => BeginCreateTable(create));
                break;
            case DropTable drop:
                Answering(() => BeginDropTable(drop));
                break;
            case CreateDatafile create:
                Answering(() => BeginCreateDatafile(create));
                break;
            case DropDatafile drop:
                Answering(() => BeginDropDatafile(drop));
                break;
            case RecordCheckpoint record:
                _asker = Sender;
                BeginCheckpoint(record);
                break;
            case NoteFile note:
                Note(note);
                break;
            case ChangeControlFile change:
                Answering(() => Change(change));
                break;
            case LookForStrays:
                SettleStrays();
                Sender.Tell(new StraysSettled());
                break;
            case GetControlFile:
                Sender.Tell(new ControlFileChanged(_now));
                break;
            case AdoptControlFile adopt:
                _now = _written = adopt.Now;
                _engine.Catalogue = new CatalogueView(_now.Catalogue);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>A record is on its way to the WAL; what it says is carried out when it is durable.</summary>
    private void WhenLogging(object message)
    {
        switch (message)
        {
            case EventLogged logged:
                Become(WhenIdle);
                ((Action<EventLogged>)logged.Tag!)(logged);
                Stash.UnstashAll();
                break;
            case EventRefused refused:
                Become(WhenIdle);
                Refuse(refused.Why);
                break;
            case NoteFile note:
                Note(note);
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    /// <summary>A datafile's actor is being started or ended.</summary>
    private void WhenAwaitingActor(object message)
    {
        switch (message)
        {
            case NewDatafileStarted:
            case DroppedDatafileStopped:
                Become(WhenIdle);
                _afterActor!();
                Stash.UnstashAll();
                break;
            case NoteFile note:
                Note(note);
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    /// <summary>
    /// A write failed in the middle: what the control file says is not known, so nothing is written over it.
    /// </summary>
    private void WhenBroken(object message)
    {
        switch (message)
        {
            case CreateTable or DropTable or CreateDatafile or DropDatafile or RecordCheckpoint or ChangeControlFile:
                Sender.Tell(new RequestRefused(_broken!));
                break;
            case NoteFile:
                Sender.Tell(new FileNoted(_broken!));
                break;
            case GetControlFile:
                Sender.Tell(new ControlFileChanged(_now));
                break;
            default:
                break; // the engine stops
        }
    }

    // ---- tables ----------------------------------------------------------------------------------

    private void BeginCreateTable(CreateTable create)
    {
        CatalogueView catalogue = _engine.Catalogue;
        if (catalogue.TryTable(create.Name, out _))
            throw EngineErrors.NameTaken("table", create.Name);
        string fileName = create.Datafile ?? "main";
        if (!catalogue.TryFile(fileName, out FileId file))
            throw EngineErrors.DatafileUnknown(fileName);
        var table = _now.Catalogue.NextTableId;
        Log(new WalEvent.CreateTable(table, file, create.Name), logged =>
        {
            if (TryApply(_now.Catalogue.CreateTable(table, create.Name, file, logged.Lsn)))
                Answer(new TableCreated(new Table(create.Name, table, file)));
        });
    }

    private void BeginDropTable(DropTable drop)
    {
        if (!_engine.Catalogue.TryTable(drop.Name, out Table? table))
            throw EngineErrors.TableUnknown(drop.Name);
        Log(new WalEvent.DropTable(table!.Id, table.DatafileId, table.Name), logged =>
        {
            if (TryApply(_now.Catalogue.DropTable(table.Id, logged.Lsn)))
                Answer(Done.Instance);
        });
    }

    // ---- datafiles -------------------------------------------------------------------------------

    private void BeginCreateDatafile(CreateDatafile create)
    {
        if (_engine.Catalogue.TryFile(create.Name, out _))
            throw EngineErrors.NameTaken("datafile", create.Name);
        string path = create.Path is null
            ? Path.Combine(_engine.Folder, create.Name + ".pitr")
            : Path.GetFullPath(Path.Combine(_engine.Folder, create.Path));
        DatafilePlace.Require(
            _engine.FileSystem, _engine.Folder,
            EngineFactory.StoreFoldersOf(_engine), path, _engine.Outside);
        string stored = Catalogue.StoredPath(_engine.Folder, path);
        if (_now.IsNameOfMove(stored))
            throw EngineErrors.PlaceReserved(path, "a datafile that is being moved uses that path");
        var file = _now.Catalogue.NextFileId;
        var incarnation = new Incarnation(_engine.Draw());
        Lsn born = _engine.Visibility.Visible; // no reader's LSN may lie below its root
        RemoveStray(path);
        Datafile opened = _engine.HandOver.Give(
            Datafile.Create(
                _engine.Environment, path, create.Name, _now.SystemId, file, incarnation, _now.Lineage, born),
            static file => file.Dispose());
        Log(
            new WalEvent.CreateDatafile(file, create.Name, stored, incarnation),
            logged =>
            {
                if (!TryApply(_now.Catalogue.CreateFile(
                    new CatalogueFile(file, create.Name, stored, incarnation, opened.Generation, born, logged.Lsn),
                    logged.Lsn)))
                    return;
                _afterActor = () => Answer(new DatafileCreated(file, create.Name, path));
                Become(WhenAwaitingActor);
                Context.Parent.Tell(new StartNewDatafile(file, create.Name, opened, _now.Lineage, logged.Lsn));
            },
            refused: () =>
            {
                if (_engine.HandOver.Take(opened))
                    opened.Dispose();
                Unlink(path); // ours, empty, never logged
            });
    }

    /// <summary>
    /// A crash between making a file and logging it leaves one that is ours and means nothing; anything else that has
    /// the name stays, and keeps it (H23).
    /// </summary>
    private void RemoveStray(string path)
    {
        IFileSystem files = _engine.FileSystem;
        if (files.Stat(path) is { IsFolder: false }
            && StrayFile.MeansNothing(files, _engine.Folder, path, _now.Catalogue, _now.SystemId))
            files.Delete(path);
    }

    /// <summary>
    /// What crashes left between two steps of a create or drop. Only if the control file on the disk is that of the
    /// WAL's end: else it may still list what was dropped. None of it keeps a database from opening: the next one looks
    /// again.
    /// </summary>
    private void SettleStrays()
    {
        if (!ReferenceEquals(_written, _now))
            return;
        try
        {
            foreach (StrayFile stray in StrayFile.Find(
                _engine.FileSystem, _engine.Folder, _now.Catalogue, _now.SystemId))
            {
                if (stray.IsToBeRemoved)
                    Unlink(stray.Path);
                bool isRemoved = stray.IsToBeRemoved && !_engine.Outside.Bars(stray.Path);
                _log.Warning(
                    "{0} belongs to no datafile and {1}: {2} (case {3})", stray.Path,
                    isRemoved ? "was removed" : "is left as it is", stray.Row.Why, stray.Row.Label);
            }
        }
        catch (PitrException error)
        {
            _log.Warning("What lies in {0} and belongs to no datafile could not be looked at: {1}", _engine.Folder,
                error.Message);
        }
    }

    private void BeginDropDatafile(DropDatafile drop)
    {
        if (!_engine.Catalogue.TryFile(drop.Name, out FileId file))
            throw EngineErrors.DatafileUnknown(drop.Name);
        if (file == FileId.Main)
            throw EngineErrors.MainStays();
        int tables = _engine.Catalogue.Tables.Count(table => table.DatafileId == file);
        if (tables > 0)
            throw EngineErrors.DatafileHasTables(drop.Name, tables);
        if (_now.MoveOf(file) is { } move)
            throw ControlFileChanges.UnderWay(_now.Catalogue.File(file)!, move);
        FileSlot slot = _engine.Slots.Of(file);
        if (slot.State == DatafileState.Fenced)
            throw EngineErrors.DatafileIsFenced(drop.Name);
        if (slot.State == DatafileState.Recovering)
            throw EngineErrors.DatafileRecovering(drop.Name);
        string path = Catalogue.FullPath(_engine.Folder, _now.Catalogue.File(file)!.Path);
        Log(new WalEvent.DropDatafile(file, drop.Name), logged =>
        {
            if (!TryApply(_now.Catalogue.DropFile(file, logged.Lsn)))
                return;
            bool isWritten = ReferenceEquals(_written, _now);
            _afterActor = () =>
            {
                if (isWritten)
                    Unlink(path);
                else
                    _toUnlink.Add(path); // the control file still lists it
                Answer(Done.Instance);
            };
            Become(WhenAwaitingActor);
            Context.Parent.Tell(new StopDroppedDatafile(file));
        });
    }

    // ---- checkpoints -----------------------------------------------------------------------------

    private void BeginCheckpoint(RecordCheckpoint record)
    {
        DateTimeOffset time = _engine.Clock.GetUtcNow();
        Log(_now.WithCheckpoint(record.CheckpointLsn, record.Clean, time).AsCheckpointRecord(), logged =>
        {
            _now = _now.WithCheckpoint(record.CheckpointLsn, record.Clean, time)
                .WithRecorded(logged.Lsn, logged.Time, logged.LastTransaction);
            if (TryWrite() is { } why)
                Answer(new RequestRefused(why));
            else
                Answer(new CheckpointRecorded(
                    _now.RedoLsn, record.CheckpointLsn,
                    _now.Catalogue.LeastClean is { } least && least.CleanUpTo < record.CheckpointLsn ? least.Id : null));
        });
    }

    private void Note(NoteFile note)
    {
        ControlFile next = _now.WithFile(note.File);
        Problem? why = null;
        if (next != _now)
        {
            _now = next with { KnownEndOfWal = _engine.DurableLsn };
            why = TryWrite();
        }

        Sender.Tell(new FileNoted(why));
    }

    private void Change(ChangeControlFile change)
    {
        ControlFile before = _now;
        _now = change.Change(_now);
        if (TryWrite() is { } why && !(change.MayWait && _broken is null))
        {
            _now = before;
            Sender.Tell(new RequestRefused(why));
            return;
        }

        _engine.Catalogue = new CatalogueView(_now.Catalogue);
        Sender.Tell(new ControlFileChanged(_now));
    }

    // ---- steps -----------------------------------------------------------------------------------

    /// <summary>What was logged becomes true. False if the owner is broken; the asker was told.</summary>
    private bool TryApply(Catalogue catalogue)
    {
        _now = _now with { Catalogue = catalogue, KnownEndOfWal = _engine.DurableLsn };
        Problem? why = TryWrite();
        _engine.Catalogue = new CatalogueView(catalogue);
        if (_broken is null)
            return true; // it is durable, in the WAL at the least
        Answer(new RequestRefused(why!));
        return false;
    }

    private void Log(WalEvent happening, Action<EventLogged> then, Action? refused = null)
    {
        _onRefused = refused;
        Become(WhenLogging);
        _walWriter.Tell(new LogEvent(happening, then));
    }

    /// <summary>
    /// Writes the present state. Null if it is durable; otherwise why not, and the owner is broken unless the old one
    /// stands.
    /// </summary>
    private Problem? TryWrite()
    {
        if (_broken is not null)
            return _broken;
        try
        {
            _store.Replace(_now);
            _written = _now;
            foreach (string path in _toUnlink)
                Unlink(path);
            _toUnlink.Clear();
            return null;
        }
        catch (StorageFailedException full) when (full.IsDiskFull && _store.Holds(_written))
        {
            _log.Warning("The control file could not be written, the old one stands: {0}", full.Message);
            return Problem.From(full);
        }
        catch (PitrException error)
        {
            _log.Error(error, "The control file could not be brought up to date; the engine stops.");
            _broken = Problem.From(error);
            Become(WhenBroken);
            Context.Parent.Tell(new WalFailed(_broken));
            return _broken;
        }
    }

    /// <summary>
    /// Removes a file that nothing lists any more. One that can't be removed is reported, and stays as a stray.
    /// </summary>
    private void Unlink(string path)
    {
        try
        {
            _engine.Outside.Remove(path);
        }
        catch (StorageFailedException error)
        {
            _log.Warning("{0} belongs to no datafile any more and could not be removed: {1}", path, error.Message);
        }
    }

    private void Answering(Action begin)
    {
        _asker = Sender;
        try
        {
            begin();
        }
        catch (PitrException refused)
        {
            _asker.Tell(new RequestRefused(Problem.From(refused)));
        }
    }

    private void Refuse(Problem why)
    {
        _onRefused?.Invoke();
        _asker.Tell(new RequestRefused(why));
        Stash.UnstashAll();
    }

    private void Answer(object message) => _asker.Tell(message);

    /// <summary>Said once, when WalWriter is there.</summary>
    public sealed record UseWalWriter(IActorRef WalWriter) : ILocalMessage;
}
