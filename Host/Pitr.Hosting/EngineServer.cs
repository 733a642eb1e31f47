using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>Where and how a running engine is reached.</summary>
internal sealed record EngineServerSettings
{
    /// <summary>Which database.</summary>
    public required SystemIdentifier SystemId { get; init; }

    /// <summary>Where it lies.</summary>
    public required string Folder { get; init; }

    /// <summary>Administration; port 0: any.</summary>
    public required string Listen { get; init; }

    /// <summary>Data; port 0: any.</summary>
    public required string Http { get; init; }

    /// <summary>Where the operator's token is written; null: in the user's runtime folder.</summary>
    public string? TokenFile { get; init; }

    /// <summary>Tokens that are good besides those of this start: they stay the same over restarts.</summary>
    public IReadOnlyList<(string Token, AdminRole Role)> Tokens { get; init; } = [];

    /// <summary>
    /// Folders under which paths of remote callers must lie; empty: anywhere on loopback, since the token makes them
    /// this user, and the database's folder alone for callers of other machines.
    /// </summary>
    public IReadOnlyList<string> Roots { get; init; } = [];

    /// <summary>Certificates; needed for each address that is not on loopback, and used for those only.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>What <c>/health</c> asks; null: there is no such answer.</summary>
    public HealthOfEngine? Health { get; init; }

    /// <summary>What is answered at the HTTP address besides.</summary>
    public HttpExtras? HttpExtras { get; init; }

    /// <summary>Environment variables.</summary>
    public Func<string, string?> Variable { get; init; } = Environment.GetEnvironmentVariable;

    /// <summary>The certificates that the settings name; null if they name none.</summary>
    /// <exception cref="RefusedException">SettingsInvalid: they name some and not all.</exception>
    public static TlsFiles? TlsOf(LayeredSettings said) =>
        (said.TlsCertificate, said.TlsKey, said.TlsAuthority) switch
        {
            (null, null, null) => null,
            ({ } certificate, { } key, { } authority) => new TlsFiles(certificate, key, authority),
            _ => throw EngineErrors.SettingsInvalid(
                "tlsCertificate, tlsKey, tlsAuthority", "only some of them are named; all three are needed."),
        };

    /// <summary>The tokens in the files that the settings name.</summary>
    public static IReadOnlyList<(string Token, AdminRole Role)> TokensOf(LayeredSettings said) =>
    [
        .. said.OperatorTokens.Select(file => (Hosting.TokenFile.Read(file), AdminRole.Operator)),
        .. said.ViewerTokens.Select(file => (Hosting.TokenFile.Read(file), AdminRole.Viewer)),
    ];
}

/// <summary>What makes an engine reachable: administration, HTTP endpoint, token. The engine itself is given.</summary>
/// <remarks>
/// ORDER  both listen first (the ports are known then), the token is written, then clients are admitted; the end is the
/// other way round. An address that is not on loopback speaks TLS, and clients there need a certificate besides the
/// token.
/// </remarks>
internal sealed class EngineServer : IAsyncDisposable
{
    private readonly IDatabaseTarget _engine;
    private readonly RemoteAdministration _administration;
    private readonly HttpEndpoint _http;
    private readonly string _token;
    private readonly string _viewerToken;
    private readonly string _tokenFile;
    private readonly TlsIdentity? _tls;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private EngineServer(
        IDatabaseTarget engine, RemoteAdministration administration, HttpEndpoint http, string token,
        string viewerToken, string tokenFile, TlsIdentity? tls)
    {
        _engine = engine;
        _administration = administration;
        _http = http;
        _token = token;
        _viewerToken = viewerToken;
        _tokenFile = tokenFile;
        _tls = tls;
    }

    /// <summary>HOST:PORT of the administration.</summary>
    public string Listen => _administration.Address;

    /// <summary>HOST:PORT of the HTTP endpoint.</summary>
    public string Http => _http.Address;

    /// <summary>Every actor of the system that speaks with other processes.</summary>
    public IEnumerable<Akka.Actor.IActorRef> Reachable => _administration.Reachable;

    /// <summary>Where the operator's token is; the viewer's is beside it.</summary>
    public string TokenFilePath => _tokenFile;

    /// <summary>Completes when the engine was stopped through <see cref="ShutdownAsync"/>, by whomever.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Refuses addresses that cannot be served, before an engine is opened for them.</summary>
    /// <exception cref="ArgumentException">One is no address.</exception>
    /// <exception cref="RefusedException">One is not on loopback, and there are no usable certificates.</exception>
    public static void RequireServable(TlsFiles? tls, params string[] addresses) => IdentityFor(tls, addresses)?.Dispose();

    /// <summary>Makes an engine reachable.</summary>
    public static async Task<EngineServer> StartAsync(
        IDatabaseTarget engine, EngineServerSettings settings, Serilog.ILogger log, CancellationToken cancellationToken)
    {
        ListenAddress listen = ListenAddress.Parse(settings.Listen);
        ListenAddress httpListen = ListenAddress.Parse(settings.Http);
        var roots = new AllowedRoots(
            settings.Roots.Count == 0 && !listen.IsLoopback ? [settings.Folder] : settings.Roots);
        TlsIdentity? tls = IdentityFor(settings.Tls, settings.Listen, settings.Http);
        string token = Hosting.TokenFile.NewToken();
        string viewerToken = Hosting.TokenFile.NewToken();
        var tokens = new AdmittedTokens(
            [(token, AdminRole.Operator), (viewerToken, AdminRole.Viewer), .. settings.Tokens]);
        RemoteAdministration administration = RemoteAdministration.Listen(listen, listen.IsLoopback ? null : tls, log);
        HttpEndpoint? http = null;
        try
        {
            http = await HttpEndpoint.StartAsync(
                httpListen, httpListen.IsLoopback ? null : tls, engine, tokens, settings.Health, settings.HttpExtras,
                cancellationToken).ConfigureAwait(false);
            string file = Hosting.TokenFile.Write(settings.TokenFile, administration.Address, token, settings.Variable);
            Hosting.TokenFile.Write(
                Hosting.TokenFile.ForViewers(file), administration.Address, viewerToken, settings.Variable);
            var server = new EngineServer(engine, administration, http, token, viewerToken, file, tls);
            administration.Admit(engine, new AdministratorSettings(
                settings.SystemId, settings.Folder, http.Address, tokens.RoleOf, roots.AllowsPath, roots.AllowsStore,
                server.ShutdownAsync));
            return server;
        }
        catch
        {
            if (http is not null)
                await http.DisposeAsync().ConfigureAwait(false);
            await administration.DisposeAsync().ConfigureAwait(false);
            tls?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Stops the engine in order; a second, forced call breaks the fences that the first one waits for.
    /// </summary>
    public async Task ShutdownAsync(bool force)
    {
        await _engine.ShutdownAsync(force, CancellationToken.None).ConfigureAwait(false);
        _ended.TrySetResult();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Hosting.TokenFile.Remove(_tokenFile, _token);
        Hosting.TokenFile.Remove(Hosting.TokenFile.ForViewers(_tokenFile), _viewerToken);
        await _http.DisposeAsync().ConfigureAwait(false);
        await _administration.DisposeAsync().ConfigureAwait(false);
        _tls?.Dispose();
    }

    private static TlsIdentity? IdentityFor(TlsFiles? files, params string[] addresses)
    {
        string? outside = addresses.FirstOrDefault(address => !ListenAddress.Parse(address).IsLoopback);
        return outside is null
            ? null
            : TlsIdentity.Load(files ?? throw AdminErrors.NeedsTls(outside), TimeProvider.System);
    }
}
