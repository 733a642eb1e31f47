using Akka.Actor;

namespace Pitr.Hosting;

/// <summary>Where an actor system that Akka.Hosting runs keeps its database.</summary>
internal sealed class PitrExtension : IExtension
{
    private HostedEngine? _engine;

    /// <summary>Null until <c>WithPitr</c> begins to open it.</summary>
    public HostedEngine? Engine
    {
        get => Volatile.Read(ref _engine);
        set => Volatile.Write(ref _engine, value);
    }

    /// <summary>That of a system.</summary>
    public static PitrExtension Of(ActorSystem system) => system.WithExtension<PitrExtension, Provider>();

    private sealed class Provider : ExtensionIdProvider<PitrExtension>
    {
        public override PitrExtension CreateExtension(ExtendedActorSystem system) => new();
    }
}
