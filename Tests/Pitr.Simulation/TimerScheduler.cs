using Akka.Actor;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;

namespace Pitr.Simulation;

/// <summary>Akka's timers in whatever form, each as one action that is set on a clock which is not the machine's.</summary>
internal abstract class TimerScheduler(Config config, ILoggingAdapter log) : SchedulerBase(config, log)
{
    public override TimeSpan HighResMonotonicClock => MonotonicClock;

    /// <summary>Sets one; it is not called once it is cancelled.</summary>
    /// <param name="delay">Until it comes first.</param>
    /// <param name="interval">Until it comes again; infinite: it does not.</param>
    /// <param name="action">What it does.</param>
    /// <param name="cancelable">Ends it; not cancelled yet. Null: nothing does.</param>
    protected abstract void Set(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable);

    protected override void InternalScheduleTellOnce(
        TimeSpan delay, ICanTell receiver, object message, IActorRef sender, ICancelable cancelable) =>
        SetUnlessCancelled(delay, Timeout.InfiniteTimeSpan, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleTellRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, ICanTell receiver, object message, IActorRef sender,
        ICancelable cancelable) =>
        SetUnlessCancelled(initialDelay, interval, () => receiver.Tell(message, sender), cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, Action action, ICancelable cancelable) =>
        SetUnlessCancelled(delay, Timeout.InfiniteTimeSpan, action, cancelable);

    protected override void InternalScheduleOnce(TimeSpan delay, IRunnable action, ICancelable cancelable) =>
        SetUnlessCancelled(delay, Timeout.InfiniteTimeSpan, action.Run, cancelable);

    protected override void InternalScheduleRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, Action action, ICancelable cancelable) =>
        SetUnlessCancelled(initialDelay, interval, action, cancelable);

    protected override void InternalScheduleRepeatedly(
        TimeSpan initialDelay, TimeSpan interval, IRunnable action, ICancelable cancelable) =>
        SetUnlessCancelled(initialDelay, interval, action.Run, cancelable);

    private void SetUnlessCancelled(TimeSpan delay, TimeSpan interval, Action action, ICancelable? cancelable)
    {
        if (cancelable is { IsCancellationRequested: true })
            return;
        Set(
            delay, interval,
            () =>
            {
                if (cancelable is not { IsCancellationRequested: true })
                    action();
            },
            cancelable);
    }
}
