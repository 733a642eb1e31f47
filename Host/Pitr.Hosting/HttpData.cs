using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.WebSockets;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Hosting;

/// <summary>The client's side of <see cref="HttpEndpoint"/>.</summary>
/// <remarks>
/// FAILURE  the engine's problems come out as its own exceptions; a connection that breaks is ConnectionLost; a stream
/// that ends without its last frame is too, and never passes for whole.
/// </remarks>
internal sealed class HttpData : IDisposable
{
    private readonly string _address;
    private readonly string _token;
    private readonly SocketsHttpHandler _handler;
    private readonly HttpClient _http;
    private readonly HttpMessageInvoker _sockets;
    private readonly string _scheme;

    /// <param name="address">HOST:PORT of the endpoint.</param>
    /// <param name="token">A token of the engine.</param>
    /// <param name="tls">What this client shows; null on loopback.</param>
    public HttpData(string address, string token, TlsIdentity? tls)
    {
        _address = address;
        _token = token;
        _scheme = tls is null ? "" : "s";
        _handler = new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(5) };
        if (tls is not null)
        {
            string host = ListenAddress.Parse(address).Host;
            _handler.SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificates = [tls.Certificate],
                RemoteCertificateValidationCallback = (_, peer, chain, _) => tls.TrustsServer(peer, chain, host),
            };
        }
        _sockets = new HttpMessageInvoker(_handler, disposeHandler: false);
        _http = new HttpClient(_handler)
        {
            BaseAddress = new Uri($"http{_scheme}://{address}/v1/tables/"),
            Timeout = Timeout.InfiniteTimeSpan, // the session's heartbeat tells a dead engine from a busy one
        };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
    }

    /// <summary>Why nothing can be asked here; null: it can.</summary>
    public RefusedException? Refusal { get; init; }

    public void Dispose()
    {
        _sockets.Dispose();
        _http.Dispose();
    }

    public async Task<CommitResult> PutAsync(
        string table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken)
    {
        using var request =
            new HttpRequestMessage(HttpMethod.Put, KeyPath(table, key)) { Content = new ReadOnlyMemoryContent(value) };
        return await CommitAsync(request, cancellationToken).ConfigureAwait(false);
    }

    public async Task<CommitResult> DeleteAsync(
        string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, KeyPath(table, key));
        return await CommitAsync(request, cancellationToken).ConfigureAwait(false);
    }

    public async Task<FoundValue?> GetAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, KeyPath(table, key));
        try
        {
            using HttpResponseMessage response = await SendAsync(request, cancellationToken).ConfigureAwait(false);
            byte[] value = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
            return response.Headers.TryGetValues("Pitr-Lsn", out IEnumerable<string>? given)
                && Lsn.TryParse(given.FirstOrDefault(), CultureInfo.InvariantCulture, out Lsn lsn)
                ? new FoundValue(value, lsn)
                : throw AdminErrors.NotAnEngine("a value without an LSN");
        }
        catch (NotFoundException unknown) when (unknown.Code == ErrorCode.KeyUnknown)
        {
            return null;
        }
    }

    public async Task<long> CountAsync(string table, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{table}/count");
        using HttpResponseMessage response = await SendAsync(request, cancellationToken).ConfigureAwait(false);
        byte[] digits = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
        return long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out long count)
            ? count
            : throw AdminErrors.NotAnEngine("a count that is no number");
    }

    public async IAsyncEnumerable<KeyValue> ScanAsync(
        string table, ScanRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{table}/rows{Query(range)}");
        using HttpResponseMessage response = await SendAsync(request, cancellationToken).ConfigureAwait(false);
        Stream stream = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            await foreach (KeyValue row in StreamFrames
                .ReadRowsAsync(stream, count => AdminErrors.StreamCutOff(_address, count), cancellationToken)
                .ConfigureAwait(false))
                yield return row;
        }
    }

    /// <summary>
    /// Sends transactions and gives the commits. If the transactions themselves fail (a bad line of a file), what was
    /// sent is answered first, then that failure is thrown.
    /// </summary>
    public async IAsyncEnumerable<CommitResult> LoadAsync(
        string table,
        IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Authorization", $"Bearer {_token}");
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await ConnectAsync(socket, table, cancellationToken).ConfigureAwait(false);
        Task<Exception?> sending = SendTransactionsAsync(socket, transactions, ended.Token);
        try
        {
            long count = 0;
            while (await ReceiveAsync(socket, count, cancellationToken).ConfigureAwait(false) is { } commit)
            {
                count++;
                yield return commit;
            }
            if (await sending.ConfigureAwait(false) is { } failure)
                ExceptionDispatchInfo.Throw(failure);
        }
        finally
        {
            await ended.CancelAsync().ConfigureAwait(false);
            await sending.ConfigureAwait(false);
        }
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static string KeyPath(string table, ReadOnlyMemory<byte> key) =>
        $"{table}/keys/{Convert.ToHexStringLower(key.Span)}";

    private static string Query(ScanRange range)
    {
        var parts = new List<string>();
        void Add(string name, byte[]? bytes)
        {
            if (bytes is not null)
                parts.Add($"{name}={Convert.ToHexStringLower(bytes)}");
        }
        Add("from", range.From);
        Add("to", range.To);
        Add("prefix", range.Prefix);
        if (range.RowsMax is { } limit)
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"limit={limit}"));
        if (range.Reverse)
            parts.Add("reverse");
        return parts.Count == 0 ? "" : $"?{string.Join('&', parts)}";
    }

    private async Task<CommitResult> CommitAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await SendAsync(request, cancellationToken).ConfigureAwait(false);
        byte[] json = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
        return Parse(json, AdminJson.Default.CommitResult);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (Refusal is not null)
            throw Refusal;
        HttpResponseMessage response;
        try
        {
            response = await _http
                .SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        }
        catch (HttpRequestException failure)
        {
            throw Lost(failure);
        }
        if (response.IsSuccessStatusCode)
            return response;
        using (response)
        {
            byte[] json = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
            AdminProtocol.AdminProblem? problem = json.Length == 0
                ? null
                : Parse(json, AdminJson.Default.AdminProblem);
            throw problem is not null
                ? AdminProblems.ToException(problem)
                : Lost(new HttpRequestException($"it answered {(int)response.StatusCode}"));
        }
    }

    private static T? Parse<T>(byte[] json, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(json, StrictJson.Of(type));
        }
        catch (JsonException)
        {
            throw AdminErrors.NotAnEngine($"a text that is no {typeof(T).Name}");
        }
    }

    private async Task<byte[]> ReadAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            return await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException)
        {
            throw Lost(failure);
        }
    }

    private async Task ConnectAsync(ClientWebSocket socket, string table, CancellationToken cancellationToken)
    {
        if (Refusal is not null)
            throw Refusal;
        try
        {
            await socket.ConnectAsync(
                new Uri($"ws{_scheme}://{_address}/v1/tables/{table}/load"), _sockets, cancellationToken)
                    .ConfigureAwait(false);
        }
        catch (WebSocketException failure)
        {
            throw Lost(failure);
        }
    }

    /// <summary>
    /// Sends all of them and the end; the result is the failure of the source, which the reader throws last.
    /// </summary>
    private static async Task<Exception?> SendTransactionsAsync(
        WebSocket socket, IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions, CancellationToken cancellationToken)
    {
        var message = new ArrayBufferWriter<byte>(64 << 10);
        Exception? failure = null;
        try
        {
            await foreach (IReadOnlyList<KeyValue> transaction in transactions
                .WithCancellation(cancellationToken).ConfigureAwait(false))
            {
                foreach (KeyValue row in transaction)
                    StreamFrames.WriteRow(message, row.Key, row.Value);
                await socket.SendAsync(message.WrittenMemory, WebSocketMessageType.Binary, true, cancellationToken)
                    .ConfigureAwait(false);
                message.ResetWrittenCount();
            }
        }
        catch (WebSocketException)
        {
            return null; // the reader sees the same, and why
        }
        catch (Exception wrong)
        {
            failure = wrong;
        }
        try
        {
            await socket.SendAsync(ReadOnlyMemory<byte>.Empty, WebSocketMessageType.Binary, true, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (Exception broken) when (
            broken is WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // Likewise: the reader ends with what happened.
        }
        return failure;
    }

    private async Task<CommitResult?> ReceiveAsync(WebSocket socket, long count, CancellationToken cancellationToken)
    {
        var message = new ArrayBufferWriter<byte>(4 << 10);
        try
        {
            ValueWebSocketReceiveResult received;
            do
            {
                received = await socket.ReceiveAsync(message.GetMemory(4 << 10), cancellationToken)
                    .ConfigureAwait(false);
                message.Advance(received.Count);
            }
            while (!received.EndOfMessage);
            return received.MessageType == WebSocketMessageType.Close
                ? throw AdminErrors.ConnectionLost(
                    _address, $"the load was cut off after {count} acknowledged transactions")
                : StreamFrames.ReadAnswer(message.WrittenSpan);
        }
        catch (WebSocketException failure)
        {
            throw AdminErrors.ConnectionLost(
                _address,
                $"the load was cut off after {count} acknowledged transactions ({failure.GetBaseException().Message.TrimEnd('.')})");
        }
    }

    private StorageFailedException Lost(Exception failure) =>
        AdminErrors.ConnectionLost(_address, failure.GetBaseException().Message.TrimEnd('.'));
}
