namespace Pitr.Storage;

/// <summary>
/// A table whose rows are still in buffers or tree although it was dropped: hidden from reads at or above the LSN.
/// </summary>
/// <param name="Table">Its id, which is never given out again.</param>
/// <param name="DroppedAt">The LSN of the drop.</param>
internal readonly record struct DroppedTable(TableId Table, Lsn DroppedAt)
{
    /// <summary>True if a read at this LSN must not see the table.</summary>
    public bool HidesAt(Lsn at) => at >= DroppedAt;
}
