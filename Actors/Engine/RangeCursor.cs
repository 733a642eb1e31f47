using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>Walks one range of one table on a pinned view, a row at a time; each step is an epoch of its own.</summary>
internal sealed class RangeCursor
{
    private readonly EpochTable _epochs;
    private readonly Action _requireAlive;
    private readonly MergedCursor _cursor;
    private readonly byte[] _from;
    private readonly byte[] _to;
    private readonly bool _isReverse;
    private long _rowsLeft;
    private bool _isPlaced;

    /// <param name="epochs">Each step enters one.</param>
    /// <param name="requireAlive">Called inside each step's epoch: throws if the view is pinned no more.</param>
    /// <param name="view">What is read.</param>
    /// <param name="at">As of this LSN.</param>
    /// <param name="table">Which table.</param>
    /// <param name="range">Which rows, in which direction.</param>
    public RangeCursor(EpochTable epochs, Action requireAlive, ReadView view, Lsn at, TableId table, ScanRange range)
    {
        _epochs = epochs;
        _requireAlive = requireAlive;
        _cursor = new MergedCursor(view, at);
        (_from, _to) = Bounds(table, range);
        _isReverse = range.Reverse;
        _rowsLeft = range.RowsMax ?? long.MaxValue;
    }

    /// <summary>The tree keys [from, to) of a range.</summary>
    public static (byte[] From, byte[] To) Bounds(TableId table, ScanRange range)
    {
        byte[] from = TreeKey.Of(table, range.From);
        byte[] to = range.To is null ? TreeKey.Of(new TableId(table.Value + 1), default) : TreeKey.Of(table, range.To);
        if (range.Prefix is not { Length: > 0 } prefix)
            return (from, to);
        byte[] first = TreeKey.Of(table, prefix);
        byte[] beyond = Beyond(first);
        return (
            first.AsSpan().SequenceCompareTo(from) > 0 ? first : from,
            beyond.AsSpan().SequenceCompareTo(to) < 0 ? beyond : to);
    }

    /// <summary>The next row, copied.</summary>
    public bool TryNext(out KeyValue row)
    {
        using EpochGuard guard = _epochs.Enter();
        _requireAlive();
        if (!Move())
        {
            row = default;
            return false;
        }

        row = new KeyValue(_cursor.Key[OperationCodec.TableIdBytes..].ToArray(), _cursor.Value.ToArray());
        _cursor.Suspend();
        return true;
    }

    /// <summary>
    /// Passes over up to <paramref name="rowsMax"/> rows in one epoch, and returns how many there were.
    /// </summary>
    public int Skip(int rowsMax)
    {
        using EpochGuard guard = _epochs.Enter();
        _requireAlive();
        int rows = 0;
        while (rows < rowsMax && Move())
            rows++;
        if (_cursor.IsValid)
            _cursor.Suspend();
        return rows;
    }

    private bool Move()
    {
        if (_rowsLeft == 0)
            return false;
        bool isThere = (_isPlaced, _isReverse) switch
        {
            (false, false) => _cursor.Seek(_from),
            (false, true) => _cursor.SeekBefore(_to),
            (true, false) => _cursor.Next(),
            (true, true) => _cursor.Prev(),
        };
        _isPlaced = true;
        if (!isThere)
        {
            _rowsLeft = 0;
            return false;
        }

        bool isInRange = _isReverse
            ? _cursor.Key.SequenceCompareTo(_from) >= 0
            : _cursor.Key.SequenceCompareTo(_to) < 0;
        _rowsLeft = isInRange ? _rowsLeft - 1 : 0;
        return isInRange;
    }

    /// <summary>
    /// The least key that is above every key with this prefix. A table id is never all ones, so there is one.
    /// </summary>
    private static byte[] Beyond(byte[] prefix)
    {
        int last = prefix.Length - 1;
        while (prefix[last] == byte.MaxValue)
            last--;
        byte[] beyond = prefix[..(last + 1)];
        beyond[last]++;
        return beyond;
    }
}
