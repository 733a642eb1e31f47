using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>What of the style a machine can check in the text of the sources.</summary>
public sealed partial class TidyTests
{
    // The aim is 120 (.editorconfig); a line past this one cannot be read side by side anywhere.
    private const int WidthMax = 160;

    // Each has one meaning only, and another word in our vocabulary; words that are good English elsewhere are left
    // out.
    private static readonly string[] RefusedWords =
    [
        "memtable", "superblock", "tablespace", "savepoint", "fsck", "quiesce", "failover", "data files", "mempool",
    ];

    private static void AssertNone(IEnumerable<string> found, string rule)
    {
        string[] all = [.. found.Take(20)];
        Assert.True(all.Length == 0, $"{rule}\n{string.Join('\n', all)}");
    }

    private static IEnumerable<string> LinesWhere(IEnumerable<string> files, Func<string, bool> isBad) =>
        from file in files
        where !file.EndsWith("TidyTests.cs", StringComparison.Ordinal)
        from line in SourceTree.Lines(file).Select((text, index) => (text, index))
        where isBad(line.text)
        select $"{file}:{line.index + 1}: {line.text.Trim()}";

    [Fact]
    public void Work_that_is_left_names_its_issue() => AssertNone(
        LinesWhere(SourceTree.Sources(SourceTree.Everything), line =>
            Left().IsMatch(line) && !WithIssue().IsMatch(line)),
        "A TODO needs an issue number: TODO #12.");

    [Fact]
    public void There_are_no_tabs_and_no_blanks_at_the_end() => AssertNone(
        LinesWhere(SourceTree.Sources(SourceTree.Everything),
            line => line.Contains('\t', StringComparison.Ordinal) || line.EndsWith(' ')),
        "Four spaces, and none at the end of a line.");

    [Fact]
    public void No_line_is_too_wide_to_read() => AssertNone(
        LinesWhere(SourceTree.Sources(SourceTree.Everything), line => line.Length > WidthMax), "Break it.");

    [Fact]
    public void One_thing_has_one_word() => AssertNone(
        LinesWhere(SourceTree.Sources(SourceTree.Production),
            line => RefusedWords.Any(word => line.Contains(word, StringComparison.OrdinalIgnoreCase))),
        "Take the word of the vocabulary.");

    [Fact]
    public void Every_file_opens_with_what_it_is_for() => AssertNone(
        SourceTree.Sources("Storage", "Wal", "Recovery", "Actors").Where(file =>
        {
            string text = SourceTree.Text(file);
            Match type = TopLevelType().Match(text);
            return type.Success && !text[..type.Index].Contains("/// <summary>", StringComparison.Ordinal)
                && !text[..type.Index].Contains("/// <content>", StringComparison.Ordinal); // a further part of a type
        }),
        "The first type of a file has a header comment.");

    [Fact]
    public void No_class_is_a_helper() => AssertNone(
        SourceTree.Sources(SourceTree.Everything).Where(file => VagueName().IsMatch(Path.GetFileName(file))),
        "Name what it does.");

    [Fact]
    public void Tests_wait_for_events_and_not_for_time() => AssertNone(
        LinesWhere(SourceTree.Sources("Tests"), line => line.Contains("Thread.Sleep(", StringComparison.Ordinal)),
        "Wait for what must happen.");

    [GeneratedRegex(@"\b(TODO|FIXME|HACK|XXX)\b")]
    private static partial Regex Left();

    [GeneratedRegex(@"TODO #\d+")]
    private static partial Regex WithIssue();

    [GeneratedRegex(@"^(public|internal|file)?\s*(static |sealed |abstract |readonly |unsafe |partial |ref )*(class|struct|record|interface|enum) ",
        RegexOptions.Multiline)]
    private static partial Regex TopLevelType();

    [GeneratedRegex("(Helper|Manager|Util|Utils)s?\\.cs$")]
    private static partial Regex VagueName();
}
