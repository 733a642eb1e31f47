using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>One spill on its way: a worker carries the job out and says what came of it.</summary>
internal sealed class SpillRun(SpillJob job) : IDisposable
{
    private readonly CancellationTokenSource _drop = new();

    public SpillJob Job => job;

    /// <summary>On a worker.</summary>
    public SpillEnded Run()
    {
        job.Run(_drop.Token);
        return new SpillEnded(this, null);
    }

    /// <summary>Gives it up if that is still possible; the outcome tells.</summary>
    public void Drop() => _drop.Cancel();

    public void Dispose() => _drop.Dispose();
}

/// <summary>The worker's last act (H13).</summary>
/// <param name="Run">Which.</param>
/// <param name="Why">Why it came to nothing; null if it did not.</param>
internal sealed record SpillEnded(SpillRun Run, Exception? Why) : ILocalMessage;
