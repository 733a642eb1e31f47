using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Pitr.Storage;

/// <summary>
/// Walks the rows below one root in key order, in both directions. Within a leaf it copies and locks nothing.
/// </summary>
/// <remarks>
/// STATE  no row (before a seek, or past an end) · on a row · suspended on a row.
/// While it is on a row it holds a pointer into a leaf, so the caller stays in one epoch from the seek to
/// <see cref="Suspend"/>. Suspended it holds numbers and a copy of the key only; the caller may end the epoch, as
/// long as the root stays pinned, since the pages of a pinned root are not written (I4). The next move, in a new
/// epoch, fetches the leaf again by its number. Callers suspend at the latest when <see cref="IsLastOfLeaf"/>,
/// so that no epoch outlives a leaf of a long scan.
/// THREADS  one.
/// FAILURE  <see cref="DamageException"/> and <see cref="StorageFailedException"/> from a move; the cursor then has
/// no row.
/// </remarks>
internal sealed unsafe class TreeCursor(IPageSource source, TreeRoot root)
{
    // Leaves asked for ahead of a scan, and how near the end of what was asked for the next request is made.
    private const int ReadAheadLeaves = 32;
    private const int ReadAheadLow = 16;

    private readonly uint[] _pages = new uint[PageLayout.LevelMax + 1];
    private readonly int[] _indexes = new int[PageLayout.LevelMax + 1];
    private readonly byte[] _key = new byte[KeySlots.KeyBytesMax + 2 * Vector128<byte>.Count];

    private byte* _leaf; // null: no row, or suspended
    private int _row;
    private int _count;
    private bool _hasRow;
    private int _prefixBytes;
    private int _keyBytes;
    private int _keyRow = -1; // the row whose key is in _key
    private int _askedTo = -1; // child of the current lowest branch up to which leaves were asked for

    /// <summary>True if there is a current row.</summary>
    public bool HasRow => _hasRow;

    /// <summary>True if the next move in one of the directions leaves the leaf.</summary>
    public bool IsLastOfLeaf => _row == _count - 1 || _row == 0;

    /// <summary>The current row's key, valid until the next move; also while suspended.</summary>
    public ReadOnlySpan<byte> Key
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (_keyRow != _row)
                CopyKey();
            return new ReadOnlySpan<byte>(_key, 0, _keyBytes);
        }
    }

    /// <summary>The current row's value, valid while the epoch lasts; not while suspended.</summary>
    public ValueRef Value
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (_leaf == null)
                Resume();
            return new LeafPage(_leaf).Value(_row, source, root.Generation);
        }
    }

    /// <summary>Goes to the first row; false if there is none.</summary>
    public bool SeekFirst()
    {
        Forget();
        return root.Height != 0 && DescendFirst(root.Page, root.Height - 1);
    }

    /// <summary>Goes to the last row; false if there is none.</summary>
    public bool SeekLast()
    {
        Forget();
        return root.Height != 0 && DescendLast(root.Page, root.Height - 1);
    }

    /// <summary>Goes to the first row whose key is not less than the key; false if there is none.</summary>
    public bool Seek(ReadOnlySpan<byte> key)
    {
        Forget();
        if (root.Height == 0)
            return false;
        int row = Descend(key);
        if (row < _count)
            return Stand(row);
        return NextLeaf();
    }

    /// <summary>Goes to the last row whose key is less than the key; false if there is none.</summary>
    public bool SeekBefore(ReadOnlySpan<byte> key)
    {
        Forget();
        if (root.Height == 0)
            return false;
        int row = Descend(key);
        if (row > 0)
            return Stand(row - 1);
        return PreviousLeaf();
    }

    /// <summary>Goes to the next row; false, and no row, past the last one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Next()
    {
        int row = _row + 1;
        if (_leaf == null || row >= _count)
            return NextSlowly();
        _row = row;
        return true;
    }

    /// <summary>Goes to the previous row; false, and no row, past the first one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Prev()
    {
        if (_leaf == null || _row == 0)
            return PrevSlowly();
        _row--;
        return true;
    }

    /// <summary>Lets go of the page: after it the caller may end its epoch. The row and its key stay.</summary>
    public void Suspend()
    {
        if (_leaf == null)
            return;
        if (_keyRow != _row)
            CopyKey();
        _leaf = null;
    }

    /// <summary>Takes hold of the page again, in the caller's new epoch; moves do it by themselves.</summary>
    public void Resume()
    {
        if (!_hasRow)
            throw new InvalidOperationException("The cursor has no row.");
        if (_leaf == null)
            _leaf = LeafPage.Require(source, source.Page(_pages[0], root.Generation), _pages[0]).Bytes;
    }

    private bool NextSlowly()
    {
        if (!_hasRow)
            return false;
        if (_row + 1 >= _count)
            return NextLeaf();
        Resume();
        _row++;
        return true;
    }

    private bool PrevSlowly()
    {
        if (!_hasRow)
            return false;
        if (_row == 0)
            return PreviousLeaf();
        Resume();
        _row--;
        return true;
    }

    private bool NextLeaf()
    {
        Forget();
        for (int level = 1; level < root.Height; level++)
        {
            BranchPage branch = Branch(_pages[level], level);
            int index = _indexes[level] + 1;
            if (index > branch.Count)
                continue;
            if (level == 1)
                AskAhead(branch, index, forward: true);
            else
                _askedTo = -1;
            _indexes[level] = index;
            return DescendFirst(branch.Child(index), level - 1);
        }
        return false;
    }

    private bool PreviousLeaf()
    {
        Forget();
        for (int level = 1; level < root.Height; level++)
        {
            int index = _indexes[level] - 1;
            if (index < 0)
                continue;
            BranchPage branch = Branch(_pages[level], level);
            if (level == 1)
                AskAhead(branch, index, forward: false);
            else
                _askedTo = -1;
            _indexes[level] = index;
            return DescendLast(branch.Child(index), level - 1);
        }
        return false;
    }

    // A scan that crosses leaves will probably go on: ask for leaves in its direction, some at a time.
    private void AskAhead(BranchPage branch, int index, bool forward)
    {
        if (forward)
        {
            int from = Math.Max(index + 1, _askedTo);
            int to = Math.Min(index + 1 + ReadAheadLeaves, branch.Count + 1);
            if (_askedTo - index > ReadAheadLow || from >= to)
                return;
            source.Prefetch(branch.ChildNumbers[from..to], root.Generation);
            _askedTo = to;
        }
        else
        {
            int to = _askedTo < 0 ? index : Math.Min(index, _askedTo);
            int from = Math.Max(index - ReadAheadLeaves, 0);
            if ((_askedTo >= 0 && index - _askedTo > ReadAheadLow) || from >= to)
                return;
            source.Prefetch(branch.ChildNumbers[from..to], root.Generation);
            _askedTo = from;
        }
    }

    private int Descend(ReadOnlySpan<byte> key)
    {
        uint number = root.Page;
        for (int level = root.Height - 1; level > 0; level--)
        {
            BranchPage branch = Branch(number, level);
            int index = branch.ChildIndex(key);
            _pages[level] = number;
            _indexes[level] = index;
            number = branch.Child(index);
        }
        _askedTo = -1;
        return Load(number).LowerBound(key, out _);
    }

    private bool DescendFirst(uint number, int level)
    {
        for (; level > 0; level--)
        {
            _pages[level] = number;
            _indexes[level] = 0;
            number = Branch(number, level).Child(0);
        }
        Load(number);
        return Stand(0);
    }

    private bool DescendLast(uint number, int level)
    {
        for (; level > 0; level--)
        {
            BranchPage branch = Branch(number, level);
            _pages[level] = number;
            _indexes[level] = branch.Count;
            number = branch.Child(branch.Count);
        }
        Load(number);
        return Stand(_count - 1);
    }

    private BranchPage Branch(uint number, int level) =>
        BranchPage.Require(source, source.Page(number, root.Generation), number, level);

    private LeafPage Load(uint number)
    {
        LeafPage leaf = LeafPage.Require(source, source.Page(number, root.Generation), number);
        _leaf = leaf.Bytes;
        _pages[0] = number;
        _count = leaf.Count;
        _keyRow = -1;
        ReadOnlySpan<byte> prefix = KeySlots.Prefix(_leaf);
        prefix.CopyTo(_key);
        _prefixBytes = prefix.Length;
        return leaf;
    }

    private bool Stand(int row)
    {
        _row = row;
        _hasRow = true;
        return true;
    }

    private void Forget()
    {
        _hasRow = false;
        _leaf = null;
        _keyRow = -1;
    }

    private void CopyKey()
    {
        if (_leaf == null)
            throw new InvalidOperationException("The cursor has no row.");
        var leaf = new LeafPage(_leaf);
        byte* cell = leaf.Cell(_row);
        int suffixBytes = *(ushort*)cell;
        byte* rest = cell + LeafPage.RestAt;
        if (suffixBytes - KeySlots.HeadBytes <= Vector128<byte>.Count
            && rest + Vector128<byte>.Count <= _leaf + PageLayout.PageBytes)
        {
            // Copies more than the key has, which ends within the page and within the buffer's slack.
            ref byte to = ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_key), _prefixBytes);
            Unsafe.WriteUnaligned(ref to, BinaryPrimitives.ReverseEndianness(leaf.Heads[_row]));
            Vector128.Load(rest).StoreUnsafe(ref to, KeySlots.HeadBytes);
        }
        else
        {
            KeySlots.CopySuffix(cell, leaf.Heads[_row], LeafPage.RestAt, _key.AsSpan(_prefixBytes));
        }
        _keyBytes = _prefixBytes + suffixBytes;
        _keyRow = _row;
    }
}
