using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Pitr.Recovery;

/// <summary>One change of a batch, as it is sorted: 16 bytes.</summary>
internal struct ReplayEntry(uint item, ushort keyBytes)
{
    /// <summary>
    /// Eight bytes of the key, big endian, from where the keys of the range being sorted begin to differ.
    /// </summary>
    public ulong Digit;

    /// <summary>Where the item lies in the arena, in units of 8 bytes.</summary>
    public readonly uint Item = item;

    /// <summary>Length of the key.</summary>
    public readonly ushort KeyBytes = keyBytes;

    private ushort _isSameKeyAsBefore;

    /// <summary>Set by the sort: the entry before this one is an older version of the same key.</summary>
    public bool IsSameKeyAsBefore
    {
        readonly get => _isSameKeyAsBefore != 0;
        set => _isSameKeyAsBefore = value ? (ushort)1 : (ushort)0;
    }
}

/// <summary>Sorts the entries of a batch by key; versions of one key stay in the order in which they came.</summary>
/// <remarks>
/// METHOD  the keys of a range share a prefix (table id, often much more): skip it, take the next 8 bytes as one
/// number, sort by that number with a stable radix sort that leaves out bytes which do not differ, and do the same
/// within each run of equal numbers, 8 bytes further on. Keys are compared as if padded with zeroes for ever, and by
/// length where that leaves them equal; this is the bytewise order with the shorter first.
/// No objects are made, and whole keys are compared only in ranges of a few entries.
/// </remarks>
internal static unsafe class ReplaySort
{
    private const int DigitBytes = 8;
    private const int InsertionMax = 24;
    private const int MergeMax = 256;

    /// <param name="entries">What is sorted.</param>
    /// <param name="scratch">As many entries, of no value before or after.</param>
    /// <param name="count">How many.</param>
    /// <param name="arena">Where the items lie.</param>
    /// <param name="keyAt">Where the key begins in an item.</param>
    public static void Sort(ReplayEntry* entries, ReplayEntry* scratch, int count, byte* arena, int keyAt) =>
        SortRange(entries, scratch, count, depth: 0, arena + keyAt);

    private static void SortRange(ReplayEntry* entries, ReplayEntry* scratch, int count, int depth, byte* keys)
    {
        if (count < 2)
            return;
        if (count <= InsertionMax)
        {
            InsertionSort(entries, count, depth, keys);
            return;
        }

        depth += SharedBytes(entries, count, depth, keys, out int lengthMin, out int lengthMax);
        if (depth >= lengthMax)
        {
            SortByLength(entries, scratch, count, lengthMin, lengthMax);
            return;
        }
        for (int i = 0; i < count; i++)
            entries[i].Digit = DigitOf(entries[i], depth, keys);
        if (count <= MergeMax)
            MergeSort(entries, scratch, count);
        else
            RadixSort(entries, scratch, count);

        for (int i = 0; i < count;)
        {
            int run = i + 1;
            while (run < count && entries[run].Digit == entries[i].Digit)
                run++;
            SortRange(entries + i, scratch + i, run - i, depth + DigitBytes, keys);
            i = run;
        }
    }

    /// <summary>How many bytes from a depth on all keys share; and the lengths of the shortest and longest.</summary>
    private static int SharedBytes(
        ReplayEntry* entries, int count, int depth, byte* keys, out int lengthMin, out int lengthMax)
    {
        byte* first = keys + ((long)entries[0].Item << 3);
        (lengthMin, lengthMax) = (entries[0].KeyBytes, entries[0].KeyBytes);
        int end = lengthMin;
        for (int i = 1; i < count; i++)
        {
            int length = entries[i].KeyBytes;
            lengthMin = Math.Min(lengthMin, length);
            lengthMax = Math.Max(lengthMax, length);
            end = Math.Min(end, length);
            byte* key = keys + ((long)entries[i].Item << 3);
            int at = depth;
            while (at + DigitBytes <= end && *(ulong*)(key + at) == *(ulong*)(first + at))
                at += DigitBytes;
            while (at < end && key[at] == first[at])
                at++;
            end = Math.Max(at, depth);
        }
        return Math.Max(0, end - depth);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong DigitOf(in ReplayEntry entry, int depth, byte* keys)
    {
        int rest = entry.KeyBytes - depth;
        byte* at = keys + ((long)entry.Item << 3) + depth;
        if (rest >= DigitBytes)
            return BinaryPrimitives.ReverseEndianness(*(ulong*)at);
        ulong digit = 0;
        for (int i = 0; i < rest; i++)
            digit |= (ulong)at[i] << (56 - 8 * i);
        return digit;
    }

    private static void RadixSort(ReplayEntry* entries, ReplayEntry* scratch, int count)
    {
        ulong differs = 0;
        ulong first = entries[0].Digit;
        for (int i = 1; i < count; i++)
            differs |= entries[i].Digit ^ first;

        int* starts = stackalloc int[256];
        ReplayEntry* from = entries;
        ReplayEntry* to = scratch;
        for (int shift = 0; shift < 64; shift += 8)
        {
            if ((byte)(differs >> shift) == 0)
                continue;
            new Span<int>(starts, 256).Clear();
            for (int i = 0; i < count; i++)
                starts[(byte)(from[i].Digit >> shift)]++;
            int sum = 0;
            for (int b = 0; b < 256; b++)
                (starts[b], sum) = (sum, sum + starts[b]);
            for (int i = 0; i < count; i++)
                to[starts[(byte)(from[i].Digit >> shift)]++] = from[i];
            ReplayEntry* sorted = to;
            to = from;
            from = sorted;
        }
        if (from != entries)
            new Span<ReplayEntry>(from, count).CopyTo(new Span<ReplayEntry>(entries, count));
    }

    /// <summary>Stable, by digit.</summary>
    private static void MergeSort(ReplayEntry* entries, ReplayEntry* scratch, int count)
    {
        for (int i = 0; i < count; i += InsertionMax)
            InsertionSortByDigit(entries + i, Math.Min(InsertionMax, count - i));
        ReplayEntry* from = entries;
        ReplayEntry* to = scratch;
        for (int width = InsertionMax; width < count; width *= 2)
        {
            for (int low = 0; low < count; low += 2 * width)
            {
                int middle = Math.Min(low + width, count);
                int high = Math.Min(low + 2 * width, count);
                int left = low;
                int right = middle;
                for (int i = low; i < high; i++)
                {
                    bool takeLeft = left < middle && (right >= high || from[left].Digit <= from[right].Digit);
                    to[i] = takeLeft ? from[left++] : from[right++];
                }
            }
            ReplayEntry* sorted = to;
            to = from;
            from = sorted;
        }
        if (from != entries)
            new Span<ReplayEntry>(from, count).CopyTo(new Span<ReplayEntry>(entries, count));
    }

    private static void InsertionSortByDigit(ReplayEntry* entries, int count)
    {
        for (int i = 1; i < count; i++)
        {
            ReplayEntry entry = entries[i];
            int to = i;
            for (; to > 0 && entries[to - 1].Digit > entry.Digit; to--)
                entries[to] = entries[to - 1];
            entries[to] = entry;
        }
    }

    /// <summary>Few keys, equal below a depth: compared whole.</summary>
    private static void InsertionSort(ReplayEntry* entries, int count, int depth, byte* keys)
    {
        for (int i = 1; i < count; i++)
        {
            ReplayEntry entry = entries[i];
            int to = i;
            int order = 0;
            for (; to > 0 && (order = Compare(entries[to - 1], entry, depth, keys)) > 0; to--)
                entries[to] = entries[to - 1];
            // An entry that is moved between two others stands between the versions of one key only if it is one
            // itself.
            entry.IsSameKeyAsBefore = to > 0 && order == 0;
            entries[to] = entry;
        }
    }

    private static int Compare(in ReplayEntry left, in ReplayEntry right, int depth, byte* keys)
    {
        int leftBytes = Math.Max(0, left.KeyBytes - depth);
        int rightBytes = Math.Max(0, right.KeyBytes - depth);
        return new ReadOnlySpan<byte>(keys + ((long)left.Item << 3) + depth, leftBytes)
            .SequenceCompareTo(
                new ReadOnlySpan<byte>(keys + ((long)right.Item << 3) + depth, rightBytes)) is var order and not 0
            ? order
            : left.KeyBytes - right.KeyBytes;
    }

    /// <summary>The keys are equal but for zeroes at their end.</summary>
    private static void SortByLength(
        ReplayEntry* entries, ReplayEntry* scratch, int count, int lengthMin, int lengthMax)
    {
        if (lengthMin != lengthMax)
        {
            for (int i = 0; i < count; i++)
                entries[i].Digit = entries[i].KeyBytes;
            if (count <= MergeMax)
                MergeSort(entries, scratch, count);
            else
                RadixSort(entries, scratch, count);
        }
        for (int i = 1; i < count; i++)
            entries[i].IsSameKeyAsBefore = entries[i].KeyBytes == entries[i - 1].KeyBytes;
    }
}
