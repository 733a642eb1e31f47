using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>A pool without a free thread: what is queued waits until the test runs it.</summary>
internal sealed class FullPool : IThreads
{
    private readonly Queue<IThreadPoolWorkItem> _queued = new();

    public TaskCreationOptions Promises => PoolThreads.Instance.Promises;

    public int QueuedCount => _queued.Count;

    public Action<object?> Continuation(Action<object?> continuation) => continuation;

    public void Queue(IThreadPoolWorkItem work) => _queued.Enqueue(work);

    /// <summary>Runs all that waits, on the calling thread.</summary>
    public void RunQueued()
    {
        while (_queued.TryDequeue(out IThreadPoolWorkItem? work))
            work.Execute();
    }

    public void Wait(ManualResetEventSlim until) => PoolThreads.Instance.Wait(until);

    public void Yield() => PoolThreads.Instance.Yield();

    public void Yield(ref SpinWait spin) => PoolThreads.Instance.Yield(ref spin);
}
