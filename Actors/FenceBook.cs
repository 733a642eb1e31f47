using Akka.Actor;

namespace Pitr.Actors;

/// <summary>One fence that is held.</summary>
internal sealed record FenceHold(
    Guid Token, IActorRef? Holder, string HolderName, string Reason, DateTimeOffset Since, DateTimeOffset Until);

/// <summary>Who holds a datafile, until when. Plain: the actor sends, watches and times.</summary>
internal sealed class FenceBook
{
    private readonly Dictionary<Guid, FenceHold> _holds = [];

    public int Count => _holds.Count;

    public bool IsHeld => _holds.Count > 0;

    public IReadOnlyList<Guid> Tokens => [.. _holds.Keys];

    public IEnumerable<FenceHold> All => _holds.Values.OrderBy(hold => hold.Since);

    public bool Holds(Guid token) => _holds.ContainsKey(token);

    public FenceHold Of(Guid token) => _holds[token];

    public IReadOnlyList<Guid> HeldBy(IActorRef holder) =>
        [.. _holds.Values.Where(hold => holder.Equals(hold.Holder)).Select(hold => hold.Token)];

    public void Add(FenceHold hold) => _holds.Add(hold.Token, hold);

    public void Renew(Guid token, DateTimeOffset until) => _holds[token] = _holds[token] with { Until = until };

    public void Remove(Guid token) => _holds.Remove(token);
}
