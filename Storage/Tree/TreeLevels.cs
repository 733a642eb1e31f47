using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// The new tree while it grows from left to right: on each level one page that is open, and the one before it, which is
/// held back so that a small last page can share with it.
/// </summary>
/// <remarks>
/// INVARIANTS
///   T1  Rows and subtrees are appended in key order.
///   T2  Before a subtree of level n is appended, every page that is open on levels 0 … n is closed.
///   T3  A page below a third full is closed only where it has no neighbour to share with: before a subtree the caller
///       asks <see cref="WantsNeighbour"/> and gives the subtree's parts instead; so only the right edge has small
///       pages, and places where the next key would shorten a long prefix too much.
/// THREADS  one.
/// </remarks>
internal sealed class TreeLevels(IPageSink sink) : IDisposable
{
    private readonly KeyBuffer _leafLow = new();
    private readonly KeyBuffer _between = new();
    private readonly byte[] _key = new byte[KeySlots.KeyBytesMax];
    private readonly List<BranchLevel> _branches = []; // [0] is level 1
    private LeafBuilder _open = new();
    private LeafBuilder _held = new();
    private LeafBuilder _shared = new();
    private bool _holds;

    /// <summary>Says that rows from here on are not below a bound, and that all before were.</summary>
    public void BeginLeaf(KeyBuffer low)
    {
        if (_open.Count == 0 && !_holds)
            _leafLow.Set(low);
    }

    /// <summary>Appends a row.</summary>
    public void Append(in ChangeWindow.Change put)
    {
        if (_open.Count == 0 && !_holds)
            _open.Low.Set(_leafLow);
        if (_open.TryAppend(put.Key, put.ValueField, put.Stored))
            return;
        HoldOpen(put.Key);
        bool fits = _open.TryAppend(put.Key, put.ValueField, put.Stored);
        Invariant.Require(fits, "PB2", "a row does not fit an empty leaf.");
    }

    /// <summary>Appends rows [first, end) of a leaf.</summary>
    public void Append(LeafPage from, int first, int end)
    {
        if (first < end && _open.Count == 0 && !_holds)
            _open.Low.Set(_leafLow);
        while (first < end)
        {
            first += _open.AppendRows(from, first, end);
            if (first < end)
                HoldOpen(_key.AsSpan(0, from.CopyKey(first, _key)));
        }
    }

    /// <summary>
    /// True if a page that is open on levels 0 … <paramref name="level"/> would be closed too small if a subtree of
    /// that level were appended now.
    /// </summary>
    public bool WantsNeighbour(int level)
    {
        bool isOpen = _open.Count != 0 || _holds;
        if (isOpen && !_holds && _open.IsSmall)
            return true;
        for (int i = 0; i < level && i < _branches.Count; i++)
        {
            BranchLevel branch = _branches[i];
            if (branch.IsEmpty ? isOpen : branch.IsSmall)
                return true;
            isOpen |= !branch.IsEmpty;
        }
        return isOpen && _branches.Count < level;
    }

    /// <summary>Appends a subtree of the old tree as it is.</summary>
    /// <param name="level">Level of its topmost page.</param>
    /// <param name="low">Above every key before it and not above any in it.</param>
    /// <param name="page">Its topmost page.</param>
    /// <param name="keys">Its keys, with <see cref="BranchPage.OverflowsBelow"/>.</param>
    public void AppendSubtree(int level, ReadOnlySpan<byte> low, uint page, ulong keys)
    {
        CloseLeaves();
        for (int i = 1; i <= level; i++)
            Branch(i).Close();
        Branch(level + 1).Append(low, page, keys, isOld: true);
    }

    /// <summary>
    /// Closes everything and returns the root's page, its height and whether it is a page of the old tree; 0 if there
    /// is none.
    /// </summary>
    public (uint Page, int Height, bool IsOld) Finish()
    {
        CloseLeaves();
        for (int level = 1; level <= _branches.Count; level++)
        {
            BranchLevel branch = _branches[level - 1];
            bool isTop = _branches.Skip(level).All(static above => above.IsEmpty);
            if (isTop && branch.TryTakeOnlyChild(out uint child, out bool isOld))
                return (child, level, isOld);
            branch.Close();
        }
        return (0, 0, false);
    }

    public void Dispose()
    {
        _open.Dispose();
        _held.Dispose();
        _shared.Dispose();
        foreach (BranchLevel branch in _branches)
            branch.Dispose();
    }

    private BranchLevel Branch(int level)
    {
        while (_branches.Count < level)
            _branches.Add(new BranchLevel(this, sink, _branches.Count + 1));
        return _branches[level - 1];
    }

    // The open leaf is full: hold it back, let the one before it go, and open another that begins with the key.
    private void HoldOpen(ReadOnlySpan<byte> next)
    {
        if (_holds)
            Send(_held);
        (_held, _open) = (_open, _held);
        _holds = true;
        _open.Reset();
        _open.Low.SetBetween(_held, next);
    }

    private void CloseLeaves()
    {
        if (_holds && _open.Count != 0 && _open.IsSmall)
        {
            Share();
        }
        else
        {
            if (_holds)
                Send(_held);
            if (_open.Count != 0)
                Send(_open);
        }
        _holds = false;
        _open.Reset();
    }

    // Divides the rows of the held and the open leaf evenly.
    private void Share()
    {
        int half = (_held.UsedBytes + _open.UsedBytes) / 2;
        int first = 1;
        while (first < _held.Count - 1 && _held.UsedByFirst(first) < half)
            first++;
        if (first > 1 && _held.UsedByFirst(first) - half > half - _held.UsedByFirst(first - 1))
            first--;
        LeafPage held = _held.AsPage();
        _shared.Reset();
        _shared.Low.Set(_held.Low);
        AppendShared(held, 0, Math.Min(first, held.Count));
        if (first < held.Count)
        {
            TurnShared(held, first);
            AppendShared(held, first, held.Count);
        }
        AppendShared(_open.AsPage(), 0, _open.Count);
        Send(_shared);
    }

    private void AppendShared(LeafPage from, int first, int end)
    {
        while (first < end)
        {
            first += _shared.AppendRows(from, first, end);
            if (first < end)
                TurnShared(from, first);
        }
    }

    private void TurnShared(LeafPage from, int row)
    {
        _between.SetBetween(_shared, _key.AsSpan(0, from.CopyKey(row, _key)));
        Send(_shared);
        _shared.Reset();
        _shared.Low.Set(_between);
    }

    private void Send(LeafBuilder leaf)
    {
        uint number = sink.Allocate();
        sink.Write(number, leaf.Finish());
        ulong keys = (uint)leaf.Count | (leaf.HasOverflow ? BranchPage.OverflowsBelow : 0);
        Branch(1).Append(leaf.Low.Span, number, keys, isOld: false);
    }

    /// <summary>One level of branches.</summary>
    private sealed class BranchLevel(TreeLevels levels, IPageSink sink, int level) : IDisposable
    {
        private readonly byte[] _key = new byte[KeySlots.KeyBytesMax];
        private BranchBuilder _open = new(level);
        private BranchBuilder _held = new(level);
        private BranchBuilder _shared = new(level);
        private bool _holds;
        private bool _lastIsOld;

        public bool IsEmpty => _open.ChildCount == 0 && !_holds;

        public bool IsSmall => !_holds && _open.IsSmall;

        public void Append(ReadOnlySpan<byte> low, uint child, ulong keys, bool isOld)
        {
            _lastIsOld = isOld;
            if (_open.TryAppend(low, child, keys))
                return;
            if (_holds)
                Send(_held);
            (_held, _open) = (_open, _held);
            _holds = true;
            _open.Reset();
            _open.TryAppend(low, child, keys);
        }

        public void Close()
        {
            if (_holds && _open.IsSmall)
            {
                Share();
            }
            else
            {
                if (_holds)
                    Send(_held);
                if (_open.ChildCount != 0)
                    Send(_open);
            }
            _holds = false;
            _open.Reset();
        }

        public bool TryTakeOnlyChild(out uint child, out bool isOld)
        {
            bool isOnly = !_holds && _open.ChildCount == 1;
            child = isOnly ? _open.Child(0) : 0;
            isOld = _lastIsOld;
            if (isOnly)
                _open.Reset();
            return isOnly;
        }

        public void Dispose()
        {
            _open.Dispose();
            _held.Dispose();
            _shared.Dispose();
        }

        private void Share()
        {
            int half = (_held.UsedBytes + _open.UsedBytes) / 2;
            _shared.Reset();
            AppendShared(_held, half);
            AppendShared(_open, PageLayout.PageBytes);
            Send(_shared);
        }

        // Once more than fullBytes are used, the next child begins another page.
        private void AppendShared(BranchBuilder from, int fullBytes)
        {
            for (int i = 0; i < from.ChildCount; i++)
            {
                ReadOnlySpan<byte> low = i == 0 ? from.Low.Span : _key.AsSpan(0, from.CopyKey(i - 1, _key));
                if (_shared.UsedBytes < fullBytes && _shared.TryAppend(low, from.Child(i), from.ChildKeys(i)))
                    continue;
                Send(_shared);
                _shared.Reset();
                _shared.TryAppend(low, from.Child(i), from.ChildKeys(i));
                fullBytes = PageLayout.PageBytes;
            }
        }

        private void Send(BranchBuilder branch)
        {
            uint number = sink.Allocate();
            sink.Write(number, branch.Finish());
            levels.Branch(level + 1).Append(branch.Low.Span, number, branch.Keys, isOld: false);
        }
    }
}
