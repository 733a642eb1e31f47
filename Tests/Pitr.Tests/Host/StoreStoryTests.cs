using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// The command line with stores that are services, wherever a STORE stands: archived into, backed up to, verified,
/// restored from.
/// </summary>
public sealed class StoreStoryTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-stores-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_database_lives_with_a_bucket_and_comes_back_from_it()
    {
        await using S3Double service = await S3Double.StartAsync();
        S3Double.PutCredentialsIntoTheEnvironment();
        await TellAsync($"s3://{S3Double.Bucket}/orders?endpoint={service.Endpoint}");
    }

    [AzuriteFact]
    public async Task A_database_lives_with_a_container_and_comes_back_from_it()
    {
        Environment.SetEnvironmentVariable("AZURE_STORAGE_CONNECTION_STRING", Azurite.ConnectionString);
        await TellAsync($"azblob://{Azurite.NewContainer().Name}/orders");
    }

    [Fact]
    public async Task An_address_that_no_store_can_have_is_refused_before_anything_is_written()
    {
        Outcome outcome = await PitrProcess.RunAsync(_home, "init", "db", "--archive", "s3://b/p?user=me");
        Assert.Equal(4, outcome.ExitCode);
        Assert.Contains("'user' is no option of an S3 store", outcome.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_home, "db"));
    }

    /// <summary>WAL through commands, sets into a folder; and back with the commands of the lost database's settings.</summary>
    [Fact]
    public async Task A_database_archives_through_commands_and_comes_back_through_them()
    {
        Directory.CreateDirectory(Path.Combine(_home, "tape"));
        Directory.CreateDirectory(Path.Combine(_home, "kept"));
        await PitrProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB");
        string settings = TapeSettings(lists: true);
        await File.WriteAllTextAsync(Path.Combine(_home, "db", "pitr.json"), settings);
        await File.WriteAllTextAsync(Path.Combine(_home, "kept", "pitr.json"), settings);
        string added = await PitrProcess.MustAsync(_home, "archive", "add", "command:tape", "--database", "db", "--json");
        Assert.True(JsonDocument.Parse(added).RootElement.GetProperty("unclaimed").GetBoolean(), added);
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        Assert.Equal(4, (await PitrProcess.RunAsync(_home, "backup", "--to", "command:tape", "--database", "db")).ExitCode);
        await PitrProcess.MustAsync(_home, "backup", "--to", "sets", "--database", "db");
        string lsn = Text(await PitrProcess.MustAsync(_home, "put", "t", "kept", "2", "--database", "db", "--json"), "lsn");
        await PitrProcess.MustAsync(_home, "switch-wal", "--database", "db");

        Directory.Delete(Path.Combine(_home, "db"), recursive: true);
        string[] restore = ["restore", "--from", "sets", "--archive", "command:tape", "--into", "again", "--target-lsn", lsn];
        Outcome unknown = await PitrProcess.RunAsync(_home, restore);
        Assert.Equal(4, unknown.ExitCode);
        Assert.Contains("No commands of the name 'tape'", unknown.Error, StringComparison.Ordinal);
        await PitrProcess.MustAsync(_home, [.. restore, "--database", "kept"]);
        Assert.Equal("2", (await PitrProcess.MustAsync(_home, "get", "t", "kept", "--database", "again")).Trim());
        Assert.Contains("command:tape", await PitrProcess.MustAsync(_home, "archive", "status", "--database", "again"), StringComparison.Ordinal);
    }

    /// <summary>With the two commands that it needs: nothing is planned with it, and nothing that does without it is held up.</summary>
    [Fact]
    public async Task A_store_that_lists_nothing_holds_up_no_backup_and_no_recovery()
    {
        Directory.CreateDirectory(Path.Combine(_home, "tape"));
        await PitrProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB");
        await File.WriteAllTextAsync(Path.Combine(_home, "db", "pitr.json"), TapeSettings(lists: false));
        await PitrProcess.MustAsync(_home, "archive", "add", "command:tape", "--database", "db");
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await PitrProcess.MustAsync(_home, "backup", "--to", "sets", "--database", "db");
        await PitrProcess.MustAsync(_home, "put", "t", "kept", "2", "--database", "db");
        await PitrProcess.MustAsync(_home, "switch-wal", "--database", "db");
        await PitrProcess.MustAsync(_home, "backup", "--to", "sets", "--incremental", "--database", "db");

        using JsonDocument check =
            JsonDocument.Parse(await PitrProcess.MustAsync(_home, "archive", "check", "--json", "--database", "db"));
        Assert.True(check.RootElement[0].GetProperty("segments").GetInt32() > 0, check.RootElement.GetRawText());
        Assert.Contains(LeftOut, await PitrProcess.MustAsync(
            _home, "expire", "sets", "--window", "1d", "--archive", "command:tape", "--database", "db", "--plan"), StringComparison.Ordinal);

        File.Delete(Path.Combine(_home, "db", "main.pitr"));
        await PitrProcess.MustAsync(_home, "recover", "db", "--from", "sets");
        Assert.Equal("2", (await PitrProcess.MustAsync(_home, "get", "t", "kept", "--database", "db")).Trim());
        string[] back = ["recover", "db", "--control-file", "backup", "--from", "sets"];
        Assert.Contains(LeftOut, await PitrProcess.MustAsync(_home, [.. back, "--plan"]), StringComparison.Ordinal);
        await PitrProcess.MustAsync(_home, back);
        Assert.Equal("2", (await PitrProcess.MustAsync(_home, "get", "t", "kept", "--database", "db")).Trim());

        Outcome named = await PitrProcess.RunAsync(
            _home, "restore", "--from", "sets", "--archive", "command:tape", "--into", "again", "--database", "db");
        Assert.Equal(1, named.ExitCode); // who names it is told, instead of being given less
        Assert.Contains("no command 'list'", named.Error, StringComparison.Ordinal);
    }

    /// <summary>H7: what is on the tape beyond the end that the engine found when it started is its own.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_store_of_commands_is_removed_and_added_again_while_the_engine_runs(bool lists)
    {
        string tape = Path.Combine(_home, "tape");
        Directory.CreateDirectory(tape);
        await PitrProcess.MustAsync(_home, "init", "db", "--wal-segment-size", "64KiB");
        await File.WriteAllTextAsync(Path.Combine(_home, "db", "pitr.json"), TapeSettings(lists));
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        await PitrProcess.MustAsync(_home, "archive", "add", "command:tape", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "switch-wal", "--host", serve.Host);
        await TestEngine.Until(
            () => Directory.EnumerateFiles(tape, "0000*.zst").Any(), "the segment in which the engine began is on the tape");

        await PitrProcess.MustAsync(_home, "archive", "remove", "command:tape", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "archive", "add", "command:tape", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "put", "t", "k", "v", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "switch-wal", "--host", serve.Host);
        Assert.Equal(0, await serve.TerminateAsync());
        Assert.True(Directory.EnumerateFiles(tape, "0000*.zst").Count() > 1);
        await PitrProcess.MustAsync(_home, "archive", "check", "--database", "db");
    }

    private const string LeftOut = "Archive store 'command:tape' is left out";

    private string TapeSettings(bool lists) => $$"""
        { "commands": { "tape": {
            "archive": ["sh", "-c", "cp \"$1\" '{{_home}}/tape/.new' && mv '{{_home}}/tape/.new' '{{_home}}/tape/'$2", "sh", "%p", "%f"],
            "restore": ["sh", "-c", "test -e '{{_home}}/tape/'$2 && cp '{{_home}}/tape/'$2 \"$1\"", "sh", "%p", "%f"],
            {{(lists ? $"\"list\": [\"ls\", \"{_home}/tape\"]," : "")}}
            "unclaimed": true } } }
        """;

    /// <summary>With a key nothing goes into the store in the clear, and nothing comes back without the key.</summary>
    [Fact]
    public async Task An_encrypted_archive_restores_with_its_key_only()
    {
        string key = Path.Combine(_home, "key");
        await File.WriteAllTextAsync(key, new string('5', 64));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await PitrProcess.MustAsync(_home, "init", "db");
        await File.WriteAllTextAsync(Path.Combine(_home, "db", "pitr.json"), """{ "archiveKeyFile": "../key" }""");
        await PitrProcess.MustAsync(_home, "archive", "add", "store", "--database", "db");
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await PitrProcess.MustAsync(_home, "backup", "--to", "store", "--database", "db");
        await PitrProcess.MustAsync(_home, "put", "t", "k", "a secret that nobody reads", "--database", "db");
        foreach (string file in Directory.EnumerateFiles(Path.Combine(_home, "store"), "*", SearchOption.AllDirectories))
            Assert.StartsWith("PITRSEAL", await File.ReadAllTextAsync(file), StringComparison.Ordinal);

        Outcome without = await PitrProcess.RunAsync(_home, "restore", "--from", "store", "--into", "again");
        Assert.Equal(4, without.ExitCode);
        Assert.Contains("no key file is named", without.Error, StringComparison.Ordinal);
        await PitrProcess.MustAsync(_home, "verify", "store", "--database", "db");
        await PitrProcess.MustAsync(_home, "restore", "--from", "store", "--into", "again", "--database", "db");
        Assert.Equal(
            "a secret that nobody reads", (await PitrProcess.MustAsync(_home, "get", "t", "k", "--database", "again")).Trim());
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(key, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        Outcome open = await PitrProcess.RunAsync(_home, "verify", "store", "--database", "db");
        Assert.Equal(4, open.ExitCode);
        Assert.Contains("other users may read", open.Error, StringComparison.Ordinal);
    }

    private async Task TellAsync(string store)
    {
        await PitrProcess.MustAsync(_home, "init", "db", "--archive", store);
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        await PitrProcess.MustAsync(_home, "put", "t", "before", "1", "--database", "db");
        string backup = Text(await PitrProcess.MustAsync(_home, "backup", "--to", store, "--database", "db", "--json"), "backupId");
        string lsn = Text(await PitrProcess.MustAsync(_home, "put", "t", "kept", "2", "--database", "db", "--json"), "lsn");
        await PitrProcess.MustAsync(_home, "put", "t", "later", "3", "--database", "db");
        Assert.Contains($"{backup} restores", await PitrProcess.MustAsync(_home, "verify", store), StringComparison.Ordinal);

        Directory.Delete(Path.Combine(_home, "db"), recursive: true);
        await PitrProcess.MustAsync(_home, "restore", "--from", store, "--into", "again", "--target-lsn", lsn);
        Assert.Equal("2", (await PitrProcess.MustAsync(_home, "get", "t", "kept", "--database", "again")).Trim());
        Assert.Equal(3, (await PitrProcess.RunAsync(_home, "get", "t", "later", "--database", "again")).ExitCode);
        Assert.Contains(store, await File.ReadAllTextAsync(Path.Combine(_home, "again", "pitr.json")), StringComparison.Ordinal);
        Assert.Contains("kept", await PitrProcess.MustAsync(_home, "wal", "dump", store), StringComparison.Ordinal);
    }

    private static string Text(string json, string name) =>
        JsonDocument.Parse(json).RootElement.GetProperty(name).GetString()!;
}
