using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>
/// An engine without actors: the plain parts below them, called in the actors' orders by one thread. It opens and
/// replays as they do, commits groups, logs events, and writes the control file.
/// </summary>
/// <remarks>
/// What it shares with the engine: everything in Storage, Wal and Recovery, and of the actors' folder the plain parts
/// (opening, replay, a datafile's progress, what the control file notes). What it plays itself is only which part is
/// called when; the orders are those in the headers of WalWriter, ControlFileActor, DatafileActor, Checkpointer and
/// RecoveryCoordinator.
/// </remarks>
internal sealed class StepEngine : IDisposable
{
    public const string Folder = "/db";

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly SortedDictionary<uint, StepFile> _files = [];
    private readonly List<Datafile> _made = []; // on their way to Add
    private readonly CommitClock _clock;
    private DateTimeOffset _lastTime;

    private StepEngine(EngineContext engine, OpenedEngine opened)
    {
        _engine = engine;
        _opened = opened;
        Control = opened.ControlFile;
        WalStart start = opened.WalStart(engine.Clock);
        _clock = start.Clock;
        _lastTime = start.LastCommitTime;
        LastTransaction = start.LastTransaction;
    }

    public ControlFile Control { get; private set; }

    public TransactionId LastTransaction { get; private set; }

    public WalAppender Appender => _opened.Wal!.Appender;

    public WalFolder Wal => _opened.WalFolder;

    public EngineContext Context => _engine;

    public IEnumerable<StepFile> Files => _files.Values;

    /// <summary>The end of what is synced.</summary>
    public Lsn DurableLsn => Appender.DurableLsn;

    public static void Create(PitrOptions options) => EngineCreation.Create(Folder, options);

    /// <summary>Opens what is on the disk, and replays its WAL.</summary>
    public static StepEngine Open(PitrOptions options, StepMemory memory)
    {
        EngineContext engine = EngineFactory.ContextFor(Folder, options, memory.For(options));
        var step = new StepEngine(engine, EngineOpening.Open(engine));
        try
        {
            step.Replay();
            return step;
        }
        catch
        {
            step.Dispose();
            throw;
        }
    }

    public StepFile? File(FileId id) => _files.GetValueOrDefault(id.Value);

    /// <summary>The process is gone: nothing is written any more, memory and handles are given back.</summary>
    public void Dispose()
    {
        foreach (StepFile file in _files.Values)
            file.File.Dispose();
        foreach (Datafile file in _made)
            file.Dispose();
        _opened.LetGo();
        _engine.Epochs.Collect();
    }

    // ---- opening ---------------------------------------------------------------------------------

    private void Replay()
    {
        foreach (OpenedDatafile opened in _opened.Datafiles)
        {
            if (opened.File is null)
                throw new SimulationFailure($"Datafile '{opened.Name}' can't be used: {opened.Why!.Message}");
            Add(opened.Id, opened.Name, opened.File, opened.CleanUpTo, isRecovering: true);
        }

        ReplayJob job = ReplayJob.For(_engine, _opened);
        using ReplayStream stream = job.Stream;
        Catalogue catalogue = Control.Catalogue;
        while (stream.MoveNext())
        {
            switch (stream.Current)
            {
                case ReplayStep.Changes changes:
                    _files[changes.Batch.File.Value].Replay.Apply(changes.Batch);
                    break;
                case ReplayStep.Ddl ddl:
                    catalogue = Replay(job, ddl, catalogue);
                    break;
                case ReplayStep.Barrier barrier:
                    catalogue = FlushAt(barrier, catalogue);
                    break;
                default:
                    throw new InvalidOperationException($"No replay of {stream.Current.GetType().Name}.");
            }
        }

        Note(Control.WithReplayed(catalogue));
        foreach (StepFile file in _files.Values)
            file.Replay.End(new EndReplay(DurableLsn, Control.Lineage));
    }

    private Catalogue Replay(ReplayJob job, ReplayStep.Ddl ddl, Catalogue catalogue)
    {
        switch (ddl.Event)
        {
            case WalEvent.CreateTable create when ddl.IsNew:
                return catalogue.CreateTable(create.TableId, create.Name, create.FileId, ddl.Lsn);
            case WalEvent.DropTable drop:
                File(drop.FileId)?.Replay.DropTable(new ReplayDropTable(drop.TableId, ddl.Lsn));
                return ddl.IsNew ? catalogue.DropTable(drop.TableId, ddl.Lsn) : catalogue;
            case WalEvent.CreateDatafile create when ddl.IsNew:
                string stored = Catalogue.StoredPath(Folder, job.PathFor(create));
                Datafile made = job.MakeFile(_engine, create, Control.Lineage);
                Add(create.FileId, create.Name, made, ddl.Lsn, isRecovering: true);
                return catalogue.CreateFile(
                    new CatalogueFile(create.FileId, create.Name, stored, create.Incarnation, 0, Lsn.Zero, ddl.Lsn),
                    ddl.Lsn);
            case WalEvent.DropDatafile drop when ddl.IsNew:
                string? path = catalogue.File(drop.FileId)?.Path;
                Catalogue without = catalogue.DropFile(drop.FileId, ddl.Lsn);
                Close(drop.FileId);
                if (path is not null)
                    Unlink(Catalogue.FullPath(Folder, path));
                return without;
            default:
                return catalogue;
        }
    }

    private Catalogue FlushAt(ReplayStep.Barrier barrier, Catalogue catalogue)
    {
        var clean = new List<FileClean>();
        foreach (StepFile file in _files.Values)
        {
            if (file.Replay.SealAt(new SealReplay(barrier.Through, Control.Lineage, ActorRefs.Nobody)) is { } flush)
            {
                flush.WritePages();
                flush.WriteMeta();
                file.File.CompleteFlush(flush);
                file.Progress.NoteClean(file.File.CleanUpTo);
            }

            clean.Add(file.Clean);
        }

        Note(Control.AfterReplay(catalogue, clean, barrier.Through) with
        {
            NextTransactionId = new TransactionId(
                Math.Max(Control.NextTransactionId.Value, barrier.TransactionId.Value + 1)),
            LastCommitTime = Control.LastCommitTime is { } last && last > barrier.Time ? last : barrier.Time,
        });
        return Control.Catalogue;
    }

    // ---- the log ---------------------------------------------------------------------------------

    /// <summary>Makes segments ready, as WalFolderActor is asked to.</summary>
    public void PrepareSegments(long bytes) =>
        Wal.EnsureReady(Math.Max(WalFolder.ReadyAhead, Wal.ReadyCount + Appender.SegmentsMissing(bytes)));

    /// <summary>
    /// One group of transactions: stamped, written, synced, and applied. The model knows it before its first byte is
    /// written, and that it is durable before the datafiles know of it.
    /// </summary>
    public Lsn Commit(IReadOnlyList<(WriteBatch Batch, IReadOnlyList<ModelStep> Steps)> members, StepModel model)
    {
        long bytes = members.Sum(member => (long)member.Batch.SealRecord());
        if (!Appender.CanHold(bytes))
            PrepareSegments(bytes);
        BeginGroup();
        var stamped = new List<(WriteBatch Batch, Lsn Lsn)>();
        foreach ((WriteBatch batch, IReadOnlyList<ModelStep> steps) in members)
        {
            LastTransaction = new TransactionId(LastTransaction.Value + 1);
            Span<byte> record = batch.Record.AsSpan(0, batch.SealRecord());
            Lsn lsn = Appender.Stage(
                record, WalRecordKind.Transaction, LastTransaction, (uint)batch.Count,
                RecordCodec.BodyState(record[RecordCodec.HeaderBytes..]));
            stamped.Add((batch, lsn));
            model.Begin(lsn, steps, LastTransaction);
        }

        WriteGroup(model);
        foreach ((WriteBatch batch, Lsn lsn) in stamped)
            Apply(batch, lsn);
        return DurableLsn;
    }

    /// <summary>One event, a group of its own; answers its LSN.</summary>
    public Lsn Log(WalEvent happened, StepModel model, Func<Lsn, ModelStep>? step = null)
    {
        int bytes = WalEventCodec.Encode(happened).Length;
        if (!Appender.CanHold(bytes))
            PrepareSegments(bytes);
        BeginGroup();
        Lsn lsn = Appender.Stage(happened);
        model.Begin(lsn, step is null ? [] : [step(lsn)]);
        WriteGroup(model);
        if (happened is WalEvent.DropTable drop && File(drop.FileId) is { } file)
        {
            file.File.DropTable(drop.TableId, lsn);
            file.Progress.Reach(lsn);
        }

        return lsn;
    }

    /// <summary>Ends the segment in use.</summary>
    public void Switch(StepModel model)
    {
        if (!Appender.CanHold(RecordCodec.HeaderBytes))
            PrepareSegments(RecordCodec.HeaderBytes);
        Lsn boundary = Wal.Geometry.BoundaryAtOrAbove(Appender.NextLsn);
        if (boundary == Appender.NextLsn)
            return;
        long left = boundary - Appender.NextLsn;
        model.Begin(left >= RecordCodec.HeaderBytes ? boundary : Appender.NextLsn + RecordCodec.HeaderBytes, []);
        Appender.Switch();
        model.Acknowledge();
        if (model.Acknowledged != DurableLsn)
            throw new SimulationFailure($"A filler was to end at {model.Acknowledged}, and ended at {DurableLsn}.");
    }

    private void BeginGroup()
    {
        GroupTime time = _clock.Next();
        Appender.BeginGroup(time.CommitTime, time.RawClock);
        _lastTime = time.CommitTime;
    }

    private void WriteGroup(StepModel model)
    {
        Appender.WriteAndSync();
        model.Acknowledge();
    }

    private void Apply(WriteBatch batch, Lsn lsn)
    {
        var reader = new OperationReader(batch.Body, (uint)batch.Count);
        while (reader.MoveNext())
            _files[reader.File.Value].File.Apply(reader.Kind, reader.Key, reader.Value, lsn);
        foreach (FileId file in batch.Files)
            _files[file.Value].Progress.Reach(DurableLsn);
    }

    // ---- the control file ------------------------------------------------------------------------

    /// <summary>Replaces the control file.</summary>
    public void Note(ControlFile next)
    {
        _opened.ControlFileStore.Replace(next);
        Control = next;
    }

    /// <summary>A checkpoint's record, and then the control file (H22).</summary>
    public void RecordCheckpoint(Lsn at, IReadOnlyList<FileClean> clean, StepModel model)
    {
        DateTimeOffset time = _engine.Clock.GetUtcNow();
        ControlFile next = Control.WithCheckpoint(at, clean, time);
        Lsn lsn = Log(next.AsCheckpointRecord(), model);
        Note(next.WithRecorded(lsn, _lastTime, LastTransaction));
    }

    /// <summary>Lets segments below the redo point go.</summary>
    public void Recycle() => Wal.Recycle(
        [.. Wal.List().Where(name => Wal.Geometry.StartOf(name.Number + 1) <= Control.RedoLsn)]);

    // ---- files -----------------------------------------------------------------------------------

    /// <summary>
    /// Makes a datafile that nothing lists yet; what a crash left in its place, and means nothing, goes (H23).
    /// </summary>
    public Datafile Make(FileId id, string name, string path, Incarnation incarnation)
    {
        IFileSystem files = _engine.FileSystem;
        if (files.Stat(path) is not null && StrayFile.MeansNothing(
            files, _engine.Folder, path, Control.Catalogue, Control.SystemId))
            files.Delete(path);
        Datafile made = Datafile.Create(
            _engine.Environment, path, name, Control.SystemId, id, incarnation, Control.Lineage, DurableLsn);
        _made.Add(made);
        return made;
    }

    public StepFile Add(FileId id, string name, Datafile file, Lsn cleanUpTo, bool isRecovering)
    {
        var added = new StepFile(
            id, name, file, new DatafileStart(Control.Lineage, cleanUpTo, isRecovering), _engine.Draw);
        _files.Add(id.Value, added);
        _made.Remove(file);
        return added;
    }

    public void Close(FileId id)
    {
        if (!_files.Remove(id.Value, out StepFile? file))
            return;
        file.IsDropped = true;
        file.File.Dispose();
    }

    public void Unlink(string path)
    {
        if (_engine.FileSystem.Stat(path) is null)
            return;
        _engine.FileSystem.Delete(path);
        _engine.FileSystem.SyncFolder(Path.GetDirectoryName(path)!);
    }
}

/// <summary>What the simulation was made to find.</summary>
internal sealed class SimulationFailure(string message, Exception? cause = null) : Exception(message, cause);
