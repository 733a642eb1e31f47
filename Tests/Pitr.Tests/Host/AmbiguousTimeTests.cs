using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>
/// H8 at the command line: a time that a clock which stepped back has made ambiguous is refused, with the positions, and
/// what the hint says leads on.
/// </summary>
public sealed partial class AmbiguousTimeTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-ambiguous-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_time_that_names_two_places_is_refused_and_the_position_of_the_hint_restores()
    {
        string archive = Path.Combine(_home, "archive");
        await CliInProcess.MustAsync(_home, "init", "db", "--archive", archive);
        var clock = new SteppedClock();
        var options = new PitrOptions { Clock = clock, ArchiveStores = [archive] };
        string between;
        await using (PitrDatabase database = await PitrDatabase.OpenAsync(Path.Combine(_home, "db"), options))
        {
            Table table = await database.CreateTableAsync("t");
            await PutAsync(database, table, "a");
            await database.BackupAsync(new BackupRequest { Store = archive });
            await PutAsync(database, table, "b");
            between = (clock.GetUtcNow() + TimeSpan.FromMinutes(30)).ToString(
                "yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
            clock.Step = TimeSpan.FromHours(1);
            await PutAsync(database, table, "c"); // beyond that time
            clock.Step = TimeSpan.Zero;
            await PutAsync(database, table, "d"); // behind c, and by its clock before that time
        }

        string[] restore = ["restore", "--from", archive, "--into", "back", "--detached"];
        string hint = "";
        foreach (string[] more in (string[][])[["--plan"], ["--json"], []])
        {
            Outcome refused = await CliInProcess.RunAsync(_home, [.. restore, "--target-time", between, .. more]);
            Assert.True(refused.ExitCode == ExitCodes.Refused, refused.ToString());
            Assert.Equal("", refused.Output);
            string[] lines = refused.Error.TrimEnd('\n').Split('\n');
            Assert.Equal(2, lines.Length);
            Assert.Contains("is ambiguous", lines[0], StringComparison.Ordinal);
            Assert.Contains("the clock had stepped", lines[0], StringComparison.Ordinal);
            hint = lines[1];
            Assert.False(Directory.Exists(Path.Combine(_home, "back")));
        }

        string cut = TargetOfHint().Match(hint).Groups[1].Value;
        Assert.Contains($"pitr wal dump STORE --from {cut}", hint, StringComparison.Ordinal);
        string beyond = await CliInProcess.MustAsync(_home, "wal", "dump", archive, "--from", cut, "--table", "t");
        Assert.DoesNotContain("\"key\":\"b\"", beyond, StringComparison.Ordinal);
        Assert.Contains("\"key\":\"c\"", beyond, StringComparison.Ordinal);
        Assert.Contains("\"key\":\"d\"", beyond, StringComparison.Ordinal);
        await CliInProcess.MustAsync(_home, [.. restore, "--target-lsn", cut]);
        Assert.Equal("a\nb\n", await CliInProcess.MustAsync(_home, "dump", "t", "--database", "back"));
    }

    private static Task<CommitResult> PutAsync(PitrDatabase database, Table table, string key) =>
        database.PutAsync(table, Encoding.ASCII.GetBytes(key), Encoding.ASCII.GetBytes(key)).AsTask();

    [GeneratedRegex("--target-lsn ([0-9A-F]+/[0-9A-F]+)")]
    private static partial Regex TargetOfHint();

    /// <summary>The machine's clock, set forth by somebody; what is measured goes on evenly.</summary>
    private sealed class SteppedClock : TimeProvider
    {
        public TimeSpan Step { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Step;
    }
}
