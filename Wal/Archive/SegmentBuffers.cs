using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// Memory for the segments that are on their way into one store, used again from segment to segment: what is new from the
/// system is zeroed page by page, which took more of a processor than the digest of a segment.
/// </summary>
/// <remarks>
/// INVARIANTS  B1  A buffer is given back by its one user, when nobody reads or writes it any more. Whoever cannot be
///             sure of that, such as after a failure, does not give it back: it is garbage then.
/// Each holds a segment's file, or its archived form. Nothing is kept once no segment is on its way
/// (<see cref="Free"/>). THREADS  any.
/// </remarks>
/// <param name="segmentBytes">Bytes of a segment's file.</param>
internal sealed class SegmentBuffers(int segmentBytes)
{
    private readonly Lock _gate = new();
    private readonly Stack<byte[]> _free = [];

    private int BufferBytes { get; } = ArchivedSegment.ObjectBytesMax(segmentBytes);

    /// <summary>A buffer with any content.</summary>
    public byte[] Rent()
    {
        lock (_gate)
        {
            if (_free.TryPop(out byte[]? free))
                return free;
        }
        return GC.AllocateUninitializedArray<byte>(BufferBytes);
    }

    /// <summary>B1.</summary>
    public void Return(byte[] buffer)
    {
        Invariant.Require(buffer.Length == BufferBytes, "B1", $"A buffer of {buffer.Length} bytes was not rented here.");
        lock (_gate)
            _free.Push(buffer);
    }

    /// <summary>Keeps none of those that were given back.</summary>
    public void Free()
    {
        lock (_gate)
            _free.Clear();
    }
}
