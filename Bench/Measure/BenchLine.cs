using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>One result: printed as a JSON line with --json, else as a row for people.</summary>
internal sealed record BenchLine(
    string Question, string Engine, int Writers, double PerSecond, double P50Us, double P99Us, double MaxUs)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public static BenchLine Of(
        string question, string engine, int writers, LatencyHistogram latencies, TimeSpan took) => new(
        question, engine, writers, Math.Round(latencies.Count / took.TotalSeconds),
        Math.Round(latencies.PercentileMicroseconds(0.5), 3),
        Math.Round(latencies.PercentileMicroseconds(0.99), 3), Math.Round(latencies.MaxNanoseconds / 1000.0, 1));

    public void Print(bool json) => Console.WriteLine(json
        ? JsonSerializer.Serialize(this, Json)
        : string.Create(
            CultureInfo.InvariantCulture,
            $"{Question,-8} {Engine,-16} {Writers,5} writers {PerSecond,12:N0}/s   p50 {P50Us,9:N1} us   p99 {P99Us,9:N1} us   max {MaxUs,10:N1} us"));
}
