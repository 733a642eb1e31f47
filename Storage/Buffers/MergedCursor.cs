using System.Buffers.Binary;

namespace Pitr.Storage;

/// <summary>
/// Walks a read view in key order, both ways, as of one LSN: the buffers over what was spilled over the tree, deleted
/// keys and dropped tables left out.
/// </summary>
/// <remarks>
/// STATE  one cursor a place (buffers from new to old, then trees: the spill's deletes and puts, the datafile's; an empty
/// one is no place), all at or beyond the current key in the
/// direction of the walk; which one holds the current key; and which of the others is nearest: while the current one
/// stays before it, a step compares one pair of keys, and with one place none.
///
/// INVARIANTS
///   C1  Of places that have the same key the newest answers (V1); the others are moved on with it.
///   C2  After a change of direction all places are sought anew from the current key.
///
/// EPOCHS  the view is pinned by the caller. Moves and <see cref="Value"/> are called inside an epoch; between two of
/// them the epoch may end if <see cref="Suspend"/> was called before. A <see cref="ValueRef"/> ends with the epoch.
/// THREADS  one. Can be used again by seeking. Allocates nothing after its construction.
/// FAILURE  damage and disk errors of the tree pass through; then seek again or give up.
/// </remarks>
internal sealed class MergedCursor
{
    private const int None = -1;

    private readonly ReadView _view;
    private readonly Lsn _at;
    private readonly WriteBufferCursor[] _buffers;
    private readonly TreeCursor[] _trees;
    private readonly int _deletes = None; // the place whose keys are deleted ones
    private readonly byte[] _bound = new byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax + 1];
    private int _current = None;
    private int _nearest = None;
    private bool _isForward = true;

    public MergedCursor(ReadView view, Lsn at)
    {
        view.RequireReadable(at);
        _view = view;
        _at = at;
        // A key that is inserted after this is above the read's LSN, so an empty buffer stays empty for this walk.
        var buffers = new List<WriteBufferCursor>(view.Buffers.Length);
        foreach (WriteBuffer buffer in view.Buffers)
        {
            if (buffer.Keys != 0)
                buffers.Add(new WriteBufferCursor(buffer, at));
        }
        _buffers = [.. buffers];
        var trees = new List<TreeCursor>(3);
        if (view.Spilled is { } spilled)
        {
            if (spilled.Deletes.Height != 0)
            {
                _deletes = _buffers.Length;
                trees.Add(new TreeCursor(spilled.File.Pages, spilled.Deletes));
            }

            if (spilled.Puts.Height != 0)
                trees.Add(new TreeCursor(spilled.File.Pages, spilled.Puts));
        }

        if (view.Root.Height != 0)
            trees.Add(new TreeCursor(view.Pages, view.Root));
        _trees = [.. trees];
    }

    /// <summary>True if the cursor stands on a key.</summary>
    public bool IsValid => _current != None;

    /// <summary>The current key, table id first; valid until the next move.</summary>
    public ReadOnlySpan<byte> Key => KeyOf(_current);

    /// <summary>The current value; valid until the epoch ends.</summary>
    public ValueRef Value => _current < _buffers.Length ? _buffers[_current].ValueRef : Tree(_current).Value;

    /// <summary>True if the next move may leave a tree's leaf: the place to end a long epoch at the latest.</summary>
    public bool IsLastOfLeaf
    {
        get
        {
            foreach (TreeCursor tree in _trees)
            {
                if (tree is { HasRow: true, IsLastOfLeaf: true })
                    return true;
            }

            return false;
        }
    }

    /// <summary>
    /// Lets go of the trees' pages; the current key stays. The next move or value takes it up in a new epoch.
    /// </summary>
    public void Suspend()
    {
        foreach (TreeCursor tree in _trees)
        {
            if (tree.HasRow)
                tree.Suspend();
        }
    }

    /// <summary>To the first key.</summary>
    public bool SeekFirst()
    {
        foreach (WriteBufferCursor buffer in _buffers)
            buffer.SeekFirst();
        foreach (TreeCursor tree in _trees)
            tree.SeekFirst();
        return Begin(forward: true);
    }

    /// <summary>To the last key.</summary>
    public bool SeekLast()
    {
        foreach (WriteBufferCursor buffer in _buffers)
            buffer.SeekLast();
        foreach (TreeCursor tree in _trees)
            tree.SeekLast();
        return Begin(forward: false);
    }

    /// <summary>To the first key that is not less.</summary>
    public bool Seek(ReadOnlySpan<byte> key)
    {
        SeekAll(key, forward: true);
        return Begin(forward: true);
    }

    /// <summary>To the last key that is less.</summary>
    public bool SeekBefore(ReadOnlySpan<byte> key)
    {
        SeekAll(key, forward: false);
        return Begin(forward: false);
    }

    /// <summary>To the next key; from no key it stays there.</summary>
    public bool Next()
    {
        if (_current == None)
            return false;
        return _isForward ? Step() : TurnAround();
    }

    /// <summary>To the key before; from no key it stays there.</summary>
    public bool Prev()
    {
        if (_current == None)
            return false;
        return _isForward ? TurnAround() : Step();
    }

    private bool Begin(bool forward)
    {
        _isForward = forward;
        Choose();
        return _current != None && (!IsCurrentHidden() || StepOverHidden());
    }

    private bool Step()
    {
        Advance();
        return _current != None && (!IsCurrentHidden() || StepOverHidden());
    }

    private bool StepOverHidden()
    {
        do
        {
            if (_view.Dropped.Length != 0 && _view.IsHidden(Key, _at))
                LeaveTable();
            else
                Advance();
        }
        while (_current != None && IsCurrentHidden());
        return _current != None;
    }

    /// <summary>
    /// Moves the current place on, and chooses anew if it does not stay before the nearest other one.
    /// </summary>
    private void Advance()
    {
        if (!Move(_current))
            Choose();
        else if (_nearest != None && !IsBefore(Compare(_current, _nearest)))
            Choose();
    }

    /// <summary>Finds the place with the next key; older places with the same key are moved on (C1).</summary>
    private void Choose()
    {
        _current = None;
        _nearest = None;
        int places = _buffers.Length + _trees.Length;
        for (int place = 0; place < places; place++)
        {
            if (!HasKey(place))
                continue;
            int order = _current == None ? -1 : Compare(place, _current);
            if (_current != None && order == 0 && !Move(place))
                continue;
            if (_current == None || IsBefore(order))
            {
                _nearest = _current;
                _current = place;
            }
            else if (_nearest == None || IsBefore(Compare(place, _nearest)))
            {
                _nearest = place;
            }
        }
    }

    /// <summary>From a dropped table's row to beyond the table.</summary>
    private void LeaveTable()
    {
        uint table = BinaryPrimitives.ReadUInt32BigEndian(Key);
        Span<byte> edge = stackalloc byte[OperationCodec.TableIdBytes];
        if (_isForward && table == uint.MaxValue)
        {
            _current = None;
            return;
        }
        BinaryPrimitives.WriteUInt32BigEndian(edge, _isForward ? table + 1 : table);
        SeekAll(edge, _isForward);
        Choose();
    }

    /// <summary>Goes the other way: all places are sought anew from the current key (C2).</summary>
    private bool TurnAround()
    {
        int lengthBytes = Key.Length;
        Key.CopyTo(_bound);
        _bound[lengthBytes] = 0;
        _isForward = !_isForward;
        // The least key that is greater is the key and a zero.
        SeekAll(_bound.AsSpan(0, _isForward ? lengthBytes + 1 : lengthBytes), _isForward);
        return Begin(_isForward);
    }

    private void SeekAll(ReadOnlySpan<byte> key, bool forward)
    {
        foreach (WriteBufferCursor buffer in _buffers)
            _ = forward ? buffer.Seek(key) : buffer.SeekBefore(key);
        foreach (TreeCursor tree in _trees)
            _ = forward ? tree.Seek(key) : tree.SeekBefore(key);
    }

    private bool IsCurrentHidden() =>
        (_current < _buffers.Length ? _buffers[_current].IsDelete : _current == _deletes)
        || (_view.Dropped.Length != 0 && _view.IsHidden(Key, _at));

    private bool Move(int place)
    {
        if (place < _buffers.Length)
            return _isForward ? _buffers[place].Next() : _buffers[place].Prev();
        return _isForward ? Tree(place).Next() : Tree(place).Prev();
    }

    private bool HasKey(int place) => place < _buffers.Length ? _buffers[place].IsValid : Tree(place).HasRow;

    private ReadOnlySpan<byte> KeyOf(int place) => place < _buffers.Length ? _buffers[place].Key : Tree(place).Key;

    private TreeCursor Tree(int place) => _trees[place - _buffers.Length];

    private int Compare(int place, int other) => KeyOf(place).SequenceCompareTo(KeyOf(other));

    private bool IsBefore(int order) => _isForward ? order < 0 : order > 0;
}
