using System.Globalization;
using System.Text.RegularExpressions;

namespace Pitr.Actors;

/// <summary>
/// The forms in which people write sizes and durations: on the command line, in <c>pitr.json</c>, in the environment.
/// Each throws a FormatException that says the form.
/// </summary>
internal static partial class SettingForms
{
    /// <summary>Bytes: a number, or one followed by KiB, MiB, GiB or TiB.</summary>
    public static long Size(string text)
    {
        Match match = SizeForm().Match(text);
        if (!match.Success)
            throw new FormatException(
                $"'{text}' is not a SIZE: a number of bytes, or one with KiB, MiB, GiB or TiB, such as 64MiB.");
        int shift = match.Groups[2].Value switch { "KiB" => 10, "MiB" => 20, "GiB" => 30, "TiB" => 40, _ => 0 };
        if (!long.TryParse(match.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            || number > long.MaxValue >> shift)
            throw new FormatException($"The SIZE '{text}' is larger than 8 EiB.");
        return number << shift;
    }

    /// <summary>A length of time: a number with ms, s, m, h or d; more than zero.</summary>
    public static TimeSpan Duration(string text)
    {
        Match match = DurationForm().Match(text);
        if (!match.Success
            || !double.TryParse(
                match.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out double number))
            throw new FormatException(
                $"'{text}' is not a DURATION: a whole number with ms, s, m, h or d, such as 90s or 14d.");
        double seconds =
            number * match.Groups[2].Value switch { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600, _ => 86400 };
        if (seconds is <= 0 or > 86400 * 36500.0)
            throw new FormatException($"The DURATION '{text}' is not between a moment and 100 years.");
        return TimeSpan.FromSeconds(seconds);
    }

    /// <summary>A duration as <see cref="Duration"/> reads it: with the largest unit that gives a whole number.</summary>
    public static string Text(TimeSpan duration)
    {
        (long milliseconds, string unit) = (long)duration.TotalMilliseconds switch
        {
            var all when all % 86_400_000 == 0 => (all / 86_400_000, "d"),
            var all when all % 3_600_000 == 0 => (all / 3_600_000, "h"),
            var all when all % 60_000 == 0 => (all / 60_000, "m"),
            var all when all % 1000 == 0 => (all / 1000, "s"),
            var all => (all, "ms"),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{milliseconds}{unit}");
    }

    [GeneratedRegex(@"\A([0-9]{1,19})(KiB|MiB|GiB|TiB)?\z", RegexOptions.CultureInvariant)]
    private static partial Regex SizeForm();

    [GeneratedRegex(@"\A([0-9]{1,9})(ms|s|m|h|d)\z", RegexOptions.CultureInvariant)]
    private static partial Regex DurationForm();
}
