using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class TreeMergeTests
{
    [Fact]
    public void Merging_nothing_into_an_empty_tree_gives_an_empty_tree()
    {
        using var tree = new ModelTree();
        tree.Merge([]);
        Assert.Equal(0, tree.Root.Height);
        Assert.Equal(0u, tree.Root.Page);
        tree.RequireEqual();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(50)]
    [InlineData(1_000)]
    [InlineData(60_000)]
    public void Sequential_keys_fill_leaves_and_are_all_found(int count)
    {
        using var tree = new ModelTree();
        tree.Merge(Enumerable.Range(0, count).Select(i => Put(Key(1, (ulong)i), new byte[100])));
        TreeReport report = tree.RequireEqual();
        Assert.True(report.Leaves <= count / 70 + 1, $"{report.Leaves} leaves");
        tree.Merge(Enumerable.Range(count, count).Select(i => Put(Key(1, (ulong)i), new byte[100])));
        tree.RequireEqual();
    }

    [Fact]
    public void Deleting_everything_shrinks_the_tree_to_nothing()
    {
        using var tree = new ModelTree();
        tree.Merge(Enumerable.Range(0, 50_000).Select(i => Put(Key(1, (ulong)i), new byte[50])));
        Assert.Equal(2, tree.Root.Height);
        tree.Merge(Enumerable.Range(0, 49_990).Select(i => Delete(Key(1, (ulong)i))));
        tree.RequireEqual();
        Assert.Equal(1, tree.Root.Height);
        tree.Merge(Enumerable.Range(0, 50_000).Select(i => Delete(Key(1, (ulong)i))));
        Assert.Equal(0, tree.Root.Height);
        Assert.Empty(tree.Pages.Live);
        tree.RequireEqual();
    }

    [Fact]
    public void A_small_change_writes_one_path_and_leaves_all_other_pages_alone()
    {
        using var tree = new ModelTree();
        tree.Merge(Enumerable.Range(0, 60_000).Select(i => Put(Key(1, (ulong)i), new byte[100])));
        int before = tree.Pages.PagesWritten;
        int live = tree.Pages.Live.Count;
        tree.Merge([Put(Key(1, 30_000), new byte[90])]);
        Assert.Equal(tree.Root.Height, tree.Pages.PagesWritten - before);
        Assert.Equal(live, tree.Pages.Live.Count);
        tree.RequireEqual();
    }

    [Fact]
    public void A_dropped_table_is_cut_without_reading_its_leaves()
    {
        using var tree = new ModelTree();
        tree.Merge(from table in new[] { 1, 2, 3 }
                   from i in Enumerable.Range(0, 80_000)
                   select Put(Key((uint)table, (ulong)i), new byte[100]));
        long leaves = tree.RequireEqual().Leaves;
        tree.Pages.PagesRead.Clear();
        tree.Merge([], 2);
        Assert.True(tree.Pages.PagesRead.Count < 20, $"{tree.Pages.PagesRead.Count} pages read for {leaves} leaves");
        tree.RequireEqual();
        tree.Merge([Put(Key(2, 5), [1]), Put(Key(1, 5), [2])], 2, 3, 7);
        Assert.Equal(80_000ul, tree.Root.Keys);
        tree.RequireEqual();
        tree.Merge([Put(Key(9, 1), [3])], 1);
        Assert.Equal(1, tree.Root.Height);
        tree.RequireEqual();
    }

    [Fact]
    public void Leaves_that_changes_need_are_asked_for_before()
    {
        using var tree = new ModelTree();
        tree.Merge(Enumerable.Range(0, 60_000).Select(i => Put(Key(1, (ulong)i), new byte[100])));
        int asked = tree.Pages.PagesAskedFor;
        tree.Merge(Enumerable.Range(0, 600).Select(i => Put(Key(1, (ulong)i * 100), new byte[90])));
        Assert.True(tree.Pages.PagesAskedFor - asked >= 590);
        tree.RequireEqual();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2000)]
    [InlineData(2001)]
    [InlineData(8160)]
    [InlineData(8161)]
    [InlineData(16_316)]
    [InlineData(16_317)]
    [InlineData(2040 * 8160)]
    [InlineData(2040 * 8160 + 1)]
    [InlineData(40 << 20)]
    public void A_value_of_any_length_comes_back_and_goes_whole(int bytes)
    {
        using var tree = new ModelTree();
        var value = new byte[bytes];
        new Random(bytes).NextBytes(value);
        tree.Merge([Put(Key(1, 1), value), Put(Key(1, 2), [7])]);
        tree.RequireEqual();
        Assert.True(BTree.TryGet(tree.Pages, tree.Root, Key(1, 1), out ValueRef found));
        Assert.Equal(bytes <= LeafPage.InlineValueBytesMax, found.IsInline);
        tree.Merge([Put(Key(1, 3), [7])]);
        tree.RequireEqual();
        tree.Merge([Put(Key(1, 1), [8])]);
        tree.RequireEqual();
        Assert.Single(tree.Pages.Live);
    }

    /// <summary>
    /// Merges of every shape against a sorted dictionary: keys up to 1028 bytes, values up to 200 KiB, deletes, dropped
    /// tables. After each merge: same rows, every invariant, and reachable pages are those allocated and not freed.
    /// </summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_tree_holds_what_its_model_holds_after_any_merges(int seed)
    {
        var random = new Random(seed);
        using var tree = new ModelTree();
        var shape = new Shape(random);
        int merges = random.Next(4, 14);
        for (int merge = 0; merge < merges; merge++)
        {
            var changes = new List<KeyValuePair<byte[], byte[]?>>();
            int count = random.Next(5) == 0 ? random.Next(4) : random.Next(1, shape.ChangesMax);
            int deletePercent = random.Next(3) == 0 ? 90 : random.Next(40);
            List<byte[]> known = [.. tree.Model.Keys];
            ulong run = (ulong)random.Next(1 << 20);
            for (int i = 0; i < count; i++)
            {
                bool isDelete = random.Next(100) < deletePercent;
                byte[] key = isDelete && known.Count > 0 && random.Next(10) != 0
                    ? known[(int)((shape.ClustersDeletes ? run + (ulong)i : (uint)random.Next()) % (uint)known.Count)]
                    : shape.NextKey(run + (ulong)i);
                changes.Add(isDelete ? Delete(key) : Put(key, shape.NextValue()));
            }
            uint[] dropped = random.Next(4) == 0
                ? [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => shape.NextTable())]
                : [];
            tree.Merge(changes, dropped);
            tree.RequireEqual(shape.HasLongKeys);
            RequireSeeks(tree, random, shape);
        }
    }

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 60)];

    [Fact]
    public void A_merge_that_is_cancelled_leaves_the_old_tree_as_it_was()
    {
        using var tree = new ModelTree();
        tree.Merge(Enumerable.Range(0, 10_000).Select(i => Put(Key(1, (ulong)i), new byte[100])));
        using var cancelled = new CancellationTokenSource();
        int leaves = 0;
        Assert.Throws<OperationCanceledException>(() => TreeMerge.Run(
            tree.Pages, tree.Root,
            new ListedChanges(Enumerable.Range(0, 10_000).Select(i => Put(Key(1, (ulong)i), [1]))), [],
            tree.Pages, cancelled.Token, () =>
            {
                if (++leaves == 20)
                    cancelled.Cancel();
            }));
        tree.Pages.DropFlush();
        tree.RequireEqual();
    }

    [Fact]
    public void Changes_that_do_not_ascend_are_refused_before_they_reach_a_page()
    {
        using var pages = new MemoryPages();
        Assert.Throws<BugException>(() => TreeMerge.Run(
            pages, TreeRoot.Empty(0), new ListedChanges([Put(Key(1, 2), [1]), Put(Key(1, 2), [1])]), [], pages,
            CancellationToken.None));
    }

    private static void RequireSeeks(ModelTree tree, Random random, Shape shape)
    {
        List<byte[]> keys = [.. tree.Model.Keys];
        var cursor = new TreeCursor(tree.Pages, tree.Root);
        for (int i = 0; i < 40; i++)
        {
            byte[] key = keys.Count > 0 && random.Next(2) == 0
                ? keys[random.Next(keys.Count)]
                : shape.NextKey((ulong)random.Next(1 << 21));
            int at = keys.BinarySearch(key, KeyOrder.Instance);
            Assert.Equal(at >= 0, BTree.TryGet(tree.Pages, tree.Root, key, out ValueRef value));
            if (at >= 0)
                Assert.True(tree.Model[key].AsSpan().SequenceEqual(value.ToArray()));
            int from = at < 0 ? ~at : at;
            RequireRow(cursor, cursor.Seek(key), keys, from);
            RequireRow(cursor, cursor.SeekBefore(key), keys, from - 1);
            if (!cursor.HasRow)
                continue;
            int row = from - 1;
            for (int step = random.Next(150); step > 0 && row > 0 && row < keys.Count - 1; step--)
            {
                if (random.Next(4) == 0)
                    cursor.Suspend();
                bool forward = random.Next(3) == 0;
                row += forward ? 1 : -1;
                RequireRow(cursor, forward ? cursor.Next() : cursor.Prev(), keys, row);
            }
        }
        RequireRow(cursor, cursor.SeekLast(), keys, keys.Count - 1);
        for (int row = keys.Count - 2; row >= -1; row--)
            RequireRow(cursor, cursor.Prev(), keys, row);
        Assert.False(cursor.Prev());
        Assert.False(cursor.Next());
    }

    private static void RequireRow(TreeCursor cursor, bool hasRow, List<byte[]> keys, int row)
    {
        Assert.Equal(row >= 0 && row < keys.Count, hasRow);
        Assert.Equal(hasRow, cursor.HasRow);
        if (hasRow)
            Assert.True(cursor.Key.SequenceEqual(keys[row]), $"the cursor is not on row {row}");
    }

    private static byte[] Key(uint table, ulong number)
    {
        var key = new byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(key, table);
        BinaryPrimitives.WriteUInt64BigEndian(key.AsSpan(4), number);
        return key;
    }

    private static KeyValuePair<byte[], byte[]?> Put(byte[] key, byte[] value) => new(key, value);

    private static KeyValuePair<byte[], byte[]?> Delete(byte[] key) => new(key, null);

    /// <summary>What keys and values of one run look like.</summary>
    private sealed class Shape(Random random)
    {
        private readonly int _keys = random.Next(6);
        private readonly int _values = random.Next(5);
        private readonly uint _tables = (uint)random.Next(1, 6);
        private readonly uint _firstTable = random.Next(2) == 0 ? 1u : 254u;
        private readonly byte[] _common = Bytes(random, random.Next(900, 1001));

        public int ChangesMax { get; } = new[] { 10, 300, 3_000, 8_000 }[random.Next(4)];

        public bool ClustersDeletes { get; } = random.Next(2) == 0;

        public bool HasLongKeys => _keys is 3 or 5;

        public uint NextTable() => _firstTable + (uint)random.Next((int)_tables + 1);

        public byte[] NextKey(ulong sequence)
        {
            byte[] user = _keys switch
            {
                0 => Big(sequence, 8),
                1 => Bytes(random, 8),
                2 => Bytes(random, random.Next(0, 7)),
                3 => [.. _common, .. Big(sequence, 3), .. Bytes(random, random.Next(0, 22))],
                4 => [.. new byte[random.Next(0, 12)], .. Bytes(random, random.Next(0, 2))],
                _ => random.Next(8) == 0
                    ? Bytes(random, random.Next(0, 1025))
                    : [.. "user:"u8, .. Big((ulong)random.Next(1 << 16), 4)],
            };
            var key = new byte[4 + user.Length];
            BinaryPrimitives.WriteUInt32BigEndian(key, _firstTable + (uint)random.Next((int)_tables));
            user.CopyTo(key, 4);
            return key;
        }

        public byte[] NextValue() => Bytes(random, _values switch
        {
            0 => 0,
            1 => 100,
            2 => random.Next(0, 400),
            3 => random.Next(1900, 2100),
            _ => random.Next(200) == 0 ? random.Next(200 << 10) : random.Next(0, 2500),
        });

        private static byte[] Big(ulong number, int bytes)
        {
            var eight = new byte[8];
            BinaryPrimitives.WriteUInt64BigEndian(eight, number);
            return eight[(8 - bytes)..];
        }

        private static byte[] Bytes(Random random, int count)
        {
            var bytes = new byte[count];
            random.NextBytes(bytes);
            return bytes;
        }
    }
}
