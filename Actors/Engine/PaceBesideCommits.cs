using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>
/// The pace of a long job of the engine, beside commits: it is held back while they go on, but not for ever.
/// </summary>
/// <remarks>
/// A job that holds WAL (a fence of a backup, the plan of a recovery) is held back no more once a quarter of what a fence may keep
/// was written since it began: a job that has to be given up for its WAL would have cost all that it took.
/// </remarks>
internal static class PaceBesideCommits
{
    /// <summary>The share of all processors that a backup takes beside commits.</summary>
    public const double OfBackup = 0.1;

    /// <summary>That of the recovery of one datafile: more than a backup's, since somebody waits for that file.</summary>
    public const double OfRecovery = 0.4;

    /// <summary>One worker of the job.</summary>
    /// <param name="engine">Whose commits go first.</param>
    /// <param name="began">The durable LSN when the job began.</param>
    /// <param name="share">Of all processors, for the whole job.</param>
    /// <param name="busyThreads">What the job would keep busy for each busy one of such workers together.</param>
    /// <param name="over">It is waited for no more.</param>
    public static ProcessorShare Of(
        EngineContext engine, Lsn began, double share, double busyThreads, CancellationToken over)
    {
        long walBytesMax = engine.Options.FencedWalBytesMax / 4;
        return new ProcessorShare(
            engine.Clock,
            () => engine.PacedWriter.CommitsGoOn && engine.DurableLsn - began < walBytesMax && !over.IsCancellationRequested,
            engine.Pause, ProcessorShare.PartOf(share, engine.Options.Processors, busyThreads));
    }
}
