using System.Globalization;
using System.Reflection;
using Xunit.Sdk;

namespace Pitr.Tests;

/// <summary>Runs a target: good inputs first, then rounds of changed ones, each from a seed of its own.</summary>
/// <remarks>
/// A finding is: a failure that the decoder does not declare; more steps than any input should take; more memory than
/// the input's length accounts for. An access outside of a page's memory ends the process: run the target again with
/// <c>PITR_FUZZ_TRACE=1</c>, and the last line is the round.
/// <code>
///   PITR_FUZZ_ROUNDS=n   so many rounds a target, instead of the bounded number
///   PITR_FUZZ_SEED=n     another seed; a failure prints the one that leads to it as its first round
/// </code>
/// </remarks>
internal static class FuzzRun
{
    private const long SeedDefault = 20_261_128;
    private const int ShownBytesMax = 4_096;

    public static void Run(FuzzTarget target)
    {
        foreach (byte[] input in target.Inputs)
            RequireGood(target, input);
        long first = Variable("PITR_FUZZ_SEED") ?? SeedDefault;
        long rounds = Variable("PITR_FUZZ_ROUNDS") ?? target.Rounds;
        byte[][] inputs = [.. target.Inputs, .. target.Others];
        bool traces = Variable("PITR_FUZZ_TRACE") is not null;
        for (long seed = first; seed < first + rounds; seed++)
        {
            if (traces)
                Console.Error.WriteLine($"{target.Name} PITR_FUZZ_SEED={seed}");
            var chance = new FuzzChance(seed);
            byte[] input = target.Mutate(chance.Of(inputs), chance);
            if (target.Repair is { } repair && !chance.Percent(10))
                input = repair(input);
            RequireTold(target, input, seed);
        }
    }

    /// <summary>One input, which was found once.</summary>
    public static void Require(FuzzTarget target, byte[] input) => RequireTold(target, input, seed: 0);

    private static void RequireGood(FuzzTarget target, byte[] input)
    {
        byte[]? again = target.Decode([.. input], new FuzzSteps(target.StepsMax));
        Assert.True(
            again is null || again.AsSpan().SequenceEqual(input),
            $"{target.Name}: a good input, written again, is another one: {Show(input)}");
    }

    private static void RequireTold(FuzzTarget target, byte[] input, long seed)
    {
        var steps = new FuzzSteps(target.StepsMax);
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            target.Decode(input, steps);
        }
        catch (Exception failure) when (failure is not FuzzNoEndException && target.Allows(Inner(failure)))
        {
            // Told as what it is.
        }
        catch (Exception failure)
        {
            throw new XunitException($"{Where(target, seed, input)}\n{failure}");
        }
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        long allowed = target.FreeBytes + target.BytesPerByte * input.Length;
        if (allocated > allowed)
            throw new XunitException(string.Create(CultureInfo.InvariantCulture,
                $"{Where(target, seed, input)}\nIt made the decoder allocate {allocated} bytes; {allowed} are allowed."));
    }

    private static Exception Inner(Exception failure) => failure switch
    {
        AggregateException { InnerException: { } inner } => Inner(inner),
        TargetInvocationException { InnerException: { } inner } => Inner(inner),
        _ => failure,
    };

    private static string Where(FuzzTarget target, long seed, byte[] input) => string.Create(
        CultureInfo.InvariantCulture,
        $"{target.Name}: PITR_FUZZ_SEED={seed} PITR_FUZZ_ROUNDS=1 finds an input of {input.Length} bytes: {Show(input)}");

    private static string Show(byte[] input) =>
        input.All(b => b is >= 32 and < 127 or 10)
            ? System.Text.Encoding.ASCII.GetString(input)
            : Convert.ToHexString(input.AsSpan(0, Math.Min(input.Length, ShownBytesMax)));

    private static long? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
            ? long.Parse(text, CultureInfo.InvariantCulture)
            : null;
}
