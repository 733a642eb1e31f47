using Pitr.Storage;

namespace Pitr.Tests;

public sealed class FreePagesTests
{
    [Fact]
    public void Bits_find_runs_across_words()
    {
        var bits = new PageBits();
        bits.Add(5, 3);
        bits.Add(60, 200);
        bits.Add(1000);
        Assert.Equal(204, bits.Count);
        Assert.Equal(3, bits.CountRuns());
        Assert.Equal([(5u, 3u), (60u, 200u), (1000u, 1u)], RunsOf(bits));
        bits.Remove(100, 64);
        Assert.Equal([(5u, 3u), (60u, 40u), (164u, 96u), (1000u, 1u)], RunsOf(bits));
        Assert.Equal(4, bits.CountRuns());
        Assert.True(bits.NextRun(70, out uint first, out uint count));
        Assert.Equal((70u, 30u), (first, count));
    }

    [Fact]
    public void A_page_is_in_one_state_only()
    {
        var bits = new PageBits();
        bits.Add(10, 10);
        Assert.Throws<BugException>(() => bits.Add(19, 2));
        Assert.Throws<BugException>(() => bits.Remove(19, 2));
        Assert.Throws<BugException>(() => bits.Remove(5000));
    }

    [Fact]
    public void Bits_equal_a_set_over_random_changes()
    {
        var random = new Random(7);
        var bits = new PageBits();
        var set = new SortedSet<uint>();
        for (int i = 0; i < 3000; i++)
        {
            uint page = (uint)random.Next(500);
            if (set.Add(page))
                bits.Add(page);
            else if (set.Remove(page))
                bits.Remove(page);
            Assert.Equal(set.Contains(page), bits.Contains(page));
        }
        Assert.Equal(
            set, RunsOf(bits).SelectMany(run => Enumerable.Range((int)run.First, (int)run.Count).Select(n => (uint)n)));
        Assert.Equal(RunsOf(bits).Count, bits.CountRuns());
    }

    [Fact]
    public void A_flush_takes_long_runs_first_and_grows_the_file_before_it_takes_scattered_pages()
    {
        FreePages free = Loaded(1000, new PageRun(10, 5), new PageRun(100, 300), new PageRun(600, 31));
        free.Begin();
        Assert.Equal(new PageRun(100, 128), free.Take());
        Assert.Equal(new PageRun(228, 128), free.Take());
        Assert.Equal(new PageRun(356, 44), free.Take());
        Assert.Equal(new PageRun(1000, 128), free.Take());
        Assert.Equal(1128u, free.PageCount);
    }

    [Fact]
    public void Scattered_pages_are_taken_when_a_quarter_of_the_file_is_free()
    {
        PageRun[] runs = [.. Enumerable.Range(0, 300).Select(i => new PageRun((uint)(10 + i * 3), 2))];
        FreePages free = Loaded(1000, runs);
        free.Begin();
        int taken = 0;
        while (free.PageCount == 1000)
        {
            if (free.Take() is { Count: 2 })
                taken++;
        }
        Assert.InRange(taken, 150, 180);
    }

    /// <summary>F4, H12: what a flush freed is not taken before it was released.</summary>
    [Fact]
    public void A_freed_page_waits_until_it_is_released()
    {
        FreePages free = Loaded(1000);
        free.Begin();
        for (uint page = 100; page < 200; page++)
            Assert.True(free.TryFree(page));
        List<uint> chain = free.EndWithChain();
        Assert.Equal([1000u], chain);
        Assert.Equal(100, free.FreeCount);
        uint[] waiting = free.Complete(chain);
        Assert.Equal(100, free.WaitingPages);
        free.Begin();
        Assert.Equal(1001u, free.Take().First);
        free.Drop();
        free.Release(waiting);
        Assert.Equal(0, free.WaitingPages);
        free.Begin();
        Assert.Equal(new PageRun(100, 100), free.Take());
    }

    [Fact]
    public void A_page_is_freed_once()
    {
        FreePages free = Loaded(1000, new PageRun(10, 5));
        free.Begin();
        uint taken = free.Take().First;
        Assert.False(free.TryFree(12)); // listed as free
        Assert.False(free.TryFree(1)); // a meta page
        Assert.False(free.TryFree(1000)); // beyond the end
        Assert.False(free.TryFree(taken)); // this flush writes it
        Assert.True(free.TryFree(20));
        Assert.False(free.TryFree(20));
        free.Drop();
        free.Begin();
        Assert.True(free.TryFree(20));
    }

    [Fact]
    public void A_dropped_flush_leaves_everything_as_it_was()
    {
        FreePages free = Loaded(1000, new PageRun(10, 50), new PageRun(900, 100));
        for (int round = 0; round < 3; round++)
        {
            free.Begin();
            PageRun first = free.Take();
            PageRun second = free.Take();
            PageRun third = free.Take();
            Assert.Equal(1000u, third.First);
            free.GiveBack(new PageRun(third.First + 1, third.Count - 1));
            for (uint page = 200; page < 300; page++)
                Assert.True(free.TryFree(page));
            if (round > 0)
                free.EndWithChain();
            Assert.Equal(first.Count + second.Count + 1, (uint)free.Drop().Length - (round > 0 ? 1u : 0u));
            Assert.Equal(150, free.FreeCount);
            Assert.Equal(150, free.AvailableCount);
            Assert.Equal(1000u, free.PageCount);
        }
    }

    /// <summary>H41: only what nobody can read is cut off; a page that waits keeps the file long.</summary>
    [Fact]
    public void Only_available_pages_are_cut_off_the_end()
    {
        FreePages free = Loaded(1000, new PageRun(500, 100), new PageRun(800, 200));
        free.Begin();
        Assert.True(free.TryFree(799));
        List<uint> chain = free.EndWithChain();
        Assert.Equal(800u, free.PageCount);
        Assert.Equal([500u], chain);
        uint[] waiting = free.Complete(chain);
        free.Begin();
        free.EndWithChain();
        Assert.Equal(800u, free.PageCount);
        free.Drop();
        free.Release(waiting);
        free.Begin();
        free.EndWithChain();
        Assert.Equal(799u, free.PageCount);
    }

    [Fact]
    public void A_chain_has_room_for_all_runs_whatever_it_takes_itself()
    {
        for (int runs = FreeChain.RunsPerPage - 2; runs < FreeChain.RunsPerPage + 3; runs++)
        {
            FreePages free =
                Loaded(50_000, [.. Enumerable.Range(0, runs).Select(i => new PageRun((uint)(10 + i * 3), 1))]);
            free.Begin();
            for (uint page = 40_000; page < 40_010; page += 2)
                Assert.True(free.TryFree(page));
            List<uint> chain = free.EndWithChain();
            byte[] bytes = new byte[PageLayout.PageBytes];
            uint from = 0;
            foreach (uint _ in chain)
                from = FreeChain.Fill(bytes, free.Listed, from, next: 0);
            Assert.False(free.Listed.NextRun(from, out _, out _));
        }
    }

    /// <summary>Pages of the chain that lie between waiting ones split the run that lists them.</summary>
    [Fact]
    public void A_chain_has_room_for_the_runs_that_its_own_pages_split()
    {
        for (int runs = FreeChain.RunsPerPage - 3; runs < FreeChain.RunsPerPage + 3; runs++)
        {
            FreePages free = Loaded(50_000, [new PageRun(11, 1), new PageRun(31, 1)]);
            free.Begin();
            foreach (uint page in new uint[] { 10, 12, 30, 32 })
                Assert.True(free.TryFree(page));
            for (uint i = 0; i < runs - 2; i++)
                Assert.True(free.TryFree(1000 + i * 2));
            List<uint> chain = free.EndWithChain();
            Assert.InRange(free.Listed.CountRuns(), 1, (long)chain.Count * FreeChain.RunsPerPage);
            Assert.Equal(chain.Order(), chain);
        }
    }

    private static FreePages Loaded(uint pageCount, params PageRun[] runs)
    {
        var free = new FreePages(pageCount);
        free.Load(new FreeChainContent(runs, []));
        return free;
    }

    private static List<(uint First, uint Count)> RunsOf(PageBits bits)
    {
        List<(uint, uint)> runs = [];
        uint from = 0;
        while (bits.NextRun(from, out uint first, out uint count))
        {
            runs.Add((first, count));
            from = first + count;
        }
        return runs;
    }
}
