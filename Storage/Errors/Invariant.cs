using System.Diagnostics.CodeAnalysis;

namespace Pitr.Storage;

/// <summary>Assertions that name the invariant they stand for (design §13).</summary>
internal static class Invariant
{
    /// <summary>True in tests and under PITR_VERIFY=1: expensive checks run.</summary>
    public static bool VerifyIsOn { get; set; } = Environment.GetEnvironmentVariable("PITR_VERIFY") == "1";

    /// <summary>Always on: used where a wrong answer would reach the disk.</summary>
    public static void Require([DoesNotReturnIf(false)] bool condition, string invariant, string message)
    {
        if (!condition)
            throw new BugException($"Invariant {invariant} does not hold: {message}");
    }

    /// <summary>Expensive checks, run only when <see cref="VerifyIsOn"/>.</summary>
    public static void Verify(Func<bool> condition, string invariant, string message)
    {
        if (VerifyIsOn && !condition())
            throw new BugException($"Invariant {invariant} does not hold: {message}");
    }
}
