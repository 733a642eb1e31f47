namespace Pitr.Recovery;

/// <summary>How long a plan may take: its bytes by rates that are stated here, and in the plan.</summary>
/// <remarks>
/// Stated for two cores and a local disk: <c>Bench -- restore</c> prints what a restore took, times what its plan said
/// (docs/benchmarks.md). An archive that is far away, or a slower disk, takes longer.
/// </remarks>
internal static class RecoveryEstimate
{
    /// <summary>Of files that are copied, compared with their digest, and synced.</summary>
    public const double CopyBytesPerSecond = 200e6;

    /// <summary>Of WAL that is read twice, by plan and run, and replayed.</summary>
    public const double WalBytesPerSecond = 100e6;

    /// <summary>Whole seconds; at least one.</summary>
    /// <param name="copyBytes">What is copied.</param>
    /// <param name="walBytes">From the start to the cut.</param>
    public static long SecondsFor(long copyBytes, long walBytes) =>
        Math.Max(1, (long)Math.Ceiling(copyBytes / CopyBytesPerSecond + Math.Max(0, walBytes) / WalBytesPerSecond));
}
