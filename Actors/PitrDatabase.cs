using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.BackupProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.FileRecoveryProtocol;
using static Pitr.Actors.MoveProtocol;
using static Pitr.Actors.SetProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr;

/// <summary>
/// START HERE. A database that this process has open: an ordered key-value store with transactions over all of its
/// datafiles, which can go back to any moment, and whose files can be copied while they are in use.
/// </summary>
/// <remarks>
/// Commits go through a lock-free intake to the WalWriter actor and complete when they are durable and visible. Reads
/// run on the caller's thread against immutable read views and never wait. Everything else is a message to an actor.
/// Thread-safe. One engine owns a database folder at a time; a process may have several databases.
/// </remarks>
public sealed class PitrDatabase : IAsyncDisposable
{
    private readonly EngineContext _engine;
    private readonly EngineStarted _actors;
    private readonly ActorSystem? _ownSystem;
    private readonly ConcurrentQueue<WriteBatch> _spareBatches = new();
    private readonly CommitDelay _delay;
    private readonly Lock _closing = new();
    private Task? _shutdown;
    private volatile bool _isEnding; // before anything of it is told to end
    private volatile bool _isClosed;

    private PitrDatabase(EngineContext engine, EngineStarted actors, ActorSystem system, bool ownsSystem)
    {
        _engine = engine;
        _actors = actors;
        _delay = new CommitDelay(engine, actors.WalWriter);
        System = system;
        _ownSystem = ownsSystem ? system : null;
    }

    /// <summary>The database's folder.</summary>
    public string Folder => _engine.Folder;

    /// <summary>The number that every file of the database carries.</summary>
    public SystemIdentifier SystemId => _actors.SystemId;

    /// <summary>Every transaction at or below it is visible.</summary>
    public Lsn VisibleLsn => _engine.Visibility.Visible;

    /// <summary>Native memory held for cached pages and for write buffers.</summary>
    internal (long CachedBytes, long BufferBytes) HeldBytes => (
        _engine.Environment.Cache.HeldBytes,
        _engine.Environment.Arenas.RentedBytes + _engine.Environment.Arenas.FreeBytes);

    /// <summary>Ends when the engine has stopped; faulted if it stopped by a failure.</summary>
    public Task Completion => _actors.Completion;

    /// <summary>The tables, by name.</summary>
    public IReadOnlyList<Table> Tables => _engine.Catalogue.Tables;

    /// <summary>The datafiles, by name.</summary>
    public IReadOnlyList<DatafileInfo> Datafiles => _engine.Catalogue.Datafiles(_engine.Folder);

    internal ActorSystem System { get; }

    internal EngineContext Engine => _engine;

    internal EngineStarted Actors => _actors;

    // ---- open and close --------------------------------------------------------------------------

    /// <summary>
    /// Creates a database in a folder that is absent or empty, with the datafile <c>main</c>, and opens it.
    /// </summary>
    /// <param name="folder">Where.</param>
    /// <param name="options">Null: <see cref="PitrOptions.For"/> the folder.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PitrException">RefusedException FolderNotEmpty, PlatformUnsupported;
    /// StorageFailedException.</exception>
    public static async Task<PitrDatabase> CreateAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        string full = Path.GetFullPath(folder);
        PitrOptions settings = options ?? PitrOptions.For(full);
        await EngineFactory.WorkersOf(settings).RunAsync(
            () =>
            {
                EngineCreation.Create(full, settings);
                return full;
            },
            cancellationToken).ConfigureAwait(false);
        return await OpenAsync(full, settings, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Opens a database: takes its lock, finds the end of its WAL, replays what the datafiles lack. When the task
    /// completes every acknowledged commit is there and it takes new ones.
    /// </summary>
    /// <param name="folder">Where it is.</param>
    /// <param name="options">Null: <see cref="PitrOptions.For"/> the folder.</param>
    /// <param name="cancellationToken">Gives the opening up.</param>
    /// <exception cref="PitrException">
    /// NotFoundException NotADatabase; RefusedException DatabaseLocked, FormatVersion, ControlFileOfBackup,
    /// WalTooShort, ForeignSystem; DamageException ControlFileDamaged, WalDamaged; StorageFailedException.
    /// </exception>
    public static Task<PitrDatabase> OpenAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        string full = Path.GetFullPath(folder);
        return Traces.RunAsync(
            "pitr.open", full, () => OpenEngineAsync(full, options ?? PitrOptions.For(full), cancellationToken),
            static (activity, database) => activity.SetTag("pitr.records", database.Actors.RecordsReplayed));
    }

    private static async Task<PitrDatabase> OpenEngineAsync(
        string folder, PitrOptions options, CancellationToken cancellationToken)
    {
        EngineContext engine = EngineFactory.ContextFor(folder, options);
        bool ownsSystem = engine.Options.ActorSystem is null;
        ActorSystem system = engine.Options.ActorSystem ?? ActorSystem.Create("pitr", EngineConfig.OwnSystem);
        EngineConfig.AddTo(system);
        IActorRef supervisor = ActorRefs.Nobody;
        try
        {
            var started = new TaskCompletionSource<EngineStarted>(engine.Threads.Promises);
            supervisor = system.ActorOf(EngineSupervisor.PropsFor(engine, started), EngineFactory.NameFor(engine));
            EngineStarted actors = await started.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            return new PitrDatabase(engine, actors, system, ownsSystem);
        }
        catch
        {
            // Nobody will use what is being opened: it is let go as soon as the step that runs has ended.
            system.Stop(supervisor);
            if (ownsSystem)
                await system.Terminate().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Opens the database in the folder, or creates it if the folder is absent or empty.</summary>
    public static Task<PitrDatabase> OpenOrCreateAsync(
        string folder, PitrOptions? options = null, CancellationToken cancellationToken = default)
    {
        string full = Path.GetFullPath(folder);
        PitrOptions settings = options ?? PitrOptions.For(full);
        IFileSystem files = EngineFactory.FileSystemOf(settings);
        bool isEmpty = files.Stat(full) is null || files.List(full).Count == 0;
        return isEmpty ? CreateAsync(full, settings, cancellationToken) : OpenAsync(full, settings, cancellationToken);
    }

    /// <summary>What the orderly shutdown could not ship, in words; null if nothing, or before it.</summary>
    internal string? ArchiveLeft => _engine.ArchiveLeft;

    /// <summary>
    /// Orderly: waits for held fences (unless <paramref name="force"/>, which breaks them), flushes, ships the WAL to
    /// its last record, and closes. New fences are refused meanwhile.
    /// </summary>
    public Task ShutdownAsync(bool force = false, CancellationToken cancellationToken = default)
    {
        lock (_closing)
        {
            if (_shutdown is null || _shutdown.IsCompleted)
                _shutdown = CloseAsync(force);
            else if (force)
                _actors.Supervisor.Tell(new ShutDown(Force: true), ActorRefs.NoSender);
            return _shutdown.WaitAsync(cancellationToken);
        }
    }

    /// <summary>An orderly shutdown; nothing if it was closed before. A failure of the engine is told once.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_isClosed)
            await ShutdownAsync().ConfigureAwait(false);
    }

    // ---- commits ---------------------------------------------------------------------------------

    /// <summary>
    /// Commits a batch. When the task completes it is durable and visible; the batch may then be cleared and used
    /// again. The commits of one thread get their LSNs in the order of its calls, awaited or not.
    /// </summary>
    /// <param name="batch">Not to be touched until the task completes.</param>
    /// <param name="cancellationToken">
    /// Before WalWriter took the commit in, withdraws it; afterwards only the wait ends, and the commit's fate is that
    /// of the WAL.
    /// </param>
    /// <exception cref="PitrException">
    /// NotFoundException TableUnknown; RefusedException DatafileOffline, DatafileNeedsRecovery, ReadOnly, CommitRefused
    /// (not in the WAL), CommitFateUnknown; StorageFailedException DiskFull (not in the WAL).
    /// </exception>
    public ValueTask<CommitResult> CommitAsync(WriteBatch batch, CancellationToken cancellationToken = default) =>
        CommitAsync(batch, null, null, cancellationToken);

    /// <summary>Commits one put.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<CommitResult> PutAsync(
        Table table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken =
            default)
    {
        WriteBatch batch = RentBatch();
        batch.Put(table, key.Span, value.Span);
        CommitResult result = await CommitAsync(batch, cancellationToken).ConfigureAwait(false);
        ReturnBatch(batch);
        return result;
    }

    /// <summary>Commits one delete.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<CommitResult> DeleteAsync(
        Table table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken = default)
    {
        WriteBatch batch = RentBatch();
        batch.Delete(table, key.Span);
        CommitResult result = await CommitAsync(batch, cancellationToken).ConfigureAwait(false);
        ReturnBatch(batch);
        return result;
    }

    /// <summary>Begins a transaction: its snapshot shows everything that was stamped before (H37).</summary>
    public async ValueTask<Transaction> BeginTransactionAsync(CancellationToken cancellationToken = default)
    {
        RequireWritable();
        var begin = new PendingCommit(new WriteBatch());
        // one that was stamped must be ended: so it is waited for all the same
        begin.PrepareBegin(_engine.Threads, CancellationToken.None);
        Task<CommitResult> begun = begin.Task.AsTask();
        if (_engine.Intake.Enqueue(begin))
            _actors.WalWriter.Tell(Drain.Instance, ActorRefs.NoSender);
        try
        {
            await begun.WaitAsync(cancellationToken).ConfigureAwait(false);
            return new Transaction(this, OpenSnapshot(), begin.Ticket!);
        }
        catch
        {
            _ = begun.ContinueWith(
                _ => EndTransaction(begin.Ticket!), CancellationToken.None,
                TaskContinuationOptions.OnlyOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
            throw;
        }
    }

    internal ValueTask<CommitResult> CommitAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken) =>
        Traces.IsListenedTo && batch is not null
            ? Traces.CommitAsync(
                _engine.Folder, () => FinishAsync(batch, reads, ticket, cancellationToken), batch.Count)
            : FinishAsync(batch!, reads, ticket, cancellationToken);

    private ValueTask<CommitResult> FinishAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken) =>
        _engine.ArchiveWait is { } wait
            ? ArchivedAsync(HandInAsync(batch, reads, ticket, cancellationToken), wait, cancellationToken)
            : HandInAsync(batch, reads, ticket, cancellationToken);

    private async ValueTask<CommitResult> ArchivedAsync(
        ValueTask<CommitResult> commit, ArchiveWait wait, CancellationToken cancellationToken)
    {
        CommitResult result = await commit.ConfigureAwait(false);
        await wait.UntilAsync(result.Lsn, _actors.Stopped, cancellationToken).ConfigureAwait(false);
        return result;
    }

    private ValueTask<CommitResult> HandInAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Count == 0)
            throw new ArgumentException("The batch is empty: there is nothing to commit.", nameof(batch));
        batch.RequireIdle();
        RequireWritable();
        cancellationToken.ThrowIfCancellationRequested();
        PendingCommit commit = batch.Pending;
        commit.Prepare(_engine.Threads, cancellationToken);
        commit.Reads = reads;
        commit.Ticket = ticket;
        ValueTask<CommitResult> task = commit.Task;
        commit.ArmCancellation();
        _delay.Enqueue(commit);
        return task;
    }

    internal void EndTransaction(TransactionTicket ticket) =>
        _actors.WalWriter.Tell(new EndTransaction(ticket), ActorRefs.NoSender);

    private WriteBatch RentBatch() => _spareBatches.TryDequeue(out WriteBatch? batch) ? batch : new WriteBatch();

    private void ReturnBatch(WriteBatch batch)
    {
        batch.Clear();
        if (_spareBatches.Count < 4096)
            _spareBatches.Enqueue(batch);
    }

    // ---- reads -----------------------------------------------------------------------------------

    /// <summary>A table by its name.</summary>
    /// <exception cref="NotFoundException">There is none (TableUnknown).</exception>
    public Table GetTable(string name) =>
        TryGetTable(name, out Table? table) ? table : throw EngineErrors.TableUnknown(name);

    /// <summary>A table by its name, if there is one.</summary>
    public bool TryGetTable(
        string name, [global::System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Table? table) =>
        _engine.Catalogue.TryTable(name, out table);

    /// <summary>The newest visible value of a key; null if it is not there.</summary>
    public byte[]? Get(Table table, ReadOnlySpan<byte> key)
    {
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, RequireAlive(table), key);
        using EpochGuard guard = _engine.Epochs.Enter();
        ReadView view = _engine.Slots.Of(table.DatafileId).Readable.View;
        return Reading.Get(view, treeKey, _engine.Visibility.Visible);
    }

    /// <summary>
    /// Writes the newest visible value of a key to <paramref name="value"/>; false if the key is not there.
    /// </summary>
    /// <param name="table">The table.</param>
    /// <param name="key">The key.</param>
    /// <param name="value">Gets the value's bytes.</param>
    /// <param name="lsn">The LSN that was read at.</param>
    public bool TryGet(Table table, ReadOnlySpan<byte> key, IBufferWriter<byte> value, out Lsn lsn)
    {
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, RequireAlive(table), key);
        using EpochGuard guard = _engine.Epochs.Enter();
        FileSlot slot = _engine.Slots.Of(table.DatafileId);
        ReadView view;
        do
        {
            lsn = _engine.Visibility.Visible;
            view = slot.Readable.View;
        }
        while (!PinnedViews.Shows(view, lsn)); // it was sealed or flushed between the two

        return Reading.TryGet(view, treeKey, lsn, value);
    }

    /// <summary>
    /// Rows of a table as of now, in key order or backwards. The views are let go when the enumeration ends.
    /// </summary>
    public IEnumerable<KeyValue> Scan(Table table, ScanRange range)
    {
        using Snapshot snapshot = OpenSnapshot();
        foreach (KeyValue row in snapshot.Scan(table, range))
            yield return row;
    }

    /// <summary>How many keys a table holds now; reads all of them.</summary>
    public long Count(Table table)
    {
        using Snapshot snapshot = OpenSnapshot();
        return snapshot.Count(table);
    }

    /// <summary>The database as of now, over all datafiles.</summary>
    public Snapshot OpenSnapshot()
    {
        CatalogueView catalogue = _engine.Catalogue;
        return new Snapshot(_engine, catalogue, PinnedViews.Take(_engine));
    }

    private TableId RequireAlive(Table table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return _engine.Catalogue.IsAlive(table.Id) ? table.Id : throw EngineErrors.TableGone(table.Id);
    }

    // ---- tables and datafiles --------------------------------------------------------------------

    /// <summary>Creates a table. When the task completes it is durable.</summary>
    /// <param name="name"><c>[a-z][a-z0-9_-]{0,62}</c>, unique in the database.</param>
    /// <param name="datafile">Where it lies; null: <c>main</c>.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Table> CreateTableAsync(
        string name, string? datafile = null, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        TableCreated created = await AskAsync<TableCreated>(
            _actors.ControlFile, new CreateTable(name, datafile), cancellationToken).ConfigureAwait(false);
        return created.Table;
    }

    /// <summary>Drops a table. When the task completes that is durable. Only recovery brings it back.</summary>
    public Task DropTableAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return AskAsync<Done>(_actors.ControlFile, new DropTable(name), cancellationToken);
    }

    /// <summary>Creates a datafile.</summary>
    /// <param name="name"><c>[a-z][a-z0-9_-]{0,62}</c>, unique in the database.</param>
    /// <param name="path">Where; null: <c>NAME.pitr</c> in the database's folder. It must not exist.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<DatafileInfo> CreateDatafileAsync(
        string name, string? path = null, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        DatafileCreated created = await AskAsync<DatafileCreated>(
            _actors.ControlFile, new CreateDatafile(name, path), cancellationToken).ConfigureAwait(false);
        return new DatafileInfo(created.File, created.Name, created.Path);
    }

    /// <summary>Drops a datafile that holds no tables.</summary>
    public Task DropDatafileAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return AskAsync<Done>(_actors.ControlFile, new DropDatafile(name), cancellationToken);
    }

    // ---- administration --------------------------------------------------------------------------

    /// <summary>Flushes every datafile that is not fenced, offline or in recovery, and moves the redo point.</summary>
    public Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken = default) =>
        Traces.RunAsync("pitr.checkpoint", Folder, async () =>
        {
            RequireWritable();
            return (await AskAsync<CheckpointEnded>(
                _actors.Supervisor, new RunCheckpoint(), cancellationToken, Timeout.InfiniteTimeSpan)
                    .ConfigureAwait(false)).Result;
        });

    /// <summary>Ends the WAL segment in use, so that it can be shipped; returns where the next one begins.</summary>
    public async Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<SegmentSwitched>(_actors.WalWriter, new SwitchSegment(), cancellationToken)
            .ConfigureAwait(false)).Lsn;
    }

    /// <summary>
    /// Archives into one more store from now on, and notes it in <c>pitr.json</c>; when the task completes that is durable.
    /// The store is made this database's archive, and has to honour conditional creates. What is archived in it begins
    /// with the WAL that is still here: a backup set made before may need older WAL from another store.
    /// </summary>
    /// <param name="store">Its address; a relative path is taken from the database's folder.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PitrException">
    /// RefusedException StoreAddressInvalid, StoreKindUnavailable, StoreKnown, StoreWithoutClaims, ForeignSystem,
    /// ArchiveOwned, WalTooShort; StorageFailedException StoreFailed. Then nothing has changed.
    /// </exception>
    public async Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<StoreAdded>(_actors.Supervisor, new AddStore(store), cancellationToken)
            .ConfigureAwait(false)).Status;
    }

    /// <summary>
    /// Archives into a store no longer, and takes it out of <c>pitr.json</c>; when the task completes that is durable. WAL
    /// that only this store lacks is kept no longer for it. What lies in it stays, and restores as far as it reaches.
    /// </summary>
    /// <exception cref="PitrException">
    /// NotFoundException StoreUnknown; RefusedException StoreAddressInvalid, StoreNotInSettings.
    /// </exception>
    public async Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<StoreRemoved>(_actors.Supervisor, new RemoveStore(store), cancellationToken)
            .ConfigureAwait(false)).Removal;
    }

    /// <summary>
    /// Reads all WAL that the stores have of this database's path, and compares it with what the database expects: that
    /// each store is its archive, every object is what was written, and nothing is missing of what was shipped.
    /// </summary>
    /// <exception cref="PitrException">
    /// The worst that was found: DamageException ArchiveDamaged, RefusedException WalGap, ForeignSystem, ArchiveOwned,
    /// StorageFailedException StoreFailed.
    /// </exception>
    public async Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken = default)
    {
        ArchiveSeen seen = await SeeArchiveAsync(cancellationToken).ConfigureAwait(false);
        return await _engine.Workers.RunAsync(
            () => ArchiveCheck.Run(seen.Stores, seen.Path, seen.Geometry, _engine.DurableLsn, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
    }

    /// <summary>The stores that the database archives into, without asking anybody how they are.</summary>
    internal Task<ArchiveSeen> SeeArchiveAsync(CancellationToken cancellationToken)
    {
        RequireWritable();
        return AskAsync<ArchiveSeen>(_actors.Supervisor, new SeeArchive(), cancellationToken);
    }

    /// <summary>Names the present moment, durably.</summary>
    public async Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        EventLogged logged = await AskAsync<EventLogged>(
            _actors.WalWriter, new LogEvent(new WalEvent.RestorePoint(name)), cancellationToken).ConfigureAwait(false);
        return new RestorePoint(name, logged.Lsn, logged.Time);
    }

    /// <summary>
    /// Has a datafile left alone, so that any tool can copy it, until it is unfenced or the lease ends.
    /// </summary>
    /// <param name="datafile">Its name.</param>
    /// <param name="lease">More than zero, at most 24 hours.</param>
    /// <param name="reason">For status and log.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason = "", CancellationToken cancellationToken = default) =>
        FenceForAsync(null, _engine.Options.Process.Machine, datafile, lease, reason, cancellationToken);

    /// <summary>
    /// The same for an actor: its death breaks the fence as well. When the fence breaks, of whatever cause, the actor is
    /// told by a <see cref="BrokenFence"/>: its copy is void.
    /// </summary>
    /// <param name="datafile">Its name.</param>
    /// <param name="lease">More than zero, at most 24 hours.</param>
    /// <param name="reason">For status and log.</param>
    /// <param name="holder">An actor of the engine's actor system, or of one that can be reached from it.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, IActorRef holder,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(holder);
        return FenceForAsync(holder, holder.Path.ToString(), datafile, lease, reason, cancellationToken);
    }

    /// <summary>The same for a holder that bears a name.</summary>
    internal Task<FenceGrant> FenceForAsync(
        IActorRef? holder, string name, string datafile, TimeSpan lease, string reason,
        CancellationToken cancellationToken) =>
        Traces.RunAsync(
            "pitr.fence", Folder,
            () => TakeFenceAsync(
                new Fence(datafile, holder, name, reason, lease) { IsOfApplication = true }, cancellationToken),
            static (activity, grant) => activity.SetTag("pitr.datafile", grant.Datafile));

    private async Task<FenceGrant> TakeFenceAsync(Fence fence, CancellationToken cancellationToken)
    {
        Task<Fenced> asked = AskAsync<Fenced>(
            _actors.Supervisor, fence, CancellationToken.None, Timeout.InfiniteTimeSpan);
        Fenced fenced;
        try
        {
            fenced = await asked.WaitAsync(_engine.Options.RequestTimeout, _engine.Clock, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (Exception error) when (error is TimeoutException or OperationCanceledException)
        {
            GiveBackWhenGranted(asked);
            if (error is TimeoutException)
                throw EngineErrors.TimedOut(nameof(Fence), _engine.Options.RequestTimeout);
            throw;
        }

        return new FenceGrant(
            fenced.Token, fenced.Datafile, fenced.Path, fenced.LengthBytes, fenced.CheckpointLsn, fenced.Until);
    }

    /// <summary>Prolongs a fence; returns until when.</summary>
    public async Task<DateTimeOffset> RenewFenceAsync(
        Guid fenceId, TimeSpan lease, CancellationToken cancellationToken = default) =>
        (await AskAsync<FenceRenewed>(_actors.Supervisor, new RenewFence(fenceId, lease), cancellationToken)
            .ConfigureAwait(false)).Until;

    /// <summary>
    /// Ends a fence. When the task completes the copy is good, and what waited is flushed if it was the last fence.
    /// </summary>
    /// <exception cref="RefusedException">FenceUnknown, FenceBroken: the copy is void.</exception>
    public Task<UnfenceResult> UnfenceAsync(Guid fenceId, CancellationToken cancellationToken = default) =>
        Traces.RunAsync(
            "pitr.unfence", Folder,
            async () =>
            {
                Unfenced unfenced = await AskAsync<Unfenced>(
                    _actors.Supervisor, new Unfence(fenceId), cancellationToken, Timeout.InfiniteTimeSpan)
                        .ConfigureAwait(false);
                return new UnfenceResult(unfenced.Datafile, unfenced.FlushedLsn, unfenced.HoldersRemaining);
            },
            static (activity, result) => activity.SetTag("pitr.datafile", result.Datafile));

    /// <summary>Ends the only fence of a datafile.</summary>
    public async Task<UnfenceResult> UnfenceAsync(string datafile, CancellationToken cancellationToken = default)
    {
        EngineStatus status = await GetStatusAsync(cancellationToken).ConfigureAwait(false);
        DatafileStatus file = status.Datafiles.FirstOrDefault(file => file.Name == datafile)
            ?? throw EngineErrors.DatafileUnknown(datafile);
        return file.Fences.Count switch
        {
            0 => throw EngineErrors.NotFenced(datafile),
            1 => await UnfenceAsync(file.Fences[0].FenceId, cancellationToken).ConfigureAwait(false),
            _ => throw EngineErrors.SeveralFences(datafile, file.Fences.Select(fence => fence.FenceId)),
        };
    }

    /// <summary>Makes a full backup set while commits go on.</summary>
    public Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Traces.RunAsync(
            "pitr.backup", Folder, () => MakeBackupAsync(request, cancellationToken),
            static (activity, result) =>
                activity.SetTag("pitr.backup", result.BackupId).SetTag("pitr.bytes", result.Bytes));
    }

    private async Task<BackupResult> MakeBackupAsync(BackupRequest request, CancellationToken cancellationToken)
    {
        RequireWritable();
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            return (await AskAsync<BackupEnded>(
                _actors.Supervisor, new RunBackup(request, cancel.Token), cancellationToken, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false)).Result;
        }
        catch
        {
            cancel.Cancel(); // the wait may end first, and this source with it: then the backup would go on
            throw;
        }
    }

    /// <summary>
    /// Moves a datafile while commits and reads go on. When the task completes it lies at the new path, durably, and what
    /// the move needed is gone.
    /// </summary>
    /// <param name="request">Which, and where to.</param>
    /// <param name="cancellationToken">Gives the move up, until the file is switched; then it is ended all the same.</param>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown; RefusedException MoveRefused, PlaceReserved, MoveUnderWay, MoveCancelled,
    /// FenceBroken, DatafileOffline, DatafileNeedsRecovery, ReadOnly, ShuttingDown: it lies where it lay; MoveUndecided;
    /// StorageFailedException DiskFull, FileOperationFailed; DamageException PageChecksum.
    /// </exception>
    public Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return MoveAsync(request, LimitOf(request.BytesPerSecondMax), cancellationToken);
    }

    /// <summary>
    /// Moves every datafile that lies in a folder, or is found by a name in it, to another one, one after the other, under
    /// one rate. When the task completes nothing of a datafile is left in the folder, no link either, but in that of the
    /// database itself. The first failure ends it; what was moved before it stays moved.
    /// </summary>
    /// <exception cref="PitrException">
    /// As <see cref="MoveAsync(MoveRequest, CancellationToken)"/>; NotFoundException FolderUnknown.
    /// </exception>
    public async Task<IReadOnlyList<MoveResult>> DrainAsync(
        DrainRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        string folder = FolderPath(request.Folder);
        string to = FolderPath(request.To);
        RateLimit? limit = LimitOf(request.BytesPerSecondMax);
        RequireWritable();
        IReadOnlyList<DrainStep> steps = await _engine.Workers.RunAsync(
            () => DrainPlan.Make(_engine.FileSystem, Folder, _engine.Catalogue.Catalogue, folder, to), cancellationToken)
            .ConfigureAwait(false);
        var moved = new List<MoveResult>();
        foreach (DrainStep step in steps)
        {
            moved.Add(await MoveAsync(
                new MoveRequest
                {
                    Datafile = step.Datafile,
                    Path = step.To,
                    WithoutLink = step.WithoutLink,
                    Progress = request.Progress,
                },
                limit, cancellationToken).ConfigureAwait(false));
        }

        return moved;
    }

    /// <summary>
    /// Makes a datafile anew with its live pages only, in the place where it lies, while commits and reads go on. When the
    /// task completes the new file is the datafile, durably. The former file's room on the disk is given back when the last
    /// snapshot and scan that read it has ended.
    /// </summary>
    /// <param name="request">Which.</param>
    /// <param name="cancellationToken">Gives it up, until the file is switched; then it is ended all the same.</param>
    /// <exception cref="ArgumentException">The rate is not more than 0.</exception>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown; RefusedException CompactRefused, CompactUnderWay, MoveUnderWay, CompactCancelled,
    /// FenceBroken, DatafileOffline, DatafileNeedsRecovery, ReadOnly, ShuttingDown: it is as it was; CompactUndecided;
    /// StorageFailedException DiskFull, FileOperationFailed; DamageException PageChecksum.
    /// </exception>
    public Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        RateLimit? limit = LimitOf(request.BytesPerSecondMax);
        return Traces.RunAsync(
            "pitr.compact", Folder, () => CarryOutCompactAsync(request, limit, cancellationToken),
            static (activity, done) =>
                activity.SetTag("pitr.datafile", done.Datafile).SetTag("pitr.bytes", done.BytesAfter));
    }

    private Task<CompactResult> CarryOutCompactAsync(
        CompactRequest request, RateLimit? limit, CancellationToken cancellationToken) => RunMoverAsync(
            new CompactJob(request, limit), static (CompactEnded ended) => ended.Result,
            static metrics => metrics.NoteCompact, cancellationToken);

    private Task<MoveResult> MoveAsync(MoveRequest request, RateLimit? limit, CancellationToken cancellationToken) =>
        Traces.RunAsync(
            "pitr.move", Folder, () => CarryOutMoveAsync(request, limit, cancellationToken),
            static (activity, moved) => activity.SetTag("pitr.datafile", moved.Datafile).SetTag("pitr.bytes", moved.Bytes));

    private Task<MoveResult> CarryOutMoveAsync(
        MoveRequest request, RateLimit? limit, CancellationToken cancellationToken) => RunMoverAsync(
            new MoveJob(request, limit), static (MoveEnded ended) => ended.Result, static metrics => metrics.NoteMove,
            cancellationToken);

    private async Task<TResult> RunMoverAsync<TEnded, TResult>(
        MoverJob job, Func<TEnded, TResult> resultOf, Func<EngineMetrics, Action<string, TimeSpan, string>> noteOf,
        CancellationToken cancellationToken)
    {
        RequireWritable();
        long began = _engine.Clock.GetTimestamp();
        Action<string, TimeSpan, string> note = noteOf(_engine.Metrics);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // The wait does not end with the caller's token: the answer tells whether it came too late.
            TResult result = resultOf(await AskAsync<TEnded>(
                _actors.Supervisor, new RunMover(job, cancel.Token), CancellationToken.None, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false));
            note(job.Datafile, _engine.Clock.GetElapsedTime(began), "ended");
            return result;
        }
        catch
        {
            note(job.Datafile, _engine.Clock.GetElapsedTime(began), "failed");
            cancel.Cancel();
            throw;
        }
    }

    /// <summary>
    /// Brings back a datafile that is offline or needs recovery, while the others serve. When the task completes it serves
    /// reads and commits, with every commit that was acknowledged. Meanwhile its callers get DatafileRecovering, which says
    /// when it may be ready.
    /// </summary>
    /// <param name="request">Which, and from where.</param>
    /// <param name="cancellationToken">Gives it up, until the file lies in its place.</param>
    /// <exception cref="PitrException">
    /// NotFoundException DatafileUnknown, BackupUnknown; RefusedException DatafileServes, DatafileRecovering,
    /// DatafileNeedsRecovery (there is nothing to bring it back from), WalGap, ForeignSystem, StoreAddressInvalid,
    /// ReadOnly, ShuttingDown; DamageException WalDamaged, BackupDamaged, ArchiveDamaged: the file is as it was.
    /// RefusedException FileRecoveryCancelled; StorageFailedException DiskFull, FileOperationFailed, StoreFailed: it needs
    /// recovery, and can be recovered again.
    /// </exception>
    public Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Traces.RunAsync(
            "pitr.recover.datafile", Folder,
            async () => (await RecoverAsync<FileRecovered>(request, isPlanOnly: false, cancellationToken)
                .ConfigureAwait(false)).Result,
            static (activity, result) => activity.SetTag("pitr.datafile", result.Datafile)
                .SetTag("pitr.lsn", result.Lsn.ToString()).SetTag("pitr.records", result.RecordsReplayed));
    }

    /// <summary>What <see cref="RecoverDatafileAsync"/> would do. Nothing is written.</summary>
    /// <exception cref="PitrException">As there.</exception>
    public async Task<RecoveryPlan> PlanDatafileRecoveryAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return (await RecoverAsync<FileRecoveryPlanned>(request, isPlanOnly: true, cancellationToken)
            .ConfigureAwait(false)).Plan;
    }

    private async Task<T> RecoverAsync<T>(
        DatafileRecoveryRequest request, bool isPlanOnly, CancellationToken cancellationToken)
    {
        RequireWritable();
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            // The wait does not end with the caller's token: the answer tells whether it came too late.
            return await AskAsync<T>(
                _actors.Supervisor, new RunFileRecovery(request, isPlanOnly, cancel.Token), CancellationToken.None,
                Timeout.InfiniteTimeSpan).ConfigureAwait(false);
        }
        catch
        {
            cancel.Cancel();
            throw;
        }
    }

    private string FolderPath(string folder) =>
        Path.TrimEndingDirectorySeparator(Path.GetFullPath(Path.Combine(_engine.Folder, folder)));

    private RateLimit? LimitOf(long? bytesPerSecond)
    {
        if (bytesPerSecond is not { } most)
            return null;
        return most > 0
            ? new RateLimit(_engine.Clock, most)
            : throw new ArgumentException("A rate is more than 0 bytes a second.");
    }

    /// <summary>Keeps still what a backup set needs that is made outside of the engine.</summary>
    internal async Task<IKeptSet> KeepSetAsync(string reason, CancellationToken cancellationToken)
    {
        RequireWritable();
        ulong inode = await _engine.Workers.RunAsync(
            () => _engine.FileSystem.Stat(Folder)?.Inode ?? 0, cancellationToken).ConfigureAwait(false);
        SetBegun begun = await AskAsync<SetBegun>(
            _actors.Supervisor, new BeginSet(reason), cancellationToken, Timeout.InfiniteTimeSpan)
            .ConfigureAwait(false);
        return new KeptSet(
            begun,
            new KeptSetStart(begun.Start, Folder, _engine.Options.Process.Machine, inode, begun.HasArchive),
            AskKeeperAsync);
    }

    /// <summary>What the engine is doing.</summary>
    public async Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken = default) =>
        (await AskAsync<StatusReported>(_actors.Supervisor, new GetStatus(), cancellationToken)
            .ConfigureAwait(false)).Status;

    // ---- steps -----------------------------------------------------------------------------------

    private void RequireWritable()
    {
        if (_engine.Intake.ClosedWhy is { } why)
            throw why;
        if (_actors.IsReadOnly)
            throw EngineErrors.ReadOnly();
    }

    /// <summary>Nobody waits for the fence any more: it must not live until its lease ends.</summary>
    private void GiveBackWhenGranted(Task<Fenced> asked) => asked.ContinueWith(
        granted =>
        {
            if (granted.IsCompletedSuccessfully)
                _actors.Supervisor.Tell(new Unfence(granted.Result.Token), ActorRefs.NoSender);
            else
                _ = granted.Exception; // refused: nothing is left of it
        },
        CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    private static void RequireName(string name)
    {
        if (!Limits.IsName(name))
            throw new ArgumentException($"'{name}' is not a name: it is [a-z][a-z0-9_-]{{0,62}}.", nameof(name));
    }

    private async Task<T> AskAsync<T>(
        IActorRef actor, object request, CancellationToken cancellationToken, TimeSpan? timeout = null)
    {
        TimeSpan most = timeout ?? _engine.Options.RequestTimeout;
        try
        {
            using var stopped = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _actors.Stopped);
            object answer = await actor.AskAsync(request, most, _engine, stopped.Token).ConfigureAwait(false);
            return answer switch
            {
                T expected => expected,
                RequestRefused refused => throw refused.Why.ToException(),
                FenceRefused refused => throw refused.Why.ToException(),
                FenceBroken broken => throw broken.Why.ToException(),
                EventRefused refused => throw refused.Why.ToException(),
                _ => throw new BugException($"'{request.GetType().Name}' was answered by '{answer.GetType().Name}'."),
            };
        }
        catch (AskTimeoutException)
        {
            throw EngineErrors.TimedOut(request.GetType().Name, most);
        }
        catch (OperationCanceledException) when (_actors.Stopped.IsCancellationRequested
            && !cancellationToken.IsCancellationRequested)
        {
            throw await WhyStoppedAsync().ConfigureAwait(false);
        }
    }

    /// <summary>A keeper that is no more answers nobody: its end does.</summary>
    private async Task<object> AskKeeperAsync(
        IActorRef keeper, object request, SetEnding ended, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, ended.Token);
        try
        {
            return await AskAsync<ILocalMessage>(keeper, request, either.Token, Timeout.InfiniteTimeSpan)
                .ConfigureAwait(false);
        }
        catch (OperationCanceledException)
            when (ended.Token.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw _isEnding ? EngineErrors.ShuttingDown() : ended.Why!.ToException();
        }
    }

    /// <summary>
    /// The engine ended while something was asked of it: by a shutdown, or by a failure, which is said.
    /// </summary>
    private async Task<PitrException> WhyStoppedAsync()
    {
        try
        {
            await _actors.Completion.ConfigureAwait(false);
            return EngineErrors.ShuttingDown();
        }
        catch (Exception failure)
        {
            return EngineErrors.EngineStopped(Problem.From(failure));
        }
    }

    private Task CloseAsync(bool force) =>
        Traces.RunAsync("pitr.shutdown", Folder, () => EndEngineAsync(force));

    private async Task EndEngineAsync(bool force)
    {
        _isEnding = true;
        _actors.Supervisor.Tell(new ShutDown(force), ActorRefs.NoSender);
        try
        {
            await _actors.Completion.ConfigureAwait(false);
        }
        finally
        {
            if (_ownSystem is not null)
                await _ownSystem.Terminate().ConfigureAwait(false);
            _isClosed = true;
        }
    }
}

/// <summary>A datafile of a database.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="Path">Where it lies.</param>
public sealed record DatafileInfo(FileId Id, string Name, string Path);
