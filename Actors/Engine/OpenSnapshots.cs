namespace Pitr.Actors;

/// <summary>The snapshots that are open: so that the oldest can be ended, and a leak be seen.</summary>
internal sealed class OpenSnapshots
{
    private readonly Lock _gate = new();
    private readonly HashSet<Snapshot> _open = [];

    public int Count
    {
        get
        {
            lock (_gate)
                return _open.Count;
        }
    }

    public void Add(Snapshot snapshot)
    {
        lock (_gate)
            _open.Add(snapshot);
    }

    public void Remove(Snapshot snapshot)
    {
        lock (_gate)
            _open.Remove(snapshot);
    }

    /// <summary>Ends every snapshot that is older than this.</summary>
    public void EndOlderThan(TimeSpan age)
    {
        Snapshot[] old;
        lock (_gate)
            old = [.. _open.Where(snapshot => snapshot.Age > age)];
        foreach (Snapshot snapshot in old)
            snapshot.Dispose();
    }

    /// <summary>Ends the oldest one, whose next read throws this; false if none is open.</summary>
    public bool TryEndOldest(Func<PitrException> why)
    {
        Snapshot? oldest;
        lock (_gate)
            oldest = _open.MaxBy(static snapshot => snapshot.Age);
        oldest?.End(why);
        return oldest is not null;
    }
}
