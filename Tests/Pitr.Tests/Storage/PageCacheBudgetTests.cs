using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>C3: what reads take beyond the budget goes back, and nothing keeps it that nobody waits for.</summary>
public sealed unsafe class PageCacheBudgetTests : IDisposable
{
    private const uint Pages = 3000;

    private readonly FullPool _pool = new();
    private readonly EpochTable _epochs;
    private readonly MemoryFile _disk = new();
    private readonly PageCache _cache;
    private readonly PagedFile _file;

    public PageCacheBudgetTests()
    {
        _epochs = new EpochTable(_pool);
        _cache = new PageCache(PageCache.BudgetBytesMin, _epochs);
        _file = _cache.OpenFile(_disk, "orders");
        for (uint n = 0; n < Pages; n++)
            _disk.WritePage(n, 1);
    }

    public void Dispose()
    {
        _file.Dispose();
        _cache.Dispose();
        _disk.Dispose();
    }

    [Fact]
    public void Where_every_read_is_a_hit_the_cache_comes_back_within_its_budget_too()
    {
        using (_epochs.Enter())
        {
            for (uint n = 0; n < Pages; n++)
                _file.Page(n, 1);
            _cache.TrimSoon();
            _pool.RunQueued();
            Assert.True(_cache.HeldBytes > 4 * _cache.BudgetBytes, $"{_cache.HeldBytes} are held.");
        }

        _cache.TrimSoon();
        _pool.RunQueued();
        Assert.True(_cache.HeldBytes <= _cache.BudgetBytes, $"{_cache.HeldBytes} are held.");
        _cache.TrimSoon();
        Assert.Equal(0, _pool.QueuedCount); // nothing is left to do
        for (uint n = 0; n < Pages; n++)
            Read(n);
    }

    [Fact]
    public void A_prefetch_that_no_thread_has_begun_keeps_no_frame_from_being_reused()
    {
        using (_epochs.Enter())
            _file.Prefetch([1, 2, 3], 1);
        Assert.Equal(1, _pool.QueuedCount);
        for (uint n = 10; n < Pages; n++)
            Read(n);
        Assert.True(_cache.HeldBytes <= _cache.BudgetBytes, $"{_cache.HeldBytes} are held.");

        int reads = _disk.Reads;
        _pool.RunQueued();
        Assert.Equal(reads, _disk.Reads);
        Read(1);
    }

    private void Read(uint number)
    {
        using EpochGuard guard = _epochs.Enter();
        Assert.Equal(number, PageLayout.Number(_file.Page(number, 1)));
    }
}
