using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Pitr.Actors;
using Pitr.Hosting;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Tests;

/// <summary>
/// What somebody sends who means no good, or is of another release: nothing but the Administrator hears it, what can be
/// answered is, and the engine serves on.
/// </summary>
public sealed class RemoteBadInputTests : IAsyncLifetime, IAsyncDisposable
{
    private static readonly CancellationToken None = CancellationToken.None;

    private readonly MemoryTarget _engine = new();
    private readonly RemoteServer _server;

    public RemoteBadInputTests() => _server = new RemoteServer(_engine);

    public Task InitializeAsync() => _server.StartAsync();

    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task What_cannot_be_understood_is_answered_and_the_engine_serves_on()
    {
        using ActorSystem system = ActorSystem.Create("other", RemotingConfig.ForClient(IPAddress.Loopback, "127.0.0.1", null));
        var inbox = new RemoteInbox(system);
        ActorSelection administrator = system.ActorSelection(RemotingConfig.AdministratorPath(_server.Listen, tls: false));
        administrator.Tell(new Unintelligible(7, "sent as it is"), inbox.Ref); // no message of ours: not sent at all
        administrator.Tell(new OpenSession(ProtocolVersion, _server.Token, "first"), inbox.Ref);
        Assert.IsType<SessionOpened>(await inbox.NextAsync());
        await system.Terminate();

        // A newer client: its serializer has a message more.
        BootstrapSetup ours =
            RemotingConfig.ForClient(IPAddress.Loopback, "127.0.0.1", null).Get<BootstrapSetup>().Value;
        using ActorSystem newer = ActorSystem.Create("newer", ours.WithConfig(ConfigurationFactory.ParseString("""
            akka.actor.serializers.pitr-admin = "Pitr.Tests.NewerAdminSerializer, Pitr.Tests"
            akka.actor.serialization-bindings { "Pitr.Tests.FromTheFuture, Pitr.Tests" = pitr-admin }
            """).WithFallback(ours.Config.Value)));
        var client = new RemoteInbox(newer);
        ActorSelection from = newer.ActorSelection(RemotingConfig.AdministratorPath(_server.Listen, tls: false));
        from.Tell(new FromTheFuture(3, "checkpoint.2"), client.Ref);
        Assert.Equal((int)ErrorCode.NotAuthorized, Assert.IsType<Failed>(await client.NextAsync()).Why.Code);
        from.Tell(new OpenSession(ProtocolVersion, _server.Token, "newer"), client.Ref);
        Assert.IsType<SessionOpened>(await client.NextAsync());
        foreach (string manifest in new[] { "checkpoint.2", "System.Diagnostics.Process, System.Diagnostics.Process" })
        {
            from.Tell(new FromTheFuture(9, manifest), client.Ref);
            Failed failed = Assert.IsType<Failed>(await client.NextAsync());
            Assert.Equal((9L, (int)ErrorCode.FormatVersion), (failed.RequestId, failed.Why.Code));
            Assert.Contains(manifest, failed.Why.Message, StringComparison.Ordinal);
        }
        from.Tell(new SwitchWal(10), client.Ref);
        Assert.Equal(10, Assert.IsType<WalSwitched>(await client.NextAsync()).RequestId);
        await newer.Terminate();
    }

    [Fact]
    public async Task Messages_of_other_serializers_and_to_other_actors_do_not_arrive()
    {
        // An ordinary remoting system, as an attacker would have one, which can speak our protocol too.
        using ActorSystem system = Attacker();
        var inbox = new RemoteInbox(system);
        string path = RemotingConfig.AdministratorPath(_server.Listen, tls: false);
        ActorSelection administrator = system.ActorSelection(path);
        administrator.Tell("text", inbox.Ref);
        administrator.Tell(new UriBuilder("http://x"), inbox.Ref); // by the default serializer: type names on the wire
        administrator.Tell(new Identify(1), inbox.Ref);
        administrator.Tell(PoisonPill.Instance, inbox.Ref);
        administrator.Tell(Kill.Instance, inbox.Ref);
        system.ActorSelection(path.Replace("/user/admin", "/system", StringComparison.Ordinal))
            .Tell(new Ping(), inbox.Ref);
        system.ActorSelection(path.Replace("/user/admin", "/user", StringComparison.Ordinal))
            .Tell(new Ping(), inbox.Ref);

        // The Administrator lives and hears ours; nothing else has been answered.
        administrator.Tell(new Ping(), inbox.Ref);
        Assert.Equal(new Pong(SessionIsOpen: false), await inbox.NextAsync());
        await using PitrAdmin remote = await _server.ConnectAsync();
        await remote.SwitchWalAsync(None);
        Assert.Empty(inbox.Rest());
        await system.Terminate();
    }

    [Fact]
    public async Task A_direct_reference_reaches_the_administrator_alone_since_the_engine_is_not_there()
    {
        using ActorSystem system = Attacker();
        var inbox = new RemoteInbox(system);
        IActorRefProvider references = ((ExtendedActorSystem)system).Provider;
        string root = RemotingConfig.AdministratorPath(_server.Listen, tls: false)
            .Replace("/user/admin", "", StringComparison.Ordinal);
        foreach (string path in new[]
            { "/user", "/system", "/user/engine", "/user/pitr", "/user/pitr/wal-writer", "/system/remote-watcher", "/temp/a" })
        {
            IActorRef direct = references.ResolveActorRef(root + path);
            direct.Tell(new Ping(), inbox.Ref);
            direct.Tell(new Shutdown(1, Force: true), inbox.Ref);
        }

        // The one that is meant to be there refuses whoever has shown no token, also by a direct reference.
        IActorRef administrator = references.ResolveActorRef(root + "/user/admin");
        administrator.Tell(new Shutdown(2, Force: true), inbox.Ref);
        Failed failed = Assert.IsType<Failed>(await inbox.NextAsync());
        Assert.Equal((2L, (int)ErrorCode.NotAuthorized), (failed.RequestId, failed.Why.Code));
        Assert.Empty(inbox.Rest());
        Assert.Null(_engine.ShutdownForced);
        await _server.RequireServesAsync();
        await system.Terminate();
    }

    [Fact]
    public async Task A_frame_that_is_too_large_and_bytes_that_are_none_end_their_own_connection_only()
    {
        await using PitrAdmin before = await _server.ConnectAsync();
        using ActorSystem system = Attacker("remote.dot-netty.tcp { maximum-frame-size = 10MiB, send-buffer-size = 10MiB }");
        var inbox = new RemoteInbox(system);
        system.ActorSelection(RemotingConfig.AdministratorPath(_server.Listen, tls: false))
            .Tell(new string('x', 4 << 20), inbox.Ref);
        foreach (string address in new[] { _server.Listen, _server.Http })
        {
            for (int length = 1; length <= 1 << 16; length *= 16)
            {
                using var socket = new TcpClient();
                await socket.ConnectAsync(IPEndPoint.Parse(address));
                NetworkStream stream = socket.GetStream();
                await stream.WriteAsync(RandomNumberGenerator.GetBytes(length));
                socket.Client.Shutdown(SocketShutdown.Send);
                using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
                try
                {
                    await stream.CopyToAsync(Stream.Null, patience.Token); // until the engine closes it
                }
                catch (IOException)
                {
                    // Reset: closed as well.
                }
            }
        }
        Assert.Empty(inbox.Rest());
        await before.SwitchWalAsync(None);
        await _server.RequireServesAsync();
        await system.Terminate();
    }

    [Fact]
    public async Task Two_engines_on_one_port_are_told_apart_by_a_refusal()
    {
        foreach ((string listen, string http) in new[]
            { (_server.Listen, "127.0.0.1:0"), ("127.0.0.1:0", _server.Http) })
        {
            var failed = await Assert.ThrowsAsync<StorageFailedException>(() => _server.OtherAsync(
                _server.Settings with { Listen = listen, Http = http }));
            Assert.Equal(ErrorCode.FileOperationFailed, failed.Code);
            Assert.Contains(listen == _server.Listen ? listen : http, failed.Message, StringComparison.Ordinal);
            Assert.Contains("another port", failed.Hint, StringComparison.Ordinal);
        }
        await _server.RequireServesAsync();
    }

    // ---- parts -------------------------------------------------------------------------------------

    private static ActorSystem Attacker(string more = "") => ActorSystem.Create(
        "attacker", ConfigurationFactory.ParseString($"akka {{ {more} }}").WithFallback(ConfigurationFactory.ParseString("""
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              actor.provider = remote
              actor.serializers.pitr-admin = "Pitr.Actors.AdminSerializer, Pitr.Actors"
              actor.serialization-bindings { "Pitr.Actors.AdminProtocol+IAdminMessage, Pitr.Actors" = pitr-admin }
              remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
            }
            """)));
}
