namespace Pitr.Storage;

/// <summary>What a spill holds, in key order, for the flush that brings it into the datafile.</summary>
/// <remarks>
/// EPOCHS  each move is inside the flush's epoch; between two moves the flush may leave it (M4), so a row is copied out
/// of its page before a move ends. The view that names the spill is pinned by the flush.
/// THREADS  one. Spans are valid until the next move.
/// </remarks>
internal sealed class SpilledChanges : IChangeStream, IDisposable
{
    private readonly TreeCursor _puts;
    private readonly TreeCursor _deletes;
    private readonly CopiedValue _value = new();
    private bool _isBegun;

    public SpilledChanges(Spilled spilled)
    {
        _puts = new TreeCursor(spilled.File.Pages, spilled.Puts);
        _deletes = new TreeCursor(spilled.File.Pages, spilled.Deletes);
    }

    public ReadOnlySpan<byte> Key => IsDelete ? _deletes.Key : _puts.Key;

    public bool IsDelete { get; private set; }

    public ReadOnlySpan<byte> Value => _value.Span;

    public bool MoveNext()
    {
        if (!_isBegun)
        {
            _isBegun = true;
            _puts.SeekFirst();
            _deletes.SeekFirst();
        }
        else if (IsDelete)
        {
            _deletes.Next();
        }
        else
        {
            _puts.Next();
        }

        if (!_puts.HasRow && !_deletes.HasRow)
            return false;
        IsDelete = !_puts.HasRow || (_deletes.HasRow && _deletes.Key.SequenceCompareTo(_puts.Key) < 0);
        _value.Clear();
        if (!IsDelete)
            _value.Take(_puts.Value);
        if (_puts.HasRow)
            _puts.Suspend();
        if (_deletes.HasRow)
            _deletes.Suspend();
        return true;
    }

    public void Dispose() => _value.Dispose();
}

/// <summary>Newer changes over older ones: of a key that both have the newer one counts (V1).</summary>
internal sealed class LayeredChanges(IChangeStream newer, IChangeStream older) : IChangeStream
{
    private bool _isBegun;
    private bool _hasNewer;
    private bool _hasOlder;
    private bool _isNewer;

    private IChangeStream Current => _isNewer ? newer : older;

    public ReadOnlySpan<byte> Key => Current.Key;

    public bool IsDelete => Current.IsDelete;

    public ReadOnlySpan<byte> Value => Current.Value;

    public bool MoveNext()
    {
        if (!_isBegun || _isNewer)
            _hasNewer = newer.MoveNext();
        if (!_isBegun || !_isNewer)
            _hasOlder = older.MoveNext();
        _isBegun = true;
        int order = !_hasOlder ? -1 : !_hasNewer ? 1 : newer.Key.SequenceCompareTo(older.Key);
        if (order == 0)
            _hasOlder = older.MoveNext();
        _isNewer = order <= 0;
        return _hasNewer || _hasOlder;
    }
}

/// <summary>The same keys the other way round: a delete becomes a row, a put removes it. For the tree of deletes.</summary>
internal sealed class InvertedChanges(IChangeStream changes) : IChangeStream
{
    public ReadOnlySpan<byte> Key => changes.Key;

    public bool IsDelete => !changes.IsDelete;

    public ReadOnlySpan<byte> Value => default;

    public bool MoveNext() => changes.MoveNext();
}
