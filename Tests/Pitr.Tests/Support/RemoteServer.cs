using Pitr.Actors;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>
/// An engine that is reached over real sockets: its server, with the tokens in a scratch folder, and clients of it. What
/// stands behind is given.
/// </summary>
internal sealed class RemoteServer(IDatabaseTarget engine) : IAsyncDisposable
{
    private static readonly CancellationToken None = CancellationToken.None;

    private EngineServer? _server;

    /// <summary>A scratch folder.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("pitr-remote-").FullName;

    /// <summary>The server that runs.</summary>
    public EngineServer Server => _server!;

    /// <summary>HOST:PORT of its administration.</summary>
    public string Listen => Server.Listen;

    /// <summary>HOST:PORT of its data.</summary>
    public string Http => Server.Http;

    /// <summary>The operator's token.</summary>
    public string Token => File.ReadAllText(Server.TokenFilePath).Trim();

    /// <summary>The viewer's.</summary>
    public string ViewerToken => File.ReadAllText(TokenFile.ForViewers(Server.TokenFilePath)).Trim();

    /// <summary>On loopback, any ports, without certificates or roots.</summary>
    public EngineServerSettings Settings => new()
    {
        SystemId = new SystemIdentifier(0x0123456789ABCDEF),
        Folder = "/db",
        Listen = "127.0.0.1:0",
        Http = "127.0.0.1:0",
        Variable = name => name == "XDG_RUNTIME_DIR" ? Path.Combine(Folder, "run") : null,
    };

    /// <summary>A server of the same engine; this object does not end it.</summary>
    public Task<EngineServer> OtherAsync(EngineServerSettings settings) =>
        EngineServer.StartAsync(engine, settings, Serilog.Core.Logger.None, None);

    /// <summary>Starts it, or another one in its place.</summary>
    public async Task StartAsync(EngineServerSettings? settings = null)
    {
        await StopAsync();
        _server = await OtherAsync(settings ?? Settings);
    }

    /// <summary>Ends the server, not the engine.</summary>
    public async Task StopAsync()
    {
        if (_server is { } running)
        {
            _server = null;
            await running.DisposeAsync();
        }
    }

    /// <summary>A session of an operator, or of who has the token.</summary>
    public Task<PitrAdmin> ConnectAsync(string? token = null, TlsFiles? tls = null) =>
        PitrAdmin.ConnectAsync(Listen, new PitrAdminOptions { Token = token ?? Token, Tls = tls }, None);

    /// <summary>The server serves on.</summary>
    public async Task RequireServesAsync()
    {
        await using PitrAdmin admin = await ConnectAsync();
        await admin.SwitchWalAsync(None);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await engine.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }
}
