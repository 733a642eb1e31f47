using Akka.Actor;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// Asks an actor for one answer. Akka's own Ask measures its timeout with the system's timer and goes on in the pool;
/// this one takes both from the engine, so that a simulation has them in its hands.
/// </summary>
internal static class Asking
{
    /// <summary>
    /// The answer; <see cref="Timeout.InfiniteTimeSpan"/> waits as long as <paramref name="cancellation"/> lets it.
    /// </summary>
    /// <exception cref="AskTimeoutException">None came in time.</exception>
    /// <exception cref="OperationCanceledException">The wait was cancelled.</exception>
    public static async Task<object> AskAsync(
        this IActorRef actor, object request, TimeSpan timeout, EngineContext engine,
        CancellationToken cancellation = default)
    {
        var answer = new TaskCompletionSource<object>(engine.Threads.Promises);
        IActorRefProvider provider = ((IInternalActorRef)actor).Provider;
        actor.Tell(request, new FutureActorRef<object>(answer, provider.TempPath(), provider));
        try
        {
            return await answer.Task.WaitAsync(timeout, engine.Clock, cancellation).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw new AskTimeoutException($"'{actor.Path.Name}' has not answered within {timeout}.");
        }
    }

    /// <summary>The answer, which is of one kind only.</summary>
    public static async Task<T> AskAsync<T>(
        this IActorRef actor, object request, TimeSpan timeout, EngineContext engine) =>
        (T)await actor.AskAsync(request, timeout, engine).ConfigureAwait(false);
}
