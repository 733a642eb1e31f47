namespace Pitr.Simulation;

/// <summary>Something that one thread gives and another one takes.</summary>
internal sealed class Baton
{
    private readonly object _gate = new();
    private bool _isGiven;

    /// <summary>Given and not yet taken: whoever waits for it is about to go on.</summary>
    public bool IsGiven
    {
        get
        {
            lock (_gate)
                return _isGiven;
        }
    }

    public void Give()
    {
        lock (_gate)
        {
            _isGiven = true;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Waits for it; false if it did not come in time.</summary>
    public bool Take(TimeSpan? patience = null)
    {
        lock (_gate)
        {
            while (!_isGiven)
            {
                if (!Monitor.Wait(_gate, patience ?? Timeout.InfiniteTimeSpan))
                    return false;
            }

            _isGiven = false;
            return true;
        }
    }
}
