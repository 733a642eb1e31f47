using System.Net;
using System.Net.NetworkInformation;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Pitr.Actors;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>
/// An engine that other machines reach (design §11): certificates on both sides, names that are checked, tokens still
/// needed, paths under roots only. On an address of this machine that is not loopback.
/// </summary>
public sealed class RemoteTlsTests : IAsyncLifetime, IAsyncDisposable
{
    private static readonly CancellationToken None = CancellationToken.None;

    private readonly MemoryTarget _engine = new();
    private readonly RemoteServer _server;
    private readonly TestAuthority _authority;

    public RemoteTlsTests()
    {
        _server = new RemoteServer(_engine);
        _authority = new TestAuthority(_server.Folder);
    }

    public Task InitializeAsync() => Task.CompletedTask;

    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _authority.Dispose();
    }

    [NetworkFact]
    public async Task With_certificates_on_both_sides_administration_and_data_work_as_on_loopback()
    {
        await StartAsync(_authority.Server("engine", Address));
        _engine.AddTable("t", ("a", "1"), ("b", "2"));
        await using PitrAdmin admin = await ConnectAsync(_authority.Client("client"));
        Assert.Equal(AdminRole.Operator, admin.Role);
        Assert.Equal("Running", (await admin.GetStatusAsync(None)).State);
        await admin.CheckpointAsync(None);
        await admin.PutAsync("t", "c"u8.ToArray(), "3"u8.ToArray(), None);
        Assert.Equal("3"u8.ToArray(), (await admin.GetAsync("t", "c"u8.ToArray(), None))!.Value);
        Assert.Equal(3, await admin.CountAsync("t", None));
        int rows = 0;
        await foreach (KeyValue _ in admin.ScanAsync("t", ScanRange.All, None))
            rows++;
        Assert.Equal(3, rows);
        int commits = 0;
        await foreach (CommitResult _ in admin.LoadAsync("t", Transactions(), None))
            commits++;
        Assert.Equal(5, commits);
    }

    [NetworkFact]
    public async Task A_token_is_needed_besides_the_certificate()
    {
        await StartAsync(_authority.Server("engine", Address));
        var refused = await Assert.ThrowsAsync<RefusedException>(
            () => ConnectAsync(_authority.Client("client"), "another"));
        Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
    }

    [NetworkFact]
    public async Task Whom_the_authority_does_not_know_does_not_get_in()
    {
        await StartAsync(_authority.Server("engine", Address));
        using var other = new TestAuthority(_server.Folder, "other");
        TlsFiles stranger = other.Client("stranger") with { AuthorityPath = _authority.AuthorityPath };
        await RequireNotConnectedAsync(stranger);
        await RequireNotConnectedAsync(_authority.Server("server-as-client", Address)); // meant for the other side

        // Without any certificate, as a program of one's own would try it; and over plain TCP.
        using var bare = new HttpClient(new SocketsHttpHandler
        {
            SslOptions = { RemoteCertificateValidationCallback = static (_, peer, _, _) => peer is not null },
        });
        bare.DefaultRequestHeaders.Authorization = new("Bearer", _server.Token);
        await Assert.ThrowsAsync<HttpRequestException>(
            () => bare.GetAsync(new Uri($"https://{_server.Http}/v1/tables/t/count")));
        await Assert.ThrowsAsync<HttpRequestException>(
            () => bare.GetAsync(new Uri($"http://{_server.Http}/v1/tables/t/count")));
        await RequireShutOutAsync(static async stream =>
        {
            var tls = new SslStream(stream, leaveInnerStreamOpen: false, static (_, peer, _, _) => peer is not null);
            await tls.AuthenticateAsClientAsync("engine");
            return tls;
        });
        await RequireShutOutAsync(static async stream =>
        {
            await stream.WriteAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
            return stream;
        });

        // The engine serves on.
        await using PitrAdmin admin = await ConnectAsync(_authority.Client("client"));
        await admin.CheckpointAsync(None);
    }

    [NetworkFact]
    public async Task An_engine_under_another_name_is_not_believed()
    {
        await StartAsync(_authority.Server("engine", IPAddress.Parse("192.0.2.7"), "db.example"));
        await RequireNotConnectedAsync(_authority.Client("client"));
    }

    [NetworkFact]
    public async Task An_engine_of_another_authority_is_not_believed()
    {
        using var other = new TestAuthority(_server.Folder, "other");
        await StartAsync(other.Server("engine", Address) with { AuthorityPath = _authority.AuthorityPath });
        await RequireNotConnectedAsync(_authority.Client("client"));
    }

    [NetworkFact]
    public async Task A_client_without_certificates_is_told_what_it_needs()
    {
        await StartAsync(_authority.Server("engine", Address));
        var refused = await Assert.ThrowsAsync<RefusedException>(() => PitrAdmin.ConnectAsync(
            _server.Listen, new PitrAdminOptions { Token = _server.Token }, None));
        Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
        Assert.Contains("--tls-certificate", refused.Hint, StringComparison.Ordinal);
    }

    [NetworkFact]
    public async Task Without_roots_a_caller_of_another_machine_names_paths_in_the_databases_folder_only()
    {
        await StartAsync(_authority.Server("engine", Address));
        await using PitrAdmin admin = await ConnectAsync(_authority.Client("client"));
        await admin.CreateDatafileAsync("a", Path.Combine(_server.Folder, "db", "a.pitr"), None);
        var refused = await Assert.ThrowsAsync<RefusedException>(
            () => admin.CreateDatafileAsync("b", Path.Combine(_server.Folder, "b.pitr"), None));
        Assert.Equal(ErrorCode.NotAuthorized, refused.Code);
    }

    [NetworkFact]
    public async Task Data_that_only_the_engines_machine_reaches_is_said_to_be_there()
    {
        await StartAsync(_authority.Server("engine", Address), http: "127.0.0.1:0");
        _engine.AddTable("t");
        await using PitrAdmin admin = await ConnectAsync(_authority.Client("client"));
        await admin.CheckpointAsync(None);
        var refused = await Assert.ThrowsAsync<RefusedException>(() => admin.CountAsync("t", None));
        Assert.Contains("--http", refused.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_cannot_be_used_are_told_by_name()
    {
        TlsFiles good = _authority.Client("good");
        TlsIdentity.Load(good, TimeProvider.System).Dispose();
        string nothing = Path.Combine(_server.Folder, "nothing.pem");
        string text = Path.Combine(_server.Folder, "text.pem");
        File.WriteAllText(text, "no certificate");
        RequireRefused(good with { CertificatePath = nothing }, nothing);
        RequireRefused(good with { CertificatePath = text }, text);
        RequireRefused(good with { AuthorityPath = nothing }, nothing);
        RequireRefused(good with { AuthorityPath = text }, text);
        RequireRefused(good with { KeyPath = nothing }, nothing);
        TlsFiles another = _authority.Client("another");
        RequireRefused(good with { KeyPath = another.KeyPath }, another.KeyPath);
        TlsFiles expired = _authority.Expired("expired");
        RequireRefused(expired, expired.CertificatePath);
        if (OperatingSystem.IsWindows())
            return;
        File.SetUnixFileMode(good.KeyPath, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        RequireRefused(good, good.KeyPath);
    }

    [Theory]
    [InlineData("db.example:4053", "db.example", 4053, false)]
    [InlineData("127.0.0.1:0", "127.0.0.1", 0, true)]
    [InlineData("localhost:1", "localhost", 1, true)]
    [InlineData("[::1]:4053", "::1", 4053, true)]
    [InlineData("[2001:db8::1]:4053", "2001:db8::1", 4053, false)]
    public void An_address_is_a_host_and_a_port(string text, string host, int port, bool isLoopback)
    {
        ListenAddress address = ListenAddress.Parse(text);
        Assert.Equal((host, port, isLoopback), (address.Host, address.Port, address.IsLoopback));
        Assert.Equal(text, address.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("db.example")]
    [InlineData(":4053")]
    [InlineData("db.example:65536")]
    [InlineData("a b:1")]
    [InlineData("0.0.0.0:4053")]
    [InlineData("[::]:4053")]
    public void What_is_no_address_is_refused(string text) =>
        Assert.Throws<ArgumentException>(() => ListenAddress.Parse(text));

    /// <summary>The administration lets nobody in who begins like this: it closes, and sends nothing.</summary>
    private async Task RequireShutOutAsync(Func<Stream, Task<Stream>> begin)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPEndPoint.Parse(_server.Listen));
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            Stream stream = await begin(socket.GetStream());
            Assert.Equal(0, await stream.ReadAsync(new byte[1], patience.Token));
        }
        catch (Exception closed) when (closed is IOException or AuthenticationException)
        {
            // As it should be.
        }
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static IPAddress Address => NetworkFactAttribute.OwnAddress!;

    private static void RequireRefused(TlsFiles files, string named)
    {
        var refused = Assert.Throws<RefusedException>(() => TlsIdentity.Load(files, TimeProvider.System));
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains($"'{named}'", refused.Message, StringComparison.Ordinal);
    }

    private async Task RequireNotConnectedAsync(TlsFiles files)
    {
        var failed = await Assert.ThrowsAsync<StorageFailedException>(() => ConnectAsync(files));
        Assert.Equal(ErrorCode.ConnectionLost, failed.Code);
    }

    private Task StartAsync(TlsFiles tls, string? http = null) => _server.StartAsync(_server.Settings with
    {
        Folder = Path.Combine(_server.Folder, "db"),
        Listen = $"{Address}:0",
        Http = http ?? $"{Address}:0",
        Tls = tls,
    });

    private Task<PitrAdmin> ConnectAsync(TlsFiles tls, string? token = null) => _server.ConnectAsync(token, tls);

    private static async IAsyncEnumerable<IReadOnlyList<KeyValue>> Transactions()
    {
        for (int n = 0; n < 5; n++)
        {
            await Task.Yield();
            yield return [new KeyValue(Encoding.ASCII.GetBytes($"x{n}"), [1])];
        }
    }
}

/// <summary>A test that needs an address of this machine which is not loopback.</summary>
internal sealed class NetworkFactAttribute : FactAttribute
{
    public NetworkFactAttribute() =>
        Skip = OwnAddress is null ? "this machine has no network address but loopback" : null;

    public static IPAddress? OwnAddress { get; } = NetworkInterface.GetAllNetworkInterfaces()
        .Where(static network => network.OperationalStatus == OperationalStatus.Up)
        .SelectMany(static network => network.GetIPProperties().UnicastAddresses)
        .Select(static unicast => unicast.Address)
        .FirstOrDefault(static address =>
            address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(address));
}
