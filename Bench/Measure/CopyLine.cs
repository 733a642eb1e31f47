using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>How long a copy took, by whom and beside what: a JSON line with --json, else a row for people.</summary>
/// <param name="Question">That it belongs to.</param>
/// <param name="Who">What copied.</param>
/// <param name="Beside">What ran beside it.</param>
/// <param name="Bytes">Of the files that were copied.</param>
/// <param name="Seconds">Until the copy was durable, or the pipe had taken it.</param>
/// <param name="MebibytesPerSecond">Bytes by that time.</param>
internal sealed record CopyLine(
    string Question, string Who, string Beside, long Bytes, double Seconds, double MebibytesPerSecond)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public static CopyLine Of(string question, string who, string beside, long bytes, TimeSpan took) => new(
        question, who, beside, bytes, Math.Round(took.TotalSeconds, 3),
        Math.Round(bytes / took.TotalSeconds / (1 << 20), 1));

    public CopyLine Print(bool json)
    {
        Console.WriteLine(json
            ? JsonSerializer.Serialize(this, Json)
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{Question,-8} {Who,-16} {Beside,-12} {Bytes >> 20,6} MiB in {Seconds,7:N2} s  {MebibytesPerSecond,8:N0} MiB/s"));
        return this;
    }
}
