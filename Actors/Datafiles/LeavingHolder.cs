using Akka.Actor;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// Waits in the place of somebody outside the engine who gives a fence back, which may take as long as a flush: if the
/// datafile's actor ends before it has answered, the copy proves nothing, and he is told so. Nobody waits for ever.
/// </summary>
/// <remarks>The engine's own holders watch the actor themselves.</remarks>
internal sealed class LeavingHolder : UntypedActor
{
    private readonly IActorRef _owner;
    private readonly Guid _token;
    private readonly IActorRef _asker;

    public LeavingHolder(IActorRef owner, Guid token, IActorRef asker) =>
        (_owner, _token, _asker) = (owner, token, asker);

    /// <summary>Who makes it sends the owner the request in its name, so that what is asked behind that comes after it.</summary>
    public static Props PropsFor(IActorRef owner, Guid token, IActorRef asker) =>
        ActorProps.Of(() => new LeavingHolder(owner, token, asker));

    protected override void PreStart() => Context.Watch(_owner);

    /// <summary>What the actor said before its end comes before the news of that.</summary>
    protected override void OnReceive(object message)
    {
        _asker.Tell(message is Terminated
            ? new FenceBroken(_token, Problem.From(EngineErrors.FenceUnknown(_token)))
            : message);
        Context.Stop(Self);
    }
}
