using System.Globalization;
using System.Text.Json;

namespace Pitr.Bench;

/// <summary>What a commit allocates: printed as a JSON line with --json, else as a row for people.</summary>
internal sealed record AllocationLine(string Question, string Engine, int Writers, long Commits, double BytesPerCommit)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    public void Print(bool json) => Console.WriteLine(json
        ? JsonSerializer.Serialize(this, Json)
        : string.Create(
            CultureInfo.InvariantCulture,
            $"{Question,-8} {Engine,-16} {Writers,5} writers {BytesPerCommit,9:N1} bytes a commit"));
}
