using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>What a run comes to, beside what was asked: a JSON line with --json, else a row for people.</summary>
/// <param name="Question">That it answers.</param>
/// <param name="What">The quantity, with its unit.</param>
/// <param name="Value">Of this run.</param>
/// <param name="Asked">The bound.</param>
/// <param name="IsReached">The value keeps to it.</param>
internal sealed record VerdictLine(string Question, string What, double Value, string Asked, bool IsReached)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public static VerdictLine AtLeast(string question, string what, double value, double asked) =>
        new(question, what, Math.Round(value, 3), Text($">= {asked}"), value >= asked);

    public static VerdictLine AtMost(string question, string what, double value, double asked) =>
        new(question, what, Math.Round(value, 3), Text($"<= {asked}"), value <= asked);

    public void Print(bool json) => Console.WriteLine(json
        ? JsonSerializer.Serialize(this, Json)
        : Text($"{Question,-8} {What}: {Value:N2} (asked {Asked}: {(IsReached ? "reached" : "not reached")})"));

    /// <summary>The one in the middle; of an even number the mean of the two.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
