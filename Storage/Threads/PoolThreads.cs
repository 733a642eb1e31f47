namespace Pitr.Storage;

/// <summary>The threads of the process: its pool, and waits that block.</summary>
internal sealed class PoolThreads : IThreads
{
    public static PoolThreads Instance { get; } = new();

    public TaskCreationOptions Promises => TaskCreationOptions.RunContinuationsAsynchronously;

    public Action<object?> Continuation(Action<object?> continuation) => continuation;

#pragma warning disable RS0030 // this is where the engine's work reaches the pool
    public void Queue(IThreadPoolWorkItem work) => ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
#pragma warning restore RS0030

    public void Wait(ManualResetEventSlim until) => until.Wait();

    public void Yield() => Thread.Yield();

    public void Yield(ref SpinWait spin) => spin.SpinOnce();
}
