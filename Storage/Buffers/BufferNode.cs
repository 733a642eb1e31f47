using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Pitr.Storage;

/// <summary>One node of a <see cref="BufferTree"/>: header, sorted key prefixes, references.</summary>
/// <remarks>
/// LAYOUT  (native memory, aligned to 64 bytes; never moves, never freed before the arena)
/// <code>
///     0 u64 version, odd while the node changes      28 u32 lower fence, inclusive: an entry; 0 = none
///     8 i32 count of slots in use                    32 u32 upper fence, exclusive: an entry; 0 = none
///    12 i32 level, 0 = leaf; never changes           36 … 63 unused
///    16 i32 skipped bytes (see N2)                   64 i64 prefix [64]
///    20 u32 next leaf                               576 u32 entry  [64]     the newest version; or the separator
///    24 u32 previous leaf                           832 u32 child  [64]     not in a leaf
/// </code>
/// INVARIANTS
///   N1  Prefixes ascend; those at and above the count are the greatest value, so that a search may look at whole
///        vectors.
///   N2  The lower and upper fence share at least the first <c>Skip</c> bytes, hence so does every key between them; a
///       prefix is the 8 bytes after those, big endian, with the sign bit turned (vectors compare signed numbers only).
///   N3  child[i] holds the keys in [separator i−1, separator i). A node's lower fence never changes.
/// </remarks>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct BufferNode
{
    /// <summary>Slots of a leaf.</summary>
    public const int SlotsMax = 64;

    /// <summary>Separators of an inner node: one fewer than its children.</summary>
    public const int SeparatorsMax = 63;

    public const int LeafBytes = 832;
    public const int InnerBytes = 1088;

    /// <summary>The prefix of an unused slot.</summary>
    public const long NoPrefix = long.MaxValue;

    [FieldOffset(0)] public ulong Version;
    [FieldOffset(8)] public int Count;
    [FieldOffset(12)] public int Level;
    [FieldOffset(16)] public int Skip;
    [FieldOffset(20)] public uint Next;
    [FieldOffset(24)] public uint Previous;
    [FieldOffset(28)] public uint LowerFence;
    [FieldOffset(32)] public uint UpperFence;
    [FieldOffset(64)] public fixed long Prefixes[SlotsMax];
    [FieldOffset(576)] public fixed uint Entries[SlotsMax];
    [FieldOffset(832)] public fixed uint Children[SlotsMax];

    static BufferNode() => Invariant.Require(
        sizeof(BufferNode) == InnerBytes && LeafBytes == 576 + SlotsMax * sizeof(uint), "N1", "A node has gaps.");

    /// <summary>The 8 bytes of a key after the skipped ones, ordered as signed numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long PrefixOf(ReadOnlySpan<byte> key, int skip)
    {
        int rest = key.Length - skip;
        ulong prefix;
        if (rest >= 8)
            prefix = BinaryPrimitives.ReadUInt64BigEndian(key[skip..]);
        else if (rest <= 0)
            prefix = 0; // a reader that met a node while it changed; it will find that out before it uses the result
        else if (key.Length >= 8)
            prefix = BinaryPrimitives.ReadUInt64BigEndian(key[^8..]) << ((8 - rest) * 8);
        else
            prefix = ShortPrefixOf(key[skip..]);
        return (long)(prefix ^ (1UL << 63));
    }

    /// <summary>How many prefixes of the slots in use are less than this one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CountLess(long* prefixes, int count, long prefix)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Vector512<long> wanted = Vector512.Create(prefix);
            Vector512<long> less = Vector512<long>.Zero;
            for (int slot = 0; slot < count; slot += Vector512<long>.Count)
                less -= Vector512.LessThan(Vector512.Load(prefixes + slot), wanted);
            return (int)Vector512.Sum(less);
        }
        if (Vector256.IsHardwareAccelerated)
        {
            Vector256<long> wanted = Vector256.Create(prefix);
            Vector256<long> less = Vector256<long>.Zero;
            for (int slot = 0; slot < count; slot += Vector256<long>.Count)
                less -= Vector256.LessThan(Vector256.Load(prefixes + slot), wanted);
            return (int)Vector256.Sum(less);
        }
        else
        {
            Vector128<long> wanted = Vector128.Create(prefix);
            Vector128<long> less = Vector128<long>.Zero;
            for (int slot = 0; slot < count; slot += Vector128<long>.Count)
                less -= Vector128.LessThan(Vector128.Load(prefixes + slot), wanted);
            return (int)Vector128.Sum(less);
        }
    }

    private static ulong ShortPrefixOf(ReadOnlySpan<byte> rest)
    {
        ulong prefix = 0;
        for (int at = 0; at < rest.Length; at++)
            prefix |= (ulong)rest[at] << (56 - at * 8);
        return prefix;
    }
}
