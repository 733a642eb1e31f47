using Akka.Actor;
using Akka.Configuration;

namespace Pitr.Tests;

public sealed class ClockSchedulerTests
{
    [Fact]
    public async Task No_timer_is_lost_that_is_set_while_the_clock_is_moved()
    {
        using var system = ActorSystem.Create("clock", ConfigurationFactory.ParseString(ClockScheduler.Implementation));
        var clock = ClockScheduler.ClockOf(system);
        int came = 0;
        const int Setters = 4;
        const int Each = 5000;
        Task[] setters = [.. Enumerable.Range(0, Setters).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < Each; i++)
                system.Scheduler.Advanced.ScheduleOnce(TimeSpan.FromMilliseconds(i % 3), () => Interlocked.Increment(ref came));
        }))];
        Task set = Task.WhenAll(setters);
        while (!set.IsCompleted)
            clock.Advance(TimeSpan.FromMilliseconds(1));
        await set;
        clock.Advance(TimeSpan.FromMilliseconds(3));
        Assert.Equal(Setters * Each, came);
        await system.Terminate().Within();
    }
}
