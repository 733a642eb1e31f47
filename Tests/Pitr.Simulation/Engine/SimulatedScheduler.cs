using Akka.Actor;
using Akka.Configuration;
using Akka.Event;

namespace Pitr.Simulation;

/// <summary>Akka's timers, on the clock of the world.</summary>
internal sealed class SimulatedScheduler(Config config, ILoggingAdapter log) : TimerScheduler(config, log)
{
    private readonly EngineHouse _house = EngineHouse.InTheMaking;

    protected override DateTimeOffset TimeNow => _house.World.Clock.GetUtcNow();

    public override TimeSpan MonotonicClock => _house.World.Clock.Now;

    protected override void Set(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable)
    {
        var timer = new VirtualTimer(_house.World, action);
        timer.Change(delay, interval);
        cancelable?.Token.UnsafeRegister(static set => ((VirtualTimer)set!).Dispose(), timer);
    }
}
