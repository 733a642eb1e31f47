using System.Globalization;

namespace Pitr.Storage;

/// <summary>What is wrong with a page of a tree.</summary>
internal sealed record TreeProblem(uint Page, string What)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"Page {Page} {What}.");
}

/// <summary>What a check of a tree found.</summary>
internal sealed class TreeReport
{
    /// <summary>Empty if every invariant holds.</summary>
    public List<TreeProblem> Problems { get; } = [];

    /// <summary>Every page that the root reaches.</summary>
    public PageSet Reachable { get; } = new();

    public long Leaves { get; set; }

    public long Branches { get; set; }

    public long OverflowPages { get; set; }

    /// <summary>Leaves and branches below a third full; the right edge of each level may have one.</summary>
    public long SmallPages { get; set; }

    public ulong Keys { get; set; }

    /// <summary>Bytes in use in leaves and branches.</summary>
    public long UsedBytes { get; set; }

    public bool IsSound => Problems.Count == 0;
}

/// <summary>Reads every page below a root and looks at every invariant of the tree.</summary>
/// <remarks>
/// What is checked: P1, P2 (by the source); L1–L4; B1, B3, B4; V1; that a page is not newer than the page that
/// names it; that no page is reached twice; that heads are padded with zeroes; the height; the number of keys.
/// FAILURE  damage becomes a problem of the report, and the check goes on beside it. A disk that cannot be read throws.
/// THREADS  one, in an epoch that it may leave at `betweenLeaves`.
/// </remarks>
internal sealed class TreeCheck
{
    private readonly IPageSource _source;
    private readonly TreeRoot _root;
    private readonly CancellationToken _cancellation;
    private readonly Action? _betweenLeaves;
    private readonly TreeReport _report = new();
    private readonly KeyBuffer[] _lows = new KeyBuffer[PageLayout.LevelMax + 2];
    private readonly KeyBuffer[] _highs = new KeyBuffer[PageLayout.LevelMax + 2];
    private readonly byte[] _key = new byte[KeySlots.KeyBytesMax];
    private readonly byte[] _previous = new byte[KeySlots.KeyBytesMax];
    private readonly List<uint> _pages = [];

    private TreeCheck(IPageSource source, TreeRoot root, Action? betweenLeaves, CancellationToken cancellation)
    {
        (_source, _root, _betweenLeaves, _cancellation) = (source, root, betweenLeaves, cancellation);
        for (int level = 0; level < _lows.Length; level++)
            (_lows[level], _highs[level]) = (new KeyBuffer(), new KeyBuffer());
    }

    /// <summary>Checks the tree below a root.</summary>
    /// <param name="source">The pages; they are checked as they are loaded.</param>
    /// <param name="root">The root; pinned by the caller.</param>
    /// <param name="betweenLeaves">Called when no page is held; the caller may change epochs.</param>
    /// <param name="cancellation">Looked at before each page.</param>
    public static TreeReport Run(
        IPageSource source, TreeRoot root, Action? betweenLeaves = null, CancellationToken cancellation = default) =>
        new TreeCheck(source, root, betweenLeaves, cancellation).Run();

    private TreeReport Run()
    {
        if (_root.Height < 0 || _root.Height > PageLayout.LevelMax + 1 || _root.Height == 0 != (_root.Page == 0))
            Problem(_root.Page, $"is the root of a tree of height {_root.Height}");
        else if (_root.Height != 0)
            Check(_root.Page, _root.Height - 1, _root.Generation, _lows[^1], Infinite(_highs[^1]));
        if (_report.IsSound && _report.Keys != _root.Keys)
            Problem(_root.Page, $"is the root of {_report.Keys} keys; the root says {_root.Keys}");
        return _report;
    }

    // Checks a subtree and returns its keys, with BranchPage.OverflowsBelow.
    private ulong Check(uint number, int level, ulong generation, KeyBuffer low, KeyBuffer high)
    {
        _cancellation.ThrowIfCancellationRequested();
        try
        {
            Touch(number); // before it is noted: a number without a page would make the set as large as it says
            if (!_report.Reachable.Add(number))
            {
                Problem(number, "is reached twice");
                return 0;
            }
            return level == 0
                ? CheckLeaf(number, generation, low, high)
                : CheckBranch(number, level, generation, low, high);
        }
        catch (DamageException damage)
        {
            Problem(number, $"cannot be read: {damage.Message.TrimEnd('.')}");
            return 0;
        }
    }

    private unsafe ulong CheckBranch(uint number, int level, ulong parentGeneration, KeyBuffer low, KeyBuffer high)
    {
        BranchPage branch = Branch(number, level);
        ulong generation = RequireOlder(branch.Bytes, number, parentGeneration);
        CheckPadding(branch.Bytes, branch.Offsets, number);
        _report.Branches++;
        Count(branch.UsedBytes);
        bool hasOverflow = (PageLayout.Flags(branch.Bytes) & PageLayout.HasOverflow) != 0;
        int children = branch.Count + 1;
        KeyBuffer childLow = _lows[level - 1];
        KeyBuffer childHigh = _highs[level - 1];
        childLow.Set(low);
        _source.Prefetch(branch.ChildNumbers, _root.Generation);
        ulong sum = 0;
        ulong overflows = 0;
        for (int i = 0; i < children; i++)
        {
            branch = Branch(number, level);
            if (i == children - 1)
                childHigh.Set(high);
            else
                childHigh.SetSeparator(branch, i);
            if (!childHigh.IsInfinite && (childHigh.Span.SequenceCompareTo(childLow.Span) <= 0
                || (!high.IsInfinite && childHigh.Span.SequenceCompareTo(high.Span) > 0)))
                Problem(number, $"has separators that do not ascend at child {i}");
            ulong stated = branch.ChildKeys(i);
            ulong found = Check(branch.Child(i), level - 1, generation, childLow, childHigh);
            if (found != stated && _report.IsSound)
                Problem(number, $"says that child {i} has {stated:X} keys and flags; it has {found:X}");
            sum += stated & ~BranchPage.OverflowsBelow;
            overflows |= stated & BranchPage.OverflowsBelow;
            childLow.Set(childHigh);
        }
        if (hasOverflow != (overflows != 0))
            Problem(number, $"says {hasOverflow} of values that overflow below it");
        return sum | overflows;
    }

    private unsafe ulong CheckLeaf(uint number, ulong parentGeneration, KeyBuffer low, KeyBuffer high)
    {
        LeafPage leaf = LeafPage.Require(_source, _source.Page(number, _root.Generation), number);
        ulong generation = RequireOlder(leaf.Bytes, number, parentGeneration);
        CheckPadding(leaf.Bytes, leaf.Offsets, number);
        _report.Leaves++;
        Count(leaf.UsedBytes);
        bool overflows = false;
        int previousBytes = 0;
        for (int row = 0; row < leaf.Count; row++)
        {
            int keyBytes = leaf.CopyKey(row, _key);
            ReadOnlySpan<byte> key = _key.AsSpan(0, keyBytes);
            if (row == 0
                ? key.SequenceCompareTo(low.Span) < 0
                : key.SequenceCompareTo(_previous.AsSpan(0, previousBytes)) <= 0)
                Problem(number, $"has keys that do not ascend at row {row}");
            if (keyBytes < OperationCodec.TableIdBytes)
                Problem(number, $"has a key without a whole table id in row {row}");
            key.CopyTo(_previous);
            previousBytes = keyBytes;
            if (leaf.TryOverflow(row, out uint first, out int lengthBytes))
            {
                overflows = true;
                CheckOverflow(number, generation, first, lengthBytes);
            }
        }
        if (!high.IsAbove(_previous.AsSpan(0, previousBytes)))
            Problem(number, "has a last key that is not below the separator after it");
        if (overflows != leaf.HasOverflow)
            Problem(number, $"says {leaf.HasOverflow} of values that overflow");
        ulong keys = (uint)leaf.Count;
        _report.Keys += keys;
        _betweenLeaves?.Invoke();
        return keys | (overflows ? BranchPage.OverflowsBelow : 0);
    }

    private unsafe void CheckOverflow(uint leaf, ulong generation, uint first, int lengthBytes)
    {
        try
        {
            OverflowPage.Read(_source, _root.Generation, first, lengthBytes, new byte[lengthBytes]);
            _pages.Clear();
            OverflowPage.List(_source, _root.Generation, first, lengthBytes, _pages);
            foreach (uint page in _pages)
            {
                _report.OverflowPages++;
                if (!_report.Reachable.Add(page))
                    Problem(page, "is reached twice");
                RequireOlder(_source.Page(page, _root.Generation), page, generation);
            }
        }
        catch (DamageException damage)
        {
            Problem(leaf, $"has a value that cannot be read: {damage.Message.TrimEnd('.')}");
        }
    }

    // Copy-on-write writes a page's parents with it.
    private unsafe ulong RequireOlder(byte* page, uint number, ulong parentGeneration)
    {
        ulong generation = PageLayout.Generation(page);
        if (generation > parentGeneration)
            Problem(number,
                $"was written by generation {generation}, after {parentGeneration}, which wrote the page that names "
                + $"it");
        return generation;
    }

    private unsafe void CheckPadding(byte* page, ushort* offsets, uint number)
    {
        uint* heads = (uint*)(page + PageLayout.HeaderBytes);
        for (int slot = 0; slot < PageLayout.Count(page); slot++)
        {
            int suffixBytes = *(ushort*)(page + offsets[slot]);
            uint mask = suffixBytes >= KeySlots.HeadBytes ? 0 : uint.MaxValue >> (8 * suffixBytes);
            if ((heads[slot] & mask) != 0)
                Problem(number, $"has a head without padding in slot {slot}");
        }
    }

    private void Count(int usedBytes)
    {
        _report.UsedBytes += usedBytes;
        if (usedBytes < PageLayout.PageBytes / 3)
            _report.SmallPages++;
    }

    private unsafe void Touch(uint number) => _source.Page(number, _root.Generation);

    private void Problem(uint page, string what) => _report.Problems.Add(new TreeProblem(page, what));

    private static KeyBuffer Infinite(KeyBuffer buffer)
    {
        buffer.SetInfinite();
        return buffer;
    }

    private unsafe BranchPage Branch(uint number, int level) =>
        BranchPage.Require(_source, _source.Page(number, _root.Generation), number, level);
}
