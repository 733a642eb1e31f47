using System.Net;
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
    /// Folders under which paths of remote callers must lie; empty: anywhere, since the token makes them this user.
    /// </summary>
    public IReadOnlyList<string> Roots { get; init; } = [];

    /// <summary>Environment variables.</summary>
    public Func<string, string?> Variable { get; init; } = Environment.GetEnvironmentVariable;
}

/// <summary>What makes an engine reachable: administration, HTTP endpoint, token. The engine itself is given.</summary>
/// <remarks>
/// ORDER  both listen first (the ports are known then), the token is written, then clients are admitted; the end is the
/// other way round. Only loopback addresses: others need TLS and roles, which are not there yet.
/// </remarks>
internal sealed class EngineServer : IAsyncDisposable
{
    private readonly IDatabaseTarget _engine;
    private readonly RemoteAdministration _administration;
    private readonly HttpEndpoint _http;
    private readonly string _token;
    private readonly string _viewerToken;
    private readonly string _tokenFile;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private EngineServer(
        IDatabaseTarget engine, RemoteAdministration administration, HttpEndpoint http, string token,
        string viewerToken, string tokenFile)
    {
        _engine = engine;
        _administration = administration;
        _http = http;
        _token = token;
        _viewerToken = viewerToken;
        _tokenFile = tokenFile;
    }

    /// <summary>HOST:PORT of the administration.</summary>
    public string Listen => _administration.Address;

    /// <summary>HOST:PORT of the HTTP endpoint.</summary>
    public string Http => _http.Address;

    /// <summary>Where the operator's token is; the viewer's is beside it.</summary>
    public string TokenFilePath => _tokenFile;

    /// <summary>Completes when the engine was stopped through <see cref="ShutdownAsync"/>, by whomever.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Refuses addresses that cannot be served, before an engine is opened for them.</summary>
    /// <exception cref="ArgumentException">One is not on loopback.</exception>
    public static void RequireLoopback(params string[] addresses)
    {
        foreach (string address in addresses)
            Loopback(address);
    }

    /// <summary>Makes an engine reachable.</summary>
    public static async Task<EngineServer> StartAsync(
        IDatabaseTarget engine, EngineServerSettings settings, Serilog.ILogger log, CancellationToken cancellationToken)
    {
        IPEndPoint listen = Loopback(settings.Listen);
        IPEndPoint httpListen = Loopback(settings.Http);
        string token = Hosting.TokenFile.NewToken();
        string viewerToken = Hosting.TokenFile.NewToken();
        var tokens = new AdmittedTokens(
            [(token, AdminRole.Operator), (viewerToken, AdminRole.Viewer), .. settings.Tokens]);
        RemoteAdministration administration = RemoteAdministration.Listen(listen, log);
        HttpEndpoint? http = null;
        try
        {
            http = await HttpEndpoint.StartAsync(httpListen, engine, tokens, cancellationToken).ConfigureAwait(false);
            string file = Hosting.TokenFile.Write(settings.TokenFile, administration.Address, token, settings.Variable);
            Hosting.TokenFile.Write(
                Hosting.TokenFile.ForViewers(file), administration.Address, viewerToken, settings.Variable);
            var server = new EngineServer(engine, administration, http, token, viewerToken, file);
            var roots = new AllowedRoots(settings.Roots);
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
    }

    private static IPEndPoint Loopback(string address) =>
        IPEndPoint.TryParse(address, out IPEndPoint? endPoint) && IPAddress.IsLoopback(endPoint.Address)
            ? endPoint
            : throw new ArgumentException(
                $"The address '{address}' is not a loopback address with a port, such as 127.0.0.1:4053; "
                + "others need TLS, which is not there yet.");
}
