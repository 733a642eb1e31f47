using System.Text;
using Akka.Actor;
using Pitr.Actors;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Tests;

/// <summary>The administration messages' bytes (docs/formats/admin-wire.md).</summary>
public sealed class AdminSerializerTests : IDisposable
{
    private readonly ActorSystem _system =
        ActorSystem.Create("serializer", "akka { loglevel = OFF, stdout-loglevel = OFF }");
    private readonly AdminSerializer _serializer;

    public AdminSerializerTests() => _serializer = new AdminSerializer((ExtendedActorSystem)_system);

    public void Dispose() => _system.Dispose();

    [Fact]
    public void Every_message_of_the_protocol_has_a_manifest()
    {
        IEnumerable<Type> messages = typeof(AdminProtocol).GetNestedTypes(System.Reflection.BindingFlags.NonPublic)
            .Where(type => !type.IsAbstract && typeof(IAdminMessage).IsAssignableFrom(type));
        Assert.Equal(
            messages.Select(type => type.Name).Order(StringComparer.Ordinal),
            AdminSerializer.Manifests.Select(entry => entry.Type.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task The_bytes_of_messages_do_not_change_unnoticed()
    {
        var engine = new MemoryTarget();
        EngineStatus status = await engine.GetStatusAsync(CancellationToken.None);
        object[] messages =
        [
            new OpenSession(1, "token", "test"),
            new SessionOpened(1, status.SystemId, "/db", "127.0.0.1:8053"),
            new SessionRefused(new AdminProblem(4507, 4, "No.", "Do.")),
            new Ping(),
            new Pong(true),
            new StatusRead(3, status with { Datafiles = [] }),
            new DatafilesRead(4, status.Datafiles, true),
            new FenceDatafile(5, "main", 600, "a copy"),
            new DatafileFenced(
                5, await engine.FenceAsync("main", TimeSpan.FromMinutes(10), "", CancellationToken.None)),
            new UnfenceDatafile(6, null, MemoryTarget.FenceId),
            new Checkpointed(7, await engine.CheckpointAsync(CancellationToken.None)),
            new MakeBackup(8, "/backups", 1024, 2),
            new Failed(9, new AdminProblem(3001, 3, "No table.", "List them.")),
        ];
        var text = new StringBuilder();
        foreach (object message in messages)
        {
            byte[] bytes = _serializer.ToBinary(message);
            text.Append(_serializer.Manifest(message)).Append(' ').Append(Encoding.UTF8.GetString(bytes)).Append('\n');
            object again = _serializer.FromBinary(bytes, _serializer.Manifest(message));
            Assert.Equal(bytes, _serializer.ToBinary(again));
            Assert.IsType(message.GetType(), again);
        }
        Assert.DoesNotContain("Pitr.", text.ToString(), StringComparison.Ordinal);
        GoldenFile.Check("admin-wire.txt", text.ToString());
    }

    [Fact]
    public void A_member_that_is_not_known_is_left_out() =>
        Assert.Equal(new SwitchWal(7), _serializer.FromBinary("""{"requestId":7,"later":{"x":1}}"""u8.ToArray(), "switch-wal.1"));

    [Theory]
    [InlineData("switch-wal.2")]
    [InlineData("System.String")]
    [InlineData("")]
    public void A_manifest_that_is_not_known_is_refused(string manifest) =>
        Assert.Throws<ArgumentException>(() => _serializer.FromBinary("{}"u8.ToArray(), manifest));

    [Fact]
    public void What_is_not_of_the_protocol_is_not_written()
    {
        Assert.Throws<ArgumentException>(() => _serializer.ToBinary("text"));
        Assert.Throws<ArgumentException>(() =>
            _serializer.ToBinary(new CreateDatafile(1, "a", new string('x', 200_000))));
    }
}
