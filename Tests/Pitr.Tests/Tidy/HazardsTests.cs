using System.Globalization;
using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary><c>docs/hazards.md</c> speaks of tests, classes and numbers that are there.</summary>
public sealed partial class HazardsTests
{
    private static IEnumerable<string[]> Rows() => SourceTree.Lines("docs/hazards.md")
        .Where(line => Row().IsMatch(line))
        .Select(line => line.Split(" | "));

    internal static HashSet<int> Numbers() =>
        [.. Rows().Select(row => int.Parse(row[0].TrimStart('|', ' ', 'H'), CultureInfo.InvariantCulture))];

    [Fact]
    public void No_hazard_is_left_out_of_the_table() =>
        Assert.Equal(Enumerable.Range(1, Numbers().Count), Numbers().Order());

    [Fact]
    public void Every_test_that_the_table_names_is_there()
    {
        HashSet<string> tests = [.. typeof(HazardsTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods().Select(method => $"{type.Name}.{method.Name}"))];
        string[] named =
            [.. Rows().SelectMany(row => TestName().Matches(row[^1])).Select(match => match.Groups[1].Value)];
        Assert.NotEmpty(named);
        Assert.Empty(named.Except(tests));
    }

    [Fact]
    public void Every_class_that_the_table_names_is_there()
    {
        HashSet<string> classes =
            [.. SourceTree.Sources(SourceTree.Production).Select(file => Path.GetFileNameWithoutExtension(file))];
        Assert.Empty(Rows().SelectMany(row => ClassName().Matches(row[2])).Select(match => match.Groups[1].Value)
            .Except(classes));
    }

    [Fact]
    public void Every_number_that_a_source_names_is_in_the_table()
    {
        HashSet<int> known = Numbers();
        string[] unknown = [.. from file in SourceTree.Sources(SourceTree.Production)
            from match in HazardNumber().Matches(SourceTree.Text(file))
            where !known.Contains(int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))
            select $"{file}: {match.Value}"];
        Assert.Empty(unknown);
    }

    [GeneratedRegex(@"^\| H\d+ \|")]
    private static partial Regex Row();

    [GeneratedRegex(@"`(\w+\.\w+)`")]
    private static partial Regex TestName();

    [GeneratedRegex(@"`(\w+)`")]
    private static partial Regex ClassName();

    [GeneratedRegex(@"\bH([1-9]\d?)\b")]
    private static partial Regex HazardNumber();
}
