using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>The engine's threads and workers, all of them steps of a world.</summary>
internal sealed class WorldThreads(World world) : IThreads, IWorkers
{
    private readonly Dictionary<string, Strand> _workers = new(StringComparer.Ordinal);

    /// <summary>Work that was begun and has not ended: none may be left of an engine.</summary>
    public int Running { get; private set; }

    /// <summary>A promise is kept by a step, and who awaits it goes on in it, up to the next await of a client.</summary>
    public TaskCreationOptions Promises => TaskCreationOptions.None;

    public Action<object?> Continuation(Action<object?> continuation)
    {
        Strand strand = world.Current;
        return state => world.Post(strand, () => continuation(state));
    }

    public void Queue(IThreadPoolWorkItem work)
    {
        Running++;
        world.Post(world.Current.Pool, () =>
        {
            try
            {
                work.Execute();
            }
            finally
            {
                Running--;
            }
        });
    }

    public void Wait(ManualResetEventSlim until) => world.Wait(until);

    public void Yield() => world.Yield();

    public void Yield(ref SpinWait spin) => world.Yield();

    public void Start(IActorRef replyTo, Func<object> work, Func<Exception, object> failed)
    {
        Running++;
        world.Post(WorkerOf(replyTo), () =>
        {
            object result;
            world.Note("works");
            try
            {
                result = work();
            }
            catch (Exception error) // whatever it is, the actor that asked decides
            {
                result = failed(error);
            }

            Running--;
            replyTo.Tell(result, ActorRefs.NoSender);
        });
    }

    public Task<T> RunAsync<T>(Func<T> work, CancellationToken cancellation)
    {
        var done = new TaskCompletionSource<T>();
        Running++;
        world.Post(world.Current.Pool, () =>
        {
            T result;
            world.Note("works");
            try
            {
                cancellation.ThrowIfCancellationRequested();
                result = work();
            }
            catch (OperationCanceledException cancelled)
            {
                Running--;
                done.SetCanceled(cancelled.CancellationToken);
                return;
            }
            catch (Exception error)
            {
                Running--;
                done.SetException(error);
                return;
            }

            Running--;
            done.SetResult(result);
        });
        return done.Task;
    }

    private Strand WorkerOf(IActorRef actor)
    {
        string name = actor.IsNobody() ? world.Current.Name : SimulatedQueue.NameOf(actor);
        if (!_workers.TryGetValue(name, out Strand? strand))
            _workers.Add(name, strand = new Strand(name + " worker"));
        return strand;
    }
}
