namespace Pitr.Storage;

/// <summary>How much native memory a database may use, and for what.</summary>
/// <remarks>
/// POLICY  write buffers get a quarter of the whole, but 256 MiB if the whole allows it; cached pages get the rest.
/// <code>
///   whole          write buffers           cached pages
///   ≥ 1 GiB        1/4                     3/4
///   512 MiB …      256 MiB                 the rest
///   below          1/2                     1/2
/// </code>
/// </remarks>
internal sealed record MemoryBudget
{
    /// <summary>What a database gets if nothing is said.</summary>
    public const long DefaultBytes = 1L << 30;

    private const long WriteBufferBytesWanted = 256L << 20;

    /// <param name="totalBytes">All native memory of the database.</param>
    public MemoryBudget(long totalBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(totalBytes);
        TotalBytes = totalBytes;
        WriteBufferBytes = Math.Min(totalBytes / 2, Math.Max(totalBytes / 4, WriteBufferBytesWanted));
        PageCacheBytes = Math.Max(PageCache.BudgetBytesMin, totalBytes - WriteBufferBytes);
    }

    /// <summary>The whole.</summary>
    public long TotalBytes { get; }

    /// <summary>For changes that are not in the datafiles yet, over all datafiles.</summary>
    public long WriteBufferBytes { get; init; }

    /// <summary>For clean pages, over all datafiles.</summary>
    public long PageCacheBytes { get; init; }
}
