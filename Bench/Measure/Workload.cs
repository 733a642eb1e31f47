using System.Buffers.Binary;

namespace Pitr.Bench;

/// <summary>
/// The workload of every question: 1 M keys of 16 bytes in hashed order, values of 100 bytes, half of them random.
/// </summary>
internal static class Workload
{
    public const int Keys = 1_000_000;
    public const int KeyBytes = 16;
    public const int ValueBytes = 100;

    /// <summary>The i-th key: a mix of i, so that neighbours lie far apart.</summary>
    public static void Key(long i, Span<byte> key)
    {
        ulong x = (ulong)i + 0x9E3779B97F4A7C15UL;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9UL;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBUL;
        x ^= x >> 31;
        BinaryPrimitives.WriteUInt64BigEndian(key, x);
        BinaryPrimitives.WriteUInt64BigEndian(key[8..], (ulong)i);
    }

    public static void Value(Random random, Span<byte> value)
    {
        random.NextBytes(value[..(ValueBytes / 2)]);
        value[(ValueBytes / 2)..].Fill((byte)'v');
    }
}
