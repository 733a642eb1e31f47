using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>A view of a branch: children, the separators between them, and how many keys each child holds.</summary>
/// <remarks>
/// LAYOUT  (after the header; count = separators, so there are count + 1 children)
/// <code>
///   32 u32 head[count] · u32 child[count+1] · keys[count+1] · u16 offset[count] · free · cells · common prefix
///   keys: on level 1 u16 (bit 15: the leaf has values that overflow), above it u64 (bit 63: some leaf below has)
///   cell: u16 suffix length · rest of the separator
/// </code>
/// INVARIANTS
///   B1  Separators ascend strictly. Every key below child i is ≥ separator i-1 and &lt; separator i.
///   B2  A separator is as short as the keys on both sides allow when it is made; it need not be a key.
///   B3  All children of a branch on level n are on level n-1; leaves are level 0.
///   B4  keys[i] is the number of keys below child i.
/// </remarks>
internal readonly unsafe struct BranchPage(byte* page)
{
    /// <summary>Where in a cell the rest of the separator begins.</summary>
    public const int RestAt = 2;

    /// <summary>In a count as <see cref="ChildKeys"/> gives it: some value below overflows.</summary>
    public const ulong OverflowsBelow = 1UL << 63;

    private const ushort LeafOverflows = 0x8000;
    private const ulong LeafKeysMask = 0x7FFF;

    public byte* Bytes => page;

    /// <summary>Separators; one less than children.</summary>
    public int Count
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => PageLayout.Count(page);
    }

    public int Level => PageLayout.Level(page);

    public uint* Heads => (uint*)(page + PageLayout.HeaderBytes);

    public uint* Children => (uint*)(page + PageLayout.HeaderBytes + sizeof(uint) * Count);

    /// <summary>All children's page numbers in order.</summary>
    public ReadOnlySpan<uint> ChildNumbers => new(Children, Count + 1);

    private byte* Keys => page + PageLayout.HeaderBytes + 2 * sizeof(uint) * Count + sizeof(uint);

    public ushort* Offsets => (ushort*)(Keys + KeysBytes(Level) * (Count + 1));

    /// <summary>Bytes in use, header included.</summary>
    public int UsedBytes => ArraysEnd(Count, Level) + PageLayout.PageBytes - KeySlots.LowestCell(page);

    /// <summary>Bytes of one entry of the array of keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int KeysBytes(int level) => level == 1 ? sizeof(ushort) : sizeof(ulong);

    /// <summary>Where the arrays of a branch end.</summary>
    public static int ArraysEnd(int count, int level) =>
        PageLayout.HeaderBytes + count * (2 * sizeof(uint) + sizeof(ushort))
        + sizeof(uint) + KeysBytes(level) * (count + 1);

    /// <summary>Index of the child that holds the key, if any does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int ChildIndex(ReadOnlySpan<byte> key)
    {
        int slot = KeySlots.LowerBound(page, Offsets, RestAt, key, out bool exact);
        return exact ? slot + 1 : slot;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Child(int index) => Children[index];

    /// <summary>How many keys a child holds, with <see cref="OverflowsBelow"/>.</summary>
    public ulong ChildKeys(int index)
    {
        if (Level != 1)
            return ((ulong*)Keys)[index];
        ushort keys = ((ushort*)Keys)[index];
        return (keys & LeafOverflows) != 0 ? OverflowsBelow | (keys & LeafKeysMask) : keys;
    }

    /// <summary>A count of keys in the form of a branch on level 1.</summary>
    public static ushort LeafKeys(ulong keys) =>
        (ushort)((keys & ~OverflowsBelow) | ((keys & OverflowsBelow) != 0 ? LeafOverflows : 0u));

    /// <summary>
    /// Writes the separator before child <paramref name="index"/> + 1 into a buffer of <see
    /// cref="KeySlots.KeyBytesMax"/> bytes.
    /// </summary>
    public int CopySeparator(int index, Span<byte> to) =>
        KeySlots.CopyKey(page, page + Offsets[index], Heads[index], RestAt, to);

    /// <summary>Requires that nothing in the page points out of it.</summary>
    /// <exception cref="DamageException">Something does.</exception>
    public void RequireStructure(string path, uint number)
    {
        int arraysEnd = ArraysEnd(Count, Level);
        if (Level == 0 || arraysEnd > PageLayout.PageBytes)
            throw PageErrors.TreeInvalid(path, number, $"is a branch of {Count + 1} children on level {Level}");
        KeySlots.RequireStructure(path, page, number, arraysEnd, Offsets, RestAt);
        foreach (uint child in ChildNumbers)
        {
            if (child < PageLayout.FirstPage || child == number)
                throw PageErrors.TreeInvalid(path, number, $"names page {child} as its child");
        }
    }

    /// <summary>The page as a branch on a level, if it is one.</summary>
    /// <exception cref="DamageException">It is of another kind or level.</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static BranchPage Require(IPageSource source, byte* page, uint number, int level)
    {
        if (PageLayout.Kind(page) != PageKind.Branch || PageLayout.Level(page) != level)
            throw PageErrors.TreeInvalid(source.Path, number,
                $"is a {PageLayout.Kind(page)} page on level {PageLayout.Level(page)}; a Branch on level {level} was "
                + $"expected");
        return new BranchPage(page);
    }
}
