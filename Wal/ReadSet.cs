using System.Buffers.Binary;
using System.IO.Hashing;
using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>What a transaction read: keys, as 64-bit hashes, and ranges [from, to) of tree keys.</summary>
/// <remarks>
/// Bounded: past <see cref="KeysMax"/> keys, or <see cref="RangesMax"/> ranges, it says that whole tables were read.
/// That is safe: it can only cause a conflict that was none, never hide one. Two keys with one hash do the same.
///
/// THREADS  filled by the transaction's caller; read by WalWriter once the commit was enqueued.
/// </remarks>
internal sealed class ReadSet
{
    public const int KeysMax = 1 << 16;
    public const int RangesMax = 1 << 10;

    private readonly HashSet<ulong> _keys = [];
    private readonly List<(byte[] From, byte[] To)> _ranges = [];
    private readonly List<TableId> _tables = [];
    private readonly HashSet<TableId> _wholeTables = [];

    /// <summary>
    /// Where the transaction's snapshot stands; zero: at the LSN of its ticket, which is at or below.
    /// </summary>
    public Lsn SnapshotLsn { get; set; }

    public bool IsEmpty => _keys.Count == 0 && _ranges.Count == 0;

    /// <summary>The hashes of the keys that were read one by one.</summary>
    public HashSet<ulong> Keys => _keys;

    /// <summary>The ranges that were read.</summary>
    public IReadOnlyList<(byte[] From, byte[] To)> Ranges => _ranges;

    /// <summary>The tables of the keys.</summary>
    public IReadOnlyList<TableId> Tables => _tables;

    /// <summary>The hash under which a tree key is known.</summary>
    public static ulong HashOf(ReadOnlySpan<byte> treeKey) => XxHash3.HashToUInt64(treeKey);

    /// <summary>A key was read, whether it was there or not.</summary>
    /// <param name="treeKey">Table id and key.</param>
    public void AddKey(ReadOnlySpan<byte> treeKey)
    {
        var table = new TableId(BinaryPrimitives.ReadUInt32BigEndian(treeKey));
        if (_wholeTables.Contains(table))
            return;
        if (_tables.Count == 0 || (_tables[^1] != table && !_tables.Contains(table)))
            _tables.Add(table);
        _keys.Add(HashOf(treeKey));
        if (_keys.Count > KeysMax)
        {
            foreach (TableId whole in _tables)
                AddWholeTable(whole);
            _keys.Clear();
            _tables.Clear();
        }
    }

    /// <summary>Everything in [from, to) was read, also what was not there.</summary>
    public void AddRange(byte[] fromTreeKey, byte[] toTreeKey)
    {
        if (fromTreeKey.AsSpan().SequenceCompareTo(toTreeKey) >= 0)
            return;
        foreach ((byte[] from, byte[] to) in _ranges)
        {
            if (from.AsSpan().SequenceCompareTo(fromTreeKey) <= 0 && toTreeKey.AsSpan().SequenceCompareTo(to) <= 0)
                return;
        }
        _ranges.Add((fromTreeKey, toTreeKey));
        if (_ranges.Count > RangesMax)
            CollapseRanges();
    }

    /// <summary>Begins anew.</summary>
    public void Clear()
    {
        _keys.Clear();
        _ranges.Clear();
        _tables.Clear();
        _wholeTables.Clear();
        SnapshotLsn = Lsn.Zero;
    }

    /// <summary>True if a range holds any key that the table could have.</summary>
    public static bool RangeMeets((byte[] From, byte[] To) range, TableId table)
    {
        Span<byte> first = stackalloc byte[OperationCodec.TableIdBytes];
        BinaryPrimitives.WriteUInt32BigEndian(first, table.Value);
        return first.SequenceCompareTo(range.To) < 0 && range.From.AsSpan().SequenceCompareTo(EndOf(table)) < 0;
    }

    private void CollapseRanges()
    {
        uint[] tables = [.. _ranges.SelectMany(range => TablesOf(range)).Distinct()];
        if (tables.Length > RangesMax / 2)
        {
            byte[] from = _ranges.MinBy(range => range.From, ByteArrayOrder.Instance).From;
            byte[] to = _ranges.MaxBy(range => range.To, ByteArrayOrder.Instance).To;
            _ranges.Clear();
            _wholeTables.Clear();
            _ranges.Add((from, to));
            return;
        }
        _ranges.Clear();
        _wholeTables.Clear();
        foreach (uint table in tables)
            AddWholeTable(new TableId(table));
    }

    private static IEnumerable<uint> TablesOf((byte[] From, byte[] To) range)
    {
        uint first = Prefix(range.From);
        uint last = Prefix(range.To);
        for (uint table = first; ; table++)
        {
            yield return table;
            if (table == last || table - first > RangesMax)
                yield break;
        }
    }

    private static uint Prefix(ReadOnlySpan<byte> treeKey)
    {
        Span<byte> prefix = stackalloc byte[OperationCodec.TableIdBytes];
        prefix.Clear();
        treeKey[..Math.Min(treeKey.Length, prefix.Length)].CopyTo(prefix);
        return BinaryPrimitives.ReadUInt32BigEndian(prefix);
    }

    private void AddWholeTable(TableId table)
    {
        if (!_wholeTables.Add(table))
            return;
        byte[] from = new byte[OperationCodec.TableIdBytes];
        BinaryPrimitives.WriteUInt32BigEndian(from, table.Value);
        _ranges.Add((from, EndOf(table)));
    }

    /// <summary>The least tree key above all of a table.</summary>
    private static byte[] EndOf(TableId table)
    {
        if (table.Value == uint.MaxValue)
        {
            byte[] above = new byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax + 1];
            Array.Fill(above, (byte)0xFF);
            return above;
        }
        byte[] next = new byte[OperationCodec.TableIdBytes];
        BinaryPrimitives.WriteUInt32BigEndian(next, table.Value + 1);
        return next;
    }

    private sealed class ByteArrayOrder : IComparer<byte[]>
    {
        public static readonly ByteArrayOrder Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
