using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// Where the holders of one datafile's fences are answered, watched and timed: the part of <see cref="DatafileActor"/>
/// that speaks with them. What it says is decided by <see cref="FenceBook"/>.
/// </summary>
internal sealed class FenceDesk(
    EngineContext engine, FileSlot slot, Datafile file, IActorContext context, Func<ITimerScheduler> timers)
{
    private readonly FenceBook _book = new(slot.Id, slot.Name, engine.Draw);
    private readonly ILoggingAdapter _log = context.GetLogger();
    private IActorRef _endedTo = ActorRefs.Nobody;

    public FenceBook Book => _book;

    /// <summary>Puts it with those who wait, or refuses it. True if it waits.</summary>
    public bool Take(Fence fence, IActorRef from)
    {
        if (_book.WhyRefused(fence.Lease) is { } why)
        {
            from.Tell(new FenceRefused(slot.Name, why));
            return false;
        }

        _book.Wait(fence, from);
        return true;
    }

    /// <summary>Grants a fence to each of those who wait; the file is still from now on.</summary>
    public void GrantWaiting()
    {
        while (_book.TryNext(out WaitingFence waiting))
        {
            Fence fence = waiting.Request;
            if (!_book.IsHeld)
                slot.FencedAt = engine.Clock.GetTimestamp();
            FenceHold hold = _book.Grant(fence, engine.Clock.GetUtcNow());
            if (fence.Holder is not null)
                context.Watch(fence.Holder);
            timers().StartSingleTimer(hold.Token, new LeaseEnded(hold.Token), fence.Lease);
            waiting.From.Tell(new Fenced(
                hold.Token, slot.Name, file.Path, file.LengthBytes, file.CheckpointLsn, hold.Until,
                slot.Id, file.Incarnation, file.Generation, file.Meta.Lineage));
        }
    }

    public void RefuseWaiting(Problem why)
    {
        while (_book.TryNext(out WaitingFence waiting))
            waiting.From.Tell(new FenceRefused(slot.Name, why));
    }

    public void Renew(RenewFence renew, IActorRef from)
    {
        object answer = _book.Renew(renew, engine.Clock.GetUtcNow());
        if (answer is FenceRenewed)
            timers().StartSingleTimer(renew.Token, new LeaseEnded(renew.Token), renew.Lease);
        from.Tell(answer);
    }

    /// <summary>Others stay: he is answered at once. He was the last one: when the flush is durable.</summary>
    public void Leave(Guid token, IActorRef from)
    {
        var answer = new Unfenced(token, slot.Name, file.CheckpointLsn, _book.Count - 1);
        if (_book.OthersStay(answer, from))
            from.Tell(answer); // his copy is good, nothing is flushed yet
        Release(token);
    }

    /// <summary>F4: after this the token certifies nothing.</summary>
    public void Break(IReadOnlyList<Guid> tokens, Problem why)
    {
        engine.Metrics.NoteFencesBroken(slot.Name, tokens.Count);
        foreach (Guid token in tokens)
        {
            FenceHold hold = _book.Of(token);
            _log.Warning(
                "Datafile {0}: the fence of {1} ({2}) is broken: {3}", slot.Name, hold.HolderName,
                hold.Reason, why.Message);
            hold.Holder?.Tell(hold.IsOfApplication
                ? new BrokenFence(token, slot.Name, why.ToException())
                : new FenceBroken(token, why));
            _book.NoteBroken(token, why);
            Release(token);
        }
    }

    /// <summary>The token of a fence that is not held: F4.</summary>
    public void RefuseToken(Guid token, IActorRef from) =>
        from.Tell(new FenceBroken(token, _book.WhyNotHeld(token)));

    /// <summary>The last ones out are answered: everything up to the LSN is in the file.</summary>
    public void AnswerLastOut(Lsn flushed)
    {
        foreach ((Unfenced answer, IActorRef to) in _book.TakeLastOut())
            to.Tell(answer with { FlushedLsn = flushed });
    }

    /// <summary>The last ones out, too, have a copy that proves nothing: the file was damaged before them.</summary>
    public void VoidLastOut(Problem why)
    {
        foreach ((Unfenced answer, IActorRef to) in _book.TakeLastOut())
            to.Tell(new FenceBroken(answer.Token, why));
    }

    /// <summary>The engine stops (promise 5): nobody gets a fence any more, and it is told when none is held.</summary>
    public void Close(EndFences end, IActorRef from)
    {
        Problem why = Problem.From(EngineErrors.ShuttingDown());
        _book.Close(why);
        RefuseWaiting(why);
        _endedTo = from;
        if (end.Break is not null)
            Break(_book.Tokens, end.Break);
        TellIfEnded();
    }

    /// <summary>Whoever waits for the end of all fences is told, if there is none.</summary>
    public void TellIfEnded()
    {
        if (_book.IsHeld)
            return;
        _endedTo.Tell(new FencesEnded(slot.Id));
        _endedTo = ActorRefs.Nobody;
    }

    private void Release(Guid token)
    {
        IActorRef? holder = _book.Of(token).Holder;
        if (_book.Remove(token))
            context.Unwatch(holder);
        timers().Cancel(token);
    }
}

/// <summary>The lease of a fence ended; from its timer.</summary>
internal sealed record LeaseEnded(Guid Token) : ILocalMessage;
