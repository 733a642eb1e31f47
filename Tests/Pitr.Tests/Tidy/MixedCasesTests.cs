using System.Reflection;
using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>Each row of <c>docs/reference/mixed-cases.md</c> is a test, and each test of a row has its row.</summary>
public sealed partial class MixedCasesTests
{
    private static string[] Labels() =>
        [.. SourceTree.Lines("docs/reference/mixed-cases.md").Select(line => Row().Match(line))
            .Where(row => row.Success).Select(row => row.Groups[1].Value)];

    private static string[] Tested() =>
        [.. typeof(MixedCasesTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods())
            .Where(method => method.GetCustomAttributes<FactAttribute>(inherit: true).Any())
            .SelectMany(method => method.GetCustomAttributes<MixedCaseAttribute>())
            .Select(row => row.Label)];

    [Fact]
    public void No_row_is_there_twice() => Assert.Equal(Labels().Length, Labels().Distinct().Count());

    [Fact]
    public void Every_row_is_a_test() => Assert.Empty(Labels().Except(Tested()));

    [Fact]
    public void Every_test_of_a_row_has_its_row() => Assert.Empty(Tested().Except(Labels()));

    /// <summary>A row says what is found, what Pitr does, and what to do now.</summary>
    [Fact]
    public void Every_row_is_complete() => Assert.All(
        SourceTree.Lines("docs/reference/mixed-cases.md").Where(line => Row().IsMatch(line)),
        line => Assert.Equal(4, line.Trim('|', ' ').Split(" | ").Count(cell => cell.Trim().Length > 0)));

    [GeneratedRegex(@"^\| (X\d+) \|")]
    private static partial Regex Row();
}
