using System.Security.Cryptography;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary><c>pitr recover DIR --plan</c> on a real file system: nothing of the folder or the store is another then.</summary>
public sealed class RecoverPlanTests(ExpireFixture fixture) : IClassFixture<ExpireFixture>
{
    [Fact]
    public async Task A_plan_of_a_database_that_lacks_its_datafile_writes_neither_there_nor_into_the_store()
    {
        string database = Path.Combine(fixture.Home, "lacking");
        BadInputFixture.CopyFolder(Path.Combine(fixture.Home, "db"), database);
        File.Delete(Path.Combine(database, "main.pitr"));
        string[] before = [.. Digests(database), .. Digests(fixture.Store)];

        using JsonDocument plans = JsonDocument.Parse(await CliInProcess.MustAsync(
            fixture.Home, "recover", database, "--from", fixture.Store, "--plan", "--json"));

        JsonElement plan = Assert.Single(plans.RootElement.EnumerateArray());
        Assert.Equal("main", plan.GetProperty("datafile").GetString());
        Assert.Equal(fixture.Ids[1], plan.GetProperty("backupId").GetString());
        string text = await CliInProcess.MustAsync(fixture.Home, "recover", database, "--from", fixture.Store, "--plan");
        Assert.Contains("main, alone", text, StringComparison.Ordinal);
        Assert.Equal(before, Digests(database).Concat(Digests(fixture.Store)));
    }

    [Fact]
    public async Task A_plan_of_a_database_that_lacks_nothing_is_refused_and_writes_nothing()
    {
        string database = Path.Combine(fixture.Home, "whole");
        BadInputFixture.CopyFolder(Path.Combine(fixture.Home, "db"), database);
        string[] before = [.. Digests(database), .. Digests(fixture.Store)];
        Outcome refused = await CliInProcess.RunAsync(
            fixture.Home, "recover", database, "--from", fixture.Store, "--plan");
        Assert.Equal((4, ""), (refused.ExitCode, refused.Output));
        Assert.Equal(before, Digests(database).Concat(Digests(fixture.Store)));
    }

    /// <summary>Names, bytes and times of change.</summary>
    private static IEnumerable<string> Digests(string folder) => Directory
        .GetFileSystemEntries(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
        .Select(path => $"{path} {File.GetLastWriteTimeUtc(path):O} "
            + (File.Exists(path) ? Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))) : ""));
}
