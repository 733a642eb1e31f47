namespace Pitr.Actors;

/// <summary>
/// What was opened and is on its way to the actor that will own it. Nothing leaks if that actor has stopped meanwhile:
/// what nobody took is let go when the engine ends.
/// </summary>
/// <remarks>
/// A message to an actor that stops is a dead letter, and with it the files, locks and handles in it. So whoever opens
/// something gives it here before the message goes out, and who gets the message takes it. THREADS  any.
/// </remarks>
internal sealed class HandOver
{
    private readonly Lock _gate = new();
    private readonly Dictionary<object, Action> _given = new(ReferenceEqualityComparer.Instance);
    private bool _isClosed;

    /// <summary>Things that nobody took yet.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _given.Count;
        }
    }

    /// <summary>
    /// From here on it is let go with <paramref name="letGo"/>, unless it is taken; at once if nobody can take it any
    /// more.
    /// </summary>
    /// <returns>The same thing.</returns>
    public T Give<T>(T thing, Action<T> letGo)
        where T : class
    {
        lock (_gate)
        {
            if (!_isClosed)
            {
                _given.Add(thing, () => letGo(thing));
                return thing;
            }
        }

        letGo(thing);
        return thing;
    }

    /// <summary>The caller owns it from here on. False if it was let go.</summary>
    public bool Take(object thing)
    {
        lock (_gate)
            return _given.Remove(thing);
    }

    /// <summary>Nobody will take anything any more.</summary>
    public void Close()
    {
        Action[] left;
        lock (_gate)
        {
            _isClosed = true;
            left = [.. _given.Values];
            _given.Clear();
        }

        foreach (Action letGo in left)
            letGo();
    }
}
