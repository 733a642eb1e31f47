using Akka.Actor;
using Microsoft.Extensions.Time.Testing;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Back pressure by itself: what it delays, in which order, and how it ends.</summary>
public sealed class CommitDelayTests
{
    private const long Limit = 100_000;

    private static readonly Table Table = new("t", new TableId(1), FileId.Main);

    private readonly FakeTimeProvider _clock = new();
    private readonly EngineContext _engine;
    private readonly CommitDelay _delay;

    public CommitDelayTests()
    {
        _engine = EngineFactory.ContextFor(
            TestEngine.Folder,
            TestEngine.OptionsFor(TestEngine.NewDisk()) with { Clock = _clock, WriteBufferBytesMax = Limit });
        _delay = new CommitDelay(_engine, ActorRefs.Nobody);
    }

    [Fact]
    public void A_commit_is_delayed_the_longer_the_fuller_the_buffers_are() => Assert.Equal(
        [1, 1, 5, 10, 10],
        ((double[])[0.5, 0.55, 0.75, 1, 2]).Select(fill => CommitDelay.DelayAt(fill).TotalMilliseconds));

    [Fact]
    public async Task No_commit_overtakes_one_that_is_delayed_though_there_is_room_again()
    {
        PendingCommit first = Enqueue(70_000);
        Assert.Equal(0, _delay.Count);
        PendingCommit second = Enqueue(10);
        Assert.Equal(1, _delay.Count);
        Assert.Equal([first], Taken());
        PendingCommit third = Enqueue(10); // there is room
        Assert.Equal(2, _delay.Count);
        await AllPassed();
        Assert.Equal([second, third], Taken());
    }

    [Fact]
    public async Task At_the_limit_commits_wait_until_there_is_room_and_the_one_that_waited_too_long_is_refused()
    {
        Enqueue(120_000);
        PendingCommit waits = Enqueue(10);
        Task<CommitResult> task = waits.Task.AsTask();
        _clock.Advance(TimeSpan.FromSeconds(30));
        Assert.False(task.IsCompleted);
        await TestEngine.Until(
            () =>
            {
                _clock.Advance(TimeSpan.FromSeconds(1));
                return task.IsCompleted;
            },
            "the request timeout passes");
        Assert.Equal(ErrorCode.BuffersFull, (await Assert.ThrowsAsync<RefusedException>(() => task)).Code);
        Assert.Single(Taken());
    }

    [Fact]
    public async Task What_is_delayed_when_the_engine_stops_ends_with_its_reason()
    {
        Enqueue(120_000);
        Task<CommitResult> delayed = Enqueue(10).Task.AsTask();
        _engine.Intake.Close(EngineErrors.ShuttingDown());
        await AllPassed();
        Assert.Equal(ErrorCode.ShuttingDown, (await Assert.ThrowsAsync<RefusedException>(() => delayed.Within())).Code);
    }

    private PendingCommit Enqueue(int valueBytes)
    {
        var batch = new WriteBatch();
        batch.Put(Table, [1], new byte[valueBytes]);
        batch.Pending.Prepare(PoolThreads.Instance, CancellationToken.None);
        _delay.Enqueue(batch.Pending);
        return batch.Pending;
    }

    private Task AllPassed() => TestEngine.Until(
        () =>
        {
            _clock.Advance(TimeSpan.FromMilliseconds(1));
            return _delay.Count == 0;
        },
        "nothing is delayed");

    /// <summary>As WalWriter does: what it takes has left the intake.</summary>
    private List<PendingCommit> Taken()
    {
        var taken = new List<PendingCommit>();
        for (PendingCommit? commit = _engine.Intake.TakeAll(); commit is not null; commit = commit.Next)
        {
            _engine.Intake.Left(commit.IntakeBytes);
            taken.Add(commit);
        }

        return taken;
    }
}
