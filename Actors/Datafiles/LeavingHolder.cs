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
    private readonly Unfence _request;
    private readonly IActorRef _asker;

    public LeavingHolder(IActorRef owner, Unfence request, IActorRef asker) =>
        (_owner, _request, _asker) = (owner, request, asker);

    public static Props PropsFor(IActorRef owner, Unfence request, IActorRef asker) =>
        ActorProps.Of(() => new LeavingHolder(owner, request, asker));

    protected override void PreStart()
    {
        Context.Watch(_owner);
        _owner.Tell(_request);
    }

    /// <summary>What the actor said before its end comes before the news of that.</summary>
    protected override void OnReceive(object message)
    {
        _asker.Tell(message is Terminated
            ? new FenceBroken(_request.Token, Problem.From(EngineErrors.FenceUnknown(_request.Token)))
            : message);
        Context.Stop(Self);
    }
}
