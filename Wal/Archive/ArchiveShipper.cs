namespace Pitr.Wal;

/// <summary>
/// Ships a database's WAL into all of its stores, each on its own: one that is down does not hold up another.
/// </summary>
/// <remarks>
/// The Archiver drives each <see cref="StoreShipper"/> from a worker of its own and asks here what all of them together
/// allow. Without a store everything may be recycled and nothing lags.
/// </remarks>
internal sealed class ArchiveShipper(IReadOnlyList<StoreShipper> stores)
{
    public IReadOnlyList<StoreShipper> Stores => stores;

    /// <summary>True if every store has the segment, read back.</summary>
    public bool MayRecycle(SegmentName name)
    {
        foreach (StoreShipper store in stores)
        {
            if (!store.MayRecycle(name))
                return false;
        }
        return true;
    }

    /// <summary>Of these segments, the ones that every store has.</summary>
    public IReadOnlyList<SegmentName> Recyclable(IEnumerable<SegmentName> segments) => [.. segments.Where(MayRecycle)];

    /// <summary>The worst lag of all stores.</summary>
    public ArchiveLag Lag(Lsn durable)
    {
        var worst = new ArchiveLag(0, 0, TimeSpan.Zero);
        foreach (StoreShipper store in stores)
        {
            ArchiveLag lag = store.Lag(durable);
            worst = new ArchiveLag(
                Math.Max(worst.Segments, lag.Segments), Math.Max(worst.Bytes, lag.Bytes),
                worst.Age > lag.Age ? worst.Age : lag.Age);
        }
        return worst;
    }
}
