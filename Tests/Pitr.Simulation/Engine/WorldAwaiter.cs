using System.Runtime.CompilerServices;

namespace Pitr.Simulation;

/// <summary>Awaits a task so that what comes after it is a step of its own of the world.</summary>
internal readonly struct WorldAwaiter(World world, Task task) : ICriticalNotifyCompletion
{
    public bool IsCompleted => task.IsCompleted;

    public WorldAwaiter GetAwaiter() => this;

    public void GetResult() => task.GetAwaiter().GetResult();

    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    public void UnsafeOnCompleted(Action continuation) => GoOn(world, task, continuation);

    /// <summary>Whoever ends the task only says that the client is ready.</summary>
    internal static void GoOn(World world, Task task, Action continuation)
    {
        Strand strand = world.Current;
        task.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(() => world.Post(strand, continuation));
    }
}

/// <summary>The same with a result.</summary>
internal readonly struct WorldAwaiter<T>(World world, Task<T> task) : ICriticalNotifyCompletion
{
    public bool IsCompleted => task.IsCompleted;

    public WorldAwaiter<T> GetAwaiter() => this;

    public T GetResult() => task.GetAwaiter().GetResult();

    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    public void UnsafeOnCompleted(Action continuation) => WorldAwaiter.GoOn(world, task, continuation);
}
