using Akka.Actor;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>One fence that is held.</summary>
internal sealed record FenceHold(
    Guid Token, IActorRef? Holder, string HolderName, string Reason, DateTimeOffset Since, DateTimeOffset Until)
{
    /// <summary>As <see cref="Fence.IsOfApplication"/>.</summary>
    public bool IsOfApplication { get; init; }
}

/// <summary>Who asks for a fence.</summary>
internal readonly record struct WaitingFence(Fence Request, IActorRef From);

/// <summary>
/// The fences of one datafile: who holds one until when, who waits for one, who left last and waits for the flush, and
/// why broken ones were broken. Plain: the actor sends, watches and times.
/// </summary>
/// <remarks>
/// INVARIANTS
///   FB1  A token that was broken or given back is never held again (F4).
///   FB2  Once closed, nobody waits and nobody comes in; who is inside stays until he leaves or is broken.
/// </remarks>
internal sealed class FenceBook(FileId file, string name, Func<ulong> draw)
{
    /// <summary>How many broken tokens are remembered with their reason.</summary>
    private const int BrokenMax = 64;

    private static readonly TimeSpan LeaseMax = TimeSpan.FromHours(24);

    private readonly Dictionary<Guid, FenceHold> _holds = [];
    private readonly Queue<WaitingFence> _waiting = new();
    private readonly List<(Unfenced Answer, IActorRef To)> _lastOut = [];
    private readonly Queue<(Guid Token, Problem Why)> _broken = new();
    private Problem? _closedWhy;

    public int Count => _holds.Count;

    public bool IsHeld => _holds.Count > 0;

    /// <summary>True if somebody waits for a fence.</summary>
    public bool IsWanted => _waiting.Count > 0;

    public IReadOnlyList<Guid> Tokens => [.. _holds.Keys];

    public IEnumerable<FenceHold> All => _holds.Values.OrderBy(hold => hold.Since);

    public bool Holds(Guid token) => _holds.ContainsKey(token);

    public FenceHold Of(Guid token) => _holds[token];

    public IReadOnlyList<Guid> HeldBy(IActorRef holder) =>
        [.. _holds.Values.Where(hold => holder.Equals(hold.Holder)).Select(hold => hold.Token)];

    /// <summary>Why a fence is refused whatever the file does; null if it may wait or be granted.</summary>
    public Problem? WhyRefused(TimeSpan lease) =>
        _closedWhy ?? (IsLease(lease) ? null : Problem.From(EngineErrors.LeaseOutOfRange(lease)));

    /// <summary>Puts somebody at the end of those who wait.</summary>
    public void Wait(Fence request, IActorRef from) => _waiting.Enqueue(new WaitingFence(request, from));

    /// <summary>The first of those who wait, and removes him.</summary>
    public bool TryNext(out WaitingFence waiting) => _waiting.TryDequeue(out waiting);

    /// <summary>
    /// Nobody gets a fence any more (promise 5). Who waits is to be refused by the caller: <see cref="TryNext"/>.
    /// </summary>
    public void Close(Problem why) => _closedWhy ??= why;

    /// <summary>A fence from now on, for as long as its lease.</summary>
    public FenceHold Grant(Fence request, DateTimeOffset now)
    {
        var hold = new FenceHold(
            FenceToken.Draw(file, draw), request.Holder, request.HolderName, request.Reason, now, now + request.Lease)
        {
            IsOfApplication = request.IsOfApplication,
        };
        _holds.Add(hold.Token, hold);
        return hold;
    }

    /// <summary>A new end of the lease: FenceRenewed; or FenceBroken, FenceRefused.</summary>
    public object Renew(RenewFence renew, DateTimeOffset now)
    {
        if (!_holds.TryGetValue(renew.Token, out FenceHold? hold))
            return new FenceBroken(renew.Token, WhyNotHeld(renew.Token));
        if (!IsLease(renew.Lease))
            return new FenceRefused(name, Problem.From(EngineErrors.LeaseOutOfRange(renew.Lease)));
        _holds[renew.Token] = hold with { Until = now + renew.Lease };
        return new FenceRenewed(renew.Token, now + renew.Lease);
    }

    /// <summary>
    /// A holder leaves. True if others stay: he is answered at once, his copy is good. The last one out is kept for
    /// <see cref="TakeLastOut"/>: he is answered when the flush is durable.
    /// </summary>
    public bool OthersStay(Unfenced answer, IActorRef from)
    {
        if (_holds.Count > 1)
            return true;
        _lastOut.Add((answer, from));
        return false;
    }

    /// <summary>The last ones out, who wait for the flush; they are answered now.</summary>
    public IReadOnlyList<(Unfenced Answer, IActorRef To)> TakeLastOut()
    {
        (Unfenced Answer, IActorRef To)[] all = [.. _lastOut];
        _lastOut.Clear();
        return all;
    }

    /// <summary>The fence ends. True if its holder holds no other one.</summary>
    public bool Remove(Guid token)
    {
        _holds.Remove(token, out FenceHold? hold);
        return hold?.Holder is { } holder && HeldBy(holder).Count == 0;
    }

    /// <summary>The fence is to end against its holder's will: who comes with its token later hears why.</summary>
    public void NoteBroken(Guid token, Problem why)
    {
        _broken.Enqueue((token, why));
        if (_broken.Count > BrokenMax)
            _broken.Dequeue();
    }

    /// <summary>Why a token proves nothing.</summary>
    public Problem WhyNotHeld(Guid token)
    {
        foreach ((Guid broken, Problem why) in _broken)
        {
            if (broken == token)
                return why;
        }

        return Problem.From(EngineErrors.FenceUnknown(token));
    }

    private static bool IsLease(TimeSpan lease) => lease > TimeSpan.Zero && lease <= LeaseMax;
}
