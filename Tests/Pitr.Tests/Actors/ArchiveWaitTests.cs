using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>What commits that wait for the archive leave behind.</summary>
public sealed class ArchiveWaitTests
{
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);

    private readonly FakeTimeProvider _clock = new();
    private readonly ArchiveWait _wait;

    public ArchiveWaitTests() => _wait = new ArchiveWait(Longest, _clock, PoolThreads.Instance);

    /// <summary>A2: a store may be down for hours, and commits go on.</summary>
    [Fact]
    public async Task Whoever_has_given_up_is_kept_no_longer()
    {
        for (ulong round = 0; round < 20; round++)
        {
            Task[] waits = [.. Enumerable.Range(1, 100).Select(n => UntilAsync(new Lsn((round * 100) + (ulong)n)))];
            _clock.Advance(Longest);
            foreach (Task wait in waits)
            {
                var late = await Assert.ThrowsAsync<StorageFailedException>(() => wait.Within());
                Assert.Equal(ErrorCode.CommitNotArchived, late.Code);
            }
        }

        Assert.Equal(0, _wait.Count);
    }

    /// <summary>A commit may come before the Archiver has begun, and the Archiver's successor behind one.</summary>
    [Fact]
    public async Task Who_ships_is_asked_at_once_if_somebody_waits_already()
    {
        int first = 0, second = 0;
        _wait.AskWith(() => first++);
        Assert.Equal(0, first);
        Task waiting = UntilAsync(new Lsn(10));
        Assert.Equal(1, first);
        _wait.AskWith(() => second++);
        Assert.Equal((1, 1), (first, second));
        _wait.Move(new Lsn(10), Lsn.Zero, "");
        await waiting.Within();
        _wait.AskWith(() => second++);
        Assert.Equal(1, second);
    }

    [Fact]
    public async Task Who_waits_on_is_told_though_others_have_given_up()
    {
        using var cancel = new CancellationTokenSource();
        Task first = UntilAsync(new Lsn(10));
        Task[] given = [.. Enumerable.Range(1, 20).Select(n => UntilAsync(new Lsn((ulong)n), cancel.Token))];
        Task last = UntilAsync(new Lsn(30));
        await cancel.CancelAsync();
        foreach (Task wait in given)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait.Within());
        _wait.Move(new Lsn(29), Lsn.Zero, "");
        await first.Within();
        Assert.False(last.IsCompleted);
        _wait.Move(new Lsn(30), Lsn.Zero, "");
        await last.Within();
        Assert.Equal(0, _wait.Count);
    }

    /// <summary>A1: also for who asks late, when the store is already behind the gap.</summary>
    [Fact]
    public async Task Who_waits_for_what_was_given_up_is_told_so()
    {
        Task lost = UntilAsync(new Lsn(20));
        Task kept = UntilAsync(new Lsn(21));
        _wait.Move(new Lsn(30), new Lsn(20), "");
        await kept.Within();
        foreach (Task wait in new[] { lost, UntilAsync(new Lsn(19)) })
        {
            var told = await Assert.ThrowsAsync<StorageFailedException>(() => wait.Within());
            Assert.Equal(ErrorCode.CommitNotArchived, told.Code);
            Assert.Contains("given up", told.Message, StringComparison.Ordinal);
        }
    }

    private Task UntilAsync(Lsn lsn, CancellationToken cancellation = default) =>
        _wait.UntilAsync(lsn, CancellationToken.None, cancellation);
}
