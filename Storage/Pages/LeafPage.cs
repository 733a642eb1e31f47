using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>A view of a leaf: rows in key order, each a key and a value or the way to a value.</summary>
/// <remarks>
/// LAYOUT  (after the header; count = rows, 1 to 1360)
/// <code>
///   32 u32 head[count] · u16 offset[count] · free · cells, the first key's highest · common prefix (at the page's end)
///   cell: u16 suffix length · u16 value field · rest of the key · value
///   value field: bit 15 clear: bits 0–14 are the bytes of the value that follows (at most 2000)
///                bit 15 set:   u32 first overflow page · u32 length follow
/// </code>
/// INVARIANTS
///   L1  Keys ascend strictly; each begins with the page's prefix.
///   L2  A leaf has at least one row.
///   L3  Cells lie without a gap: row i's ends where row i-1's begins, the first one at the prefix.
///   L4  The flag HasOverflow is set if and only if a row's value overflows.
///   L5  A key has a whole table id at the least; a value that does not overflow fits the page of any key.
/// </remarks>
internal readonly unsafe struct LeafPage(byte* page)
{
    /// <summary>
    /// A value above this many bytes goes to overflow pages, so that a leaf holds four rows or more of usual keys.
    /// </summary>
    public const int InlineValueBytesMax = 2000;

    /// <summary>Bit 15 of the value field: an overflow reference follows instead of the value.</summary>
    public const ushort Overflows = 0x8000;

    /// <summary>Bytes of an overflow reference.</summary>
    public const int ReferenceBytes = 8;

    /// <summary>Where in a cell the rest of the key begins.</summary>
    public const int RestAt = 4;

    /// <summary>Bytes that a row takes in the arrays.</summary>
    public const int SlotBytes = sizeof(uint) + sizeof(ushort);

    public byte* Bytes => page;

    public int Count
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => PageLayout.Count(page);
    }

    public uint* Heads => (uint*)(page + PageLayout.HeaderBytes);

    public ushort* Offsets => (ushort*)(page + PageLayout.HeaderBytes + sizeof(uint) * Count);

    public bool HasOverflow => (PageLayout.Flags(page) & PageLayout.HasOverflow) != 0;

    /// <summary>Bytes in use, header included.</summary>
    public int UsedBytes =>
        PageLayout.HeaderBytes + SlotBytes * Count + PageLayout.PageBytes - KeySlots.LowestCell(page);

    /// <summary>The first row whose key is not less than the key, and whether it is equal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int LowerBound(ReadOnlySpan<byte> key, out bool exact) =>
        KeySlots.LowerBound(page, Offsets, RestAt, key, out exact);

    /// <summary>The same among the rows from <paramref name="from"/> on; fast if it is one of the next few.</summary>
    public int LowerBoundFrom(int from, ReadOnlySpan<byte> key, out bool exact) =>
        KeySlots.LowerBound(page, Offsets, RestAt, key, out exact, from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Cell(int row) => page + Offsets[row];

    /// <summary>The whole bytes of a cell.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CellBytes(byte* cell) =>
        RestAt + KeySlots.RestBytes(*(ushort*)cell) + StoredValueBytes(*(ushort*)(cell + sizeof(ushort)));

    /// <summary>Bytes that follow the key in a cell with this value field.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int StoredValueBytes(ushort valueField) =>
        (valueField & Overflows) != 0 ? ReferenceBytes : valueField;

    /// <summary>
    /// Writes a row's key into a buffer of <see cref="KeySlots.KeyBytesMax"/> bytes and returns its bytes.
    /// </summary>
    public int CopyKey(int row, Span<byte> to) => KeySlots.CopyKey(page, Cell(row), Heads[row], RestAt, to);

    /// <summary>A row's value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ValueRef Value(int row, IPageSource source, ulong rootGeneration)
    {
        byte* cell = Cell(row);
        byte* value = cell + RestAt + KeySlots.RestBytes(*(ushort*)cell);
        ushort field = *(ushort*)(cell + sizeof(ushort));
        return (field & Overflows) == 0
            ? new ValueRef(value, field)
            : new ValueRef(*(uint*)value, (int)*(uint*)(value + sizeof(uint)), source, rootGeneration);
    }

    /// <summary>True if the row's value overflows; then where to and how long it is.</summary>
    public bool TryOverflow(int row, out uint firstPage, out int lengthBytes)
    {
        byte* cell = Cell(row);
        byte* value = cell + RestAt + KeySlots.RestBytes(*(ushort*)cell);
        bool overflows = (*(ushort*)(cell + sizeof(ushort)) & Overflows) != 0;
        firstPage = overflows ? *(uint*)value : 0;
        lengthBytes = overflows ? (int)*(uint*)(value + sizeof(uint)) : 0;
        return overflows;
    }

    /// <summary>Requires that nothing in the page points out of it.</summary>
    /// <exception cref="DamageException">Something does.</exception>
    public void RequireStructure(string path, uint number)
    {
        int count = Count;
        int arraysEnd = PageLayout.HeaderBytes + SlotBytes * count;
        if (count == 0 || arraysEnd > PageLayout.PageBytes || PageLayout.Level(page) != 0)
            throw PageErrors.TreeInvalid(path, number, $"is a leaf of {count} rows on level {PageLayout.Level(page)}");
        KeySlots.RequireStructure(path, page, number, arraysEnd, Offsets, RestAt);
        int end = PageLayout.PageBytes - KeySlots.PrefixBytes(page);
        for (int row = 0; row < count; row++)
        {
            byte* cell = Cell(row);
            ushort field = *(ushort*)(cell + sizeof(ushort));
            if ((field & Overflows) != 0 ? field != Overflows : field > InlineValueBytesMax)
                throw PageErrors.TreeInvalid(path, number, $"has in row {row} a value field of {field:X4}");
            if (KeySlots.PrefixBytes(page) + *(ushort*)cell < OperationCodec.TableIdBytes)
                throw PageErrors.TreeInvalid(path, number, $"has a key without a whole table id in row {row}");
            if (Offsets[row] + CellBytes(cell) != end)
                throw PageErrors.TreeInvalid(path, number,
                    $"has a cell of {CellBytes(cell)} bytes at {Offsets[row]} in row {row}; it should end at {end}");
            end = Offsets[row];
            if (TryOverflow(row, out uint first, out int lengthBytes)
                && (first < PageLayout.FirstPage || lengthBytes is <= 0 or > Limits.ValueBytesMax))
                throw PageErrors.TreeInvalid(path, number,
                    $"has in row {row} a value of {lengthBytes} bytes in overflow page {first}");
        }
    }

    /// <summary>The page as a leaf, if it is one.</summary>
    /// <exception cref="DamageException">It is of another kind.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LeafPage Require(IPageSource source, byte* page, uint number)
    {
        if (PageLayout.Kind(page) != PageKind.Leaf)
            throw PageErrors.TreeInvalid(source.Path, number,
                $"is a {PageLayout.Kind(page)} page; a Leaf was expected");
        return new LeafPage(page);
    }
}
