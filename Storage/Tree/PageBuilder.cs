using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Storage;

/// <summary>
/// What the builders of leaves and branches share: an image of a page that grows by appending keys in order, cells from
/// the end of the page downwards, the common prefix as long as the keys so far allow.
/// </summary>
/// <remarks>
/// INVARIANTS
///   PB1  Cells follow each other without a gap: cell i ends where cell i-1 begins, the first one at the prefix.
///   PB2  What <see cref="UsedBytes"/> says never passes a page.
/// A key that does not begin with the prefix shortens it, and every cell grows: the cells are written anew, into the
/// spare page. That happens a few times a page at most, since the prefix only shrinks.
/// THREADS  one.
/// </remarks>
internal abstract unsafe class PageBuilder : IDisposable
{
    // No cell is smaller than its length field and its slots, so no page holds more keys.
    private const int KeysMax = PageLayout.PageBytes / 8;

    private readonly int _restAt;
    private readonly int _slotBytes;
    private readonly int _fixedBytes;
    private byte* _memory;
    private byte* _page;
    private byte* _spare;
    private int _lowest = PageLayout.PageBytes;
    private int _prefixBytes;

    private protected PageBuilder(int restAt, int slotBytes, int fixedBytes)
    {
        _restAt = restAt;
        _slotBytes = slotBytes;
        _fixedBytes = PageLayout.HeaderBytes + fixedBytes;
        _memory = (byte*)NativeMemory.AlignedAlloc(2 * PageLayout.PageBytes + KeysMax * 6 + 2 * 2048, 64);
        _page = _memory;
        _spare = _memory + PageLayout.PageBytes;
        Heads = (uint*)(_spare + PageLayout.PageBytes);
        Offsets = (ushort*)(Heads + KeysMax);
        PrefixStart = (byte*)(Offsets + KeysMax);
    }

    ~PageBuilder() => Free();

    /// <summary>Keys in the page.</summary>
    public int Count { get; private set; }

    public int UsedBytes => _fixedBytes + _slotBytes * Count + PageLayout.PageBytes - _lowest;

    /// <summary>True if it holds less than a third of a page: then it is merged with a neighbour.</summary>
    public bool IsSmall => UsedBytes < PageLayout.PageBytes / 3;

    /// <summary>A bound that is above every key before this page and not above any in it.</summary>
    public KeyBuffer Low { get; } = new();

    protected uint* Heads { get; }

    protected ushort* Offsets { get; }

    protected byte* Image => _page;

    private byte* PrefixStart { get; }

    private ReadOnlySpan<byte> Prefix => new(PrefixStart, _prefixBytes);

    /// <summary>Bytes that the first <paramref name="keys"/> keys use.</summary>
    public int UsedByFirst(int keys) =>
        _fixedBytes + _slotBytes * keys + (keys == 0 ? _prefixBytes : PageLayout.PageBytes - Offsets[keys - 1]);

    public virtual void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Begins a new page.</summary>
    public virtual void Reset()
    {
        Count = 0;
        _prefixBytes = 0;
        _lowest = PageLayout.PageBytes;
    }

    /// <summary>Writes the key in a slot.</summary>
    public int CopyKey(int slot, Span<byte> to)
    {
        Prefix.CopyTo(to);
        return _prefixBytes + KeySlots.CopySuffix(_page + Offsets[slot], Heads[slot], _restAt, to[_prefixBytes..]);
    }

    /// <summary>Appends a key if it fits, with room for its value; its cell's length and rest are written.</summary>
    /// <param name="key">Greater than every key before.</param>
    /// <param name="valueBytes">Bytes after the rest of the key.</param>
    /// <param name="cell">The cell.</param>
    /// <param name="value">Where the value goes.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    protected bool TryAppendKey(ReadOnlySpan<byte> key, int valueBytes, out byte* cell, out byte* value)
    {
        cell = value = null;
        if (Count == 0)
            SetPrefix(key);
        else if (!key.StartsWith(Prefix) && !TryShorten(key, valueBytes))
            return false;
        ReadOnlySpan<byte> suffix = key[_prefixBytes..];
        int restBytes = KeySlots.RestBytes(suffix.Length);
        int at = _lowest - _restAt - restBytes - valueBytes;
        if (at < _fixedBytes + _slotBytes * (Count + 1))
            return false;
        cell = _page + at;
        *(ushort*)cell = (ushort)suffix.Length;
        if (restBytes != 0)
            suffix[KeySlots.HeadBytes..].CopyTo(new Span<byte>(cell + _restAt, restBytes));
        value = cell + _restAt + restBytes;
        Heads[Count] = KeySlots.HeadOf(suffix);
        Offsets[Count] = (ushort)at;
        _lowest = at;
        Count++;
        return true;
    }

    /// <summary>Takes over the prefix of a page whose cells are to be copied as they are.</summary>
    /// <returns>True if the prefixes are equal, so that they can.</returns>
    protected bool TryAdoptPrefix(ReadOnlySpan<byte> prefix)
    {
        if (Count == 0)
            SetPrefix(prefix);
        return Prefix.SequenceEqual(prefix);
    }

    /// <summary>Copies adjacent cells of a page with an equal prefix, as many as fit; returns how many.</summary>
    protected int CopyCells(byte* from, uint* heads, ushort* offsets, int first, int end)
    {
        // The cells of rows [first, n) lie in [offsets[n-1], top): PB1.
        int top = first == 0 ? PageLayout.PageBytes - _prefixBytes : offsets[first - 1];
        int room = _lowest - _fixedBytes - _slotBytes * Count;
        int rows = end - first;
        if (_slotBytes * rows + top - offsets[end - 1] > room)
        {
            int low = 0;
            int high = rows - 1;
            while (low < high)
            {
                int middle = (low + high + 1) >> 1;
                if (_slotBytes * middle + top - offsets[first + middle - 1] <= room)
                    low = middle;
                else
                    high = middle - 1;
            }
            rows = low;
        }
        if (rows == 0)
            return 0;
        int bytes = top - offsets[first + rows - 1];
        int delta = _lowest - top;
        _lowest -= bytes;
        Unsafe.CopyBlockUnaligned(_page + _lowest, from + offsets[first + rows - 1], (uint)bytes);
        Unsafe.CopyBlockUnaligned(Heads + Count, heads + first, (uint)rows * sizeof(uint));
        ushort* to = Offsets + Count;
        ushort* source = offsets + first;
        for (int i = 0; i < rows; i++)
            to[i] = (ushort)(source[i] + delta);
        Count += rows;
        return rows;
    }

    /// <summary>Writes everything but what lies between heads and offsets; returns where the latter begin.</summary>
    protected void FinishKeys(int offsetsAt)
    {
        Unsafe.CopyBlockUnaligned(_page + PageLayout.HeaderBytes, Heads, (uint)Count * sizeof(uint));
        Unsafe.CopyBlockUnaligned(_page + offsetsAt, Offsets, (uint)Count * sizeof(ushort));
        int arraysEnd = offsetsAt + Count * sizeof(ushort);
        new Span<byte>(_page + arraysEnd, _lowest - arraysEnd).Clear();
        Prefix.CopyTo(new Span<byte>(_page + PageLayout.PageBytes - _prefixBytes, _prefixBytes));
    }

    /// <summary>Field A of the header: prefix length and lowest cell.</summary>
    protected uint FieldA => (uint)_prefixBytes | ((uint)_lowest << 16);

    private void SetPrefix(ReadOnlySpan<byte> prefix)
    {
        prefix.CopyTo(new Span<byte>(PrefixStart, KeySlots.KeyBytesMax));
        _prefixBytes = prefix.Length;
        _lowest = PageLayout.PageBytes - prefix.Length;
    }

    // Shortens the prefix to what the key has of it, if all cells and the key's then still fit.
    private bool TryShorten(ReadOnlySpan<byte> key, int valueBytes)
    {
        int prefixBytes = Prefix.CommonPrefixLength(key);
        int more = _prefixBytes - prefixBytes;
        int used = _fixedBytes + _slotBytes * (Count + 1) + prefixBytes
            + _restAt + KeySlots.RestBytes(key.Length - prefixBytes) + valueBytes;
        int end = PageLayout.PageBytes - _prefixBytes;
        for (int slot = 0; slot < Count; slot++)
        {
            int suffixBytes = *(ushort*)(_page + Offsets[slot]);
            used += end - Offsets[slot] + KeySlots.RestBytes(suffixBytes + more) - KeySlots.RestBytes(suffixBytes);
            end = Offsets[slot];
        }
        if (used > PageLayout.PageBytes)
            return false;
        Span<byte> suffix = stackalloc byte[KeySlots.KeyBytesMax];
        Prefix[prefixBytes..].CopyTo(suffix);
        end = PageLayout.PageBytes - _prefixBytes;
        int lowest = PageLayout.PageBytes - prefixBytes;
        for (int slot = 0; slot < Count; slot++)
        {
            byte* old = _page + Offsets[slot];
            int oldRest = KeySlots.RestBytes(*(ushort*)old);
            int suffixBytes = more + KeySlots.CopySuffix(old, Heads[slot], _restAt, suffix[more..]);
            int restBytes = KeySlots.RestBytes(suffixBytes);
            int valueAt = _restAt + oldRest;
            int storedBytes = end - Offsets[slot] - valueAt;
            end = Offsets[slot];
            lowest -= _restAt + restBytes + storedBytes;
            byte* cell = _spare + lowest;
            Unsafe.CopyBlockUnaligned(cell, old, (uint)_restAt);
            *(ushort*)cell = (ushort)suffixBytes;
            if (restBytes != 0)
                suffix.Slice(KeySlots.HeadBytes, restBytes).CopyTo(new Span<byte>(cell + _restAt, restBytes));
            Unsafe.CopyBlockUnaligned(cell + _restAt + restBytes, old + valueAt, (uint)storedBytes);
            Heads[slot] = KeySlots.HeadOf(suffix[..suffixBytes]);
            Offsets[slot] = (ushort)lowest;
        }
        byte* page = _page;
        _page = _spare;
        _spare = page;
        _prefixBytes = prefixBytes;
        _lowest = lowest;
        return true;
    }

    private void Free()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
