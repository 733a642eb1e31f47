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
    /// <summary>
    /// The share of all processors that the recovery of one datafile takes beside commits: more than a backup's, since
    /// somebody waits for that file.
    /// </summary>
    public const double OfRecovery = 0.4;

    /// <summary>A worker of the job, which begins now.</summary>
    /// <param name="engine">Whose commits go first.</param>
    /// <param name="part">Of the time that the worker may work beside them: see <see cref="ProcessorShare"/>.</param>
    /// <param name="over">It is waited for no more.</param>
    public static ProcessorShare Of(EngineContext engine, double part, CancellationToken over)
    {
        Lsn began = engine.DurableLsn;
        long walBytesMax = engine.Options.FencedWalBytesMax / 4;
        return new ProcessorShare(
            engine.Clock,
            () => engine.PacedWriter.CommitsGoOn && engine.DurableLsn - began < walBytesMax && !over.IsCancellationRequested,
            engine.Pause, part);
    }
}
