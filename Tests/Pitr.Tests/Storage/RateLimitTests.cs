using Microsoft.Extensions.Time.Testing;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A caller's rate: how long it waits, that idle time is not saved up, and that a wait can be ended.</summary>
public sealed class RateLimitTests
{
    private readonly FakeTimeProvider _clock = new();
    private TimeSpan _waited;

    [Fact]
    public void Bytes_go_at_the_rate_that_was_said()
    {
        var limit = new RateLimit(_clock, 1000);
        for (int n = 0; n < 50; n++)
            limit.Wait(100, Pause, static () => false);
        Assert.Equal(4.9, _waited.TotalSeconds, 0.001); // the first goes at once
    }

    [Fact]
    public void Time_that_passed_unused_is_not_made_up_for()
    {
        var limit = new RateLimit(_clock, 1000);
        limit.Wait(1000, Pause, static () => false);
        _clock.Advance(TimeSpan.FromHours(1));
        for (int n = 0; n < 11; n++)
            limit.Wait(100, Pause, static () => false);
        Assert.Equal(1, _waited.TotalSeconds, 0.001);
    }

    [Fact]
    public void A_long_wait_ends_within_a_piece_when_nobody_wants_the_bytes_any_more()
    {
        var limit = new RateLimit(_clock, 1);
        limit.Wait(1_000_000, Pause, static () => false);
        limit.Wait(1, Pause, () => _waited >= TimeSpan.FromSeconds(1));
        Assert.InRange(_waited, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1) + RateLimit.PieceMax);
    }

    [Fact]
    public void Without_a_limit_nobody_waits()
    {
        var limit = new RateLimit(_clock, double.PositiveInfinity);
        for (int n = 0; n < 50; n++)
            limit.Wait(int.MaxValue, Pause, static () => false);
        Assert.Equal(TimeSpan.Zero, _waited);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    public void A_rate_of_nothing_is_refused(double bytesPerSecond) =>
        Assert.Throws<ArgumentException>(() => new RateLimit(_clock, bytesPerSecond));

    private void Pause(TimeSpan pause)
    {
        Assert.InRange(pause, TimeSpan.FromTicks(1), RateLimit.PieceMax);
        _waited += pause;
        _clock.Advance(pause);
    }
}
