using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>The fences that the client of one session holds for as long as the session lives.</summary>
/// <param name="engine">Where they are.</param>
/// <param name="client">For status and log.</param>
/// <param name="whenBroken">Called when one is broken while the session lives; it does not wait.</param>
/// <remarks>THREADS  any.</remarks>
internal sealed class SessionFences(IDatabaseTarget engine, string client, Action<BrokenFence> whenBroken)
{
    private readonly Lock _gate = new();
    private IFenceHolder? _holder;
    private bool _isClosed;

    /// <summary>A fence that breaks with the session.</summary>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken ended)
    {
        IFenceHolder holder;
        lock (_gate)
        {
            if (_isClosed)
                return Task.FromCanceled<FenceGrant>(new CancellationToken(canceled: true));
            holder = _holder ??= engine.HoldFences(client, whenBroken);
        }

        return holder.FenceAsync(datafile, lease, reason, ended); // closed meanwhile: its holder is dead at once
    }

    /// <summary>The session has ended: the client is gone, or so it seems.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _isClosed = true;
            _holder?.Dispose();
        }
    }
}
