using Akka.Actor;

namespace Pitr.Actors;

/// <summary>
/// Where actors send work that takes long or blocks: flushes, copies, preallocation. What comes of it is told back as a
/// message. A seam, so that a simulation runs the work in an order of its own.
/// </summary>
internal interface IWorkers
{
    /// <summary>
    /// Runs the work elsewhere; then tells its result, or what <paramref name="failed"/> makes of its exception.
    /// </summary>
    void Start(IActorRef replyTo, Func<object> work, Func<Exception, object> failed);
}

/// <summary>Each piece of work on a thread of its own, below normal priority where the platform has it.</summary>
internal sealed class ThreadWorkers : IWorkers
{
    public void Start(IActorRef replyTo, Func<object> work, Func<Exception, object> failed) =>
        Task.Factory.StartNew(
            () =>
            {
                object result;
                try
                {
                    result = work();
                }
                catch (Exception error) // whatever it is, the actor that asked decides
                {
                    result = failed(error);
                }

                replyTo.Tell(result, ActorRefs.NoSender);
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
