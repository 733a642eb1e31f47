using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Akka.Configuration;
using Akka.Event;
using Microsoft.Extensions.Time.Testing;
using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>Akka's timers, on a clock that stands still until a test moves it: no other time goes by.</summary>
/// <remarks>
/// Timers are set by many threads while a test moves the clock, so none may be lost then: Akka.TestKit's TestScheduler may
/// lose one that is set for an instant which it is removing.
/// A timer of the clock ends when nobody holds it, so each is held until it has come, or is cancelled.
/// A timer that repeats comes once for each of its intervals that went by.
/// </remarks>
internal sealed class ClockScheduler(Config config, ILoggingAdapter log) : TimerScheduler(config, log)
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

    public static FakeTimeProvider ClockOf(ActorSystem system) => ((ClockScheduler)system.Scheduler).Clock;

    protected override void Set(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable)
    {
        var held = new StrongBox<ITimer>();
        _held[held] = true;
        held.Value = Clock.CreateTimer(
            _ =>
            {
                if (interval == Timeout.InfiniteTimeSpan)
                    _held.TryRemove(held, out bool _);
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
