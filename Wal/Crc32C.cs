using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Pitr.Wal;

/// <summary>
/// CRC-32C (Castagnoli) as a running state, with the processor's own instruction, eight bytes at a time.
/// </summary>
/// <remarks>
/// A state begins as <see cref="Start"/> and becomes the checksum by <see cref="Finish"/>; states can be continued
/// anywhere.
/// </remarks>
internal static class Crc32C
{
    /// <summary>The state before the first byte.</summary>
    public const uint Start = 0xFFFFFFFF;

    /// <summary>Continues a state over some bytes.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        ref byte at = ref MemoryMarshal.GetReference(bytes);
        nuint words = (nuint)bytes.Length >> 3;
        for (; words != 0; words--)
        {
            state = BitOperations.Crc32C(state, Unsafe.ReadUnaligned<ulong>(ref at));
            at = ref Unsafe.Add(ref at, 8);
        }
        for (int rest = bytes.Length & 7; rest != 0; rest--)
        {
            state = BitOperations.Crc32C(state, at);
            at = ref Unsafe.Add(ref at, 1);
        }
        return state;
    }

    /// <summary>The checksum that a state stands for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Finish(uint state) => ~state;

    /// <summary>The checksum of some bytes.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes) => Finish(Append(Start, bytes));
}
