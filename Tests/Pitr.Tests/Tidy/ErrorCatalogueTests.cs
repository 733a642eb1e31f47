using System.Globalization;
using System.Text.RegularExpressions;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Every code is documented with its story and what to do, and its text says both.</summary>
public sealed partial class ErrorCatalogueTests
{
    private static readonly string[] Parts = ["**What happened.** ", "**How you get here.** ", "**What to do.** "];

    private static IEnumerable<ErrorCode> Codes => Enum.GetValues<ErrorCode>().Where(code => code != ErrorCode.None);

    private static Dictionary<string, string> Sections()
    {
        string text = SourceTree.Text("docs/reference/errors.md");
        MatchCollection titles = Title().Matches(text);
        return titles.Select((title, i) => (
                Name: title.Groups[1].Value,
                Text: text[title.Index..(i + 1 < titles.Count ? titles[i + 1].Index : text.Length)]))
            .ToDictionary(section => section.Name, section => section.Text, StringComparer.Ordinal);
    }

    private static string TitleOf(ErrorCode code) =>
        string.Create(CultureInfo.InvariantCulture, $"PITR-{(int)code} {code}");

    [Fact]
    public void Every_code_has_a_section_with_its_story_and_what_to_do()
    {
        Dictionary<string, string> sections = Sections();
        foreach (ErrorCode code in Codes)
        {
            Assert.True(sections.TryGetValue(TitleOf(code), out string? section),
                $"docs/reference/errors.md has no section '## {TitleOf(code)}'.");
            Assert.All(Parts, part => Assert.Contains(part, section, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void No_section_is_of_a_code_that_is_not_there() =>
        Assert.Empty(Sections().Keys.Except(Codes.Select(TitleOf), StringComparer.Ordinal));

    [Fact]
    public void No_number_is_given_twice() =>
        Assert.Equal(Enum.GetNames<ErrorCode>().Length, Enum.GetValues<ErrorCode>().Cast<int>().Distinct().Count());

    [Fact]
    public void A_failure_of_a_file_operation_says_what_where_why_and_what_now()
    {
        StorageFailedException failure = StorageErrors.FileOperation("sync folder", "/db", Errno.EACCES);
        Assert.Equal("The file system refused to sync folder '/db': EACCES, permission denied.", failure.Message);
        Assert.Equal((ErrorCode.FileOperationFailed, "/db", Errno.EACCES), (failure.Code, failure.Path, failure.Errno));
        Assert.Contains("HINT: " + failure.Hint, failure.ToString(), StringComparison.Ordinal);
        Assert.Equal(ErrorCode.DiskFull, StorageErrors.FileOperation("write", "/db/a", Errno.EDQUOT).Code);
    }

    [GeneratedRegex("^## (PITR-.*)$", RegexOptions.Multiline)]
    private static partial Regex Title();
}
