namespace Pitr.Wal;

/// <summary>
/// One run of written keys with their LSNs: appended in LSN order, sorted by key when a range is first asked for.
/// </summary>
/// <remarks>
/// While it is filled, a question walks it backwards, down to the snapshot. Once full it is sorted, once, and only if
/// somebody asks: databases whose transactions read no ranges pay the append alone. Sorting takes some twenty times as
/// long as walking, and commits wait for it: so one question sorts a few runs only, and the next one a few more.
/// </remarks>
internal sealed class WrittenKeys
{
    public const int EntriesMax = 2048;
    public const int KeyBytesMax = 128 << 10;

    private readonly byte[] _bytes = GC.AllocateUninitializedArray<byte>(KeyBytesMax);
    private readonly int[] _starts = new int[EntriesMax + 1];
    private readonly ulong[] _lsns = new ulong[EntriesMax];
    private int[]? _order;
    private bool _isSorted;
    private int _count;

    /// <summary>The LSN of the last key; zero if it is empty.</summary>
    public Lsn Last { get; private set; }

    /// <summary>True once no more is appended.</summary>
    public bool IsFull { get; private set; }

    /// <summary>True if it is in the order of the keys.</summary>
    public bool IsSorted => _isSorted;

    /// <summary>Empties it for another run.</summary>
    public void Reset() => (_count, _isSorted, IsFull, Last) = (0, false, false, Lsn.Zero);

    /// <summary>Appends a key; false, and full from then on, if there is no room.</summary>
    public bool TryAppend(ReadOnlySpan<byte> key, Lsn lsn)
    {
        if (_count == EntriesMax || _starts[_count] + key.Length > KeyBytesMax)
        {
            IsFull = true;
            return false;
        }
        key.CopyTo(_bytes.AsSpan(_starts[_count]));
        _starts[_count + 1] = _starts[_count] + key.Length;
        _lsns[_count++] = lsn.Value;
        Last = lsn;
        return true;
    }

    /// <summary>An LSN above the snapshot at which a key in [from, to) was written; zero if there is none.</summary>
    /// <param name="sorts">How many runs may still be sorted for this question; one that may not be is walked.</param>
    public Lsn WrittenAfter(Lsn snapshot, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, ref int sorts)
    {
        if (Last <= snapshot)
            return Lsn.Zero;
        if (!IsFull || (!_isSorted && sorts-- <= 0))
        {
            for (int at = _count - 1; at >= 0 && _lsns[at] > snapshot.Value; at--)
            {
                if (KeyAt(at).SequenceCompareTo(from) >= 0 && KeyAt(at).SequenceCompareTo(to) < 0)
                    return new Lsn(_lsns[at]);
            }
            return Lsn.Zero;
        }

        int[] order = Sorted();
        for (int at = LowerBound(order, from); at < _count && KeyAt(order[at]).SequenceCompareTo(to) < 0; at++)
        {
            if (_lsns[order[at]] > snapshot.Value)
                return new Lsn(_lsns[order[at]]);
        }
        return Lsn.Zero;
    }

    private ReadOnlySpan<byte> KeyAt(int entry) => _bytes.AsSpan(_starts[entry], _starts[entry + 1] - _starts[entry]);

    private int LowerBound(int[] order, ReadOnlySpan<byte> from)
    {
        (int low, int high) = (0, _count);
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (KeyAt(order[middle]).SequenceCompareTo(from) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    private int[] Sorted()
    {
        _order ??= new int[EntriesMax];
        if (!_isSorted)
        {
            for (int entry = 0; entry < _count; entry++)
                _order[entry] = entry;
            _order.AsSpan(0, _count).Sort((left, right) => KeyAt(left).SequenceCompareTo(KeyAt(right)));
            _isSorted = true;
        }
        return _order;
    }
}
