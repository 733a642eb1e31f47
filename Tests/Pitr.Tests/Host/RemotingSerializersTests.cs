using System.Net;
using System.Text;
using Akka.Actor;
using Akka.Dispatch.SysMsg;
using Akka.Serialization;
using Pitr.Hosting;

namespace Pitr.Tests;

/// <summary>
/// What of Akka's own messages crosses the wire (docs/formats/admin-wire.md): the death watch and its heartbeats, as they
/// are recorded, and nothing else.
/// </summary>
public sealed class RemotingSerializersTests : IDisposable
{
    private static readonly ActorPath s_client = ActorPath.Parse("akka.tcp://pitr-client@127.0.0.1:41000/user/client");
    private static readonly ActorPath s_administrator = ActorPath.Parse("akka.tcp://pitr@127.0.0.1:4053/user/admin");

    private readonly ExtendedActorSystem _system = (ExtendedActorSystem)ActorSystem.Create(
        "serializers", RemotingConfig.ForClient(IPAddress.Loopback, "127.0.0.1", null));

    private readonly RemotingSystemSerializer _ofSystem;
    private readonly RemotingMiscSerializer _ofMisc;

    public RemotingSerializersTests() =>
        (_ofSystem, _ofMisc) = (new RemotingSystemSerializer(_system), new RemotingMiscSerializer(_system));

    public void Dispose() => _system.Dispose();

    [Fact]
    public void The_bytes_of_akkas_messages_do_not_change_unnoticed()
    {
        EmptyLocalActorRef client = RefTo(s_client);
        EmptyLocalActorRef administrator = RefTo(s_administrator);
        (SerializerWithStringManifest Serializer, object Message)[] messages =
        [
            (_ofSystem, new Watch(client, administrator)),
            (_ofSystem, new Unwatch(client, administrator)),
            (_ofSystem, new DeathWatchNotification(client, true, false)),
            (_ofMisc, _ofMisc.FromBinary([], "RWHB")),
            (_ofMisc, _ofMisc.FromBinary([0x08, 0x07], "RWHR")), // of the system with the number 7
        ];
        var text = new StringBuilder();
        foreach ((SerializerWithStringManifest serializer, object message) in messages)
        {
            Assert.IsType(serializer.GetType(), _system.Serialization.FindSerializerFor(message));
            string manifest = serializer.Manifest(message);
            byte[] bytes = serializer.ToBinary(message);
            text.Append(manifest).Append(' ').Append(Convert.ToHexStringLower(bytes)).Append('\n');
            object again = serializer.FromBinary(bytes, manifest);
            Assert.IsType(message.GetType(), again);
            Assert.Equal(bytes, serializer.ToBinary(again));
            Assert.False(bytes.AsSpan().IndexOf("Akka."u8) >= 0, "a type's name is on the wire");
        }

        GoldenFile.Check("remoting-wire.txt", text.ToString());
    }

    [Fact]
    public void No_other_message_of_akka_is_written()
    {
        foreach (object message in new object[] { new Terminate(), new Suspend(), new Supervise(RefTo(s_client), true) })
            Assert.Throws<NotSupportedException>(() => _ofSystem.ToBinary(message));
        foreach (object message in new object[] { new Identify(1), PoisonPill.Instance, Kill.Instance })
            Assert.Throws<NotSupportedException>(() => _ofMisc.ToBinary(message));
    }

    [Theory]
    [InlineData("watch.2")]
    [InlineData("Akka.Dispatch.SysMsg.Terminate, Akka")]
    [InlineData("System.Diagnostics.Process, System.Diagnostics.Process")]
    [InlineData("ID")] // Identify
    [InlineData("P")] // PoisonPill
    [InlineData("")]
    public void No_other_message_of_akka_is_read(string manifest)
    {
        Assert.Throws<NotSupportedException>(() => _ofSystem.FromBinary([0x08, 0x07], manifest));
        Assert.Throws<NotSupportedException>(() => _ofMisc.FromBinary([0x08, 0x07], manifest));
    }

    private EmptyLocalActorRef RefTo(ActorPath path) => new(_system.Provider, path, _system.EventStream);
}
