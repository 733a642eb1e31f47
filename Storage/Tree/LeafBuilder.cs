using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>The image of a leaf that is being made; its format is <see cref="LeafPage"/>'s.</summary>
internal sealed unsafe class LeafBuilder() : PageBuilder(LeafPage.RestAt, LeafPage.SlotBytes, fixedBytes: 0)
{
    public bool HasOverflow { get; private set; }

    /// <summary>Appends a row if it fits.</summary>
    /// <param name="key">Greater than every key before.</param>
    /// <param name="valueField">As in the cell.</param>
    /// <param name="value">What follows the key in the cell.</param>
    public bool TryAppend(ReadOnlySpan<byte> key, ushort valueField, ReadOnlySpan<byte> value)
    {
        if (!TryAppendKey(key, value.Length, out byte* cell, out byte* to))
            return false;
        *(ushort*)(cell + sizeof(ushort)) = valueField;
        value.CopyTo(new Span<byte>(to, value.Length));
        HasOverflow |= (valueField & LeafPage.Overflows) != 0;
        return true;
    }

    /// <summary>Appends rows [first, end) of another leaf, as many as fit; returns how many.</summary>
    public int AppendRows(LeafPage from, int first, int end)
    {
        if (!from.HasOverflow && TryAdoptPrefix(KeySlots.Prefix(from.Bytes)))
            return CopyCells(from.Bytes, from.Heads, from.Offsets, first, end);
        return AppendRowsOneByOne(from, first, end);
    }

    /// <summary>Completes the page, but for what the sink fills in.</summary>
    public Span<byte> Finish()
    {
        FinishKeys(PageLayout.HeaderBytes + Count * sizeof(uint));
        var page = new Span<byte>(Image, PageLayout.PageBytes);
        PageLayout.Describe(page, PageKind.Leaf, PageLayout.FlagsOf(level: 0, HasOverflow), Count, FieldA, fieldB: 0);
        return page;
    }

    /// <summary>The completed page as a leaf.</summary>
    public LeafPage AsPage()
    {
        Finish();
        return new LeafPage(Image);
    }

    public override void Reset()
    {
        base.Reset();
        HasOverflow = false;
    }

    [SkipLocalsInit]
    private int AppendRowsOneByOne(LeafPage from, int first, int end)
    {
        Span<byte> key = stackalloc byte[KeySlots.KeyBytesMax];
        for (int row = first; row < end; row++)
        {
            int keyBytes = from.CopyKey(row, key);
            byte* cell = from.Cell(row);
            ushort field = *(ushort*)(cell + sizeof(ushort));
            var value = new ReadOnlySpan<byte>(
                cell + LeafPage.RestAt + KeySlots.RestBytes(*(ushort*)cell), LeafPage.StoredValueBytes(field));
            if (!TryAppend(key[..keyBytes], field, value))
                return row - first;
        }
        return end - first;
    }
}
