using Akka.Actor;

namespace Pitr.Actors;

/// <summary>Where the parts of an engine are reached.</summary>
/// <param name="Checkpointer">Who takes the request for a checkpoint: the supervisor, which knows who waits.</param>
internal sealed record EngineRoutes(
    IActorRef WalWriter, IActorRef ControlFile, IActorRef Checkpointer, IActorRef Folder);
