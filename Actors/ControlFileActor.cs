using System.Text;
using Akka.Actor;
using Akka.Event;
using LogEvent = Pitr.Actors.WalProtocol.LogEvent;
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
/// One request at a time; later ones are stashed, so that a name can't be given twice. Its handlers write and sync a small
/// file, so it runs on the blocking dispatcher. A failed write of the control file stops the engine: what it would have
/// said is not known to be durable.
/// </remarks>
internal sealed class ControlFileActor : UntypedActor, IWithUnboundedStash
{
    private readonly EngineContext _engine;
    private readonly ControlFileStore _store;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private IActorRef _walWriter = ActorRefs.Nobody;
    private IActorRef _asker = ActorRefs.Nobody;
    private ControlFile _now;

    public ControlFileActor(EngineContext engine, ControlFileStore store, ControlFile now)
    {
        _engine = engine;
        _store = store;
        _now = now;
        _engine.Catalogue = new CatalogueView(now.Catalogue);
    }

    public IStash Stash { get; set; } = null!;

    public static Props PropsFor(EngineContext engine, ControlFileStore store, ControlFile now) =>
        Props.Create(() => new ControlFileActor(engine, store, now)).WithDispatcher(EngineConfig.BlockingDispatcher);

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
                Change(change);
                break;
            case GetControlFile:
                Sender.Tell(new ControlFileChanged(_now));
                break;
            case AdoptControlFile adopt:
                _now = adopt.Now;
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
                Settle(() => ((Action<EventLogged>)logged.Tag!)(logged));
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
                Settle(_afterActor!);
                break;
            case NoteFile note:
                Note(note);
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    private Action? _afterActor;

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
            Apply(_now.Catalogue.CreateTable(table, create.Name, file, logged.Lsn));
            Answer(new TableCreated(new Table(create.Name, table, file)));
        });
    }

    private void BeginDropTable(DropTable drop)
    {
        if (!_engine.Catalogue.TryTable(drop.Name, out Table? table))
            throw EngineErrors.TableUnknown(drop.Name);
        Log(new WalEvent.DropTable(table!.Id, table.DatafileId, table.Name), logged =>
        {
            Apply(_now.Catalogue.DropTable(table.Id, logged.Lsn));
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
        var file = _now.Catalogue.NextFileId;
        var incarnation = new Incarnation(_engine.Draw());
        Lsn born = _engine.Visibility.Visible; // no reader's LSN may lie below its root
        Datafile opened = Datafile.Create(
            _engine.Environment, path, create.Name, _now.SystemId, file, incarnation, _now.Lineage, born);
        string stored = Catalogue.StoredPath(_engine.Folder, path);
        Log(
            new WalEvent.CreateDatafile(file, create.Name, stored, incarnation),
            logged =>
            {
                Apply(_now.Catalogue.CreateFile(
                    new CatalogueFile(file, create.Name, stored, incarnation, opened.Generation, born, logged.Lsn), logged.Lsn));
                _afterActor = () => Answer(new DatafileCreated(file, create.Name, path));
                Become(WhenAwaitingActor);
                Context.Parent.Tell(new StartNewDatafile(file, create.Name, opened, _now.Lineage, logged.Lsn));
            },
            refused: () =>
            {
                opened.Dispose();
                _engine.FileSystem.Delete(path); // ours, empty, never logged
            });
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
        if (_engine.Slots.Of(file).State == DatafileState.Fenced)
            throw EngineErrors.DatafileIsFenced(drop.Name);
        string path = Catalogue.FullPath(_engine.Folder, _now.Catalogue.File(file)!.Path);
        Log(new WalEvent.DropDatafile(file, drop.Name), logged =>
        {
            Apply(_now.Catalogue.DropFile(file, logged.Lsn));
            _afterActor = () =>
            {
                _engine.FileSystem.Delete(path);
                _engine.FileSystem.SyncFolder(Path.GetDirectoryName(path)!);
                Answer(Done.Instance);
            };
            Become(WhenAwaitingActor);
            Context.Parent.Tell(new StopDroppedDatafile(file));
        });
    }

    // ---- checkpoints -----------------------------------------------------------------------------

    private void BeginCheckpoint(RecordCheckpoint record)
    {
        ControlFile next = _now;
        foreach (FileClean clean in record.Clean)
            next = next.WithFile(clean);
        // A file born while the files were reporting is clean up to its birth, which lies above the barrier.
        Lsn redo = next.Catalogue.Files.Select(file => file.CleanUpTo).Aggregate(record.CheckpointLsn, Lsn.Min);
        next = next with
        {
            CheckpointLsn = record.CheckpointLsn,
            RedoLsn = Lsn.Max(redo, _now.RedoLsn),
            CheckpointTime = _engine.Clock.GetUtcNow(),
            Catalogue = next.Catalogue.ForgetDropped(redo),
        };
        _now = next;
        Log(CheckpointRecord(next), logged =>
        {
            _now = _now with
            {
                KnownEndOfWal = logged.Lsn,
                LastCommitTime = logged.Time,
                // Below the redo point nobody reads any more which ids were given.
                NextTransactionId = new TransactionId(logged.LastTransaction.Value + 1),
            };
            Write();
            Answer(new CheckpointRecorded(_now.RedoLsn, record.CheckpointLsn));
        });
    }

    private static WalEvent.Checkpoint CheckpointRecord(ControlFile control) => new(
        control.RedoLsn, control.CheckpointLsn, Encoding.UTF8.GetString(ControlFileStore.EncodePayload(control)));

    private void Note(NoteFile note)
    {
        ControlFile next = _now.WithFile(note.File);
        if (next != _now)
        {
            _now = next with { KnownEndOfWal = _engine.DurableLsn };
            if (!TryWrite(out PitrException? error))
            {
                Sender.Tell(new FileNoted(Problem.From(error!)));
                return;
            }
        }

        Sender.Tell(new FileNoted(null));
    }

    private void Change(ChangeControlFile change)
    {
        _now = change.Change(_now);
        _engine.Catalogue = new CatalogueView(_now.Catalogue);
        if (TryWrite(out PitrException? error))
            Sender.Tell(new ControlFileChanged(_now));
        else
            Sender.Tell(new RequestRefused(Problem.From(error!)));
    }

    // ---- steps -----------------------------------------------------------------------------------

    private void Apply(Catalogue catalogue)
    {
        _now = _now with { Catalogue = catalogue, KnownEndOfWal = _engine.DurableLsn };
        Write();
        _engine.Catalogue = new CatalogueView(catalogue);
    }

    private void Log(WalEvent happening, Action<EventLogged> then, Action? refused = null)
    {
        _onRefused = refused;
        Become(WhenLogging);
        _walWriter.Tell(new LogEvent(happening, then));
    }

    private Action? _onRefused;

    private void Write()
    {
        if (!TryWrite(out PitrException? error))
            throw error!;
    }

    private bool TryWrite(out PitrException? error)
    {
        try
        {
            _store.Replace(_now);
            error = null;
            return true;
        }
        catch (PitrException failed)
        {
            error = failed;
            return false;
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

    /// <summary>Carries out what was logged. A failure here is a failed control file or unlink: the engine must stop.</summary>
    private void Settle(Action step)
    {
        try
        {
            step();
        }
        catch (PitrException error)
        {
            _log.Error(error, "The control file could not be brought up to date; the engine stops.");
            _asker.Tell(new RequestRefused(Problem.From(error)));
            Context.Parent.Tell(new WalFailed(Problem.From(error)));
        }

        Stash.UnstashAll();
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
