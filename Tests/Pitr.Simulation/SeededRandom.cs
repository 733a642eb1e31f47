namespace Pitr.Simulation;

/// <summary>SplitMix64: the same numbers from the same seed on every runtime, and free to create.</summary>
internal struct SeededRandom(long seed)
{
    private ulong _state = (ulong)seed * 0x9E3779B97F4A7C15UL + 0xD1B54A32D192ED03UL;

    /// <summary>
    /// A generator of its own for each pair: those of neighbouring seeds are otherwise one sequence, a step apart.
    /// </summary>
    public static SeededRandom For(long seed, long purpose)
    {
        var mixed = new SeededRandom(unchecked((long)new SeededRandom(seed).NextBits() + purpose * 0x632BE59BD9B4E019L));
        return new SeededRandom((long)mixed.NextBits());
    }

    /// <summary>The next 64 bits.</summary>
    public ulong NextBits()
    {
        ulong z = _state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    /// <summary>A number from 0 up to but not including the bound.</summary>
    public int Next(int below) => (int)(NextBits() % (ulong)below);

    /// <summary>True with a chance of percent in a hundred.</summary>
    public bool Chance(int percent) => Next(100) < percent;
}
