namespace Pitr.Storage;

/// <summary>
/// The changes of one or two sealed buffers as a flush merges them: in key order, the newest version of each key.
/// </summary>
/// <remarks>
/// INVARIANTS  W2 (nothing in it changes) and V1: a key that both buffers have comes from the newer one.
/// THREADS  one; the buffers stay as long as the flush holds them. Spans are valid until the next move, and longer.
/// </remarks>
internal sealed class SealedChanges : IChangeStream
{
    private readonly WriteBufferCursor _newer;
    private readonly WriteBufferCursor? _older;
    private WriteBufferCursor _current;
    private bool _isBegun;

    /// <param name="buffers">One or two, newest first; all sealed.</param>
    public SealedChanges(params ReadOnlySpan<WriteBuffer> buffers)
    {
        Invariant.Require(buffers.Length is 1 or 2, "V1", "A flush merges one or two sealed buffers.");
        foreach (WriteBuffer buffer in buffers)
            Invariant.Require(buffer.IsSealed, "W2", "A buffer that is still written is flushed.");
        if (buffers.Length == 2)
        {
            Invariant.Require(
                buffers[0].SealedAt >= buffers[1].SealedAt, "V1", "Sealed buffers are not in order, newest first.");
            _older = new WriteBufferCursor(buffers[1], Lsn.MaxValue);
        }
        _newer = new WriteBufferCursor(buffers[0], Lsn.MaxValue);
        _current = _newer;
    }

    public ReadOnlySpan<byte> Key => _current.Key;
    public bool IsDelete => _current.IsDelete;
    public ReadOnlySpan<byte> Value => _current.Value;

    public bool MoveNext()
    {
        if (!_isBegun)
        {
            _isBegun = true;
            _newer.SeekFirst();
            _older?.SeekFirst();
        }
        else if (_current.IsValid)
        {
            _current.Next();
        }
        return Choose();
    }

    private bool Choose()
    {
        _current = _newer;
        if (_older is { IsValid: true } older)
        {
            int order = _newer.IsValid ? _newer.Key.SequenceCompareTo(older.Key) : 1;
            if (order > 0)
                _current = older;
            else if (order == 0)
                older.Next();
        }
        return _current.IsValid;
    }
}
