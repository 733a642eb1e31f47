using Microsoft.Extensions.Time.Testing;
using Pitr.Storage;

namespace Pitr.Tests;

public sealed class BulkRateTests
{
    private const double Mebi = 1 << 20;
    private const double Usual = 0.15; // ms
    private const double Slow = 10; // ms

    private readonly FakeTimeProvider _clock = new();
    private readonly BulkRate _rate;
    private double _fillOfBuffers;

    public BulkRateTests() => _rate = new BulkRate(_clock, () => _fillOfBuffers);

    [Fact]
    public void Without_commits_there_is_no_limit()
    {
        for (int i = 0; i < 100; i++)
            Chunk();
        Assert.Equal(double.PositiveInfinity, _rate.Decide());
    }

    /// <summary>A burst before the first look at the WAL's syncs would be the longest wait of all.</summary>
    [Fact]
    public void Beside_commits_bulk_writing_begins_at_512_mebibytes_a_second_and_again_after_a_pause()
    {
        KnowUsual();
        Assert.Equal(512 * Mebi, _rate.Decide());
        WriteBeside(Slow, times: 40);
        Assert.Equal(BulkRate.BytesPerSecondMin, _rate.Decide());
        CommitFor(TimeSpan.FromSeconds(1.1));
        Assert.Equal(512 * Mebi, _rate.Decide());
        WriteBeside(Usual, times: 100);
        Assert.Equal(double.PositiveInfinity, _rate.Decide());
        CommitFor(TimeSpan.FromSeconds(1.1));
        Assert.Equal(512 * Mebi, _rate.Decide());
    }

    /// <summary>
    /// One that meets a chunk takes as long at any rate; how many do is what the rate changes.
    /// </summary>
    [Fact]
    public void Syncs_that_seldom_meet_a_chunk_do_not_halve_the_rate_however_slow_those_are()
    {
        SlowDown();
        for (int i = 0; i < 100; i++)
        {
            for (int n = 0; n < 40; n++)
                Commit(Usual);
            WriteBeside(Slow, times: 1);
        }

        Assert.Equal(double.PositiveInfinity, _rate.BytesPerSecond);
    }

    [Fact]
    public void While_syncs_of_the_wal_are_slow_beside_chunks_the_rate_halves_down_to_the_floor()
    {
        KnowUsual();
        double before = _rate.Decide();
        WriteBeside(Slow, times: 4); // 200 ms
        Assert.Equal(before / 16, _rate.Decide());
        WriteBeside(Slow, times: 40);
        Assert.Equal(4 * Mebi, _rate.Decide());
    }

    /// <summary>A move beside a load must not stay slow when the load has ended.</summary>
    [Fact]
    public void Two_seconds_after_the_last_slow_sync_it_has_grown_from_the_floor_to_no_limit()
    {
        SlowDown();
        long from = _clock.GetTimestamp();
        while (!double.IsPositiveInfinity(_rate.Decide()))
        {
            WriteBeside(Usual, times: 1);
            Assert.InRange(_clock.GetElapsedTime(from), TimeSpan.Zero, TimeSpan.FromSeconds(2));
        }
    }

    [Fact]
    public void A_second_after_the_last_commit_there_is_no_limit()
    {
        SlowDown();
        _clock.Advance(TimeSpan.FromMilliseconds(900));
        Assert.NotEqual(double.PositiveInfinity, _rate.Decide());
        _clock.Advance(TimeSpan.FromMilliseconds(101));
        Assert.Equal(double.PositiveInfinity, _rate.Decide());
    }

    /// <summary>Commits that come seldom report seldom: what was slow once must not count again and again.</summary>
    [Fact]
    public void Slow_syncs_that_came_before_the_last_decision_do_not_halve_it_again()
    {
        SlowDown();
        double before = _rate.Decide();
        for (int i = 0; i < 5; i++)
        {
            Chunk();
            _clock.Advance(TimeSpan.FromMilliseconds(50));
            Assert.True(_rate.Decide() > before);
            before = _rate.Decide();
        }
    }

    [Fact]
    public void One_slow_sync_alone_does_not_halve_the_rate()
    {
        foreach (double usual in new[] { 0.1, 0.9, 1.5, 20 })
        {
            for (int i = 0; i < 400; i++)
                Commit(usual);
            WriteBeside(usual, times: 20);
            double before = _rate.Decide();
            _rate.Begin();
            _rate.ReportWalSync(TimeSpan.FromSeconds(1));
            _rate.End(1 << 20);
            _clock.Advance(TimeSpan.FromMilliseconds(50));
            Assert.True(_rate.Decide() >= before, $"{usual}");
        }
    }

    /// <summary>Larger groups take longer, with and without bulk writing beside them.</summary>
    [Fact]
    public void Syncs_that_the_load_itself_has_made_slower_do_not_halve_the_rate()
    {
        KnowUsual();
        _rate.Decide();
        for (int i = 0; i < 200; i++)
        {
            double before = _rate.Decide();
            for (int n = 0; n < 8; n++)
                Commit(Slow);
            MeetChunk(1.5 * Slow);
            _clock.Advance(TimeSpan.FromMilliseconds(50));
            Assert.True(_rate.Decide() >= before);
        }

        Assert.Equal(double.PositiveInfinity, _rate.Decide());
    }

    /// <summary>A disk and processors that others use too are slow for a moment, and then again.</summary>
    [Fact]
    public void What_slows_down_all_syncs_for_a_moment_does_not_halve_the_rate()
    {
        KnowUsual();
        for (int i = 0; i < 60; i++)
        {
            double before = _rate.Decide();
            double now = i % 3 == 0 ? 50 * Usual : Usual;
            for (int n = 0; n < 8; n++)
                Commit(now);
            MeetChunk(now);
            _clock.Advance(TimeSpan.FromMilliseconds(50));
            Assert.True(_rate.Decide() >= before);
        }
    }

    [Fact]
    public void Two_milliseconds_more_are_not_slow_however_fast_the_disk_is()
    {
        KnowUsual();
        WriteBeside(Usual + 1.9, times: 100);
        Assert.Equal(double.PositiveInfinity, _rate.Decide());
        WriteBeside(Usual + 2.1, times: 100);
        Assert.InRange(_rate.Decide(), BulkRate.BytesPerSecondMin, 2 * BulkRate.BytesPerSecondMin);
    }

    [Fact]
    public void Twice_the_usual_time_is_slow_on_a_disk_that_is_slow()
    {
        for (int i = 0; i < 64; i++)
            Commit(8);
        WriteBeside(15, times: 100);
        Assert.Equal(double.PositiveInfinity, _rate.Decide());
        WriteBeside(17, times: 100);
        Assert.InRange(_rate.Decide(), BulkRate.BytesPerSecondMin, 2 * BulkRate.BytesPerSecondMin);
    }

    /// <summary>Commits that wait for room in the write buffers wait for the flush.</summary>
    [Fact]
    public void The_fuller_the_write_buffers_the_higher_is_the_least_rate()
    {
        SlowDown();
        foreach ((double fill, double floor) in new[] { (0.25, 1.0), (0.35, 16), (0.4, 64), (0.5, 1024) })
        {
            _fillOfBuffers = fill;
            WriteBeside(Slow, times: 40);
            Assert.Equal(BulkRate.BytesPerSecondMin * floor, _rate.Decide(), 1.0);
        }
    }

    private void KnowUsual()
    {
        for (int i = 0; i < 64; i++)
            Commit(Usual);
    }

    private void SlowDown()
    {
        KnowUsual();
        WriteBeside(Slow, times: 40);
        Assert.Equal(BulkRate.BytesPerSecondMin, _rate.Decide());
    }

    /// <summary>Each time 50 ms pass, with a sync of the WAL and a chunk at the same time.</summary>
    private void WriteBeside(double syncMilliseconds, int times)
    {
        for (int i = 0; i < times; i++)
        {
            _rate.Decide();
            MeetChunk(syncMilliseconds);
            _clock.Advance(TimeSpan.FromMilliseconds(50));
        }
    }

    /// <summary>Eight syncs of the WAL while a chunk is in flight.</summary>
    private void MeetChunk(double syncMilliseconds)
    {
        _rate.Begin();
        for (int n = 0; n < 8; n++)
            _rate.ReportWalSync(TimeSpan.FromMilliseconds(syncMilliseconds));
        _rate.End(1 << 20);
    }

    private void Chunk()
    {
        _rate.Decide();
        _rate.Begin();
        _rate.End(1 << 20);
    }

    private void CommitFor(TimeSpan time)
    {
        for (long from = _clock.GetTimestamp(); _clock.GetElapsedTime(from) < time;)
            Commit(Usual);
    }

    /// <summary>A commit without bulk writing beside it.</summary>
    private void Commit(double syncMilliseconds)
    {
        _clock.Advance(TimeSpan.FromMilliseconds(syncMilliseconds + 1));
        _rate.ReportWalSync(TimeSpan.FromMilliseconds(syncMilliseconds));
    }
}
