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
    /// <param name="whenBroken">Called for each fence that is broken, on an actor's thread; it does not wait.</param>
    public FenceHolder(PitrDatabase database, string name, Action<BrokenFence>? whenBroken = null)
    {
        (_database, _name) = (database, name);
        _actor = database.System.ActorOf(
            ActorProps.Of(() => new Held(whenBroken)), $"pitr-fences-{database.Engine.Draw():x16}");
    }

    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken) =>
        _database.FenceForAsync(_actor, _name, datafile, lease, reason, cancellationToken);

    public void Dispose() => _actor.Tell(PoisonPill.Instance, ActorRefs.NoSender);

    /// <summary>It lives, and hears that a fence broke.</summary>
    private sealed class Held(Action<BrokenFence>? whenBroken) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            if (message is BrokenFence broken)
                whenBroken?.Invoke(broken);
            else
                Unhandled(message);
        }
    }
}
