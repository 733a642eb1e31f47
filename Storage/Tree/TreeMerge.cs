using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>Changes in strictly ascending key order, one a key. The spans are valid until the next move.</summary>
internal interface IChangeStream
{
    /// <summary>Goes to the next change; false at the end.</summary>
    bool MoveNext();

    /// <summary>The whole key, table id first.</summary>
    ReadOnlySpan<byte> Key { get; }

    /// <summary>True if the key is removed, false if it is given <see cref="Value"/>.</summary>
    bool IsDelete { get; }

    /// <summary>The value of a put.</summary>
    ReadOnlySpan<byte> Value { get; }
}

/// <summary>
/// The body of a flush: one pass over sorted changes and the old tree, from left to right, that makes a new tree beside
/// the old one. What no change touches is taken over as whole subtrees, by reference.
/// </summary>
/// <remarks>
/// INVARIANTS
///   M1  No page of the old tree is written. What the new root does not reach of it is given to the sink's Free, each
///       page exactly once; so pages of the new tree = pages of the old one − freed + allocated.
///   M2  The new tree holds the old rows outside of dropped tables, with the changes applied, and
///       <see cref="TreeRoot.Keys"/> counts them.
///   M3  Dropped tables are cut as whole subtrees: only branches are read for it, leaves at the cut's edges, and leaves
///       that have overflowing values.
///   M4  No address of an old page is held over a call of the sink, which may leave the caller's epoch while it writes:
///       a leaf is copied before its rows go on.
/// DURABILITY  none here: until the meta page names the new root, everything written is free space. A merge that throws
///   leaves the old tree as it was; its sink's allocations and frees are void.
/// THREADS  one. `betweenLeaves` is called when no page is held, so that the caller may end its epoch and begin
/// another. The old root stays pinned.
/// FAILURE  damage in the old tree is a <see cref="DamageException"/>; a sink's exceptions pass through.
/// </remarks>
internal sealed unsafe class TreeMerge : IDisposable
{
    private readonly IPageSource _source;
    private readonly TreeRoot _old;
    private readonly IPageSink _sink;
    private readonly DroppedTables _dropped;
    private readonly ChangeWindow _changes;
    private readonly TreeLevels _levels;
    private readonly Action? _betweenLeaves;
    private readonly CancellationToken _cancellation;
    private readonly KeyBuffer[] _lows = new KeyBuffer[PageLayout.LevelMax + 1];
    private readonly KeyBuffer[] _highs = new KeyBuffer[PageLayout.LevelMax + 1];
    private readonly KeyBuffer _readAheadTo = new();
    private readonly KeyBuffer _bound = new();
    private readonly List<(int From, int To)> _droppedRows = [];
    private readonly List<uint> _pages = [];
    private readonly uint[] _ahead = new uint[256];
    private byte[] _leaf = PinnedBuffers.Rent(PageLayout.PageBytes);
    private uint _lowestBranch; // 0: none
    private ulong _keys;

    private TreeMerge(
        IPageSource source, TreeRoot old, IChangeStream changes, IReadOnlyList<uint> droppedTables, IPageSink sink,
        Action? betweenLeaves, CancellationToken cancellation)
    {
        _source = source;
        _old = old;
        _sink = sink;
        _betweenLeaves = betweenLeaves;
        _cancellation = cancellation;
        _keys = old.Keys;
        _dropped = new DroppedTables(droppedTables);
        _changes = new ChangeWindow(changes, _dropped, sink);
        _levels = new TreeLevels(sink);
        for (int level = 0; level <= old.Height; level++)
            (_lows[level], _highs[level]) = (new KeyBuffer(), new KeyBuffer());
    }

    /// <summary>Merges changes into the tree below a root and returns the new root, of the sink's generation.</summary>
    /// <param name="source">The old tree's pages.</param>
    /// <param name="old">The old root; pinned by the caller.</param>
    /// <param name="changes">What to change; changes of dropped tables are left out.</param>
    /// <param name="droppedTables">Ids of tables to cut out.</param>
    /// <param name="sink">Takes new pages, and the numbers of those that are not needed any more.</param>
    /// <param name="cancellation">Looked at before each leaf.</param>
    /// <param name="betweenLeaves">Called when no page is held; the caller may change epochs.</param>
    /// <exception cref="DamageException">A page of the old tree is not what was written.</exception>
    public static TreeRoot Run(
        IPageSource source, TreeRoot old, IChangeStream changes, IReadOnlyList<uint> droppedTables, IPageSink sink,
        CancellationToken cancellation, Action? betweenLeaves = null)
    {
        using var merge = new TreeMerge(source, old, changes, droppedTables, sink, betweenLeaves, cancellation);
        return merge.Run();
    }

    public void Dispose()
    {
        if (_leaf.Length > 0)
            PinnedBuffers.Return(_leaf);
        _leaf = [];
        _changes.Dispose();
        _levels.Dispose();
    }

    private TreeRoot Run()
    {
        int top = _old.Height;
        _lows[top].Set(default(ReadOnlySpan<byte>));
        _highs[top].SetInfinite();
        if (top == 0)
            AppendAll();
        else
            Merge(_old.Page, top - 1, _lows[top], _highs[top]);
        (uint page, int height, bool isOld) = _levels.Finish();
        while (isOld && height > 1 && TryReadOnlyChild(page, height - 1, out uint child))
        {
            _sink.Free(page);
            page = child;
            height--;
        }
        return new TreeRoot(page, height, _sink.Generation, _keys);
    }

    private void AppendAll()
    {
        _levels.BeginLeaf(_lows[0]);
        for (int i = 0; !_changes.IsEmpty; i++)
        {
            if ((i & 0xFFF) == 0)
                _cancellation.ThrowIfCancellationRequested();
            AppendIfPut();
            _changes.Advance();
        }
    }

    private void AppendIfPut()
    {
        ref readonly ChangeWindow.Change change = ref _changes.Current;
        if (change.IsDelete)
            return;
        _levels.Append(change);
        _keys++;
    }

    private void Merge(uint number, int level, KeyBuffer low, KeyBuffer high)
    {
        if (level == 0)
            MergeLeaf(number, low, high);
        else
            MergeBranch(number, level, low, high);
    }

    // Everything in [low, high) is below this branch: its children and the changes in that range.
    private void MergeBranch(uint number, int level, KeyBuffer low, KeyBuffer high)
    {
        int children = Branch(number, level).Count + 1;
        ReadAhead(number, level, high, from: 0);
        KeyBuffer childLow = _lows[level - 1];
        KeyBuffer childHigh = _highs[level - 1];
        childLow.Set(low);
        for (int i = 0; i < children; i++)
        {
            // Fetched anew for each child: the epoch may have changed below.
            BranchPage branch = Branch(number, level);
            uint child = branch.Child(i);
            ulong keys = branch.ChildKeys(i);
            if (i == children - 1)
                childHigh.Set(high);
            else
                childHigh.SetSeparator(branch, i);
            DroppedTables.Overlap dropped = _dropped.OverlapWith(childLow, childHigh);
            if (dropped == DroppedTables.Overlap.All)
                Cut(child, level - 1, keys);
            else if (dropped == DroppedTables.Overlap.Some || IsChangedBelow(childHigh)
                || _levels.WantsNeighbour(level - 1))
                Merge(child, level - 1, childLow, childHigh);
            else
                _levels.AppendSubtree(level - 1, childLow.Span, child, keys);
            childLow.Set(childHigh);
        }
        _lowestBranch = 0;
        _sink.Free(number);
    }

    private void MergeLeaf(uint number, KeyBuffer low, KeyBuffer high)
    {
        _cancellation.ThrowIfCancellationRequested();
        LeafPage leaf = CopyOfLeaf(number);
        _droppedRows.Clear();
        if (_dropped.OverlapWith(low, high) != DroppedTables.Overlap.None)
            _dropped.FindRows(leaf, low, high, _droppedRows);
        _levels.BeginLeaf(low);
        int row = 0;
        int changes = _changes.FirstNotBelow(high, from: 0);
        while (changes != 0)
        {
            int at = leaf.LowerBoundFrom(row, _changes.Current.Key, out bool exact);
            if (at != row)
                Keep(leaf, row, at);
            row = at;
            if (exact)
            {
                Remove(leaf, row, row + 1);
                row++;
            }
            AppendIfPut();
            changes--;
            if (!_changes.Advance())
                continue;
            changes = _changes.FirstNotBelow(high, changes);
            if (_lowestBranch != 0)
                ReadAhead(_lowestBranch, level: 1, _readAheadTo, _changes.Count - _changes.NewCount);
        }
        Keep(leaf, row, leaf.Count);
        _sink.Free(number);
        _betweenLeaves?.Invoke();
    }

    // Takes over rows [from, to), but those of dropped tables.
    private void Keep(LeafPage leaf, int from, int to)
    {
        foreach ((int dropFrom, int dropTo) in _droppedRows)
        {
            if (dropTo <= from || dropFrom >= to)
                continue;
            _levels.Append(leaf, from, Math.Max(from, dropFrom));
            Remove(leaf, Math.Max(from, dropFrom), Math.Min(to, dropTo));
            from = Math.Min(to, dropTo);
        }
        _levels.Append(leaf, from, to);
    }

    private void Remove(LeafPage leaf, int from, int to)
    {
        _keys -= (ulong)Math.Max(0, to - from);
        if (!leaf.HasOverflow)
            return;
        for (int row = from; row < to; row++)
        {
            if (leaf.TryOverflow(row, out uint first, out int lengthBytes))
                FreeOverflow(first, lengthBytes);
        }
    }

    private void FreeOverflow(uint first, int lengthBytes)
    {
        _pages.Clear();
        OverflowPage.List(_source, _old.Generation, first, lengthBytes, _pages);
        foreach (uint page in _pages)
            _sink.Free(page);
    }

    // Frees a whole subtree.
    private void Cut(uint number, int level, ulong keys)
    {
        if (level == 0)
        {
            _keys -= keys & ~BranchPage.OverflowsBelow;
            if ((keys & BranchPage.OverflowsBelow) != 0)
                CutOverflow(Leaf(number));
        }
        else
        {
            int children = Branch(number, level).Count + 1;
            if (level > 1 || (keys & BranchPage.OverflowsBelow) != 0)
                _source.Prefetch(Branch(number, level).ChildNumbers, _old.Generation);
            for (int i = 0; i < children; i++)
            {
                _cancellation.ThrowIfCancellationRequested();
                BranchPage branch = Branch(number, level);
                Cut(branch.Child(i), level - 1, branch.ChildKeys(i));
            }
            _betweenLeaves?.Invoke();
        }
        _sink.Free(number);
    }

    private void CutOverflow(LeafPage leaf)
    {
        for (int row = 0; row < leaf.Count; row++)
        {
            if (leaf.TryOverflow(row, out uint first, out int lengthBytes))
                FreeOverflow(first, lengthBytes);
        }
    }

    private bool IsChangedBelow(KeyBuffer high) => !_changes.IsEmpty && high.IsAbove(_changes.Current.Key);

    // Asks for the children of a branch that changes from index `from` on will need.
    private void ReadAhead(uint number, int level, KeyBuffer high, int from)
    {
        if (level == 1)
        {
            _lowestBranch = number;
            if (!ReferenceEquals(high, _readAheadTo))
                _readAheadTo.Set(high);
        }
        BranchPage branch = Branch(number, level);
        int count = 0;
        while (from < _changes.Count && high.IsAbove(_changes.KeyAt(from)))
        {
            int index = branch.ChildIndex(_changes.KeyAt(from));
            _ahead[count++] = branch.Child(index);
            if (count == _ahead.Length)
            {
                _source.Prefetch(_ahead, _old.Generation);
                count = 0;
            }
            if (index == branch.Count)
                break;
            _bound.SetSeparator(branch, index);
            from = _changes.FirstNotBelow(_bound, from + 1);
        }
        if (count != 0)
            _source.Prefetch(_ahead.AsSpan(0, count), _old.Generation);
    }

    private bool TryReadOnlyChild(uint number, int level, out uint child)
    {
        BranchPage branch = Branch(number, level);
        child = branch.Child(0);
        return branch.Count == 0;
    }

    private BranchPage Branch(uint number, int level) =>
        BranchPage.Require(_source, _source.Page(number, _old.Generation), number, level);

    private LeafPage CopyOfLeaf(uint number)
    {
        new ReadOnlySpan<byte>(Leaf(number).Bytes, PageLayout.PageBytes).CopyTo(_leaf);
        return new LeafPage((byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_leaf))); // pinned
    }

    private LeafPage Leaf(uint number) =>
        LeafPage.Require(_source, _source.Page(number, _old.Generation), number);
}
