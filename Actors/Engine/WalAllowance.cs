namespace Pitr.Actors;

/// <summary>
/// How much WAL may be kept for one backup, one set that is made outside of the engine, or a recovery of one datafile that
/// stands still: as much as for a fence (design §5, promise 9). Whoever holds it looks, since the other side of it may stand still for ever.
/// </summary>
/// <param name="engine">The engine.</param>
internal sealed class WalAllowance(EngineContext engine)
{
    /// <summary>How often its holder looks.</summary>
    public static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    private Lsn _from = engine.RedoLsn;

    /// <summary>What is kept from here on counts.</summary>
    public void CountFrom(Lsn from) => _from = from;

    /// <summary>Why it is to be let go; null: it may be kept.</summary>
    /// <param name="what">What it is kept for, in words.</param>
    public Problem? WhyOver(string what) => WhyOver((kept, most) => EngineErrors.SetKeepsTooMuchWal(what, kept, most));

    /// <summary>The same, with an error of its holder's own: of the bytes that are kept, and that may be.</summary>
    public Problem? WhyOver(Func<long, long, PitrException> error)
    {
        long kept = engine.DurableLsn - _from;
        long most = engine.Options.FencedWalBytesMax;
        return kept > most ? Problem.From(error(kept, most)) : null;
    }
}
