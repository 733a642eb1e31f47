using Pitr.Recovery;

namespace Pitr.Tests;

public sealed class TargetSearchTests
{
    private static readonly DateTimeOffset Noon = new(2026, 11, 22, 12, 0, 0, TimeSpan.Zero);

    // Five records, a minute apart: 1 and 2 transactions, 3 a restore point, 4 a heartbeat, 5 a transaction.
    private static readonly RecordSummary[] Records =
    [
        At(1, Noon, 7), At(2, Noon.AddMinutes(1), 8), At(
            3, Noon.AddMinutes(2), 0, "monday"), At(4, Noon.AddMinutes(3), 0),
        At(5, Noon.AddMinutes(4), 9),
    ];

    [Theory]
    [InlineData(200, true, 200)]
    [InlineData(207, true, 200)]
    [InlineData(200, false, 100)]
    [InlineData(201, false, 200)]
    [InlineData(500, true, 500)]
    public void A_position_cuts_behind_the_last_record_at_or_below_it(ulong lsn, bool isInclusive, ulong cut)
    {
        TargetSearch search = Run(
            isInclusive ? RecoveryTarget.Including(new Lsn(lsn)) : RecoveryTarget.Before(new Lsn(lsn)));

        Assert.True(search.IsFound);
        Assert.Equal(new Lsn(cut), search.Cut);
    }

    [Fact]
    public void A_position_beyond_the_end_is_not_found() =>
        Assert.False(Run(RecoveryTarget.Including(new Lsn(501))).IsFound);

    [Theory]
    [InlineData(60, true, 200)]
    [InlineData(60, false, 100)]
    [InlineData(90, true, 200)]
    [InlineData(150, false, 300)]
    public void A_time_cuts_by_commit_time(int seconds, bool isInclusive, ulong cut)
    {
        DateTimeOffset time = Noon.AddSeconds(seconds);
        TargetSearch search = Run(isInclusive ? RecoveryTarget.Including(time) : RecoveryTarget.Before(time));

        Assert.True(search.IsFound);
        Assert.Equal(new Lsn(cut), search.Cut);
        Assert.Empty(search.Earlier);
    }

    /// <summary>H34: at the very end of the WAL more of the same moment may be missing.</summary>
    [Fact]
    public void A_time_is_found_only_when_a_record_beyond_it_was_seen()
    {
        Assert.False(Run(RecoveryTarget.Including(Noon.AddMinutes(4))).IsFound);
        Assert.False(Run(RecoveryTarget.Including(Noon.AddHours(1))).IsFound);
        Assert.True(Run(RecoveryTarget.Before(Noon.AddMinutes(4))).IsFound);
    }

    /// <summary>H8: the clock stepped back by an hour; commit times crept on.</summary>
    [Fact]
    public void A_time_is_ambiguous_if_a_record_beyond_it_was_made_at_or_before_it()
    {
        var search = new TargetSearch(RecoveryTarget.Including(Noon.AddSeconds(-1)), Lsn.Zero);
        search.Offer(At(1, Noon.AddMinutes(-10), 1));
        search.Offer(At(2, Noon, 2));
        search.Offer(At(3, Noon.AddTicks(1), 3) with { RawClockTicks = Noon.AddHours(-1).UtcTicks });

        Assert.Equal(new Lsn(100), search.Cut);
        Assert.Equal([new Lsn(300)], search.Earlier);
    }

    /// <summary>H8: the clock jumped ten years ahead for one group, and back.</summary>
    [Fact]
    public void A_time_behind_a_jump_ahead_is_ambiguous()
    {
        var search = new TargetSearch(RecoveryTarget.Including(Noon.AddMinutes(5)), Lsn.Zero);
        search.Offer(At(1, Noon, 1));
        search.Offer(At(2, Noon.AddYears(10), 2));
        search.Offer(At(3, Noon.AddYears(10).AddTicks(1), 3) with { RawClockTicks = Noon.AddMinutes(2).UtcTicks });

        Assert.Equal(new Lsn(100), search.Cut);
        Assert.Equal([new Lsn(300)], search.Earlier);
    }

    [Theory]
    [InlineData(8, true, 200)]
    [InlineData(8, false, 100)]
    [InlineData(9, true, 500)]
    [InlineData(9, false, 400)]
    public void A_transaction_cuts_at_its_own_record(ulong id, bool isInclusive, ulong cut)
    {
        var transaction = new TransactionId(id);
        TargetSearch search = Run(
            isInclusive ? RecoveryTarget.Including(transaction) : RecoveryTarget.Before(transaction));

        Assert.True(search.IsFound);
        Assert.Equal(new Lsn(cut), search.Cut);
    }

    [Fact]
    public void A_transaction_that_is_not_there_is_not_found() =>
        Assert.False(Run(RecoveryTarget.Including(new TransactionId(10))).IsFound);

    [Fact]
    public void A_restore_point_cuts_at_its_own_record()
    {
        Assert.Equal(new Lsn(300), Run(RecoveryTarget.IncludingRestorePoint("monday")).Cut);
        Assert.Equal(new Lsn(200), Run(RecoveryTarget.BeforeRestorePoint("monday")).Cut);
        Assert.False(Run(RecoveryTarget.IncludingRestorePoint("tuesday")).IsFound);
    }

    [Fact]
    public void The_transactions_on_both_sides_of_the_cut_are_known()
    {
        TargetSearch search = Run(RecoveryTarget.IncludingRestorePoint("monday"));

        Assert.Equal(new TransactionId(8), search.LastTransaction?.TransactionId);
        Assert.Equal(new TransactionId(9), search.NextTransaction?.TransactionId);
        Assert.Equal(new Lsn(400), search.Next?.Lsn);
    }

    [Fact]
    public void Immediate_stops_at_the_stop_of_the_set_and_latest_at_the_end()
    {
        Assert.Equal(new Lsn(400), Run(RecoveryTarget.Immediate, stop: 400).Cut);
        Assert.Equal(new Lsn(500), Run(RecoveryTarget.Latest).Cut);
        Assert.False(Run(RecoveryTarget.Immediate, stop: 600).IsFound);
    }

    private static TargetSearch Run(RecoveryTarget target, ulong stop = 100)
    {
        var search = new TargetSearch(target, new Lsn(stop));
        foreach (RecordSummary record in Records)
            search.Offer(record);
        search.End(new Lsn(500));
        return search;
    }

    private static RecordSummary At(
        ulong n, DateTimeOffset time, ulong transaction, string? restorePoint = null) => new(
        new Lineage(1), new Lsn((n - 1) * 100), new Lsn(n * 100), new TransactionId(
            transaction), time.UtcTicks, time.UtcTicks,
        restorePoint);
}
