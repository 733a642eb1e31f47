using System.Text;
using System.Text.RegularExpressions;
using Pitr.Actors;
using Pitr.Simulation;
using Pitr.Storage;

namespace Pitr.Tests;

/// <summary>Where the settings of an engine come from, which source wins, and what is refused by whose name.</summary>
public sealed partial class LayeredSettingsTests
{
    private readonly SimulatedDisk _disk = new();

    public LayeredSettingsTests() => _disk.CreateFolders("/db");

    [Fact]
    public void Code_wins_over_the_environment_that_over_the_file_and_that_over_the_default()
    {
        Write("""
            {
              "memoryBudgetBytes": "64MiB", "checkpointWalBytes": 5000000, "checkpointInterval": "10m",
              "heartbeatInterval": "3s", // a comment
            }
            """);
        PitrOptions options = Read(
            options => options with { CheckpointInterval = TimeSpan.FromMinutes(30) },
            ("PITR__CHECKPOINTINTERVAL", "20m"), ("Pitr__MemoryBudgetBytes", "128MiB")).Options;

        Assert.Equal(TimeSpan.FromMinutes(30), options.CheckpointInterval); // all three say it: code
        Assert.Equal(128L << 20, options.MemoryBudgetBytes);                // file and environment: environment
        Assert.Equal(5_000_000, options.CheckpointWalBytes);                // the file alone
        Assert.Equal(TimeSpan.FromSeconds(3), options.HeartbeatInterval);
        Assert.Equal(new PitrOptions().SnapshotAgeMax, options.SnapshotAgeMax); // nobody: the default
    }

    [Fact]
    public void Lists_of_the_sources_add_up_and_relative_roots_are_the_databases()
    {
        Write("""{ "stores": ["/archive"], "roots": ["data"] }""");
        LayeredSettings settings = Read(
            null, ("PITR__STORES__1", "/third"), ("PITR__STORES__0", "/second"), ("PITR__ROOTS__0", "/more"),
            ("PITR__LISTEN", "127.0.0.1:1"), ("PITR__HTTP", "127.0.0.1:2"));
        Assert.Equal(["/second", "/third"], settings.Options.ArchiveStores); // those of the file are the engine's own
        Assert.Equal(["/db/data", "/more"], settings.Roots);
        Assert.Equal(("127.0.0.1:1", "127.0.0.1:2"), (settings.Listen, settings.Http));
    }

    [Theory]
    [InlineData("""{ "memoryBudgetBytes": "64MB" }""", "'64MB' is not a SIZE")]
    [InlineData("""{ "memoryBudgetBytes": -1 }""", "whole number of bytes")]
    [InlineData("""{ "memoryBudgetBytes": 5 }""", "MemoryBudgetBytes is 5 bytes; it is at least 16777216.")]
    [InlineData("""{ "checkpointInterval": 300 }""", "a text with its unit")]
    [InlineData("""{ "checkpointInterval": "0s" }""", "'0s' is not between")]
    [InlineData("""{ "requestTimeout": "90d" }""", "RequestTimeout is 90.00:00:00; it is at most 24.00:00:00.")]
    [InlineData("""{ "keptWalChoice": "shrug" }""", "keptWalChoice")]
    [InlineData("""{ "keptWalChoice": 7 }""", "keptWalChoice")]
    [InlineData("""{ "stores": "/archive" }""", "stores")]
    [InlineData("""{ "memoryBudgetBytes": "64MiB" """, "can't be read")]
    public void A_bad_value_of_the_file_is_refused_by_its_path(string json, string why)
    {
        Write(json);
        RefusedException refused = Assert.Throws<RefusedException>(() => Read(null));
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains("/db/pitr.json", refused.Message, StringComparison.Ordinal);
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PITR__MEMORYBUDGETBYTES", "much", "'much' is not a SIZE")]
    [InlineData("PITR__MEMORYBUDGETBYTES", "1MiB", "at least 16777216")]
    [InlineData("PITR__CHECKPOINTINTERVAL", "5", "'5' is not a DURATION")]
    [InlineData("PITR__ARCHIVELAGCHOICE", "no", "archiveLagChoice")]
    [InlineData("PITR__MEMORYBUDGET", "64MiB", "no setting has that name")]
    [InlineData("PITR__", "x", "no setting has that name")]
    [InlineData("PITR__STORES", "/a", "PITR__STORES__0")]
    [InlineData("PITR__LISTEN__0", "127.0.0.1:1", "'listen' is no list: it is PITR__LISTEN.")]
    public void A_bad_variable_is_refused_by_its_name(string variable, string text, string why)
    {
        RefusedException refused = Assert.Throws<RefusedException>(() => Read(null, (variable, text)));
        Assert.Equal(ErrorCode.SettingsInvalid, refused.Code);
        Assert.Contains($"'{variable} of the environment'", refused.Message, StringComparison.Ordinal);
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_bad_option_in_code_is_refused_as_such()
    {
        RefusedException refused = Assert.Throws<RefusedException>(
            () => Read(static options => options with { HeartbeatInterval = TimeSpan.Zero }));
        Assert.Equal(
            "The settings 'options in code' can't be used: HeartbeatInterval is 00:00:00; it is more than zero.",
            refused.Message);
    }

    [Fact]
    public void Variables_of_others_are_left_alone() => Assert.Equal(
        new PitrOptions(), Read(null, ("PITR_DATABASE", "/x"), ("PITRX__A", "1"), ("PATH", "/bin")).Options with
        {
            ArchiveStores = new PitrOptions().ArchiveStores, // an empty list is not the same object
        });

    [Fact]
    public void The_reference_has_a_row_for_each_setting_and_its_default()
    {
        string reference = SourceTree.Text("docs/reference/settings.md");
        Dictionary<string, Match> rows = RowText().Matches(reference)
            .ToDictionary(row => row.Groups["name"].Value, StringComparer.Ordinal);
        Assert.Equal(EnvironmentSettings.Names.Order(), rows.Keys.Order());
        var defaults = new PitrOptions();
        foreach ((string name, Match row) in rows)
        {
            object? value = typeof(PitrOptions).GetProperty(char.ToUpperInvariant(name[0]) + name[1..])?.GetValue(defaults);
            string form = row.Groups["form"].Value, text = row.Groups["default"].Value;
            switch (value)
            {
                case long bytes when name != "memoryBudgetBytes":
                    Assert.Equal((bytes, "SIZE"), (SettingForms.Size(text), form));
                    break;
                case TimeSpan duration:
                    Assert.Equal((duration, "DURATION"), (SettingForms.Duration(text), form));
                    break;
                case KeptWalChoice choice:
                    Assert.Equal(choice, Enum.Parse<KeptWalChoice>(text, ignoreCase: true));
                    break;
                default:
                    break; // in words
            }
        }
    }

    [Fact]
    public void A_duration_is_written_as_it_is_read() => Assert.All(
        new[] { "1ms", "90s", "5m", "36h", "14d", "1500ms" },
        text => Assert.Equal(text, SettingForms.Text(SettingForms.Duration(text))));

    private LayeredSettings Read(
        Func<PitrOptions, PitrOptions>? inCode, params (string Name, string Text)[] variables) =>
        LayeredSettings.Read(
            "/db", variables.Select(variable => KeyValuePair.Create(variable.Name, variable.Text)), inCode, _disk);

    private void Write(string json) =>
        DurableReplace.Write(_disk, $"/db/{DatabaseSettings.FileName}", Encoding.UTF8.GetBytes(json));

    [GeneratedRegex(@"^\| `(?<name>\w+)` \| (?<form>[^|]+?) \| (?<default>[^|]+?) \|", RegexOptions.Multiline)]
    private static partial Regex RowText();
}
