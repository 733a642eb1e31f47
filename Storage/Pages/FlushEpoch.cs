namespace Pitr.Storage;

/// <summary>
/// The epoch of a flush: entered while its merge looks at pages of the old tree, left while it writes, which can take
/// long, since bulk writes are paced. Else nothing that was evicted meanwhile could be reused, and reads would live on
/// frames beyond the budget.
/// </summary>
/// <remarks>
/// INVARIANTS
///   G1  While it is left the merge holds no page's address: <see cref="TreeMerge"/> M4.
/// THREADS  one, the worker of the flush.
/// </remarks>
internal sealed class FlushEpoch(EpochTable epochs) : IDisposable
{
    private EpochHold _hold = epochs.Hold();
    private bool _isLeft;

    /// <summary>Ends the epoch and enters a new one: what was read before may be reused.</summary>
    public void Renew()
    {
        _hold.Dispose();
        _hold = epochs.Hold();
    }

    /// <summary>Writes while the epoch is left, and waits there before it if the caller has a pace of its own.</summary>
    public void Outside(
        PacedWriter writer, IFileHandle handle, long offset, ReadOnlySpan<byte> bytes, Action<int>? before)
    {
        Dispose();
        before?.Invoke(bytes.Length);
        writer.Write(handle, offset, bytes);
        _hold = epochs.Hold();
        _isLeft = false;
    }

    /// <summary>Ends it; more than once does nothing.</summary>
    public void Dispose()
    {
        if (_isLeft) // ended, or a write threw
            return;
        _hold.Dispose();
        _isLeft = true;
    }
}
