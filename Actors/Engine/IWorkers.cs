using Akka.Actor;

namespace Pitr.Actors;

/// <summary>
/// Where work goes that takes long or blocks: flushes, copies, preallocation, opening. A seam, so that a simulation
/// runs it in an order of its own.
/// </summary>
internal interface IWorkers
{
    /// <summary>
    /// Runs an actor's work elsewhere; then tells its result, or what <paramref name="failed"/> makes of its exception.
    /// </summary>
    void Start(IActorRef replyTo, Func<object> work, Func<Exception, object> failed);

    /// <summary>Runs a caller's work elsewhere; the task ends as it does.</summary>
    Task<T> RunAsync<T>(Func<T> work, CancellationToken cancellation);
}

/// <summary>
/// Each piece of an actor's work on a thread of its own, below normal priority where the platform has it; that of a
/// caller on one of the pool's.
/// </summary>
internal sealed class ThreadWorkers : IWorkers
{
    public static ThreadWorkers Instance { get; } = new();

#pragma warning disable RS0030 // this is where the engine's work gets its threads
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

    public Task<T> RunAsync<T>(Func<T> work, CancellationToken cancellation) => Task.Run(work, cancellation);
#pragma warning restore RS0030
}
