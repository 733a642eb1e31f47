using System.Buffers.Binary;

namespace Pitr.Storage;

/// <summary>Which tables a merge cuts out, and how ranges of keys relate to them.</summary>
internal sealed class DroppedTables
{
    private readonly uint[] _tables;

    public DroppedTables(IReadOnlyList<uint> tables) => _tables = [.. tables.Distinct().Order()];

    public bool IsEmpty => _tables.Length == 0;

    /// <summary>True if the key belongs to a dropped table.</summary>
    public bool Contains(ReadOnlySpan<byte> key) => Array.BinarySearch(_tables, TableOf(key)) >= 0;

    /// <summary>How many keys in [low, high) belong to dropped tables: none, perhaps some, or all.</summary>
    public Overlap OverlapWith(KeyBuffer low, KeyBuffer high)
    {
        if (IsEmpty)
            return Overlap.None;
        uint first = TableOf(low.Span);
        uint last = LastTableBelow(high);
        int at = Array.BinarySearch(_tables, first);
        int from = at < 0 ? ~at : at;
        if (from == _tables.Length || _tables[from] > last)
            return Overlap.None;
        // All of them: the tables first … last follow each other in the list.
        long wanted = (long)last - first;
        return at >= 0 && from + wanted < _tables.Length && _tables[from + wanted] == last ? Overlap.All : Overlap.Some;
    }

    /// <summary>The ranges of rows of a leaf that belong to dropped tables, in order.</summary>
    public void FindRows(LeafPage leaf, KeyBuffer low, KeyBuffer high, List<(int From, int To)> rows)
    {
        rows.Clear();
        Span<byte> bound = stackalloc byte[sizeof(uint)];
        uint last = LastTableBelow(high);
        int at = Array.BinarySearch(_tables, TableOf(low.Span));
        for (int i = at < 0 ? ~at : at; i < _tables.Length && _tables[i] <= last; i++)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bound, _tables[i]);
            int from = leaf.LowerBound(bound, out _);
            int to = leaf.Count;
            if (_tables[i] != uint.MaxValue)
            {
                BinaryPrimitives.WriteUInt32BigEndian(bound, _tables[i] + 1);
                to = leaf.LowerBound(bound, out _);
            }
            if (from < to)
                rows.Add((from, to));
        }
    }

    // Every key has a whole table id, so a bound that is shorter means the same with zeroes behind it.
    private static uint TableOf(ReadOnlySpan<byte> bound) => KeySlots.HeadOf(bound);

    private static uint LastTableBelow(KeyBuffer high)
    {
        if (high.IsInfinite)
            return uint.MaxValue;
        uint table = TableOf(high.Span);
        return high.Span.Length <= sizeof(uint) && table != 0 ? table - 1 : table;
    }

    /// <summary>How much of a range of keys is dropped.</summary>
    public enum Overlap
    {
        /// <summary>No key of it.</summary>
        None,

        /// <summary>Perhaps some keys of it.</summary>
        Some,

        /// <summary>Every key of it.</summary>
        All,
    }
}
