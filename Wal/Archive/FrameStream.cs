using Pitr.Storage;

namespace Pitr.Wal;

/// <summary>
/// A stream made of another one frame by frame: sealed while it is read, or opened. One frame is in memory at a time.
/// </summary>
internal abstract class FrameStream(Stream inner, int frameBytes, long? lengthBytes, bool ownsInner) : ForwardStream
{
    private readonly byte[] _frame = new byte[frameBytes];
    private byte[] _ready = [];
    private int _readyFrom;
    private int _readyTo;
    private int _ahead = -1; // bytes of the frame that were read already; -1: none
    private bool _isOver;
    private long _at;

    public override long Length => lengthBytes ?? throw new NotSupportedException();

    protected override long BytesRead => _at;

    /// <summary>What comes before the first frame; empty for none.</summary>
    protected virtual ReadOnlyMemory<byte> First => ReadOnlyMemory<byte>.Empty;

    /// <summary>Number of the frame that is turned next.</summary>
    protected long Number { get; private set; }

    /// <summary>Makes of one frame what is read.</summary>
    protected abstract byte[] Turn(ReadOnlySpan<byte> frame, bool isLast);

    public override int Read(Span<byte> buffer)
    {
        if (buffer.Length == 0)
            return 0;
        while (_readyFrom == _readyTo && !_isOver)
            Next();
        int read = Math.Min(buffer.Length, _readyTo - _readyFrom);
        _ready.AsSpan(_readyFrom, read).CopyTo(buffer);
        _readyFrom += read;
        _at += read;
        return read;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && ownsInner)
            inner.Dispose();
        base.Dispose(disposing);
    }

    private void Next()
    {
        if (_ahead < 0 && First.Length > 0)
        {
            (_ready, _readyFrom, _readyTo) = (First.ToArray(), 0, First.Length);
            _ahead = 0;
            return;
        }
        int begun = Math.Max(0, _ahead);
        int length = begun + inner.ReadAtLeast(_frame.AsSpan(begun), _frame.Length - begun, throwOnEndOfStream: false);
        Span<byte> more = stackalloc byte[1];
        bool isLast = length < _frame.Length || inner.Read(more) == 0;
        _ready = Turn(_frame.AsSpan(0, length), isLast);
        (_readyFrom, _readyTo, _isOver) = (0, _ready.Length, isLast);
        Number++;
        _ahead = 0;
        if (!isLast)
        {
            _frame[0] = more[0];
            _ahead = 1;
        }
    }
}
