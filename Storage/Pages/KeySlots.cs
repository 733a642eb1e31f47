using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Pitr.Storage;

/// <summary>The search that leaf and branch pages share: an array of key heads, then the few cells that tie.</summary>
/// <remarks>
/// LAYOUT  A page stores the prefix that its keys have in common once, at its very end. What follows the prefix in a
/// key is its suffix. The first four bytes of a suffix, big endian and padded with zeroes, are its head, kept in an
/// array of integers that compare as the bytes do. The bytes after the head are its rest, kept in the key's cell:
/// <code>
///   key = prefix (once a page) ++ suffix          suffix = head (4 bytes) ++ rest
///   cell: u16 suffix length · … (leaf: u16 value field) · rest · … (leaf: value)
/// </code>
/// Two suffixes with equal heads, one of them not longer than four bytes, compare by length: the padding decides
/// nothing that the length does not.
/// THREADS  pure functions over bytes that nobody changes.
/// </remarks>
internal static unsafe class KeySlots
{
    /// <summary>Longest key of a tree: table id and user key.</summary>
    public const int KeyBytesMax = OperationCodec.TableIdBytes + Limits.KeyBytesMax;

    public const int HeadBytes = sizeof(uint);

    // Below this many heads the count of lesser ones is taken without a branch; above it the range is halved.
    private const int CountedHeads = 32;

    private const int LineBytes = 64;

    // A leaf of rows of 100 bytes has its heads and offsets in these.
    private const int ApproachedBytes = 7 * LineBytes;

    /// <summary>The head of a suffix: its first four bytes, big endian, zeroes where it is shorter.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint HeadOf(ReadOnlySpan<byte> suffix)
    {
        if (suffix.Length >= HeadBytes)
            return BinaryPrimitives.ReadUInt32BigEndian(suffix);
        uint head = 0;
        for (int i = 0; i < suffix.Length; i++)
            head |= (uint)suffix[i] << (24 - 8 * i);
        return head;
    }

    /// <summary>Bytes of a suffix that lie in its cell.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int RestBytes(int suffixBytes) => suffixBytes > HeadBytes ? suffixBytes - HeadBytes : 0;

    /// <summary>The common prefix of a page's keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ReadOnlySpan<byte> Prefix(byte* page)
    {
        int bytes = PrefixBytes(page);
        return new ReadOnlySpan<byte>(page + PageLayout.PageBytes - bytes, bytes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int PrefixBytes(byte* page) => *(ushort*)(page + PageLayout.FieldAAt);

    /// <summary>The lowest byte that a cell uses.</summary>
    public static int LowestCell(byte* page) => *(ushort*)(page + PageLayout.FieldAAt + sizeof(ushort));

    /// <summary>
    /// The first slot whose key is not less than <paramref name="key"/> (the slot count if there is none), and whether
    /// it is equal.
    /// </summary>
    /// <param name="page">The page; its structure was required.</param>
    /// <param name="offsets">Where each slot's cell begins in the page.</param>
    /// <param name="restAt">Where in a cell the rest begins.</param>
    /// <param name="key">The whole key.</param>
    /// <param name="exact">True if the slot's key is the key.</param>
    /// <param name="first">The search begins here: the caller knows that all slots before are less.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int LowerBound(
        byte* page, ushort* offsets, int restAt, ReadOnlySpan<byte> key, out bool exact, int first = 0)
    {
        exact = false;
        int count = PageLayout.Count(page);
        int prefixBytes = PrefixBytes(page);
        if (prefixBytes != 0)
        {
            ReadOnlySpan<byte> prefix = Prefix(page);
            if (!key.StartsWith(prefix))
                return key.SequenceCompareTo(prefix) < 0 ? first : count;
            key = key[prefixBytes..];
        }
        uint* heads = (uint*)(page + PageLayout.HeaderBytes);
        uint head = HeadOf(key);
        int left = count - first;
        if (first != 0 && left > Vector256<uint>.Count && heads[first + Vector256<uint>.Count - 1] >= head)
            left = Vector256<uint>.Count; // keys looked up in order are mostly near
        int slot = first + LowerBoundOfHeads(heads + first, left, head);
        return slot == count || heads[slot] != head
            ? slot
            : ResolveTie(page, heads, offsets, count, slot, restAt, key, out exact);
    }

    /// <summary>How many of the ascending heads are less than one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int LowerBoundOfHeads(uint* heads, int count, uint head)
    {
        uint* from = heads;
        int left = count;
        while (left > CountedHeads)
        {
            int half = left >> 1;
            from += from[half - 1] < head ? half : 0;
            left -= half;
        }
        int i = 0;
        int less = 0;
        if (Vector256.IsHardwareAccelerated)
        {
            Vector256<uint> wanted = Vector256.Create(head);
            Vector256<uint> counts = Vector256<uint>.Zero;
            for (; i + Vector256<uint>.Count <= left; i += Vector256<uint>.Count)
                counts -= Vector256.LessThan(Vector256.Load(from + i), wanted);
            less = (int)Vector256.Sum(counts);
        }
        for (; i < left; i++)
            less += from[i] < head ? 1 : 0;
        return (int)(from - heads) + less;
    }

    /// <summary>Compares a slot's suffix with another one of equal head.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int CompareTied(byte* cell, int restAt, ReadOnlySpan<byte> suffix)
    {
        int slotBytes = *(ushort*)cell;
        int slotRest = slotBytes - HeadBytes;
        int rest = suffix.Length - HeadBytes;
        if (slotRest > 0 && rest > 0)
        {
            return new ReadOnlySpan<byte>(cell + restAt, slotRest).SequenceCompareTo(suffix[HeadBytes..]);
        }
        return slotBytes - suffix.Length;
    }

    private static int ResolveTie(
        byte* page, uint* heads, ushort* offsets, int count, int slot, int restAt, ReadOnlySpan<byte> suffix,
        out bool exact)
    {
        int from = slot;
        int to = slot + 1;
        if (to < count && heads[to] == heads[slot]) // many equal heads: search among them
        {
            to = heads[slot] == uint.MaxValue
                ? count
                : slot + LowerBoundOfHeads(heads + slot, count - slot, heads[slot] + 1);
        }
        while (from < to)
        {
            int middle = (from + to) >> 1;
            int order = CompareTied(page + offsets[middle], restAt, suffix);
            if (order == 0)
            {
                exact = true;
                return middle;
            }
            if (order < 0)
                from = middle + 1;
            else
                to = middle;
        }
        exact = false;
        return from;
    }

    /// <summary>
    /// Writes a slot's whole key; the buffer holds <see cref="KeyBytesMax"/> bytes. Returns the key's bytes.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CopyKey(byte* page, byte* cell, uint head, int restAt, Span<byte> to)
    {
        int prefixBytes = PrefixBytes(page);
        Prefix(page).CopyTo(to);
        return prefixBytes + CopySuffix(cell, head, restAt, to[prefixBytes..]);
    }

    /// <summary>
    /// Asks the processor for the lines of a page that a search looks at first: header, heads, and the prefix at its
    /// end, so that the waits for them overlap.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Approach(byte* page)
    {
        if (!Sse.IsSupported)
            return;
        Sse.Prefetch0(page);
        Sse.Prefetch0(page + PageLayout.PageBytes - LineBytes);
        for (int at = LineBytes; at < ApproachedBytes; at += LineBytes)
            Sse.Prefetch0(page + at);
    }

    /// <summary>Writes a slot's suffix and returns its bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CopySuffix(byte* cell, uint head, int restAt, Span<byte> to)
    {
        int suffixBytes = *(ushort*)cell;
        if (suffixBytes >= HeadBytes)
        {
            BinaryPrimitives.WriteUInt32BigEndian(to, head);
            new ReadOnlySpan<byte>(cell + restAt, suffixBytes - HeadBytes).CopyTo(to[HeadBytes..]);
        }
        else
        {
            for (int i = 0; i < suffixBytes; i++)
                to[i] = (byte)(head >> (24 - 8 * i));
        }
        return suffixBytes;
    }

    /// <summary>
    /// Requires what leaf and branch pages have in common: arrays, cells and prefix lie in the page in this order and
    /// no key is too long.
    /// </summary>
    public static void RequireStructure(
        string path, byte* page, uint number, int arraysEnd, ushort* offsets, int restAt)
    {
        int prefixBytes = PrefixBytes(page);
        int lowest = LowestCell(page);
        int cellsEnd = PageLayout.PageBytes - prefixBytes;
        if (prefixBytes > KeyBytesMax || lowest < arraysEnd || lowest > cellsEnd)
            throw PageErrors.TreeInvalid(path, number,
                $"has arrays to {arraysEnd}, cells from {lowest} and a prefix of {prefixBytes} bytes, which overlap");
        int count = PageLayout.Count(page);
        for (int slot = 0; slot < count; slot++)
        {
            int at = offsets[slot];
            if (at < lowest || at + restAt > cellsEnd)
                throw PageErrors.TreeInvalid(path, number,
                    $"has slot {slot} at {at}, outside of its cells [{lowest}, {cellsEnd})");
            int suffixBytes = *(ushort*)(page + at);
            if (prefixBytes + suffixBytes > KeyBytesMax || at + restAt + RestBytes(suffixBytes) > cellsEnd)
                throw PageErrors.TreeInvalid(path, number,
                    $"has a key of {prefixBytes + suffixBytes} bytes in slot {slot}, which ends outside of its cells");
        }
    }
}
