using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// The one thread of a run does at once whatever the engine's code would leave to the pool: pages that are read ahead,
/// memory that is given back. So the same seed is the same run, whatever the machine does meanwhile.
/// </summary>
/// <remarks>
/// With the pool's threads a free page came back sooner or later, and another page of the file was written; and a read
/// that was to fail was that of whoever came first.
/// FAILURE  nobody else is there to end a wait: one that lasts is told.
/// </remarks>
internal sealed class StepThreads : IThreads
{
    private const int YieldsMax = 10_000_000;

    private int _yields;

    public TaskCreationOptions Promises => TaskCreationOptions.None;

    public Action<object?> Continuation(Action<object?> continuation) => continuation;

    public void Queue(IThreadPoolWorkItem work) => work.Execute();

    public void Wait(ManualResetEventSlim until)
    {
        if (!until.IsSet)
            throw new SimulationFailure("The run's only thread waits for another one.");
    }

    public void Yield()
    {
        if (++_yields > YieldsMax)
            throw new SimulationFailure("The run's only thread waits for another one, again and again.");
    }

    public void Yield(ref SpinWait spin) => Yield();
}
