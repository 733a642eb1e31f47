using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// <c>pitr tour FILE</c> on files as users have them: the story ends with the proof, or a line is named.
/// </summary>
public sealed class TourTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-tour-test-").FullName;
    private readonly CliRun _cli;

    public TourTests() => _cli = new CliRun(new MemoryTarget()) { CurrentFolder = _folder };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("a.jsonl", "\uFEFF\r\n{\"tags\":[1],\"id\":1}\r\n\r\n{\"id\":2,\"text\":\"ä\"}", 2)]
    [InlineData("a.csv", "\uFEFF\"id, quoted\",name\r\n1,\"two\nlines\"\r\n2,c\r\n2,again\r\n", 3)]
    [InlineData("large.jsonl", "", 3)]
    public async Task A_file_as_users_have_it_goes_all_the_way(string file, string content, int records)
    {
        Write(file, content.Length > 0 ? content : string.Concat(Enumerable.Range(0, records).Select(LargeRecord)));
        (int exitCode, string output, string error) = await _cli.RunAsync("tour", file, "--json");
        Assert.True(exitCode == 0, error);
        using JsonDocument report = JsonDocument.Parse(output);
        Assert.Equal(records, report.RootElement.GetProperty("records").GetInt32());
        Assert.True(report.RootElement.GetProperty("equal").GetBoolean());
        Assert.Contains("nothing is missing", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_story_goes_to_standard_output_and_its_lines_are_short()
    {
        Write("a.jsonl", "{\"id\":1}\n{\"id\":2}\n");
        (int exitCode, string output, string error) = await _cli.RunAsync("tour", "a.jsonl");
        Assert.Equal((0, ""), (exitCode, error));
        Assert.Contains("$ pitr table drop records", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001B', output);
        Assert.All(
            output.Split('\n').Where(line => !line.Contains("$ pitr", StringComparison.Ordinal)),
            line => Assert.InRange(line.Length, 0, 110));
    }

    [Theory]
    [InlineData("a.jsonl", "", "0 records")]
    [InlineData("a.jsonl", "{\"id\":1}\n", "1 records")]
    [InlineData("a.csv", "id,name\n", "0 records")]
    [InlineData("a.csv", "", "0 records")]
    [InlineData("a.jsonl", "{\"id\":1}\n{\"x\":1}\n", "Line 2")]
    [InlineData("a.jsonl", "{\"a\":[]}\n{\"x\":1}\n", "Line 1")]
    [InlineData("a.jsonl", "\n\nno json\n", "Line 3")]
    [InlineData("a.csv", "id,name\n1,a\n2\n", "Line 3")]
    public async Task A_file_that_cannot_be_toured_is_told_before_anything_is_made(
        string file, string content, string says)
    {
        Write(file, content);
        (int exitCode, string output, string error) = await _cli.RunAsync("tour", file, "--json");
        Assert.Equal((1, ""), (exitCode, output));
        string[] lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        Assert.Contains(says, lines[0], StringComparison.Ordinal);
    }

    private static string LargeRecord(int number) => $"{{\"id\":{number},\"text\":\"{new string('x', 1 << 20)}\"}}\n";

    private void Write(string name, string content) =>
        File.WriteAllText(Path.Combine(_folder, name), content, new UTF8Encoding(false));
}
