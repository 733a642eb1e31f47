using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>The image of a branch that is being made; its format is <see cref="BranchPage"/>'s.</summary>
internal sealed unsafe class BranchBuilder(int level)
    : PageBuilder(
        BranchPage.RestAt,
        2 * sizeof(uint) + sizeof(ushort) + BranchPage.KeysBytes(level),
        fixedBytes: sizeof(uint) + BranchPage.KeysBytes(level))
{
    private readonly List<uint> _children = [];
    private readonly List<ulong> _keys = [];

    public int ChildCount => _children.Count;

    public uint Child(int index) => _children[index];

    /// <summary>Keys below a child, with <see cref="BranchPage.OverflowsBelow"/>.</summary>
    public ulong ChildKeys(int index) => _keys[index];

    /// <summary>Keys below all children, with <see cref="BranchPage.OverflowsBelow"/>.</summary>
    public ulong Keys
    {
        get
        {
            ulong sum = 0;
            ulong overflows = 0;
            foreach (ulong keys in _keys)
            {
                sum += keys & ~BranchPage.OverflowsBelow;
                overflows |= keys & BranchPage.OverflowsBelow;
            }
            return sum | overflows;
        }
    }

    /// <summary>
    /// Appends a child if it fits. The first one's bound becomes the page's <see cref="PageBuilder.Low"/>.
    /// </summary>
    public bool TryAppend(ReadOnlySpan<byte> low, uint child, ulong keys)
    {
        if (_children.Count == 0)
            Low.Set(low);
        else if (!TryAppendKey(low, valueBytes: 0, out _, out _))
            return false;
        _children.Add(child);
        _keys.Add(keys);
        return true;
    }

    /// <summary>Completes the page, but for what the sink fills in.</summary>
    public Span<byte> Finish()
    {
        int keysAt = PageLayout.HeaderBytes + 2 * sizeof(uint) * Count + sizeof(uint);
        FinishKeys(keysAt + BranchPage.KeysBytes(level) * _children.Count);
        var page = new Span<byte>(Image, PageLayout.PageBytes);
        MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(_children))
            .CopyTo(page[(PageLayout.HeaderBytes + sizeof(uint) * Count)..]);
        bool hasOverflow = false;
        for (int i = 0; i < _keys.Count; i++)
        {
            hasOverflow |= (_keys[i] & BranchPage.OverflowsBelow) != 0;
            if (level == 1)
                ((ushort*)(Image + keysAt))[i] = BranchPage.LeafKeys(_keys[i]);
            else
                ((ulong*)(Image + keysAt))[i] = _keys[i];
        }
        PageLayout.Describe(page, PageKind.Branch, PageLayout.FlagsOf(level, hasOverflow), Count, FieldA, fieldB: 0);
        return page;
    }

    public override void Reset()
    {
        base.Reset();
        _children.Clear();
        _keys.Clear();
    }
}
