using Akka.Actor;

namespace Pitr.Actors;

/// <summary>
/// Somebody whose end breaks the fences that he holds: a session, a program (design §5, promise 6). Dispose of it when
/// he ends.
/// </summary>
internal interface IFenceHolder : IDisposable
{
    /// <summary>As <see cref="IDatabaseTarget.FenceAsync"/>, and broken also with this holder.</summary>
    Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken);
}

/// <summary>A holder in the engine's process: an actor, whose end the datafiles' actors see by their death watch.</summary>
internal sealed class FenceHolder : IFenceHolder
{
    private readonly PitrDatabase _database;
    private readonly string _name;
    private readonly IActorRef _actor;

    /// <param name="database">The engine.</param>
    /// <param name="name">For status and log.</param>
    public FenceHolder(PitrDatabase database, string name)
    {
        (_database, _name) = (database, name);
        _actor = database.System.ActorOf(
            ActorProps.Of(static () => new Held()), $"pitr-fences-{database.Engine.Draw():x16}");
    }

    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken) =>
        _database.FenceForAsync(_actor, _name, datafile, lease, reason, cancellationToken);

    public void Dispose() => _actor.Tell(PoisonPill.Instance, ActorRefs.NoSender);

    /// <summary>It only lives. That a fence broke its holder hears when he renews or leaves.</summary>
    private sealed class Held : UntypedActor
    {
        protected override void OnReceive(object message)
        {
        }
    }
}
