using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch.SysMsg;
using Akka.Remote.Serialization;
using Akka.Serialization;

namespace Pitr.Hosting;

/// <summary>
/// Stands in the remoting system for every serializer that is not ours: refuses to write and to read. Some of those
/// look up types by names from the wire, which is how a message becomes code.
/// </summary>
internal sealed class RefusingSerializer : SerializerWithStringManifest
{
    /// <summary>In place of a serializer without settings.</summary>
    public RefusingSerializer(ExtendedActorSystem system) : base(system) { }

    /// <summary>In place of a serializer that has settings: Akka looks for this constructor then.</summary>
    public RefusingSerializer(ExtendedActorSystem system, Config settings) : base(system) => _ = settings;

    /// <inheritdoc/>
    public override int Identifier => 7042;

    /// <inheritdoc/>
    public override string Manifest(object o) => throw Refusal(o.GetType().Name);

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj) => throw Refusal(obj.GetType().Name);

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest) => throw Refusal(manifest);

    private static NotSupportedException Refusal(string what) =>
        new($"'{what}' is not an administration message: nothing else crosses this wire.");
}

/// <summary>
/// Akka's own small messages, cut down to those that remoting needs: the heartbeats of its death watch.
/// </summary>
internal sealed class RemotingMiscSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    private readonly MiscMessageSerializer _inner = new(system);

    /// <inheritdoc/>
    public override int Identifier => 16;

    /// <inheritdoc/>
    public override string Manifest(object o) => Require(_inner.Manifest(o));

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj)
    {
        Manifest(obj);
        return _inner.ToBinary(obj);
    }

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest) => _inner.FromBinary(bytes, Require(manifest));

    private static string Require(string manifest) => manifest is "RWHB" or "RWHR"
        ? manifest
        : throw new NotSupportedException($"Akka's message '{manifest}' does not cross this wire.");
}

/// <summary>
/// Akka's system messages, cut down to those of the death watch, under manifests of our own: Akka's serializer puts
/// type names there, and its other messages carry exceptions and props.
/// </summary>
internal sealed class RemotingSystemSerializer(ExtendedActorSystem system) : SerializerWithStringManifest(system)
{
    private readonly SystemMessageSerializer _inner = new(system);

    /// <inheritdoc/>
    public override int Identifier => 22;

    /// <inheritdoc/>
    public override string Manifest(object o) => o switch
    {
        Watch => "watch.1",
        Unwatch => "unwatch.1",
        DeathWatchNotification => "death-watch-notification.1",
        _ => throw new NotSupportedException($"Akka's message '{o.GetType().Name}' does not cross this wire."),
    };

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj)
    {
        Manifest(obj);
        return _inner.ToBinary(obj);
    }

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest) => _inner.FromBinary(bytes, manifest switch
    {
        "watch.1" => typeof(Watch),
        "unwatch.1" => typeof(Unwatch),
        "death-watch-notification.1" => typeof(DeathWatchNotification),
        _ => throw new NotSupportedException($"Akka's message '{manifest}' does not cross this wire."),
    });
}
