using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>How the callers of a group go on once it is visible.</summary>
public sealed class CommitGroupTests
{
    private static readonly Table Table = new("t", new TableId(1), FileId.Main);

    /// <summary>Callers share work items of the pool; one that waits for another of its group must not wait for ever.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    public async Task A_caller_that_blocks_holds_up_no_other_caller_of_its_group(int members)
    {
        var tracker = new VisibilityTracker(PoolThreads.Instance);
        CommitGroup group = tracker.Rent();
        using var lastWentOn = new ManualResetEventSlim();
        var callers = new List<Task>();
        for (int i = 0; i < members; i++)
        {
            PendingCommit commit = Taken();
            group.Add(commit);
            callers.Add(i == members - 1 ? SetAfter(commit.Task, lastWentOn) : WaitAfter(commit.Task, lastWentOn));
        }

        tracker.Publish(group);
        await Task.WhenAll(callers).WaitAsync(TimeSpan.FromMinutes(1));
    }

    /// <summary>A group is used again only when no caller is left in it.</summary>
    [Fact]
    public async Task A_group_comes_back_empty_after_all_of_its_callers_went_on()
    {
        var tracker = new VisibilityTracker(PoolThreads.Instance);
        CommitGroup first = tracker.Rent();
        using var mayGoOn = new ManualResetEventSlim();
        PendingCommit commit = Taken();
        first.Add(commit);
        Task caller = WaitAfter(commit.Task, mayGoOn);
        tracker.Publish(first);
        Assert.NotSame(first, tracker.Rent()); // its caller is still in it, or was not begun
        mayGoOn.Set();
        await caller.WaitAsync(TimeSpan.FromMinutes(1));

        CommitGroup next = tracker.Rent();
        for (int tries = 0; next != first && tries < 1_000_000; tries++)
        {
            await Task.Yield(); // the pool's thread is about to give it back
            next = tracker.Rent();
        }
        Assert.Same(first, next);
        Assert.Equal(0, next.Count);
    }

    private static PendingCommit Taken()
    {
        var batch = new WriteBatch();
        batch.Put(Table, "k"u8, "v"u8);
        batch.Pending.Prepare(PoolThreads.Instance, CancellationToken.None);
        Assert.True(batch.Pending.TryTake());
        return batch.Pending;
    }

    private static async Task WaitAfter(ValueTask<CommitResult> commit, ManualResetEventSlim other)
    {
        await commit.ConfigureAwait(false);
        Assert.True(other.Wait(TimeSpan.FromMinutes(1)));
    }

    private static async Task SetAfter(ValueTask<CommitResult> commit, ManualResetEventSlim other)
    {
        await commit.ConfigureAwait(false);
        other.Set();
    }
}
