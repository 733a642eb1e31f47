using Akka.Actor;
using Akka.Serialization;
using Pitr.Actors;

namespace Pitr.Tests;

/// <summary>A request that only a later release knows.</summary>
public sealed record FromTheFuture(long RequestId, string Manifest);

/// <summary>The serializer of a later release: one message more, under whatever manifest it names.</summary>
public sealed class NewerAdminSerializer : SerializerWithStringManifest
{
    private readonly AdminSerializer _ours;

    /// <summary>As Akka makes it.</summary>
    public NewerAdminSerializer(ExtendedActorSystem system) : base(system) => _ours = new AdminSerializer(system);

    /// <inheritdoc/>
    public override int Identifier => AdminSerializer.SerializerId;

    /// <inheritdoc/>
    public override string Manifest(object o) => o is FromTheFuture future ? future.Manifest : _ours.Manifest(o);

    /// <inheritdoc/>
    public override byte[] ToBinary(object obj) =>
        obj is FromTheFuture future ? [0x08, (byte)future.RequestId, 0x12, 0x01, (byte)'x'] : _ours.ToBinary(obj);

    /// <inheritdoc/>
    public override object FromBinary(byte[] bytes, string manifest) => _ours.FromBinary(bytes, manifest);
}
