using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>One open segment of the timeline that is being written.</summary>
internal sealed class WalSegment : IDisposable
{
    public WalSegment(ulong number, IFileHandle handle, WalGeometry geometry)
    {
        Number = number;
        Handle = handle;
        Start = geometry.StartOf(number);
        End = Start + geometry.PayloadBytes;
    }

    public ulong Number { get; }
    public IFileHandle Handle { get; }

    /// <summary>The first LSN that the segment holds.</summary>
    public Lsn Start { get; }

    /// <summary>The first LSN that it does not hold.</summary>
    public Lsn End { get; }

    /// <summary>Writes bytes of the stream at an LSN; all of them lie in this segment.</summary>
    public void Write(Lsn at, ReadOnlySpan<byte> bytes)
    {
        Invariant.Require(at >= Start && at + bytes.Length <= End, "W2", $"LSN {at} is not in segment {Number}.");
        Handle.Write(SegmentHeader.Bytes + (at - Start), bytes);
    }

    public void Dispose() => Handle.Dispose();
}
