using Pitr.Storage;

namespace Pitr.Tests;

public sealed class EpochTableTests
{
    private readonly EpochTable _epochs = new();
    private int _released;

    [Fact]
    public void Without_a_reader_a_retired_action_runs_at_the_next_collection()
    {
        _epochs.Retire(() => _released++);
        Assert.Equal(0, _released);
        Assert.Equal(1, _epochs.Collect());
        Assert.Equal(1, _released);
        Assert.Equal(0, _epochs.Waiting);
    }

    [Fact]
    public void A_guard_keeps_back_what_is_retired_while_it_is_entered()
    {
        using (_epochs.Enter())
        {
            using (_epochs.Enter())
                _epochs.Retire(() => _released++);
            Assert.Equal(0, _epochs.Collect());
        }
        Assert.Equal(1, _epochs.Collect());
    }

    [Fact]
    public async Task A_guard_does_not_keep_back_what_was_retired_before_it()
    {
        _epochs.Retire(() => _released++);
        await Task.Run(() =>
        {
            using (_epochs.Enter())
                Assert.Equal(1, _epochs.Collect());
        });
        Assert.Equal(1, _released);
    }

    [Fact]
    public void A_hold_taken_inside_a_guard_counts_from_the_guards_beginning()
    {
        EpochHold hold;
        using (_epochs.Enter())
        {
            _epochs.Retire(() => _released++);
            hold = _epochs.Hold();
        }
        Assert.Equal(0, _epochs.Collect());
        hold.Dispose();
        Assert.Equal(1, _epochs.Collect());
    }

    [Fact]
    public void Holds_are_given_again_and_their_table_grows()
    {
        List<EpochHold> holds = [];
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < 200; i++)
                holds.Add(_epochs.Hold());
            _epochs.Retire(() => _released++);
            Assert.Equal(0, _epochs.Collect());
            holds.ForEach(hold => hold.Dispose());
            holds.Clear();
            Assert.Equal(1, _epochs.Collect());
        }
    }

    [Fact]
    public void What_a_caller_has_no_time_for_is_collected_by_the_pool()
    {
        for (int i = 0; i < 100; i++)
        {
            _epochs.Retire(() => Interlocked.Increment(ref _released));
            _epochs.CollectSoon();
        }
        _epochs.AwaitAll();
        Assert.Equal(100, _released);
    }

    /// <summary>H41: waiting for all epochs ends only when the readers that are inside have left.</summary>
    [Fact]
    public async Task Awaiting_all_ends_when_the_last_reader_has_left()
    {
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        Task reader = Task.Factory.StartNew(() =>
        {
            using (_epochs.Enter())
            {
                entered.Set();
                leave.Wait();
                Volatile.Write(ref _released, 1);
            }
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        entered.Wait();
        Task waiter = Task.Run(_epochs.AwaitAll);
        Assert.False(waiter.IsCompleted);
        leave.Set();
        await waiter;
        Assert.Equal(1, Volatile.Read(ref _released));
        await reader;
    }

    [Fact]
    public void A_thread_inside_an_epoch_may_not_wait_for_all_of_them()
    {
        using EpochGuard guard = _epochs.Enter();
        BugException? bug = null;
        try
        {
            _epochs.AwaitAll();
        }
        catch (BugException caught)
        {
            bug = caught;
        }
        Assert.NotNull(bug);
    }

    /// <summary>H12: an object that a reader can see inside its epoch has not been released.</summary>
    [Fact]
    public async Task No_reader_ever_sees_a_released_object()
    {
        var current = new Box();
        bool stop = false;
        int seenReleased = 0;
        Task[] readers = [.. Enumerable.Range(0, 3).Select(_ => Task.Factory.StartNew(() =>
        {
            while (!Volatile.Read(ref stop))
            {
                using (_epochs.Enter())
                {
                    Box box = Volatile.Read(ref current);
                    for (int i = 0; i < 10; i++)
                    {
                        if (Volatile.Read(ref box.Released))
                            Interlocked.Increment(ref seenReleased);
                    }
                }
            }
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        for (int i = 0; i < 20_000; i++)
        {
            Box old = current;
            Volatile.Write(ref current, new Box());
            _epochs.Retire(() => Volatile.Write(ref old.Released, true));
            _epochs.Collect();
        }
        Volatile.Write(ref stop, true);
        await Task.WhenAll(readers);
        Assert.Equal(0, seenReleased);
        _epochs.AwaitAll();
        Assert.Equal(0, _epochs.Waiting);
    }

    private sealed class Box
    {
        public bool Released;
    }
}
