using System.Buffers.Binary;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>
/// What reading does with bytes that are not what was written: it names the page, and neither crashes, hangs nor reads
/// outside of it.
/// </summary>
public sealed class TreeDamageTests
{
    [Fact]
    public void Every_flipped_bit_of_a_page_is_found_by_its_checksum()
    {
        using ModelTree tree = SomeTree();
        var random = new Random(1);
        uint[] pages = [.. tree.Pages.Live];
        for (int i = 0; i < 2_000; i++)
        {
            uint page = pages[random.Next(pages.Length)];
            Span<byte> bytes = tree.Pages.Bytes(page);
            int at = random.Next(PageLayout.PageBytes);
            byte bit = (byte)(1 << random.Next(8));
            bytes[at] ^= bit;
            DamageException damage = Assert.Throws<DamageException>(() => Touch(tree, page));
            Assert.Equal(ErrorCode.PageChecksum, damage.Code);
            Assert.Contains($"Page {page} of", damage.Message, StringComparison.Ordinal);
            Assert.Equal((long)page * PageLayout.PageBytes, damage.Offset);
            bytes[at] ^= bit;
        }
        tree.RequireEqual();
    }

    [Fact]
    public void A_page_in_the_place_of_another_is_found_by_its_number()
    {
        using ModelTree tree = SomeTree();
        uint[] pages = [.. tree.Pages.Live.Take(2)];
        tree.Pages.Bytes(pages[0]).CopyTo(tree.Pages.Bytes(pages[1]));
        DamageException damage = Assert.Throws<DamageException>(() => Touch(tree, pages[1]));
        Assert.Equal(ErrorCode.PageMisplaced, damage.Code);
    }

    [Fact]
    public void A_page_of_a_later_generation_than_the_root_is_damage()
    {
        using ModelTree tree = SomeTree();
        TreeRoot older = tree.Root with { Generation = tree.Root.Generation - 1 };
        DamageException damage = Assert.Throws<DamageException>(
            () => BTree.TryGet(tree.Pages, older, [0, 0, 0, 1], out _));
        Assert.Equal(ErrorCode.PageMisplaced, damage.Code);
    }

    /// <summary>
    /// Bytes changed at random and the checksum made to match: every way of reading ends, in an answer or in damage,
    /// and never outside of the page.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_page_with_a_valid_checksum_and_a_wrong_structure_does_no_harm(int seed)
    {
        using ModelTree tree = SomeTree();
        var random = new Random(seed);
        uint[] pages = [.. tree.Pages.Live];
        var saved = new byte[PageLayout.PageBytes];
        for (int i = 0; i < 60; i++)
        {
            uint page = pages[random.Next(pages.Length)];
            Span<byte> bytes = tree.Pages.Bytes(page);
            bytes.CopyTo(saved);
            for (int change = random.Next(1, 4); change > 0; change--)
                Scramble(bytes, random);
            PageChecksum.Stamp(bytes, page, PageLayout.Generation(saved));
            ReadEverything(tree);
            saved.CopyTo(tree.Pages.Bytes(page));
        }
        tree.RequireEqual();
    }

    [Fact]
    public void A_branch_that_names_an_ancestor_ends_as_damage()
    {
        using ModelTree tree = SomeTree();
        uint branch = tree.Pages.Live.First(page =>
            PageLayout.Kind(tree.Pages.Bytes(page)) == PageKind.Branch && page != tree.Root.Page);
        Span<byte> bytes = tree.Pages.Bytes(branch);
        int childAt = PageLayout.HeaderBytes + sizeof(uint) * PageLayout.Count(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[childAt..], tree.Root.Page);
        PageChecksum.Stamp(bytes, branch, PageLayout.Generation(bytes));
        TreeReport report = TreeCheck.Run(tree.Pages, tree.Root);
        Assert.Contains(
            report.Problems, problem => problem.What == "is reached twice" && problem.Page == tree.Root.Page);
        Assert.Throws<DamageException>(() =>
        {
            var cursor = new TreeCursor(tree.Pages, tree.Root);
            for (bool hasRow = cursor.SeekFirst(); hasRow; hasRow = cursor.Next())
                Assert.True(cursor.HasRow);
        });
    }

    [Fact]
    public void A_check_names_every_damaged_page_and_goes_on_beside_it()
    {
        using ModelTree tree = SomeTree();
        uint[] leaves =
            [.. tree.Pages.Live.Where(page => PageLayout.Kind(tree.Pages.Bytes(page)) == PageKind.Leaf).Take(3)];
        foreach (uint leaf in leaves)
            tree.Pages.Bytes(leaf)[4000] ^= 1;
        TreeReport report = TreeCheck.Run(tree.Pages, tree.Root);
        Assert.Equal(leaves.Order(), report.Problems.Select(problem => problem.Page).Order());
        Assert.True(report.Leaves > 10);
    }

    [Fact]
    public void A_merge_over_a_damaged_page_throws_and_leaves_the_root_usable()
    {
        using ModelTree tree = SomeTree();
        uint leaf = tree.Pages.Live.First(page => PageLayout.Kind(tree.Pages.Bytes(page)) == PageKind.Leaf);
        tree.Pages.Bytes(leaf)[5000] ^= 1;
        KeyValuePair<byte[], byte[]?>[] all =
            [.. tree.Model.Keys.Select(key => new KeyValuePair<byte[], byte[]?>(key, null))];
        Assert.Throws<DamageException>(() =>
            TreeMerge.Run(tree.Pages, tree.Root, new ListedChanges(all), [], tree.Pages, CancellationToken.None));
        tree.Pages.DropFlush();
        tree.Pages.Bytes(leaf)[5000] ^= 1;
        tree.RequireEqual();
    }

    private static ModelTree SomeTree()
    {
        var tree = new ModelTree();
        var random = new Random(7);
        for (int merge = 0; merge < 2; merge++)
        {
            tree.Merge(Enumerable.Range(0, 12_000).Select(i =>
            {
                var key = new byte[4 + random.Next(4, 40)];
                random.NextBytes(key.AsSpan(4));
                key[3] = (byte)random.Next(1, 3);
                var value = new byte[i % 1_000 == 0 ? random.Next(3_000, 50_000) : random.Next(1_200)];
                random.NextBytes(value);
                return new KeyValuePair<byte[], byte[]?>(key, value);
            }));
        }
        Assert.Equal(3, tree.Root.Height);
        return tree;
    }

    private static unsafe void Touch(ModelTree tree, uint page) => _ = *tree.Pages.Page(page, tree.Root.Generation);

    // Mostly where structure is: header, slots, and the places that the slots point to.
    private static void Scramble(Span<byte> page, Random random)
    {
        switch (random.Next(5))
        {
            case 0:
                page[random.Next(PageLayout.KindAt, PageLayout.HeaderBytes)] = (byte)random.Next(256);
                break;
            case 1:
                page[random.Next(PageLayout.HeaderBytes, 1_200)] = (byte)random.Next(256);
                break;
            case 2:
                int offsetsAt = PageLayout.HeaderBytes + sizeof(uint) * PageLayout.Count(page);
                int at = BinaryPrimitives.ReadUInt16LittleEndian(page[(offsetsAt % 8_000)..]);
                if (at < PageLayout.PageBytes - 8)
                    random.NextBytes(page.Slice(at, random.Next(1, 8)));
                break;
            case 3:
                ushort count = (ushort)random.Next(ushort.MaxValue + 1);
                BinaryPrimitives.WriteUInt16LittleEndian(page[PageLayout.CountAt..], count);
                break;
            default:
                page[random.Next(PageLayout.PageBytes)] = (byte)random.Next(256);
                break;
        }
    }

    private static void ReadEverything(ModelTree tree)
    {
        _ = TreeCheck.Run(tree.Pages, tree.Root);
        Allow(() =>
        {
            var cursor = new TreeCursor(tree.Pages, tree.Root);
            for (bool hasRow = cursor.SeekFirst(); hasRow; hasRow = cursor.Next())
                _ = cursor.Key.Length + cursor.Value.LengthBytes;
        });
        Allow(() =>
        {
            var cursor = new TreeCursor(tree.Pages, tree.Root);
            for (bool hasRow = cursor.SeekLast(); hasRow; hasRow = cursor.Prev())
                _ = cursor.Key.Length + cursor.Value.LengthBytes;
        });
        foreach (byte[] key in tree.Model.Keys.Where((_, i) => i % 400 == 0))
        {
            Allow(() =>
            {
                if (BTree.TryGet(tree.Pages, tree.Root, key, out ValueRef value))
                    _ = value.ToArray();
            });
        }
        Allow(() =>
        {
            using var pages = new UncheckedSink(tree.Root.Generation + 1);
            var changes = tree.Model.Keys.Where((_, i) => i % 50 == 0)
                .Select(key => new KeyValuePair<byte[], byte[]?>(key, [1]));
            TreeMerge.Run(tree.Pages, tree.Root, new ListedChanges(changes), [2], pages, CancellationToken.None);
        });
    }

    private static void Allow(Action read)
    {
        try
        {
            read();
        }
        catch (DamageException damage)
        {
            Assert.Contains("Page ", damage.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Takes pages and frees without account: a damaged tree may name a page twice.</summary>
    private sealed class UncheckedSink(ulong generation) : IPageSink, IDisposable
    {
        private uint _next = 1 << 20;

        public ulong Generation => generation;

        public uint Allocate() => _next++;

        public void Write(uint number, Span<byte> page) => Assert.Equal(PageLayout.PageBytes, page.Length);

        public void Free(uint number) => Assert.True(number >= PageLayout.FirstPage);

        public void Dispose()
        {
        }
    }
}
