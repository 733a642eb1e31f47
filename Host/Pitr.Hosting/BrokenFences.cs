namespace Pitr.Hosting;

/// <summary>
/// What the engine has said of broken fences of a session, for whoever asks before or after: the answer that grants a fence
/// and the message that it broke may come in any order.
/// </summary>
/// <remarks>
/// STATE  an entry for each fence that somebody asked for, or that broke; <see cref="Forget"/> removes it. THREADS  any.
/// </remarks>
internal sealed class BrokenFences
{
    private readonly Lock _gate = new();
    private readonly Dictionary<Guid, TaskCompletionSource<BrokenFence>> _fences = [];

    /// <summary>Completes when the fence is broken.</summary>
    public Task<BrokenFence> Of(Guid fenceId) => EntryOf(fenceId).Task;

    /// <summary>The engine said so.</summary>
    public void Note(BrokenFence broken) => EntryOf(broken.FenceId).TrySetResult(broken);

    /// <summary>It was left: nothing will be said of it any more.</summary>
    public void Forget(Guid fenceId)
    {
        lock (_gate)
            _fences.Remove(fenceId);
    }

    private TaskCompletionSource<BrokenFence> EntryOf(Guid fenceId)
    {
        lock (_gate)
        {
            if (!_fences.TryGetValue(fenceId, out TaskCompletionSource<BrokenFence>? entry))
            {
                entry = new TaskCompletionSource<BrokenFence>(TaskCreationOptions.RunContinuationsAsynchronously);
                _fences.Add(fenceId, entry);
            }
            return entry;
        }
    }
}
