using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.WebSockets;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>
/// Data over HTTP: keys, rows and loads, streamed with back pressure, for callers with a token of the engine (a viewer's reads only).
/// </summary>
/// <remarks>
/// REQUESTS  (docs/formats/admin-wire.md; KEY in hexadecimal; each with <c>Authorization: Bearer TOKEN</c>)
/// <code>
///   GET | PUT | DELETE /v1/tables/TABLE/keys/KEY      the value as the body; a commit as JSON
///   GET /v1/tables/TABLE/rows?from&amp;to&amp;prefix&amp;limit&amp;reverse     frames of StreamFrames, chunked
///   GET /v1/tables/TABLE/count                        frames: the end alone
///   GET /v1/tables/TABLE/load                         WebSocket: transactions in, commits out, in the same order
///   GET /health                                       without a token: see HealthEndpoint. So is what HttpExtras adds
/// </code>
/// A failure before the first byte is a status with a problem as JSON; after it, a problem frame. A stream that ends
/// with neither end nor problem was cut off.
/// BACK PRESSURE  rows are written as fast as the client reads them; a load is read as fast as the engine commits.
/// </remarks>
internal sealed class HttpEndpoint : IAsyncDisposable
{
    private const int FlushBytes = 64 << 10;
    private const string Prefix = "/v1/tables/";

    private readonly WebApplication _application;
    private readonly IDatabaseTarget _engine;
    private readonly AdmittedTokens _tokens;
    private readonly HealthEndpoint? _health;
    private readonly CancellationTokenSource _stopping = new();

    private HttpEndpoint(
        WebApplication application, IDatabaseTarget engine, AdmittedTokens tokens, HealthOfEngine? health)
    {
        _health = health is null ? null : new HealthEndpoint(health);
        _application = application;
        _engine = engine;
        _tokens = tokens;
    }

    /// <summary>HOST:PORT that it listens on.</summary>
    public string Address { get; private set; } = "";

    /// <summary>Begins to listen and to answer.</summary>
    /// <exception cref="StorageFailedException">The address cannot be listened on.</exception>
    public static async Task<HttpEndpoint> StartAsync(
        ListenAddress listen, TlsIdentity? tls, IDatabaseTarget engine, AdmittedTokens tokens, HealthOfEngine? health,
        HttpExtras? extras, CancellationToken cancellationToken)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Limits.ValueBytesMax;
            kestrel.Limits.MinRequestBodyDataRate = null; // a client at a terminal may pause
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Listen(listen.ToEndPoint(), endPoint =>
            {
                if (tls is not null)
                    endPoint.UseHttps(HttpsOf(tls));
            });
        });
        extras?.Services(builder);
        WebApplication application = builder.Build();
        var endpoint = new HttpEndpoint(application, engine, tokens, health);
        extras?.Endpoints(application);
        application.UseWebSockets();
        application.Run(endpoint.AnswerAsync);
        try
        {
            await application.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is IOException or System.Net.Sockets.SocketException)
        {
            await application.DisposeAsync().ConfigureAwait(false);
            throw RemoteAdministration.ListenFailed(listen, failure);
        }
        string bound = application.Services.GetRequiredService<IServer>().Features
            .Get<IServerAddressesFeature>()!.Addresses.First();
        endpoint.Address = (listen with { Port = new Uri(bound).Port }).ToString();
        return endpoint;
    }

    /// <summary>Ends what runs, and stops listening.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        await _application.StopAsync(patience.Token).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
        _stopping.Dispose();
    }

    private static HttpsConnectionAdapterOptions HttpsOf(TlsIdentity tls) => new()
    {
        ServerCertificate = tls.Certificate,
        ServerCertificateChain = tls.Intermediates,
        ClientCertificateMode = ClientCertificateMode.RequireCertificate,
        ClientCertificateValidation = (peer, chain, _) => tls.TrustsClient(peer, chain),
    };

    private async Task AnswerAsync(HttpContext context)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, _stopping.Token);
        try
        {
            AdminRole role = RoleOf(context.Request);
            if (_health is not null && context.Request is { Method: "GET", Path.Value: HealthEndpoint.Path })
            {
                await _health.AnswerAsync(context, role != AdminRole.None, ended.Token).ConfigureAwait(false);
                return;
            }

            if (role == AdminRole.None)
                throw AdminErrors.NotAuthorized();
            if (role < RoleNeeded(context.Request))
                throw AdminErrors.RoleTooLow(role);
            await RouteAsync(context, role, ended.Token).ConfigureAwait(false);
        }
        catch (Exception failure) when (!context.Response.HasStarted && !context.RequestAborted.IsCancellationRequested)
        {
            await WriteFailureAsync(context.Response, failure).ConfigureAwait(false);
        }
        catch (Exception)
        {
            context.Abort(); // the stream stays without its end: its reader knows that it is not whole
        }
    }

    private AdminRole RoleOf(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string? given = request.Headers.Authorization;
        return given is not null && given.StartsWith(Scheme, StringComparison.Ordinal)
            ? _tokens.RoleOf(given[Scheme.Length..])
            : AdminRole.None;
    }

    /// <summary>A viewer reads. (A load is a GET by its form only, and looks itself: its failures are frames.)</summary>
    private static AdminRole RoleNeeded(HttpRequest request) =>
        request.Method == "GET" ? AdminRole.Viewer : AdminRole.Operator;

    private Task RouteAsync(HttpContext context, AdminRole role, CancellationToken ended)
    {
        string path = context.Request.Path.Value ?? "";
        string[] parts = path.StartsWith(Prefix, StringComparison.Ordinal) ? path[Prefix.Length..].Split('/') : [];
        return (context.Request.Method, parts) switch
        {
            ("GET", [var table, "keys", var key]) => GetAsync(context, table, Convert.FromHexString(key), ended),
            ("PUT", [var table, "keys", var key]) => PutAsync(context, table, Convert.FromHexString(key), ended),
            ("DELETE", [var table, "keys", var key]) => DeleteAsync(context, table, Convert.FromHexString(key), ended),
            ("GET", [var table, "rows"]) => ScanAsync(context, table, ended),
            ("GET", [var table, "count"]) => CountAsync(context, table, ended),
            ("GET", [var table, "load"]) => LoadAsync(context, table, role, ended),
            _ => throw new ArgumentException($"There is no '{context.Request.Method} {path}'."),
        };
    }

    // ---- keys --------------------------------------------------------------------------------------

    private async Task GetAsync(HttpContext context, string table, byte[] key, CancellationToken ended)
    {
        FoundValue found = await _engine.GetAsync(table, key, ended).ConfigureAwait(false)
            ?? throw AdminErrors.KeyUnknown(table, Convert.ToHexStringLower(key));
        context.Response.ContentType = "application/octet-stream";
        context.Response.ContentLength = found.Value.Length;
        context.Response.Headers["Pitr-Lsn"] = found.Lsn.ToString();
        await context.Response.Body.WriteAsync(found.Value, ended).ConfigureAwait(false);
    }

    private async Task PutAsync(HttpContext context, string table, byte[] key, CancellationToken ended)
    {
        using var value = new MemoryStream();
        await context.Request.Body.CopyToAsync(value, ended).ConfigureAwait(false);
        CommitResult commit = await _engine
            .PutAsync(table, key, value.GetBuffer().AsMemory(0, (int)value.Length), ended).ConfigureAwait(false);
        await WriteCommitAsync(context.Response, commit, ended).ConfigureAwait(false);
    }

    private async Task DeleteAsync(HttpContext context, string table, byte[] key, CancellationToken ended)
    {
        CommitResult commit = await _engine.DeleteAsync(table, key, ended).ConfigureAwait(false);
        await WriteCommitAsync(context.Response, commit, ended).ConfigureAwait(false);
    }

    private static Task WriteCommitAsync(HttpResponse response, CommitResult commit, CancellationToken ended)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(commit, AdminJson.Default.CommitResult);
        response.ContentType = "application/json";
        response.ContentLength = json.Length;
        return response.Body.WriteAsync(json, ended).AsTask();
    }

    // ---- rows --------------------------------------------------------------------------------------

    private async Task ScanAsync(HttpContext context, string table, CancellationToken ended)
    {
        IQueryCollection query = context.Request.Query;
        byte[]? Bound(string name) =>
            query.TryGetValue(name, out var text) ? Convert.FromHexString(text.ToString()) : null;
        var range = new ScanRange
        {
            From = Bound("from"),
            To = Bound("to"),
            Prefix = Bound("prefix"),
            RowsMax = query.TryGetValue("limit", out var limit)
                ? long.Parse(limit.ToString(), NumberStyles.None, CultureInfo.InvariantCulture)
                : null,
            Reverse = query.ContainsKey("reverse"),
        };
        context.Response.ContentType = "application/x-pitr-frames";
        PipeWriter output = context.Response.BodyWriter;
        long count = 0;
        long unflushed = 0;
        try
        {
            await foreach (KeyValue row in _engine.ScanAsync(table, range, ended).ConfigureAwait(false))
            {
                StreamFrames.WriteRow(output, row.Key, row.Value);
                count++;
                unflushed += row.Key.Length + row.Value.Length;
                if (unflushed < FlushBytes)
                    continue;
                await output.FlushAsync(ended).ConfigureAwait(false);
                unflushed = 0;
            }
            StreamFrames.WriteEnd(output, count);
        }
        catch (Exception failure) when (count > 0 && !context.RequestAborted.IsCancellationRequested)
        {
            StreamFrames.WriteProblem(output, AdminProblems.Of(failure));
        }
        await output.FlushAsync(context.RequestAborted).ConfigureAwait(false);
    }

    private async Task CountAsync(HttpContext context, string table, CancellationToken ended)
    {
        long count = await _engine.CountAsync(table, ended).ConfigureAwait(false);
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(
            Encoding.ASCII.GetBytes(count.ToString(CultureInfo.InvariantCulture)), ended).ConfigureAwait(false);
    }

    // ---- loads -------------------------------------------------------------------------------------

    private async Task LoadAsync(HttpContext context, string table, AdminRole role, CancellationToken ended)
    {
        if (!context.WebSockets.IsWebSocketRequest)
            throw new ArgumentException("A load is a WebSocket.");
        using WebSocket socket = await context.WebSockets.AcceptWebSocketAsync().ConfigureAwait(false);
        var answer = new ArrayBufferWriter<byte>(256);
        long count = 0;
        try
        {
            if (role < AdminRole.Operator)
                throw AdminErrors.RoleTooLow(role);
            await foreach (CommitResult commit in _engine
                .LoadAsync(table, TransactionsAsync(socket, ended), ended).ConfigureAwait(false))
            {
                StreamFrames.WriteCommit(answer, commit);
                await SendAsync(socket, answer, ended).ConfigureAwait(false);
                count++;
            }
            StreamFrames.WriteEnd(answer, count);
        }
        catch (Exception failure) when (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
        {
            answer.ResetWrittenCount();
            StreamFrames.WriteProblem(answer, AdminProblems.Of(failure));
        }
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        await SendAsync(socket, answer, patience.Token).ConfigureAwait(false);
        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, patience.Token).ConfigureAwait(false);
    }

    /// <summary>One message is one transaction; an empty message is the end.</summary>
    private static async IAsyncEnumerable<IReadOnlyList<KeyValue>> TransactionsAsync(
        WebSocket socket, [EnumeratorCancellation] CancellationToken ended)
    {
        var message = new ArrayBufferWriter<byte>(FlushBytes);
        while (true)
        {
            ValueWebSocketReceiveResult received;
            do
            {
                received = await socket.ReceiveAsync(message.GetMemory(FlushBytes), ended).ConfigureAwait(false);
                message.Advance(received.Count);
                if (message.WrittenCount > Limits.TransactionBytesMax)
                    throw new ArgumentException($"A transaction is larger than {Limits.TransactionBytesMax} bytes.");
            }
            while (!received.EndOfMessage);
            if (received.MessageType == WebSocketMessageType.Close)
                throw new IOException("The client left in the middle of a load.");
            if (message.WrittenCount == 0)
                yield break;
            yield return StreamFrames.ReadTransaction(message.WrittenMemory);
            message.ResetWrittenCount();
        }
    }

    private static async Task SendAsync(WebSocket socket, ArrayBufferWriter<byte> message, CancellationToken ended)
    {
        await socket.SendAsync(message.WrittenMemory, WebSocketMessageType.Binary, endOfMessage: true, ended)
            .ConfigureAwait(false);
        message.ResetWrittenCount();
    }

    // ---- failures ----------------------------------------------------------------------------------

    private static async Task WriteFailureAsync(HttpResponse response, Exception failure)
    {
        AdminProtocol.AdminProblem problem = failure is FormatException wrong
            ? AdminProblems.Of(new ArgumentException(wrong.Message))
            : failure is BadHttpRequestException bad
                ? AdminProblems.Of(new ArgumentException(bad.Message))
                : AdminProblems.Of(failure);
        response.Clear();
        response.StatusCode = (problem.ExitCode, (ErrorCode)problem.Code) switch
        {
            (_, ErrorCode.NotAuthorized) => StatusCodes.Status401Unauthorized,
            (2, _) => StatusCodes.Status400BadRequest,
            (3, _) => StatusCodes.Status404NotFound,
            (4, _) => StatusCodes.Status409Conflict,
            _ => StatusCodes.Status500InternalServerError,
        };
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(problem, AdminJson.Default.AdminProblem);
        response.ContentType = "application/json";
        response.ContentLength = json.Length;
        await response.Body.WriteAsync(json).ConfigureAwait(false);
    }

    /// <summary>The process's signals are not this endpoint's business.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
