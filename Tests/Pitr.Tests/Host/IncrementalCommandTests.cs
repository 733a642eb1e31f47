using System.Text.Json;

namespace Pitr.Tests;

/// <summary><c>pitr backup --incremental</c> as scripts see it, against a running engine and alone; and what is refused.</summary>
public sealed class IncrementalCommandTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-incremental-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Sets_that_build_on_others_are_made_by_a_running_engine_and_alone_and_come_back()
    {
        await InitAsync();
        string first, second;
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            first = await BackupAsync(null, "--host", serve.Host, "--jobs", "2");
            await PitrProcess.MustAsync(_home, "put", "t", "k", "1", "--host", serve.Host);
            second = await BackupAsync(first, "--incremental", "--jobs", "2", "--rate", "100MiB", "--host", serve.Host);
            Assert.Equal(0, await serve.TerminateAsync());
        }

        await CliInProcess.MustAsync(_home, "put", "t", "k", "2", "--database", "db");
        string third = await BackupAsync(second, "--incremental", "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "t", "k", "3", "--database", "db");

        JsonElement sets = Json(await CliInProcess.MustAsync(_home, "backups", "sets", "--json"));
        Assert.Equal(
            [("full", null), ("incremental", first), ("incremental", second)],
            sets.EnumerateArray().Select(set => (Text(set, "kind")!, Text(set, "baseId"))));
        Assert.Contains(second, await CliInProcess.MustAsync(_home, "backups", "sets"), StringComparison.Ordinal);
        JsonElement verified = Json(await CliInProcess.MustAsync(_home, "verify", "sets", "--archive", "archive", "--json"));
        Assert.All(verified.EnumerateArray(), set => Assert.True(set.GetProperty("restores").GetBoolean()));
        Assert.Contains(
            $"{second}, {first}", await CliInProcess.MustAsync(_home, [.. Restore("new"), "--plan"]), StringComparison.Ordinal);

        await CliInProcess.MustAsync(_home, Restore("new"));
        Assert.Equal("3\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--database", "new"));
        await CliInProcess.MustAsync(_home, "check", "new");
        await CliInProcess.MustAsync(_home, [.. Restore("stop"), "--backup", third, "--target-immediate"]);
        Assert.Equal("2\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--database", "stop"));
    }

    [Fact]
    public async Task A_base_that_is_gone_or_damaged_is_refused_before_a_byte_is_written()
    {
        await InitAsync();
        string first = await BackupAsync(null, "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "t", "k", "1", "--database", "db");
        string second = await BackupAsync(first, "--incremental", "--database", "db");
        string folder = Path.Combine(_home, "sets", "backups", first);
        string manifest = Path.Combine(folder, "manifest.json");
        string good = await File.ReadAllTextAsync(manifest);

        await File.WriteAllTextAsync(manifest, good.Replace("\"digest\": \"", "\"digest\": \"0", StringComparison.Ordinal));
        await RefusedAsync(5, second);
        await File.WriteAllTextAsync(manifest, good);

        Directory.Move(folder, Path.Combine(_home, "aside"));
        Outcome refused = await RefusedAsync(4, second);
        Assert.Contains($"builds on set '{first}'", refused.Error, StringComparison.Ordinal);
        Outcome whole = await CliInProcess.RunAsync(_home, "backup", "--to", "sets", "--incremental", "--database", "db");
        Assert.Contains("it builds on no other set", whole.Output, StringComparison.Ordinal);

        Directory.Move(Path.Combine(_home, "aside"), folder);
        await CliInProcess.MustAsync(_home, [.. Restore("new"), "--backup", second]);
        Assert.Equal("1\n", await CliInProcess.MustAsync(_home, "get", "t", "k", "--database", "new"));
    }

    [Fact]
    public async Task Sets_of_another_database_are_no_base()
    {
        await InitAsync();
        await BackupAsync(null, "--database", "db");
        await CliInProcess.MustAsync(_home, "init", "other");
        JsonElement made = Json(await CliInProcess.MustAsync(
            _home, "backup", "--to", "sets", "--incremental", "--database", "other", "--json"));
        Assert.Equal(("full", null), (Text(made, "kind"), Text(made, "baseId")));
    }

    private async Task<Outcome> RefusedAsync(int exitCode, string backup)
    {
        Outcome outcome = await CliInProcess.RunAsync(_home, [.. Restore("new"), "--backup", backup]);
        Assert.True(outcome.ExitCode == exitCode, outcome.ToString());
        Assert.Equal("", outcome.Output);
        Assert.False(Directory.Exists(Path.Combine(_home, "new")));
        Outcome verified = await CliInProcess.RunAsync(_home, "verify", "sets", "--archive", "archive", "--backup", backup);
        Assert.True(verified.ExitCode == exitCode, verified.ToString());
        return outcome;
    }

    private async Task InitAsync()
    {
        await CliInProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB", "--archive", "archive");
        await CliInProcess.MustAsync(_home, "datafile", "create", "other", "--database", "db");
        await CliInProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await CliInProcess.MustAsync(_home, "table", "create", "u", "--datafile", "other", "--database", "db");
        await CliInProcess.MustAsync(_home, "put", "u", "k", "0", "--database", "db");
    }

    private async Task<string> BackupAsync(string? baseId, params string[] options)
    {
        JsonElement made = Json(await PitrProcess.MustAsync(_home, ["backup", "--to", "sets", "--json", .. options]));
        Assert.Equal((baseId is null ? "full" : "incremental", baseId), (Text(made, "kind"), Text(made, "baseId")));
        return Text(made, "backupId")!;
    }

    private static string[] Restore(string into) =>
        ["restore", "--from", "sets", "--archive", "archive", "--into", into, "--detached"];

    private static string? Text(JsonElement element, string name) => element.GetProperty(name).GetString();

    private static JsonElement Json(string text) => JsonDocument.Parse(text).RootElement;
}
