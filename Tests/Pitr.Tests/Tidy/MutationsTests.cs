using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>
/// The mutations of <c>Tests/Mutations</c> still apply to the sources; that the tests notice them is told by its script
/// <c>run</c>, which builds each.
/// </summary>
public sealed partial class MutationsTests
{
    private const string Folder = "Tests/Mutations";

    private sealed record Edit(string File, string Old, string New);

    private sealed record Mutation(
        string Id, string Rule, string Takes, string Tests, string Equivalent, IReadOnlyList<Edit> Edits);

    private static IEnumerable<Mutation> All() => Directory
        .EnumerateFiles(Path.Combine(SourceTree.Root, Folder), "*.mutation")
        .OrderBy(Path.GetFileNameWithoutExtension, StringComparer.Ordinal)
        .Select(path => Read(Path.GetFileNameWithoutExtension(path), File.ReadAllText(path)));

    // The form is described in the script.
    private static Mutation Read(string id, string text)
    {
        var edits = new List<Edit>();
        string file = "";
        foreach (Match match in FileOrEdit().Matches(text))
        {
            if (match.Groups["file"].Success)
                file = match.Groups["file"].Value.Trim();
            else
                edits.Add(new Edit(file, match.Groups["old"].Value, match.Groups["new"].Value));
        }
        string head = Edits().Replace(text, "");
        return new Mutation(
            id, Value(head, "rule"), Value(head, "takes"), Value(head, "tests"), Value(head, "equivalent"), edits);
    }

    private static string Value(string head, string key) =>
        Blanks().Replace(Regex.Match(head, $@"^{key}:(.*(?:\n[ \t].*)*)", RegexOptions.Multiline).Groups[1].Value, " ")
            .Trim();

    [Fact]
    public void Each_mutation_still_applies_to_the_sources()
    {
        var wrong = new List<string>();
        foreach (Mutation mutation in All())
        {
            if (mutation.Edits.Count == 0)
                wrong.Add($"{mutation.Id}: it changes nothing");
            var texts = new Dictionary<string, string>();
            foreach (Edit edit in mutation.Edits)
            {
                if (!texts.ContainsKey(edit.File))
                    texts[edit.File] = File.Exists(Path.Combine(SourceTree.Root, edit.File))
                        ? SourceTree.Text(edit.File) : "";
                int times = texts[edit.File].Split(edit.Old).Length - 1;
                if (times != 1 || edit.Old == edit.New)
                    wrong.Add($"{mutation.Id}: {edit.File} has its text {times} times");
                else
                    texts[edit.File] = texts[edit.File].Replace(edit.Old, edit.New, StringComparison.Ordinal);
            }
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Each_mutation_names_its_rule_and_tests_that_are_there()
    {
        HashSet<string> tests = [.. typeof(MutationsTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods().Select(method => $"{type.Name}.{method.Name}").Prepend(type.Name))];
        HashSet<string> rules = [.. HazardsTests.Numbers().Select(number => $"H{number}")];
        Assert.All(All(), mutation =>
        {
            Assert.NotEmpty(mutation.Takes);
            Assert.Empty(Names(mutation.Rule).Except(rules));
            Assert.NotEmpty(Names(mutation.Rule));
            Assert.Empty(Names(mutation.Tests).Except(tests));
            Assert.True((Names(mutation.Tests).Length > 0) != mutation.Equivalent.Length > 0,
                $"{mutation.Id} names its tests, or says why no test can see it.");
        });
    }

    [Fact]
    public void Each_mutation_stands_in_the_table_of_results()
    {
        string[] listed =
            [.. TableRow().Matches(SourceTree.Text("docs/testing.md")).Select(match => match.Groups[1].Value)];
        Assert.Equal(All().Select(mutation => mutation.Id), listed);
    }

    private static string[] Names(string list) =>
        list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    [GeneratedRegex(@"^file:(?<file>[^\n]*)$|^<<<<\n(?<old>.*?)\n?^====\n(?<new>.*?)\n?^>>>>$",
        RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex FileOrEdit();

    [GeneratedRegex(@"^<<<<\n.*?^>>>>$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Edits();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();

    [GeneratedRegex(@"^\| ([a-z0-9-]+) \| H", RegexOptions.Multiline)]
    private static partial Regex TableRow();
}
