using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;
using Microsoft.Extensions.Time.Testing;

namespace Pitr.Tests;

/// <summary>Akka's timers, on a clock that stands still until a test moves it: no other time goes by.</summary>
/// <remarks>
/// Timers are set by many threads while a test moves the clock, so none may be lost then: Akka.TestKit's TestScheduler may
/// lose one that is set for an instant which it is removing.
/// A timer of the clock ends when nobody holds it, so each is held until it has come, or is cancelled.
/// A timer that repeats comes once for each of its intervals that went by.
/// </remarks>
internal sealed class ClockScheduler(Config config, ILoggingAdapter log) : SchedulerBase(config, log)
{
    /// <summary>As the setting akka.scheduler.implementation wants it.</summary>
    public const string Implementation =
        "akka.scheduler.implementation = \"Pitr.Tests.ClockScheduler, Pitr.Tests\"";

    private readonly ConcurrentDictionary<StrongBox<ITimer>, bool> _held = new();

    /// <summary>Where the clock stands at first.</summary>
    public static readonly DateTimeOffset Begin = new(2026, 11, 23, 9, 0, 0, TimeSpan.Zero);

    /// <summary>The one clock of an actor system that has this scheduler.</summary>
    public FakeTimeProvider Clock { get; } = new(Begin);

    protected override DateTimeOffset TimeNow => Clock.GetUtcNow();

    public override TimeSpan MonotonicClock => Clock.GetElapsedTime(0);

    public override TimeSpan HighResMonotonicClock => MonotonicClock;

    public static FakeTimeProvider ClockOf(ActorSystem system) => ((ClockScheduler)system.Scheduler).Clock;

    protected override void InternalScheduleTellOnce(
        TimeSpan delay, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        Set(delay, Timeout.InfiniteTimeSpan, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleTellRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, ICanTell receiver, object message, IActorRef sender,
        ICancelable cancelable) =>
        Set(initialDelay, interval, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, Action action, ICancelable cancelable) =>
        Set(delay, Timeout.InfiniteTimeSpan, action, cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, IRunnable action, ICancelable cancelable) =>
        Set(delay, Timeout.InfiniteTimeSpan, action.Run, cancelable);

    protected override void InternalScheduleRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, Action action, ICancelable cancelable) =>
        Set(initialDelay, interval, action, cancelable);

    protected override void InternalScheduleRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, IRunnable action, ICancelable cancelable) =>
        Set(initialDelay, interval, action.Run, cancelable);

    private void Set(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable)
    {
        if (cancelable is { IsCancellationRequested: true })
            return;
        var held = new StrongBox<ITimer>();
        _held[held] = true;
        held.Value = Clock.CreateTimer(
            _ =>
            {
                if (interval == Timeout.InfiniteTimeSpan)
                    _held.TryRemove(held, out bool _);
                if (cancelable is not { IsCancellationRequested: true })
                    action();
            },
            null, delay, interval);
        cancelable?.Token.UnsafeRegister(
            _ =>
            {
                _held.TryRemove(held, out bool _);
                held.Value.Dispose();
            },
            null);
    }
}
