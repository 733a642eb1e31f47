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
    public async Task Every_message_has_a_recorded_sample_and_its_bytes_do_not_change_unnoticed()
    {
        object[] messages = await AdminSamples.AllAsync();
        Assert.Equal(
            AdminSerializer.Manifests.Select(entry => entry.Type.Name).Order(StringComparer.Ordinal),
            messages.Select(message => message.GetType().Name).Distinct().Order(StringComparer.Ordinal));
        var text = new StringBuilder();
        foreach (object message in messages)
        {
            byte[] bytes = _serializer.ToBinary(message);
            text.Append(_serializer.Manifest(message)).Append(' ').Append(Convert.ToHexStringLower(bytes)).Append('\n');
            object again = _serializer.FromBinary(bytes, _serializer.Manifest(message));
            Assert.Equal(bytes, _serializer.ToBinary(again));
            Assert.Equivalent(message, again, strict: true);
            Assert.False(bytes.AsSpan().IndexOf("Pitr."u8) >= 0, "a type's name is on the wire");
        }
        GoldenFile.Check("admin-wire.txt", text.ToString());
    }

    [Fact]
    public void A_field_that_is_not_known_is_left_out()
    {
        byte[] later = [0x08, 0x07, 0x82, 0x7d, 0x02, (byte)'h', (byte)'i']; // requestId 7, field 2000 "hi"
        Assert.Equal(new SwitchWal(7), _serializer.FromBinary(later, "switch-wal.1"));
    }

    [Theory]
    [InlineData("switch-wal.2")]
    [InlineData("System.String")]
    [InlineData("")]
    public void A_manifest_that_is_not_known_is_told_with_the_requests_number(string manifest)
    {
        var told = Assert.IsType<Unintelligible>(_serializer.FromBinary([0x08, 0x07], manifest));
        Assert.Equal(7, told.RequestId);
        Assert.Contains($"'{manifest}'", told.Why, StringComparison.Ordinal);
    }

    /// <summary>An engine that does not know it must not answer under the number of the request: its client waits no more.</summary>
    [Fact]
    public void Giving_up_a_request_is_told_under_no_number_by_who_does_not_know_it()
    {
        var told = Assert.IsType<Unintelligible>(
            _serializer.FromBinary(_serializer.ToBinary(new CancelRequest(7)), "of-a-later-release.1"));
        Assert.Equal(0, told.RequestId);
    }

    [Fact]
    public void Bytes_that_are_no_message_are_told()
    {
        Assert.IsType<Unintelligible>(_serializer.FromBinary([0xff, 0xff, 0xff], "switch-wal.1"));
        Assert.IsType<Unintelligible>(_serializer.FromBinary([], "failed.1")); // it lacks its problem
        Assert.IsType<Unintelligible>(_serializer.FromBinary(new byte[200_000], "ping.1"));
        Assert.IsType<Unintelligible>(_serializer.FromBinary([0x08, 0x07, 0x1a, 0x01, 0x00], "unfence-datafile.1"));
    }

    [Fact]
    public void What_is_not_of_the_protocol_is_not_written()
    {
        Assert.Throws<ArgumentException>(() => _serializer.ToBinary("text"));
        Assert.Throws<ArgumentException>(() =>
            _serializer.ToBinary(new CreateDatafile(1, "a", new string('x', 200_000))));
    }
}
