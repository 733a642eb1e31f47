namespace Pitr.Tests;

/// <summary>A decoder under fuzz: good inputs, what reads them, and what may come of it.</summary>
/// <param name="Name">For messages; with the seed it says which inputs are made.</param>
/// <param name="Inputs">Good ones. <see cref="FuzzRun"/> first requires that each of them is read.</param>
/// <param name="Decode">
/// Reads an input and uses everything that was read, as the engine would. What it returns is the input written again,
/// or null where nothing is written; of a good input it must be equal.
/// </param>
/// <param name="Allows">The failures by which this decoder tells damage; anything else is a finding.</param>
internal sealed record FuzzTarget(
    string Name, IReadOnlyList<byte[]> Inputs, Func<byte[], FuzzSteps, byte[]?> Decode, Func<Exception, bool> Allows)
{
    /// <summary>Inputs that are not good themselves, and lead to places that those do not.</summary>
    public IReadOnlyList<byte[]> Others { get; init; } = [];

    /// <summary>Makes another input of a good one.</summary>
    public Func<byte[], FuzzChance, byte[]> Mutate { get; init; } = ByteMutator.Mutate;

    /// <summary>
    /// Makes checksums right again, so that the mutation gets behind them; most inputs are repaired, some are left.
    /// </summary>
    public Func<byte[], byte[]>? Repair { get; init; }

    /// <summary>Bytes that may be allocated whatever the input is: messages, caches, what a use needs.</summary>
    public long FreeBytes { get; init; } = 1 << 20;

    /// <summary>Bytes that may be allocated for each byte of the input.</summary>
    public long BytesPerByte { get; init; } = 64;

    /// <summary>Steps (reads of pages, of blocks, of rows) that an input may take.</summary>
    public int StepsMax { get; init; } = 100_000;

    /// <summary>Rounds of the bounded run.</summary>
    public int Rounds { get; init; } = 2_000;

    /// <summary>A target of which the failures are of these types.</summary>
    public static Func<Exception, bool> Only<TFirst>() => static failure => failure is TFirst;

    /// <summary>A target of which the failures are of these types.</summary>
    public static Func<Exception, bool> Only<TFirst, TSecond>() =>
        static failure => failure is TFirst or TSecond;

    /// <summary>What storage tells: damage, a refusal, what is not there; never a bug.</summary>
    public static bool Told(Exception failure) => failure is DamageException or RefusedException or NotFoundException;
}

/// <summary>Counts work, so that a loop without end is a failure of the test and not the end of the run.</summary>
internal sealed class FuzzSteps(int max)
{
    private int _taken;

    public int Taken => _taken;

    public void Take(int count = 1)
    {
        if (Interlocked.Add(ref _taken, count) > max)
            throw new FuzzNoEndException(max);
    }
}

/// <summary>An input asks for more work than any input should.</summary>
internal sealed class FuzzNoEndException(int max) : Exception($"More than {max} steps were taken: this has no end.");
