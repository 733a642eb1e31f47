namespace Pitr.Storage;

/// <summary>
/// Where the engine's code goes on beside its callers, and how it waits for others. A seam, so that a simulation
/// decides who goes on when, on one thread at a time and the same way again.
/// </summary>
/// <remarks>
/// Nothing below Host takes a thread, a place in the pool or a wait from elsewhere (BannedSymbols.txt).
/// THREADS  any.
/// </remarks>
internal interface IThreads
{
    /// <summary>
    /// How a promise is made, so that whoever awaits it goes on by itself and not inside whoever keeps it.
    /// </summary>
    TaskCreationOptions Promises { get; }

    /// <summary>What goes on behind a commit's await, as it is to be called.</summary>
    Action<object?> Continuation(Action<object?> continuation);

    /// <summary>Runs short work soon, beside the caller. It must not throw.</summary>
    void Queue(IThreadPoolWorkItem work);

    /// <summary>Waits until another thread has set the event.</summary>
    void Wait(ManualResetEventSlim until);

    /// <summary>Gives others a moment.</summary>
    void Yield();

    /// <summary>Gives others a growing moment, in a loop that waits for them.</summary>
    void Yield(ref SpinWait spin);
}
