using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Runtime.CompilerServices;

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

    /// <summary>The same; the message is put together only if it is needed.</summary>
    public static void Require(
        [DoesNotReturnIf(false)] bool condition, string invariant,
        [InterpolatedStringHandlerArgument(nameof(condition))] ref InvariantMessage message)
    {
        if (!condition)
            throw new BugException($"Invariant {invariant} does not hold: {message.ToText()}");
    }

    /// <summary>Expensive checks, run only when <see cref="VerifyIsOn"/>.</summary>
    public static void Verify(Func<bool> condition, string invariant, string message)
    {
        if (VerifyIsOn && !condition())
            throw new BugException($"Invariant {invariant} does not hold: {message}");
    }
}

/// <summary>An interpolated message that costs nothing while the condition holds.</summary>
[InterpolatedStringHandler]
internal ref struct InvariantMessage
{
    private DefaultInterpolatedStringHandler _text;

    public InvariantMessage(int literalLength, int formattedCount, bool condition, out bool isNeeded)
    {
        isNeeded = !condition;
        if (isNeeded)
            _text = new DefaultInterpolatedStringHandler(literalLength, formattedCount, CultureInfo.InvariantCulture);
    }

    public void AppendLiteral(string text) => _text.AppendLiteral(text);

    public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

    public void AppendFormatted<T>(T value, string? format) => _text.AppendFormatted(value, format);

    internal string ToText() => _text.ToStringAndClear();
}
