using Pitr.Storage;

namespace Pitr.Tests;

public sealed unsafe class PageCacheTests : IDisposable
{
    private readonly EpochTable _epochs = new();
    private readonly MemoryFile _disk = new();
    private readonly PageCache _cache;
    private readonly PagedFile _file;

    public PageCacheTests()
    {
        _cache = new PageCache(PageCache.BudgetBytesMin, _epochs);
        _file = _cache.OpenFile(_disk, "orders");
    }

    public void Dispose()
    {
        _file.Dispose();
        _cache.Dispose();
        _disk.Dispose();
    }

    [Fact]
    public void A_page_is_read_from_disk_once()
    {
        byte[] written = _disk.WritePage(7, 3);
        using EpochGuard guard = _epochs.Enter();
        byte* first = _file.Page(7, 3);
        byte* second = _file.Page(7, 5);
        Assert.True(first == second);
        Assert.True(new ReadOnlySpan<byte>(first, PageLayout.PageBytes).SequenceEqual(written));
        Assert.Equal(1, _disk.Reads);
    }

    [Fact]
    public void A_page_with_a_wrong_checksum_is_refused_at_each_read()
    {
        _disk.WritePage(7, 3);
        _disk.Write(7 * PageLayout.PageBytes + 100, [99]);
        for (int i = 0; i < 2; i++)
            Assert.Equal(ErrorCode.PageChecksum, Read(7, 3)!.Code);
    }

    [Fact]
    public void A_page_written_to_another_place_is_refused()
    {
        _disk.Write(8 * PageLayout.PageBytes, MemoryFile.PageOf(7, 3));
        Assert.Equal(ErrorCode.PageMisplaced, Read(8, 3)!.Code);
    }

    [Fact]
    public void A_page_beyond_the_end_of_the_file_is_refused() =>
        Assert.Equal(ErrorCode.PageChecksum, Read(1000, 3)!.Code);

    /// <summary>A page from a generation above that of the root is damage, on disk and in the cache.</summary>
    [Fact]
    public void A_page_newer_than_the_root_is_refused()
    {
        _disk.WritePage(7, 4);
        Assert.Equal(ErrorCode.PageMisplaced, Read(7, 3)!.Code);
        Assert.Null(Read(7, 4));
        Assert.Equal(ErrorCode.PageMisplaced, Read(7, 3)!.Code);
    }

    [Fact]
    public void An_installed_page_takes_the_place_of_the_old_one()
    {
        _disk.WritePage(7, 3);
        Assert.Null(Read(7, 3));
        _file.Install(7, _disk.WritePage(7, 9));
        using EpochGuard guard = _epochs.Enter();
        Assert.Equal(9UL, PageLayout.Generation(_file.Page(7, 9)));
        Assert.Equal(1, _disk.Reads);
    }

    [Fact]
    public void A_forgotten_page_is_read_again()
    {
        _disk.WritePage(7, 3);
        Assert.Null(Read(7, 3));
        _file.Forget(7);
        _disk.WritePage(7, 9);
        using EpochGuard guard = _epochs.Enter();
        Assert.Equal(9UL, PageLayout.Generation(_file.Page(7, 9)));
    }

    /// <summary>H12: a page that a reader holds keeps its bytes, whatever becomes of its place.</summary>
    [Fact]
    public void A_page_keeps_its_bytes_as_long_as_a_reader_may_look_at_it()
    {
        byte[] written = _disk.WritePage(7, 3);
        for (uint n = 100; n < 3000; n++)
            _disk.WritePage(n, 1);
        using (_epochs.Enter())
        {
            byte* page = _file.Page(7, 3);
            _file.Forget(7);
            for (uint n = 100; n < 3000; n++)
                _file.Page(n, 1);
            Assert.True(new ReadOnlySpan<byte>(page, PageLayout.PageBytes).SequenceEqual(written));
            Assert.True(_cache.HeldBytes > _cache.BudgetBytes); // readers never wait for frames
        }
        for (uint i = 0; i < 9000; i++) // the clock's hand has to pass them
            Assert.Null(Read(100 + i % 2900, 1));
        Assert.True(_cache.HeldBytes <= _cache.BudgetBytes, $"{_cache.HeldBytes} are held.");
    }

    [Fact]
    public void Pages_in_use_survive_a_scan_through_a_file_larger_than_the_budget()
    {
        const uint Hot = 100, All = 4000;
        for (uint n = 2; n < All; n++)
            _disk.WritePage(n, 1);
        for (uint n = 2; n < All; n++)
        {
            Assert.Null(Read(n, 1));
            Assert.Null(Read(2 + n % Hot, 1));
        }
        Assert.True(_cache.Evictions > 2000);
        Assert.True(_cache.Loads < All + 3 * Hot, $"{_cache.Loads} loads.");
    }

    /// <summary>What nobody waits for is left out when readers keep every frame from being reused.</summary>
    [Fact]
    public void Pages_written_or_read_ahead_take_no_memory_beyond_the_budget()
    {
        const uint All = 3000;
        for (uint n = 0; n < All; n++)
            _disk.WritePage(n, 1);
        using (_epochs.Enter())
        {
            for (uint n = 0; n < All; n++)
                _file.Install(n, MemoryFile.PageOf(n, 1));
            _file.Prefetch([.. Enumerable.Range(0, (int)All).Select(n => (uint)n)], 1);
        }

        _epochs.AwaitAll();
        Assert.True(_cache.HeldBytes <= _cache.BudgetBytes, $"{_cache.HeldBytes} are held.");
        for (uint n = 0; n < All; n++)
            Assert.Null(Read(n, 1));
    }

    /// <summary>
    /// H12: a page whose place was used again is never seen as it was, also if there is no room for it.
    /// </summary>
    [Fact]
    public void A_page_that_is_written_again_without_room_in_the_cache_is_not_seen_as_it_was()
    {
        const uint All = 600;
        Assert.True(All * PageLayout.PageBytes > _cache.BudgetBytes);
        using (_epochs.Enter())
        {
            for (uint n = 0; n < All; n++)
                _file.Install(n, _disk.WritePage(n, 1));
            for (uint n = 0; n < All; n++)
                _file.Install(n, _disk.WritePage(n, 2));
        }

        _epochs.AwaitAll();
        for (uint n = All; n-- > 0;) // those that are still in the cache first
        {
            using EpochGuard guard = _epochs.Enter();
            Assert.Equal(2UL, PageLayout.Generation(_file.Page(n, 2)));
        }
    }

    [Fact]
    public void A_prefetch_reads_neighbours_with_one_call()
    {
        for (uint n = 10; n < 26; n++)
            _disk.WritePage(n, 1);
        using (_epochs.Enter())
            _file.Prefetch([.. Enumerable.Range(10, 16).Select(n => (uint)n)], 1);
        _epochs.AwaitAll();
        Assert.Equal(1, _disk.Reads);
        for (uint n = 10; n < 26; n++)
            Assert.Null(Read(n, 1));
        Assert.Equal(1, _disk.Reads);
    }

    /// <summary>Design §4: at least 16 leaf reads are in flight, on a machine of any size.</summary>
    [Fact]
    public void All_reads_of_a_prefetch_are_begun_before_the_first_has_ended()
    {
        uint[] everySecond = [.. Enumerable.Range(0, 32).Select(n => 10 + 2 * (uint)n)];
        foreach (uint n in everySecond)
            _disk.WritePage(n, 1);
        using var gate = new ManualResetEventSlim();
        _disk.OnRead = () => Assert.True(gate.Wait(TimeSpan.FromSeconds(30)));
        using (_epochs.Enter())
            _file.Prefetch(everySecond, 1);
        Assert.Equal(
            everySecond.Select(n => ((long)n * PageLayout.PageBytes, (long)PageLayout.PageBytes)), _disk.StartedReads);
        gate.Set();
        _epochs.AwaitAll();
        Assert.Equal(32, _disk.Reads);
    }

    [Fact]
    public void A_prefetch_of_a_damaged_page_is_silent_and_its_reader_is_told()
    {
        _disk.WritePage(10, 1);
        using (_epochs.Enter())
            _file.Prefetch([10, 11, 40], 1);
        _epochs.AwaitAll();
        Assert.Null(Read(10, 1));
        Assert.Equal(ErrorCode.PageChecksum, Read(11, 1)!.Code);
    }

    /// <summary>
    /// H41: whoever reads a file after its owner closed it gets a typed error, never memory of another page.
    /// </summary>
    [Fact]
    public void A_closed_file_gives_no_pages()
    {
        _disk.WritePage(7, 3);
        Assert.Null(Read(7, 3));
        _file.Dispose();
        Assert.Equal(ErrorCode.SnapshotTooOld, Read(7, 3)!.Code);
    }

    [Fact]
    public void Many_readers_see_right_pages_while_they_are_evicted()
    {
        const int Pages = 1500;
        for (uint n = 0; n < Pages; n++)
            _disk.WritePage(n, n % 200);
        Parallel.For(0, 3, seed =>
        {
            var random = new Random(seed);
            for (int i = 0; i < 20_000; i++)
                RequireRightPage((uint)random.Next(Pages));
        });
        Assert.True(_cache.Evictions > 0);
    }

    private void RequireRightPage(uint number)
    {
        using EpochGuard guard = _epochs.Enter();
        byte* page = _file.Page(number, 200);
        Assert.Equal(number, PageLayout.Number(page));
        Assert.Equal((byte)(number % 200), page[PageLayout.PageBytes - 1]);
    }

    private PitrException? Read(uint number, ulong generation)
    {
        using EpochGuard guard = _epochs.Enter();
        try
        {
            _file.Page(number, generation);
            return null;
        }
        catch (PitrException failure)
        {
            return failure;
        }
    }
}
