using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Pitr.Storage;

/// <summary>
/// The next changes of a merge, copied out of their stream, so that the merge can see which leaves it will need and ask
/// for them before it gets there.
/// </summary>
/// <remarks>
/// STATE  two halves. While one is used up, the other one waits behind it; a half that is used up is filled again.
/// Changes of dropped tables are left out. Values that are too large for a leaf are written to overflow pages when they
/// are taken in; what is kept of them is the reference.
/// THREADS  one.
/// </remarks>
internal sealed unsafe class ChangeWindow : IDisposable
{
    private const int ChangesPerHalf = 512;
    private const int BytesPerHalf = 256 << 10;
    private const int LargestEntryBytes = KeySlots.KeyBytesMax + LeafPage.InlineValueBytesMax;
    private const int MemoryBytes = 2 * (BytesPerHalf + LargestEntryBytes);

    private readonly IChangeStream _stream;
    private readonly DroppedTables _dropped;
    private readonly IPageSink _sink;
    private readonly byte[] _scratch = new byte[PageLayout.PageBytes];
    private readonly Change[] _changes = new Change[2 * ChangesPerHalf];
    private byte* _memory = NativeBlocks.Take(MemoryBytes);
    private int _half; // the one that is used up first
    private int _next; // within it
    private readonly int[] _counts = new int[2];
    private byte* _last; // the key taken in last; its half is filled again only after one more change was taken in
    private int _lastBytes = -1;
    private bool _streamEnded;

    /// <summary>Takes in the first changes.</summary>
    public ChangeWindow(IChangeStream stream, DroppedTables dropped, IPageSink sink)
    {
        (_stream, _dropped, _sink) = (stream, dropped, sink);
        Fill(0);
        Fill(1);
    }

    ~ChangeWindow() => Free();

    /// <summary>One change; its memory is valid until the half it lies in is filled again.</summary>
    public struct Change
    {
        public byte* Bytes;
        public int KeyBytes;
        public int StoredBytes;
        public ushort ValueField;
        public bool IsDelete;

        public readonly ReadOnlySpan<byte> Key => new(Bytes, KeyBytes);

        /// <summary>What follows the key in a leaf's cell.</summary>
        public readonly ReadOnlySpan<byte> Stored => new(Bytes + KeyBytes, StoredBytes);
    }

    public bool IsEmpty => _next == _counts[_half];

    /// <summary>The next change.</summary>
    public ref readonly Change Current => ref _changes[_half * ChangesPerHalf + _next];

    /// <summary>Changes that can be seen, from the next one on.</summary>
    public int Count => _counts[0] + _counts[1] - _next;

    /// <summary>Changes that can be seen and were not there before the last fill.</summary>
    public int NewCount { get; private set; }

    /// <summary>The key of a change, 0 being the next one.</summary>
    public ReadOnlySpan<byte> KeyAt(int index)
    {
        int at = _next + index;
        return at < _counts[_half]
            ? _changes[_half * ChangesPerHalf + at].Key
            : _changes[(_half ^ 1) * ChangesPerHalf + at - _counts[_half]].Key;
    }

    /// <summary>
    /// The first change from <paramref name="from"/> on that is not below the bound; <see cref="Count"/> if there is
    /// none.
    /// </summary>
    public int FirstNotBelow(KeyBuffer bound, int from)
    {
        int low = from;
        int high = Count;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (bound.IsAbove(KeyAt(middle)))
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    /// <summary>Goes past the next change. True if others became visible.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Advance() => ++_next == _counts[_half] && Turn();

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private bool Turn()
    {
        Fill(_half);
        NewCount = _counts[_half];
        _half ^= 1;
        _next = 0;
        return NewCount != 0;
    }

    private void Fill(int half)
    {
        byte* to = _memory + half * (BytesPerHalf + LargestEntryBytes);
        byte* full = to + BytesPerHalf;
        int count = 0;
        while (!_streamEnded && count < ChangesPerHalf && to < full)
        {
            if (!_stream.MoveNext())
            {
                _streamEnded = true;
                break;
            }
            ReadOnlySpan<byte> key = _stream.Key;
            if (!_dropped.IsEmpty && _dropped.Contains(key))
                continue;
            bool isInOrder = key.Length <= KeySlots.KeyBytesMax
                && (_lastBytes < 0 || new ReadOnlySpan<byte>(_last, _lastBytes).SequenceCompareTo(key) < 0);
            Invariant.Require(isInOrder, "L1", "a merge was given a key that is too long or does not ascend.");
            ref Change change = ref _changes[half * ChangesPerHalf + count];
            change.Bytes = to;
            change.KeyBytes = key.Length;
            key.CopyTo(new Span<byte>(to, key.Length));
            _last = to;
            _lastBytes = key.Length;
            to += key.Length;
            change.IsDelete = _stream.IsDelete;
            change.StoredBytes = change.IsDelete ? 0 : Store(_stream.Value, to, out change.ValueField);
            to += change.StoredBytes;
            count++;
        }
        _counts[half] = count;
    }

    private int Store(ReadOnlySpan<byte> value, byte* to, out ushort valueField)
    {
        if (value.Length <= LeafPage.InlineValueBytesMax)
        {
            valueField = (ushort)value.Length;
            value.CopyTo(new Span<byte>(to, value.Length));
            return value.Length;
        }
        valueField = LeafPage.Overflows;
        var reference = new Span<byte>(to, LeafPage.ReferenceBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(reference, OverflowPage.Write(_sink, value, _scratch));
        BinaryPrimitives.WriteInt32LittleEndian(reference[sizeof(uint)..], value.Length);
        return LeafPage.ReferenceBytes;
    }

    private void Free()
    {
        NativeBlocks.Free(_memory, MemoryBytes);
        _memory = null;
    }
}
