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
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

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
        var made = new MadeByName { Text = "by whoever writes its name" };
        administrator.Tell(made, inbox.Ref); // by the default serializer: type names on the wire
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
        Assert.Equal(1, MadeByName.Count); // here, and by nobody who read it
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

    /// <summary>The real engine, not one in memory: its actors live in a system of their own.</summary>
    [Fact]
    public async Task The_system_that_speaks_with_others_has_the_administrator_and_nothing_else()
    {
        PitrDatabase database = await TestEngine.CreateAsync(TestEngine.NewDisk());
        await using var server = new RemoteServer(new LocalTarget(database));
        await server.StartAsync();
        await using PitrAdmin admin = await server.ConnectAsync(); // and whatever a session makes
        await admin.CheckpointAsync(None);
        Assert.Equal(
            [RemotingConfig.AdministratorName], server.Server.Reachable.Select(static actor => actor.Path.Name));
        Assert.All(
            server.Server.Reachable, actor => Assert.NotSame(database.System, ((ActorRefWithCell)actor).Underlying.System));

        using ActorSystem system = Attacker();
        var inbox = new RemoteInbox(system);
        IActorRefProvider references = ((ExtendedActorSystem)system).Provider;
        string root = RemotingConfig.AdministratorPath(server.Listen, tls: false)
            .Replace("/user/admin", "", StringComparison.Ordinal);
        string engine = database.Actors.Supervisor.Path.ToStringWithoutAddress();
        foreach (string path in new[] { engine, engine + "/wal", engine + "/datafile-main", engine + "/control-file" })
        {
            IActorRef direct = references.ResolveActorRef(root + path);
            direct.Tell(PoisonPill.Instance, inbox.Ref);
            direct.Tell(new Ping(), inbox.Ref);
        }

        await server.RequireServesAsync();
        Assert.Empty(inbox.Rest());
        Assert.False(database.Completion.IsCompleted);
        await system.Terminate();
    }

    [Fact]
    public async Task What_no_message_holds_is_refused_on_either_side_and_the_session_goes_on()
    {
        await using PitrAdmin admin = await _server.ConnectAsync();
        string tooLong = new('r', AdminSerializer.MessageBytesMax);
        var request = await Assert.ThrowsAsync<ArgumentException>(
            () => admin.FenceAsync("main", TimeSpan.FromMinutes(1), tooLong, None).WaitAsync(Patience));
        Assert.Contains("longer than a message", request.Message, StringComparison.Ordinal);
        // It fits, and what the engine says of it does not: it is cut.
        string justFits = tooLong[..^100];
        var echo = await Assert.ThrowsAsync<ArgumentException>(
            () => admin.CreateRestorePointAsync(justFits, None).WaitAsync(Patience));
        Assert.StartsWith("'rrrr", echo.Message, StringComparison.Ordinal);

        _engine.FenceReason = new string('ä', 500);
        _engine.FencesOfMain = 400;
        DatafileStatus main = (await admin.GetStatusAsync(None).WaitAsync(Patience)).Datafiles.Single(
            static file => file.Name == "main");
        Assert.Equal(400, main.Fences.Count);
        Assert.StartsWith("ää", main.Fences[0].Reason, StringComparison.Ordinal);
        _engine.FencesOfMain = 4000;
        var answer = await Assert.ThrowsAsync<RefusedException>(() => admin.GetStatusAsync(None).WaitAsync(Patience));
        Assert.Equal(ErrorCode.AnswerTooLong, answer.Code);
        await admin.SwitchWalAsync(None);
    }

    [Fact]
    public async Task A_frame_that_is_too_large_ends_its_connection_before_its_bytes_have_come()
    {
        await using PitrAdmin before = await _server.ConnectAsync();
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPEndPoint.Parse(_server.Listen));
        NetworkStream stream = socket.GetStream();
        byte[] frame = new byte[1000];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(frame, 200_000);
        await stream.WriteAsync(frame); // and the rest never comes
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await stream.CopyToAsync(Stream.Null, patience.Token);
        }
        catch (IOException)
        {
            // Reset: closed as well.
        }

        await before.SwitchWalAsync(None);
        await _server.RequireServesAsync();
    }

    [Fact]
    public async Task Bytes_that_are_no_frame_end_their_own_connection_only()
    {
        await using PitrAdmin before = await _server.ConnectAsync();
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
        await before.SwitchWalAsync(None);
        await _server.RequireServesAsync();
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

    /// <summary>Counts how often one was made: reading a message by the name of its type makes one.</summary>
    public sealed class MadeByName
    {
        private static int _count;

        private string _text = "";

        public static int Count => _count;

        public string Text
        {
            get => _text;
            set
            {
                _text = value;
                Interlocked.Increment(ref _count);
            }
        }
    }

    private static ActorSystem Attacker() => ActorSystem.Create(
        "attacker", ConfigurationFactory.ParseString("""
            akka {
              loglevel = OFF
              stdout-loglevel = OFF
              actor.provider = remote
              actor.serializers.pitr-admin = "Pitr.Actors.AdminSerializer, Pitr.Actors"
              actor.serialization-bindings { "Pitr.Actors.AdminProtocol+IAdminMessage, Pitr.Actors" = pitr-admin }
              remote.dot-netty.tcp { hostname = "127.0.0.1", port = 0 }
            }
            """));
}
