using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// One worker at a time: for what two of them seldom want at once. Waits as the engine's threads do, where a lock
/// would hold up a simulation.
/// </summary>
internal sealed class WorkerGate(IThreads threads)
{
    private int _isTaken;

    /// <summary>Does the work while no other worker is inside.</summary>
    public T Run<T>(Func<T> work)
    {
        var spin = new SpinWait();
        while (Interlocked.Exchange(ref _isTaken, 1) != 0)
            threads.Yield(ref spin);
        try
        {
            return work();
        }
        finally
        {
            Volatile.Write(ref _isTaken, 0);
        }
    }
}
