using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// Pages of a tree with right checksums and wrong content: whatever reads them ends, in an answer or in damage, within
/// the page's memory. Page code trusts what <see cref="PageGuard"/> has looked at and checks no offset again, so this
/// is where an oversight would be a read, or a write, of somebody else's memory.
/// </summary>
public sealed class TreeFuzzTests : IDisposable
{
    private readonly GuardedPages _pages = new();
    private readonly Dictionary<uint, byte[]> _good = [];
    private readonly List<byte[]> _keys;
    private readonly TreeRoot _root;
    private uint _page;

    public TreeFuzzTests()
    {
        using var tree = new ModelTree();
        var random = new Random(11);
        for (int merge = 0; merge < 2; merge++)
            tree.Merge(Rows(random));
        foreach (uint page in tree.Pages.Live)
            _good.Add(page, tree.Pages.Bytes(page).ToArray());
        (_root, _keys) = (tree.Root, [.. tree.Model.Keys.Where((_, i) => i % 60 == 0)]);
        Assert.Equal(3, _root.Height);
        foreach ((uint page, byte[] bytes) in _good)
            _pages.Put(page, bytes);
    }

    public void Dispose() => _pages.Dispose();

    [Fact]
    public void A_leaf_with_any_content_is_read_or_is_damage() => FuzzRun.Run(Target(PageKind.Leaf));

    [Fact]
    public void A_branch_with_any_content_is_read_or_is_damage() => FuzzRun.Run(Target(PageKind.Branch));

    [Fact]
    public void An_overflow_page_with_any_content_is_read_or_is_damage() => FuzzRun.Run(Target(PageKind.Overflow));

    // Groups of rows with long keys that have most of their bytes in common: separators between two of a group are
    // long, so that branches hold few children and the tree has three levels; and short ones, whose heads tie.
    private static IEnumerable<KeyValuePair<byte[], byte[]?>> Rows(Random random)
    {
        for (int group = 0; group < 16; group++)
        {
            var start = new byte[900];
            random.NextBytes(start);
            start.AsSpan(0, 4).Clear();
            start[3] = (byte)(1 + group % 2);
            for (int i = 0; i < 40; i++)
            {
                byte[] key = group % 5 == 4
                    ? [0, 0, 0, (byte)(1 + i % 2), 7, 7, 7, .. start.AsSpan(10, i % 7)]
                    : [.. start, (byte)i, (byte)(i * 37)];
                var value = new byte[i == 7 ? random.Next(2_001, 30_000) : random.Next(400)];
                random.NextBytes(value);
                yield return new KeyValuePair<byte[], byte[]?>(key, value);
            }
        }
    }

    // An input is the page's bytes; which page it replaces is told by its number field, which repair leaves alone.
    private FuzzTarget Target(PageKind kind) => new(
        $"{kind} page", [.. _good.Values.Where(page => PageLayout.Kind(page) == kind).Take(12)], Use,
        FuzzTarget.Only<DamageException>())
    {
        Mutate = MutatePage,
        Repair = page =>
        {
            PageChecksum.Stamp(page, _page, Math.Min(PageLayout.Generation(page), _root.Generation));
            return page;
        },
        FreeBytes = 4L * Limits.ValueBytesMax, // a changed reference to an overflowing value may ask for that much
        Rounds = kind == PageKind.Leaf ? 120 : 80,
    };

    private byte[] MutatePage(byte[] page, FuzzChance chance)
    {
        _page = PageLayout.Number(page);
        int arraysEnd = Math.Min(PageLayout.PageBytes, PageLayout.HeaderBytes + 10 * PageLayout.Count(page));
        return chance.Next(4) switch
        {
            0 => ByteMutator.MutateWithin(page, chance, PageLayout.KindAt, PageLayout.HeaderBytes),
            1 => ByteMutator.MutateWithin(page, chance, PageLayout.HeaderBytes, arraysEnd),
            2 => ByteMutator.MutateWithin(page, chance, PageLayout.KindAt, PageLayout.PageBytes),
            _ => MutateCell(page, chance),
        };
    }

    // The first bytes of a cell: its lengths.
    private static byte[] MutateCell(byte[] page, FuzzChance chance)
    {
        int count = PageLayout.Count(page);
        if (PageLayout.Kind(page) == PageKind.Overflow || count == 0)
            return ByteMutator.MutateWithin(page, chance, PageLayout.KindAt, PageLayout.PageBytes);
        int offsets = PageLayout.Kind(page) == PageKind.Leaf
            ? PageLayout.HeaderBytes + sizeof(uint) * count
            : BranchPage.ArraysEnd(count, page[PageLayout.FlagsAt] >> 4) - sizeof(ushort) * count;
        int at = BinaryPrimitives.ReadUInt16LittleEndian(page.AsSpan(offsets + sizeof(ushort) * chance.Next(count)));
        at = Math.Min(at, PageLayout.PageBytes - 16);
        return ByteMutator.MutateWithin(page, chance, at, at + 16);
    }

    private byte[]? Use(byte[] page, FuzzSteps steps)
    {
        uint number = _page == 0 ? PageLayout.Number(page) : _page;
        _pages.Put(number, page);
        _pages.Steps = steps;
        try
        {
            _ = TreeCheck.Run(_pages, _root);
            Allow(() => Walk(steps, forward: true));
            Allow(() => Walk(steps, forward: false));
            foreach (byte[] key in _keys)
                Allow(() => Find(key));
            Allow(() => Merge(steps, dropped: []));
            Allow(() => Merge(steps, dropped: [2]));
        }
        finally
        {
            _pages.Put(number, _good[number]);
            _page = 0;
        }
        return null;
    }

    private void Walk(FuzzSteps steps, bool forward)
    {
        var cursor = new TreeCursor(_pages, _root);
        for (bool has = forward ? cursor.SeekFirst() : cursor.SeekLast();
            has;
            has = forward ? cursor.Next() : cursor.Prev())
        {
            steps.Take();
            Use(cursor.Key, cursor.Value);
        }
    }

    private void Find(byte[] key)
    {
        if (BTree.TryGet(_pages, _root, key, out ValueRef value))
            Use(key, value);
        var cursor = new TreeCursor(_pages, _root);
        if (cursor.Seek(key))
            Use(cursor.Key, cursor.Value);
        if (cursor.SeekBefore(key))
            Use(cursor.Key, cursor.Value);
    }

    private static void Use(ReadOnlySpan<byte> key, ValueRef value)
    {
        // Every reader takes the table id off a key, and makes room for what the value says that it has.
        Assert.InRange(key.Length, OperationCodec.TableIdBytes, KeySlots.KeyBytesMax);
        Assert.InRange(value.LengthBytes, 0, Limits.ValueBytesMax);
        if (value.LengthBytes <= 1 << 20)
            _ = value.ToArray().Length;
    }

    private void Merge(FuzzSteps steps, uint[] dropped)
    {
        IEnumerable<KeyValuePair<byte[], byte[]?>> changes = _keys.Select(
            (key, i) => new KeyValuePair<byte[], byte[]?>(key, i % 3 == 0 ? null : [1]));
        TreeMerge.Run(
            _pages, _root, new ListedChanges(changes), dropped, new CountedSink(steps, _root.Generation + 1),
            CancellationToken.None);
    }

    private static void Allow(Action use)
    {
        try
        {
            use();
        }
        catch (DamageException)
        {
            // Told as what it is; the others are to be tried as well.
        }
    }

    /// <summary>Takes pages that must be sound themselves, whatever they were made of.</summary>
    private sealed class CountedSink(FuzzSteps steps, ulong generation) : IPageSink
    {
        private uint _next = 1 << 20;

        public ulong Generation => generation;

        public uint Allocate()
        {
            steps.Take();
            return _next++;
        }

        public unsafe void Write(uint number, Span<byte> page)
        {
            PageChecksum.Stamp(page, number, generation);
            fixed (byte* bytes = page)
                PageGuard.RequireLoaded("written", bytes, number, generation);
        }

        public void Free(uint number) => steps.Take();
    }
}
