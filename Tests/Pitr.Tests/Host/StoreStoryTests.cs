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
