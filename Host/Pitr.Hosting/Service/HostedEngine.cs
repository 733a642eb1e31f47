using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Pitr.Actors;
using Serilog.Core;

namespace Pitr.Hosting;

/// <summary>The life of one database in a host: opened before anything of the host starts, closed after everything has stopped.</summary>
/// <remarks>
/// START  <see cref="StartingAsync"/> comes before the StartAsync of every hosted service, the web server's too; it ends
/// when recovery has, and the engine takes commits. Whoever needs the database while the host is still put together (a
/// hosted service's constructor) waits on its thread for the same opening.
/// STOP  <see cref="StoppedAsync"/> comes after the StopAsync of every hosted service. It waits for fences, flushes, and the
/// archive, however short the host's ShutdownTimeout is: that token is only told of in the log. Should a host not wait
/// for it (ServicesStopConcurrently), the disposal of the host does: it waits for the same closing.
/// FAILURE  what ends the engine without the host stops the host, unless <see cref="PitrHostSettings.StopsWithEngine"/> is
/// false. The failure itself is in the log, and in the health check.
/// THREADS  any; opening and closing happen once.
/// </remarks>
internal sealed class HostedEngine : IHostedLifecycleService, IAsyncDisposable, IDisposable
{
    private readonly string _folder;
    private readonly Func<PitrOptions, PitrOptions>? _inCode;
    private readonly PitrHostSettings _host;
    private readonly Func<IEnumerable<KeyValuePair<string, string>>> _variables;
    private readonly Action _stopHost;
    private readonly Logger _log;
    private readonly Lock _gate = new(); // protects the two tasks: each begins once
    private Task<LocalTarget>? _opening;
    private Task? _closing;
    private EngineServer? _server;
    private ScheduleRunner? _schedules;

    /// <param name="folder">The database's folder.</param>
    /// <param name="inCode">What the program says of the options, over all else.</param>
    /// <param name="host">How the host keeps it.</param>
    /// <param name="loggers">The host's.</param>
    /// <param name="stopHost">Called when the engine has ended by itself.</param>
    /// <param name="variables">The environment; null: this process's.</param>
    public HostedEngine(
        string folder, Func<PitrOptions, PitrOptions>? inCode, PitrHostSettings host, ILoggerFactory loggers,
        Action stopHost, Func<IEnumerable<KeyValuePair<string, string>>>? variables = null)
    {
        _folder = Path.GetFullPath(folder);
        _inCode = inCode;
        _host = host;
        _variables = variables ?? LayeredSettings.OfProcess;
        _stopHost = stopHost;
        _log = HostLogSink.For(loggers);
        Health = new HealthOfEngine(() => Opened, () => _closing is not null, host.ArchiveLagDegraded);
    }

    /// <summary>What the health checks ask.</summary>
    public HealthOfEngine Health { get; }

    /// <summary>HOST:PORT of the administration; null if there is none.</summary>
    public string? Listen => _server?.Listen;

    /// <summary>The database; opened by this if it is not yet, with the calling thread waiting.</summary>
    public PitrDatabase Database => OpenAsync(CancellationToken.None).GetAwaiter().GetResult();

    /// <summary>The database once it is open, and how it ended; null before.</summary>
    private PitrDatabase? Opened => _opening is { IsCompletedSuccessfully: true } opened ? opened.Result.Database : null;

    /// <summary>Opens it, once; whoever asks meanwhile waits for the same opening.</summary>
    /// <exception cref="PitrException">As <see cref="PitrDatabase.OpenAsync"/>, and SettingsInvalid.</exception>
    public async Task<PitrDatabase> OpenAsync(CancellationToken cancellationToken)
    {
        Task<LocalTarget> opening;
        lock (_gate)
        {
            if (_opening is null && _closing is not null)
                throw EngineErrors.ShuttingDown(); // the host was disposed before it had started
            opening = _opening ??= Task.Run(() => OpenOnceAsync(cancellationToken), CancellationToken.None);
        }

        return (await opening.ConfigureAwait(false)).Database;
    }

    /// <summary>Closes it in order, once; whoever asks meanwhile waits for the same closing.</summary>
    /// <param name="patience">What happens to be told when it is over; nothing is cut short.</param>
    public async Task CloseAsync(CancellationToken patience)
    {
        Task closing;
        lock (_gate)
            closing = _closing ??= _opening is null ? Task.CompletedTask : Task.Run(() => CloseOnceAsync(_opening), CancellationToken.None);
        await using CancellationTokenRegistration told = patience.Register(() =>
        {
            if (!closing.IsCompleted)
            {
                _log.Warning(
                    "The host's ShutdownTimeout is over and the database {Folder} is not closed: it goes on. Give the host "
                    + "more time where it is watched over; a kill loses nothing that was acknowledged", _folder);
            }
        });
        await closing.ConfigureAwait(false);
    }

    // ---- the host's steps --------------------------------------------------------------------------

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => OpenAsync(cancellationToken);

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => CloseAsync(cancellationToken);

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>A host that was not stopped, or did not wait, closes it here.</summary>
    public async ValueTask DisposeAsync()
    {
        await CloseAsync(CancellationToken.None).ConfigureAwait(false);
        await _log.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>For hosts that are disposed without await: the thread waits.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    // ---- opening and closing -----------------------------------------------------------------------

    private async Task<LocalTarget> OpenOnceAsync(CancellationToken cancellationToken)
    {
        LayeredSettings said = LayeredSettings.Read(_folder, _variables(), _inCode);
        if (said.Options.ActorSystem is not null)
        {
            throw new ArgumentException(
                "PitrOptions.ActorSystem can't be given to a host: its engine runs in a system of its own, which neither "
                + "remoting nor a coordinated shutdown reaches. To open a database in your system use PitrDatabase.OpenAsync.");
        }

        IReadOnlyList<ScheduleTimes> schedules = ScheduleTimes.Read(said.Options.Schedules, _folder, said.Options.Clock);
        string? listen = _host.Listen ?? said.Listen;
        string http = _host.Http ?? said.Http ?? "127.0.0.1:0";
        if (listen is not null)
            EngineServer.RequireServable(EngineServerSettings.TlsOf(said), listen, http);
        LocalTarget target = await (_host.MustExist
            ? EngineHost.OpenAsync(_folder, _log, said.Options, cancellationToken)
            : EngineHost.OpenOrCreateAsync(_folder, _log, said.Options, cancellationToken)).ConfigureAwait(false);
        target.WhenArchiveLeft = left => _log.Warning(
            "The archive is behind: {Left}. It is in the WAL and will be shipped when the database is open next", left);
        try
        {
            if (listen is not null)
                await ListenAsync(target, said, listen, http, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await target.DisposeAsync().ConfigureAwait(false);
            throw;
        }

        _schedules = ScheduleRunner.Start(target.Database, schedules, _log, ended: CancellationToken.None);
        _ = WatchAsync(target.Database);
        return target;
    }

    private async Task ListenAsync(
        LocalTarget target, LayeredSettings said, string listen, string http, CancellationToken cancellationToken)
    {
        var settings = new EngineServerSettings
        {
            SystemId = target.Database.SystemId,
            Folder = _folder,
            Listen = listen,
            Http = http,
            TokenFile = _host.TokenFile,
            Roots = said.Roots,
            Tls = EngineServerSettings.TlsOf(said),
            Tokens = EngineServerSettings.TokensOf(said),
            Health = Health,
        };
        _server = await EngineServer.StartAsync(target, settings, _log, cancellationToken).ConfigureAwait(false);
        _log.Information("Database {Folder} is administered at --host {Listen}", _folder, _server.Listen);
    }

    /// <summary>The engine may end before the host does.</summary>
    private async Task WatchAsync(PitrDatabase database)
    {
        Exception? failure = null;
        try
        {
            await database.Completion.ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failure = error;
        }

        lock (_gate)
        {
            if (_closing is not null)
                return;
        }

        if (failure is not null)
            _log.Fatal(failure, "The engine of {Folder} has failed: nothing acknowledged is lost, the next opening recovers", _folder);
        else
            _log.Warning("The engine of {Folder} was shut down from outside", _folder);
        if (_host.StopsWithEngine)
            _stopHost();
    }

    private async Task CloseOnceAsync(Task<LocalTarget> opening)
    {
        LocalTarget target;
        try
        {
            target = await opening.ConfigureAwait(false);
        }
        catch (Exception)
        {
            return; // it never opened, and whoever asked for it was told why
        }

        if (_schedules is not null)
            await _schedules.DisposeAsync().ConfigureAwait(false); // what it runs is cancelled, and ends first
        try
        {
            await TellOfFencesAsync(target.Database).ConfigureAwait(false);
            await ShutDownAsync(target.Database).ConfigureAwait(false);
            _log.Information("Database {Folder} is closed", _folder);
        }
        catch (Exception failure)
        {
            _log.Error(failure, "The engine of {Folder} ended with a failure; the next opening recovers", _folder);
        }

        if (_server is not null)
            await _server.DisposeAsync().ConfigureAwait(false);
        await target.DisposeAsync().ConfigureAwait(false);
    }

    private async Task ShutDownAsync(PitrDatabase database)
    {
        Task shutdown = database.ShutdownAsync();
        if (_host.FenceWait is { } wait)
        {
            using var ended = new CancellationTokenSource();
            await Task.WhenAny(shutdown, Task.Delay(wait, ended.Token)).ConfigureAwait(false);
            await ended.CancelAsync().ConfigureAwait(false);
            if (!shutdown.IsCompleted)
                shutdown = database.ShutdownAsync(force: true); // fences that are left; else it changes nothing
        }

        await shutdown.ConfigureAwait(false);
    }

    /// <summary>Whoever wonders why it takes so long finds it in the log.</summary>
    private async Task TellOfFencesAsync(PitrDatabase database)
    {
        try
        {
            EngineStatus status = await database.GetStatusAsync().ConfigureAwait(false);
            foreach (DatafileStatus file in status.Datafiles)
            {
                foreach (FenceStatus fence in file.Fences)
                {
                    _log.Warning(
                        "The stop waits for the fence of {Holder} on datafile {Datafile} ({Reason}), until {Until:u}: pitr unfence ends it",
                        fence.Holder, file.Name, fence.Reason, fence.Until);
                }
            }
        }
        catch (PitrException)
        {
            // Best effort: it is being closed, or has failed.
        }
    }
}
