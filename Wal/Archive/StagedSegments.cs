namespace Pitr.Wal;

/// <summary>
/// The segments of a shipper that are written and have no name yet, by their numbers: each is somebody's to publish, or
/// goes.
/// </summary>
/// <remarks>THREADS  any.</remarks>
internal sealed class StagedSegments
{
    private readonly Lock _gate = new(); // protects both; not held while a store is at work
    private readonly Dictionary<ulong, IStagedObject> _written = [];
    private bool _isClosed;

    /// <summary>Keeps one; lets it go at once if nobody will come for it.</summary>
    public void Add(ulong number, IStagedObject written)
    {
        lock (_gate)
        {
            if (!_isClosed)
            {
                _written.Add(number, written);
                return;
            }
        }
        written.Dispose();
    }

    /// <summary>Gives it to the caller, who disposes of it; null if it was let go.</summary>
    public IStagedObject? Take(ulong number)
    {
        lock (_gate)
            return _written.Remove(number, out IStagedObject? written) ? written : null;
    }

    /// <summary>Lets all of them go: shipping begins again.</summary>
    public void Remove() => LetGo(TakeAll());

    /// <summary>Gives all of them to the caller; what is written from now on goes at once.</summary>
    public IReadOnlyList<IStagedObject> Close()
    {
        lock (_gate)
            _isClosed = true;
        return TakeAll();
    }

    /// <summary>Each is let go, whatever another one meets.</summary>
    private static void LetGo(Span<IStagedObject> all)
    {
        if (all.IsEmpty)
            return;
        try
        {
            all[0].Dispose();
        }
        finally
        {
            LetGo(all[1..]);
        }
    }

    private IStagedObject[] TakeAll()
    {
        lock (_gate)
        {
            IStagedObject[] all = [.. _written.Values];
            _written.Clear();
            return all;
        }
    }
}
