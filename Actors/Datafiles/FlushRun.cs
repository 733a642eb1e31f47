using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What came of a flush; told to the datafile's actor by the worker, as its last act (H13).</summary>
internal abstract record FlushOutcome : ILocalMessage
{
    /// <summary>It is durable.</summary>
    public sealed record Ended : FlushOutcome;

    /// <summary>It was given up before its meta page: the old root stands (H9).</summary>
    public sealed record Dropped(Exception Why) : FlushOutcome;

    /// <summary>A write, a sync, or a page that it read, failed.</summary>
    public sealed record Failed(Exception Cause) : FlushOutcome;
}

/// <summary>One flush on its way: a worker carries the job out and says what came of it.</summary>
internal sealed class FlushRun(FlushJob job) : IDisposable
{
    private readonly CancellationTokenSource _drop = new();

    public FlushJob Job => job;

    /// <summary>True until the worker said that it has ended.</summary>
    public bool IsWriting { get; private set; } = true;

    /// <summary>
    /// On a worker. The flush can be dropped, by <see cref="Drop"/> or for lack of room, until its meta page is
    /// submitted.
    /// </summary>
    public FlushOutcome Run()
    {
        try
        {
            job.WritePages(_drop.Token);
            _drop.Token.ThrowIfCancellationRequested();
        }
        catch (OperationCanceledException error)
        {
            return new FlushOutcome.Dropped(error);
        }
        catch (StorageFailedException error) when (error.IsDiskFull) // H9: its meta page was not submitted
        {
            return new FlushOutcome.Dropped(error);
        }

        job.WriteMeta();
        return new FlushOutcome.Ended();
    }

    /// <summary>Gives it up if that is still possible; the outcome tells.</summary>
    public void Drop() => _drop.Cancel();

    /// <summary>The outcome came: the worker has ended.</summary>
    public void NoteOutcome() => IsWriting = false;

    public void Dispose() => _drop.Dispose();
}
