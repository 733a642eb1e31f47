using System.Collections.Concurrent;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.DatafileProtocol;
using static Pitr.Actors.EngineProtocol;
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
public sealed partial class PitrDatabase : IAsyncDisposable
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

    // ---- steps -----------------------------------------------------------------------------------

    private void RequireWritable()
    {
        if (_engine.Intake.ClosedWhy is { } why)
            throw why;
        if (_actors.IsReadOnly)
            throw EngineErrors.ReadOnly();
    }

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
