using System.Globalization;
using System.Text;
using Pitr.Actors;
using Pitr.Hosting;
using Pitr.Recovery;
using Serilog.Core;

namespace Pitr.Cli;

/// <summary>The databases of this machine: opened in this process, reached by address, or served.</summary>
internal sealed class ProcessTargets(CliConsole console) : ITargets
{
    /// <summary>
    /// For a verb that opens the database, does one thing and closes it: what the archive lacks stays in the WAL, and
    /// the next one ships it, so nobody waits a minute for a store that is down.
    /// </summary>
    private static readonly TimeSpan ShutdownWaitOfOneVerb = TimeSpan.FromSeconds(5);

    /// <summary>Where <c>serve</c> listens for administration unless something else is said.</summary>
    public const string ListenDefault = "127.0.0.1:4053";

    /// <summary>Where <c>serve</c> listens for data, health and metrics unless something else is said.</summary>
    public const string HttpDefault = "127.0.0.1:8053";

    /// <inheritdoc/>
    public async Task<IDatabaseTarget> OpenLocalAsync(string folder, CancellationToken cancellationToken)
    {
        LocalTarget target = await EngineHost
            .OpenAsync(folder, Logger.None, ForOneVerb(folder), cancellationToken).ConfigureAwait(false);
        target.WhenArchiveLeft = TellWhatIsLeft;
        return target;
    }

    /// <inheritdoc/>
    public async Task<IDatabaseTarget> OpenRemoteAsync(
        string address, PitrAdminOptions options, CancellationToken cancellationToken) =>
        await PitrAdmin.ConnectAsync(address, options, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async Task<SystemIdentifier> InitAsync(
        string folder, int walSegmentBytes, IReadOnlyList<string> stores, CancellationToken cancellationToken)
    {
        PitrOptions options = SettingsOf(folder, options => options with
        {
            ArchiveShutdownWait = ShutdownWaitOfOneVerb,
            WalSegmentBytes = walSegmentBytes,
            ArchiveStores = [.. options.ArchiveStores, .. stores],
        }).Options;
        LocalTarget target = await EngineHost
            .CreateAsync(folder, Logger.None, options, cancellationToken).ConfigureAwait(false);
        target.WhenArchiveLeft = TellWhatIsLeft;
        await using (target.ConfigureAwait(false))
            return target.Database.SystemId;
    }

    /// <inheritdoc/>
    /// <remarks>Into which stores it archives the request says, and not the environment: it may be a drill.</remarks>
    public Task<RestoreResult> RestoreAsync(
        RestoreRequest request, PitrOptions stores, CancellationToken cancellationToken) =>
        EngineHost.WithSystemAsync(
            Logger.None,
            ForOneVerb(request.Into) with
            {
                ArchiveStores = [],
                ArchiveCommands = stores.ArchiveCommands,
                ArchiveKeyFile = stores.ArchiveKeyFile,
            },
            options => PitrRecovery.RestoreAsync(request, options, cancellationToken));

    /// <inheritdoc/>
    public Task<RestoreResult> RecoverAsync(
        string folder, RecoveryTarget? target, bool promote, CancellationToken cancellationToken) =>
        EngineHost.WithSystemAsync(
            Logger.None, ForOneVerb(folder), options =>
                PitrRecovery.RecoverAsync(folder, target, promote, options, cancellationToken));

    /// <inheritdoc/>
    public Task<RestoreResult> RecoverInPlaceAsync(
        InPlaceRecoveryRequest request, CancellationToken cancellationToken) =>
        EngineHost.WithSystemAsync(
            Logger.None, ForOneVerb(request.Folder), options =>
                PitrRecovery.RecoverInPlaceAsync(request, options, cancellationToken));

    /// <inheritdoc/>
    public PitrOptions OptionsFor(string folder) => ForOneVerb(folder);

    /// <inheritdoc/>
    public async Task ServeAsync(ServeRequest request, CliConsole console, Interruption interruption)
    {
        string folder = request.Folder;
        LayeredSettings said = SettingsOf(folder);
        string listen = request.Listen ?? said.Listen ?? ListenDefault;
        string http = request.Http ?? said.Http ?? HttpDefault;
        TlsFiles? tls = EngineServerSettings.TlsOf(said);
        EngineServer.RequireServable(tls, listen, http);
        IReadOnlyList<ScheduleTimes> schedules = ScheduleTimes.Read(said.Options.Schedules, folder, said.Options.Clock);
        Logger log = ServeLog.Create(request.LogLevel, request.LogsJson);
        await using (log.ConfigureAwait(false))
        {
            LocalTarget target = await EngineHost
                .OpenAsync(folder, log, said.Options, interruption.Orderly).ConfigureAwait(false);
            await using (target.ConfigureAwait(false))
            {
                var settings = new EngineServerSettings
                {
                    SystemId = target.Database.SystemId,
                    Folder = folder,
                    Listen = listen,
                    Http = http,
                    TokenFile = request.TokenFile,
                    Roots = said.Roots,
                    Tls = tls,
                    Tokens = EngineServerSettings.TokensOf(said),
                    Variable = console.Variable,
                    Health = new HealthOfEngine(
                        () => target.Database, () => interruption.Orderly.IsCancellationRequested, TimeSpan.FromMinutes(1)),
                    HttpExtras = ServeTelemetry.Extras(log, console.Variable),
                };
                EngineServer server = await EngineServer
                    .StartAsync(target, settings, log, interruption.Orderly).ConfigureAwait(false);
                await using (server.ConfigureAwait(false))
                {
                    string ready = string.Create(
                        CultureInfo.InvariantCulture, $"ready {folder} --host {server.Listen} --http {server.Http}\n");
                    await console.Output.WriteAsync(Encoding.UTF8.GetBytes(ready)).ConfigureAwait(false);
                    await console.Output.FlushAsync().ConfigureAwait(false);
                    await RunUntilEndedAsync(target.Database, schedules, server, interruption, log).ConfigureAwait(false);
                }
            }
        }
    }

    private static async Task RunUntilEndedAsync(
        PitrDatabase database, IReadOnlyList<ScheduleTimes> schedules, EngineServer server, Interruption interruption,
        Logger log)
    {
        ScheduleRunner? runner = ScheduleRunner.Start(database, schedules, log, ended: interruption.Orderly);
        try
        {
            await UntilEndedAsync(database, server, interruption, log).ConfigureAwait(false);
        }
        finally
        {
            if (runner is not null)
                await runner.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Until a signal, a client's shutdown, or the engine's own end; a second signal forces what the first one waits
    /// for.
    /// </summary>
    private static async Task UntilEndedAsync(
        PitrDatabase database, EngineServer server, Interruption interruption, Logger log)
    {
        var signalled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration orderly =
            interruption.Orderly.Register(() => signalled.TrySetResult());
        await Task.WhenAny(signalled.Task, server.Ended, database.Completion).ConfigureAwait(false);
        if (!signalled.Task.IsCompleted)
        {
            await database.Completion.ConfigureAwait(false); // throws why, if the engine failed
            // who asked gets its answer first
            await server.Ended.WaitAsync(TimeSpan.FromSeconds(5)).ConfigureAwait(false);
            return;
        }
        log.Information("Shutting down; a second signal breaks the fences that this waits for");
        Task shutdown = server.ShutdownAsync(force: false);
        await using CancellationTokenRegistration forced =
            interruption.Forced.Register(() => _ = server.ShutdownAsync(force: true));
        await shutdown.ConfigureAwait(false);
    }

    private PitrOptions ForOneVerb(string folder) => SettingsOf(
        folder, static options => options with { ArchiveShutdownWait = ShutdownWaitOfOneVerb }).Options;

    private LayeredSettings SettingsOf(string folder, Func<PitrOptions, PitrOptions>? inCode = null) =>
        LayeredSettings.Read(folder, console.Settings(), options =>
            (inCode is null ? options : inCode(options)) with { ArchiveStoreKinds = StoreKinds.All });

    private void TellWhatIsLeft(string left) =>
        console.Error.WriteLine(
            $"The archive is behind: {left}. It is in the WAL and will be shipped when the database is open next.");
}
