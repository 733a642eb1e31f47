using System.Runtime.CompilerServices;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>Awaited, it lets what comes after it go on beside the caller, never on the caller's thread.</summary>
/// <param name="threads">Whose thread that is.</param>
internal readonly struct Elsewhere(IThreads threads) : ICriticalNotifyCompletion
{
    /// <summary>Never before it was awaited: whoever keeps a promise could be faster than its awaiter looks.</summary>
    public bool IsCompleted => false;

    public Elsewhere GetAwaiter() => this;

    public void GetResult()
    {
    }

    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    public void UnsafeOnCompleted(Action continuation) => threads.Queue(new Step(continuation));

    private sealed class Step(Action goOn) : IThreadPoolWorkItem
    {
        public void Execute() => goOn();
    }
}
