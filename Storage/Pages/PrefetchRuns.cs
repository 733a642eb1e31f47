namespace Pitr.Storage;

/// <summary>
/// What is to be read ahead and was not begun: it holds epochs, so it is dropped when a reader finds no frame. A pool
/// that has no thread for minutes would else keep every frame from being reused for as long.
/// </summary>
/// <remarks>
/// INVARIANTS
///   PR1  A run's hold ends once: by the thread that has begun it, or by whoever drops it.
/// THREADS  any.
/// </remarks>
internal sealed class PrefetchRuns
{
    private readonly Lock _lock = new();
    private readonly HashSet<IDisposable> _waiting = [];

    /// <summary>A run is queued.</summary>
    public void Add(IDisposable run)
    {
        lock (_lock)
            _waiting.Add(run);
    }

    /// <summary>A thread has come to it; false if it was dropped: then it reads nothing.</summary>
    public bool TryBegin(IDisposable run)
    {
        lock (_lock)
            return _waiting.Remove(run);
    }

    /// <summary>Ends the holds of all that were not begun.</summary>
    public void Drop()
    {
        lock (_lock)
        {
            foreach (IDisposable run in _waiting)
                run.Dispose();
            _waiting.Clear();
        }
    }
}
