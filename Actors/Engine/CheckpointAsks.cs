using Akka.Actor;
using static Pitr.Actors.CheckpointProtocol;

namespace Pitr.Actors;

/// <summary>
/// Who waits for a checkpoint, kept by the supervisor and not by the Checkpointer: one that dies answers nobody, and a
/// request that was on its way to it is lost.
/// </summary>
/// <remarks>
/// One request at a time is with the Checkpointer, for all who had asked before it was sent; who asks meanwhile gets
/// the next one. THREADS  the supervisor's.
/// </remarks>
internal sealed class CheckpointAsks
{
    private readonly List<IActorRef> _askers = [];
    private readonly List<IActorRef> _next = [];

    /// <summary>A request comes in.</summary>
    public void Ask(IActorRef asker, IActorRef checkpointer, IActorRef self)
    {
        _next.Add(asker);
        SendNext(checkpointer, self);
    }

    /// <summary>The Checkpointer has answered: so is everybody who had asked before it began.</summary>
    public void Answer(object answer, IActorRef checkpointer, IActorRef self)
    {
        foreach (IActorRef asker in _askers)
            asker.Tell(answer, self);
        _askers.Clear();
        SendNext(checkpointer, self);
    }

    /// <summary>
    /// The Checkpointer died: nobody waits for it any longer, and nothing is lost but the checkpoint.
    /// </summary>
    public void RefuseAll(object answer, IActorRef self)
    {
        _askers.AddRange(_next);
        _next.Clear();
        foreach (IActorRef asker in _askers)
            asker.Tell(answer, self);
        _askers.Clear();
    }

    private void SendNext(IActorRef checkpointer, IActorRef self)
    {
        if (_askers.Count > 0 || _next.Count == 0)
            return;
        _askers.AddRange(_next);
        _next.Clear();
        checkpointer.Tell(new RunCheckpoint(), self);
    }
}
