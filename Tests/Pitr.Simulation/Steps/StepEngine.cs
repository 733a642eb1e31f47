using System.Text;
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
/// (opening, replay, promotion, the parts of a group, a datafile's progress, what the control file notes). What it
/// plays itself is only which part is called when; the orders are those in the headers of WalWriter, ControlFileActor,
/// DatafileActor, Checkpointer, WalFolderActor, Archiver and RecoveryCoordinator. What a datafile is told waits in its
/// mailbox (<see cref="StepFile"/>) until the life delivers it, so a group is durable long before it is visible.
/// </remarks>
internal sealed class StepEngine : IDisposable
{
    private const int ValidationKeys = 64;
    private const int SegmentsAtOnce = 3;

    private readonly EngineContext _engine;
    private readonly OpenedEngine _opened;
    private readonly SortedDictionary<uint, StepFile> _files = [];
    private readonly List<Datafile> _made = []; // on their way to Add
    private readonly Queue<(Lsn Lsn, HashSet<FileId> Waiting)> _invisible = [];
    private readonly List<StoreShipper> _shippers = [];
    private readonly List<FileId> _ahead = [];
    private readonly Queue<NamelessFile> _nameless = [];
    private WalStart? _wal;
    private CommitValidation? _validation;
    private GroupTime _time;

    private StepEngine(EngineContext engine, OpenedEngine opened, StepMemory memory)
    {
        _engine = engine;
        _opened = opened;
        Memory = memory;
        Control = opened.ControlFile;
    }

    public ControlFile Control { get; private set; }

    public StepMemory Memory { get; }

    public TransactionId LastTransaction { get; private set; }

    public WalAppender Appender => _wal!.Appender;

    public WalFolder Wal => _wal!.Folder;

    public TimelineHistory History => _wal!.History;

    public EngineContext Context => _engine;

    public string Folder => _engine.Folder;

    public IEnumerable<StepFile> Files => _files.Values;

    /// <summary>The archive stores, as opening found them.</summary>
    public IReadOnlyList<IArchiveStore> Stores => _opened.Stores;

    /// <summary>One for each store.</summary>
    public IReadOnlyList<StoreShipper> Shippers => _shippers;

    /// <summary>WAL from here on is kept for a backup (H39).</summary>
    public Dictionary<string, Lsn> Holds { get; } = [];

    /// <summary>A write or sync of a group threw.</summary>
    public bool HasWalThrown { get; private set; }

    /// <summary>The end of what is synced.</summary>
    public Lsn DurableLsn => Appender.DurableLsn;

    /// <summary>Every file has applied all groups up to here.</summary>
    public Lsn VisibleLsn { get; private set; }

    /// <summary>Which keys and ranges were written while transactions are open.</summary>
    public CommitValidation Validation => _validation ??= new CommitValidation(ValidationKeys, rangeBytesMax: 0);

    /// <summary>Datafiles that opening found flushed further than the control file knew (H16).</summary>
    public IReadOnlyList<FileId> AheadAtOpening => _ahead;

    /// <summary>True if the replay made room on its way (H21).</summary>
    public bool HasFlushedInReplay { get; private set; }

    /// <summary>True if this opening ended a restore.</summary>
    public bool HasRestored { get; private set; }

    /// <summary>Opens what is on the disk, and replays its WAL; or goes on with a restore, and promotes.</summary>
    public static StepEngine Open(string folder, PitrOptions options, StepMemory memory)
    {
        EngineContext engine = EngineFactory.ContextFor(folder, options, memory.For(options));
        var step = new StepEngine(engine, EngineOpening.Open(engine), memory);
        try
        {
            step.Replay();
            step.Begin();
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
        foreach (IStagedObject left in _shippers.SelectMany(static shipper => shipper.LetGo()))
            left.Dispose();
        foreach (StepFile file in _files.Values)
            file.File.Dispose();
        foreach (Datafile file in _made)
            file.Dispose();
        if (_wal is not null && _wal.Folder != _opened.WalFolder)
        {
            _wal.Appender.Dispose();
            _wal.Folder.Dispose();
        }

        _opened.LetGo();
        _engine.Epochs.Collect();
        while (_nameless.TryDequeue(out NamelessFile? left))
            left.Dispose();
    }

    // ---- former files ----------------------------------------------------------------------------

    /// <summary>Takes a large file that has no name any more, and that nobody reads; as the actor RoomReturn does.</summary>
    public void TakeNameless(NamelessFile file) => _nameless.Enqueue(file);

    /// <summary>Cuts and closes one of them. False if there is none.</summary>
    public bool ReturnRoom()
    {
        if (!_nameless.TryDequeue(out NamelessFile? file))
            return false;
        using (file)
            file.Cut(_engine.PacedWriter, CancellationToken.None);
        return true;
    }

    // ---- opening ---------------------------------------------------------------------------------

    private void Replay()
    {
        foreach (OpenedDatafile opened in _opened.Datafiles)
        {
            if (opened.File is not null)
                Add(opened.Id, opened.Name, opened.File, opened.CleanUpTo, isRecovering: true);
            if (opened.File?.Generation > Control.Catalogue.File(opened.Id)?.Generation)
                _ahead.Add(opened.Id);
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

        if (_opened.Restore is { } restore)
        {
            FinishRestore(restore, catalogue);
            return;
        }

        foreach (OpenedDatafile opened in _opened.Datafiles)
        {
            // One that the WAL drops further on may be gone already: an earlier opening unlinked it (H23).
            if (opened.File is null && catalogue.File(opened.Id) is not null)
                throw opened.Why!.ToException();
        }

        Note(_engine.Outside.Settled(Control.WithReplayed(catalogue)));
        _engine.Outside = _engine.Outside.As(Control.Place);
        _wal = (_opened with { ControlFile = Control }).WalStart(_engine.Clock);
    }

    /// <summary>As the supervisor starts the rest: strays go, the files take commits again.</summary>
    private void Begin()
    {
        LastTransaction = _wal!.LastTransaction;
        VisibleLsn = DurableLsn;
        foreach (StrayFile stray in StrayFile.Find(_engine.FileSystem, Folder, Control.Catalogue, Control.SystemId))
        {
            if (stray.IsToBeRemoved)
                Unlink(stray.Path);
        }

        foreach (StepFile file in _files.Values)
            file.Replay.End(new EndReplay(DurableLsn, Control.Lineage));
        foreach (IArchiveStore store in _opened.Stores)
        {
            _shippers.Add(new StoreShipper(
                store, Wal, History, _opened.Start, _engine.Clock, _opened.Wal?.End ?? DurableLsn)
            {
                Width = SegmentsAtOnce,
                Standing = _opened.Standings.In(store),
            });
        }
    }

    private void FinishRestore(RestoreInProgress restore, Catalogue catalogue)
    {
        if (catalogue.Files.FirstOrDefault(file => File(file.Id) is null) is { } lacking)
            throw _opened.Datafiles.First(opened => opened.Id == lacking.Id).Why!.ToException(); // not its target (I11)
        var clean = new List<FileClean>();
        foreach (StepFile file in _files.Values)
        {
            file.Replay.BeginFinish(
                new FinishRestore(restore.Cut, LineageOf(restore.Cut), restore.RecoveryId), Akka.Actor.ActorRefs.Nobody);
            while (file.Replay.NextFinishStep() is { } flush)
                RunFlush(file, flush);
            clean.Add(file.Clean);
        }

        Note(Control.AfterReplay(catalogue, clean, restore.Cut));
        Promoted promoted = Promotion.Run(_engine, _opened, Control, restore);
        (Control, _wal, HasRestored) = (promoted.Control, promoted.Wal, true);
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
                Datafile made = job.MakeFile(_engine, create, LineageOf(Control.RedoLsn));
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
        HasFlushedInReplay = true;
        var clean = new List<FileClean>();
        foreach (StepFile file in _files.Values)
        {
            if (file.Replay.SealAt(new SealReplay(
                barrier.Through, LineageOf(barrier.Through), Akka.Actor.ActorRefs.Nobody)) is { } flush)
                RunFlush(file, flush);
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

    private static void RunFlush(StepFile file, FlushJob flush)
    {
        ulong before = file.File.Generation;
        flush.WritePages();
        flush.WriteMeta();
        file.File.CompleteFlush(flush);
        file.Progress.NoteClean(file.File.CleanUpTo);
        if (file.File.Generation != before + 1)
        {
            throw new SimulationFailure(
                $"A change of the meta page of {file.Name} went from generation {before} to {file.File.Generation} (H22).");
        }
    }

    /// <summary>Of the timeline on the path whose records end at an LSN (H14).</summary>
    private Lineage LineageOf(Lsn lsn) =>
        TimelineHistory.Of(Control.SystemId, Control.History).OwnerOf(lsn + -8).Lineage;

    // ---- the log ---------------------------------------------------------------------------------

    /// <summary>Makes segments ready, as WalFolderActor is asked to.</summary>
    public void PrepareSegments(long bytes) =>
        Wal.EnsureReady(Math.Max(WalFolder.ReadyAhead, Wal.ReadyCount + Appender.SegmentsMissing(bytes)));

    /// <summary>
    /// One group of transactions: stamped, written, synced, and sent to the datafiles. The model knows it before its
    /// first byte is written, and that it is durable before the datafiles know of it.
    /// </summary>
    public Lsn Commit(IReadOnlyList<(WriteBatch Batch, IReadOnlyList<ModelStep> Steps)> members, StepModel model)
    {
        var group = new CommitGroup();
        foreach ((WriteBatch batch, _) in members)
        {
            batch.Pending.Prepare(_engine.Threads, CancellationToken.None);
            group.Add(batch.Pending);
        }

        PrepareFor(group.Members.Take(group.Count).Sum(static commit => (long)commit.RecordBytes));
        BeginGroup(model);
        for (int i = 0; i < group.Count; i++)
        {
            PendingCommit commit = group.Members[i];
            LastTransaction = new TransactionId(LastTransaction.Value + 1);
            Lsn lsn = Appender.Stage(
                commit.Record.AsSpan(0, commit.RecordBytes), WalRecordKind.Transaction, LastTransaction,
                commit.OperationCount, commit.BodyCrc);
            commit.Result = new CommitResult(lsn, _time.CommitTime, LastTransaction);
            if (_validation is { IsTracking: true } validation)
            {
                validation.NoteWrites(
                    commit.Record.AsSpan(RecordCodec.HeaderBytes, commit.RecordBytes - RecordCodec.HeaderBytes),
                    commit.OperationCount, lsn);
            }

            model.Begin(Record(lsn, members[i].Steps, LastTransaction));
        }

        WriteGroup(model);
        Send(group);
        return DurableLsn;
    }

    /// <summary>A write or sync of the log failed: nothing is written to it any more (H3, H4).</summary>
    public void RequireDead()
    {
        try
        {
            GroupTime time = _wal!.Clock.Next();
            Appender.BeginGroup(time.CommitTime, time.RawClock);
        }
        catch (StorageFailedException)
        {
            return;
        }

        throw new SimulationFailure("A write of the WAL failed, and another group is begun (H3, H4).");
    }

    /// <summary>
    /// A record for which no segment is ready: refused before its first byte (H4). The appender is in a group for ever
    /// then: it is the last thing that a life does.
    /// </summary>
    public void StageWithoutRoom()
    {
        long room = 0;
        while (Appender.CanHold(room + 8))
            room += 8;
        byte[] record = new byte[Math.Max(room + 8, RecordCodec.HeaderBytes)];
        _time = _wal!.Clock.Next();
        Appender.BeginGroup(_time.CommitTime, _time.RawClock);
        long before = ((SimulatedDisk)_engine.FileSystem).OperationCount;
        try
        {
            Appender.Stage(
                record, WalRecordKind.Transaction, new TransactionId(LastTransaction.Value + 1), 0,
                RecordCodec.BodyState(record.AsSpan(RecordCodec.HeaderBytes)));
        }
        catch (BugException) when (((SimulatedDisk)_engine.FileSystem).OperationCount == before)
        {
            return;
        }
        catch (BugException)
        {
            // Told, and too late.
        }

        throw new SimulationFailure($"A record of {record.Length} bytes was taken, and no segment is ready for it (H4).");
    }

    /// <summary>One event, a group of its own; answers its LSN.</summary>
    public Lsn Log(WalEvent happened, StepModel model, Func<Lsn, ModelStep>? step = null)
    {
        PrepareFor(WalEventCodec.Encode(happened).Length);
        BeginGroup(model);
        Lsn lsn = Appender.Stage(happened);
        model.Begin(Record(lsn, step is null ? [] : [step(lsn)]) with
        {
            RestorePoint = (happened as WalEvent.RestorePoint)?.Name,
        });
        WriteGroup(model);
        var waiting = new HashSet<FileId>();
        _invisible.Enqueue((lsn, waiting));
        if (happened is WalEvent.DropTable drop && File(drop.FileId) is { } file)
        {
            _validation?.NoteTableDropped(drop.TableId, lsn);
            waiting.Add(drop.FileId);
            file.Tell(() =>
            {
                file.File.DropTable(drop.TableId, lsn);
                file.Progress.Reach(lsn);
                waiting.Remove(file.Id);
                MoveVisible();
            });
        }

        MoveVisible();
        return lsn;
    }

    /// <summary>Ends the segment in use.</summary>
    public void Switch(StepModel model)
    {
        PrepareFor(RecordCodec.HeaderBytes);
        Lsn boundary = Wal.Geometry.BoundaryAtOrAbove(Appender.NextLsn);
        if (boundary == Appender.NextLsn)
            return;
        long left = boundary - Appender.NextLsn;
        model.BeginGroup(Appender.NextLsn);
        model.Begin(Record(left >= RecordCodec.HeaderBytes ? boundary : Appender.NextLsn + RecordCodec.HeaderBytes, []) with
        {
            IsFiller = true,
        });
        Appender.Switch();
        model.Acknowledge();
        if (model.Acknowledged != DurableLsn)
            throw new SimulationFailure($"A filler was to end at {model.Acknowledged}, and ended at {DurableLsn}.");
        _invisible.Enqueue((DurableLsn, []));
        MoveVisible();
    }

    private void PrepareFor(long bytes)
    {
        if (!Appender.CanHold(bytes))
            PrepareSegments(bytes);
    }

    private ModelRecord Record(Lsn lsn, IReadOnlyList<ModelStep> steps, TransactionId transaction = default) =>
        new(lsn, steps, transaction, _time.CommitTime.UtcTicks, _time.RawClock.UtcTicks);

    private void BeginGroup(StepModel model)
    {
        long before = model.Records.Count == 0 ? 0 : model.Records[^1].CommitTicks;
        _time = _wal!.Clock.Next();
        if (_time.CommitTime.UtcTicks <= before)
        {
            throw new SimulationFailure(
                $"Commit time {_time.CommitTime:O} came after {new DateTime(before, DateTimeKind.Utc):O} (I9, H8).");
        }

        model.BeginGroup(Appender.NextLsn);
        Appender.BeginGroup(_time.CommitTime, _time.RawClock);
    }

    private void WriteGroup(StepModel model)
    {
        var disk = (SimulatedDisk)_engine.FileSystem;
        Lsn before = DurableLsn;
        Lsn? early = null;
        HasWalThrown = true;
        disk.DuringNext(() => early ??= DurableLsn > before ? DurableLsn : null, Appender.WriteAndSync);
        HasWalThrown = false;
        if (early is { } told)
            throw new SimulationFailure($"The durable LSN was {told} before its group was synced (H4).");
        model.Acknowledge();
        if (model.Acknowledged != DurableLsn)
            throw new SimulationFailure($"A group was to end at {model.Acknowledged}, and ended at {DurableLsn}.");
    }

    /// <summary>In parts, as WalWriter does: each file gets all of them, in order (H1).</summary>
    private void Send(CommitGroup group)
    {
        var parts = new List<ApplyPart>();
        GroupParts.Cut(group, parts, Memory.PartBytesMax);
        var waiting = new HashSet<FileId>();
        for (int i = 0; i < group.Count; i++)
            waiting.UnionWith(group.Members[i].Files.AsSpan(0, group.Members[i].FileCount).ToArray());
        group.Lsn = DurableLsn;
        _invisible.Enqueue((group.Lsn, waiting));
        foreach (FileId id in waiting.Order(Comparer<FileId>.Create(static (x, y) => x.Value.CompareTo(y.Value))))
        {
            StepFile file = _files[id.Value];
            foreach (ApplyPart part in parts)
            {
                file.Tell(() =>
                {
                    if (!file.Take(part))
                        return;
                    waiting.Remove(file.Id);
                    MoveVisible();
                });
            }
        }
    }

    /// <summary>In the order of the groups (I8).</summary>
    private void MoveVisible()
    {
        while (_invisible.TryPeek(out (Lsn Lsn, HashSet<FileId> Waiting) first) && first.Waiting.Count == 0)
        {
            VisibleLsn = first.Lsn;
            _invisible.Dequeue();
        }
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
        WalEvent.Checkpoint record = next.AsCheckpointRecord();
        ControlFile told = ControlFileStore.DecodePayload("a checkpoint record", Encoding.UTF8.GetBytes(record.ControlFile));
        if (!told.Catalogue.Files.SequenceEqual(next.Catalogue.Files)
            || !told.Catalogue.Tables.SequenceEqual(next.Catalogue.Tables))
            throw new SimulationFailure("A control file that is made again from a checkpoint record lacks files (H22).");
        Lsn lsn = Log(record, model);
        Note(next.WithRecorded(lsn, _time.CommitTime, LastTransaction));
    }

    // ---- the archive -----------------------------------------------------------------------------

    /// <summary>One step for one store.</summary>
    public ShipStep Ship(StoreShipper shipper, StepModel model)
    {
        ShipStep step = shipper.Ship(DurableLsn);
        NoteShipped(model);
        return step;
    }

    /// <summary>Carries out one piece of work that was begun, and ends it.</summary>
    public ShipStep Ship(StoreShipper shipper, ShipWork work, StepModel model)
    {
        shipper.Do(work);
        ShipStep step = shipper.End(work);
        NoteShipped(model);
        return step;
    }

    private void NoteShipped(StepModel model)
    {
        Lsn shipped = _shippers.Min(static one => one.IsPrepared ? one.ShippedLsn : Lsn.Zero);
        model.Shipped = Lsn.Max(model.Shipped, shipped);
    }

    /// <summary>
    /// Lets segments go that are below the redo point, held by no backup, and in every store (design §7).
    /// </summary>
    public int Recycle()
    {
        Lsn needed = Holds.Values.Aggregate(Control.RedoLsn, Lsn.Min);
        SegmentName[] free = [.. Wal.List().Where(name =>
            Wal.Geometry.StartOf(name.Number + 1) <= needed && _shippers.TrueForAll(one => one.MayRecycle(name)))];
        Wal.Recycle(free);
        return free.Length;
    }

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
            _engine.Environment, path, name, Control.SystemId, id, incarnation, Control.Lineage, VisibleLsn);
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
        file.TakeAllMail();
        file.IsDropped = true;
        file.File.Dispose();
    }

    public void Unlink(string path)
    {
        if (_engine.FileSystem.Stat(path) is not null)
            _engine.Outside.Remove(path);
    }
}

/// <summary>What the simulation was made to find.</summary>
internal sealed class SimulationFailure(string message, Exception? cause = null) : Exception(message, cause);
