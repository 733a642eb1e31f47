using Pitr.Simulation;

namespace Pitr.Tests;

/// <summary>The choices of one round: the same for the same seed, target and round.</summary>
internal sealed class FuzzChance(long seed)
{
    // The numbers at which decoders err: ends of types, sizes, and one beside them.
    private static readonly ulong[] Interesting =
    [
        0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024, 1028, 1029, 2000, 2001,
        4095, 4096, 8160, 8191, 8192, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE,
        0xFFFF_FFFF, 0x1_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFF8,
        0xFFFF_FFFF_FFFF_FFFF,
    ];

    private SeededRandom _random = new(seed);

    public int Next(int below) => _random.Next(Math.Max(1, below));

    public bool Percent(int percent) => _random.Chance(percent);

    public ulong Bits() => _random.NextBits();

    public ulong Number() => Percent(70) ? Interesting[Next(Interesting.Length)] : Bits() >> Next(64);

    public T Of<T>(IReadOnlyList<T> choices) => choices[Next(choices.Count)];
}
