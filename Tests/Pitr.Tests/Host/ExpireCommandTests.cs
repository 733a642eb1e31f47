using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>A database with two backup sets in its archive.</summary>
public sealed class ExpireFixture : IAsyncLifetime
{
    public string Home { get; } = Directory.CreateTempSubdirectory("pitr-expire-").FullName;

    public string Store => Path.Combine(Home, "store");

    public List<string> Ids { get; } = [];

    public async Task InitializeAsync()
    {
        var options = new PitrOptions { WalSegmentBytes = 64 << 10, ArchiveStores = [Store] };
        await using PitrDatabase database = await PitrDatabase.CreateAsync(Path.Combine(Home, "db"), options);
        Table table = await database.CreateTableAsync("t");
        for (int round = 0; round < 2; round++)
        {
            for (int n = 0; n < 60; n++)
                await database.PutAsync(table, Encoding.ASCII.GetBytes($"{round}-{n}"), new byte[3_000]);
            Ids.Add((await database.BackupAsync(new BackupRequest { Store = Store })).BackupId);
        }
        await database.PutAsync(table, "last"u8.ToArray(), "1"u8.ToArray());
    }

    public Task DisposeAsync()
    {
        Directory.Delete(Home, recursive: true);
        return Task.CompletedTask;
    }
}

/// <summary><c>pitr expire</c>, <c>pin</c>, <c>unpin</c> as scripts see them.</summary>
public sealed class ExpireCommandTests(ExpireFixture fixture) : IClassFixture<ExpireFixture>
{
    [Fact]
    public async Task What_no_moment_of_the_window_needs_goes_and_the_rest_restores()
    {
        string store = Copy();
        string[] before = Files(store);
        JsonElement plan = await JsonAsync("expire", store, "--window", "1ms", "--plan");
        Assert.False(plan.GetProperty("done").GetBoolean());
        Assert.Equal(before, Files(store));

        JsonElement done = await JsonAsync("expire", store, "--window", "1ms");
        Assert.True(done.GetProperty("done").GetBoolean());
        Assert.Equal(plan.GetProperty("sets").GetRawText(), done.GetProperty("sets").GetRawText());
        Assert.Equal([true, false], done.GetProperty("sets").EnumerateArray()
            .Select(set => set.GetProperty("removed").GetBoolean()));
        Assert.True(done.GetProperty("wal")[0].GetProperty("objects").GetInt32() > 1);
        JsonElement left = await JsonAsync("backups", store);
        Assert.Equal(fixture.Ids[1], Assert.Single(left.EnumerateArray()).GetProperty("backupId").GetString());
        await JsonAsync("verify", store);
        string back = store + "-back";
        await PitrProcess.MustAsync(fixture.Home, "restore", "--from", store, "--into", back, "--detached");
        Assert.Equal("1\n", await PitrProcess.MustAsync(fixture.Home, "get", "t", "last", "--database", back));
    }

    [Fact]
    public async Task A_pinned_set_is_shown_and_stays_until_it_is_unpinned()
    {
        string store = Copy();
        Assert.True((await JsonAsync("pin", store, fixture.Ids[0])).GetProperty("pinned").GetBoolean());
        JsonElement sets = await JsonAsync("backups", store);
        Assert.Equal([true, false], sets.EnumerateArray().Select(set => set.GetProperty("pinned").GetBoolean()));
        await JsonAsync("expire", store, "--window", "1ms");
        Assert.Equal(2, (await JsonAsync("backups", store)).GetArrayLength());
        Assert.False((await JsonAsync("unpin", store, fixture.Ids[0])).GetProperty("pinned").GetBoolean());
        await JsonAsync("expire", store, "--window", "1ms");
        Assert.Equal(1, (await JsonAsync("backups", store)).GetArrayLength());
        await JsonAsync("expire", store, "--window", "1ms"); // the only set
        Assert.Equal(1, (await JsonAsync("backups", store)).GetArrayLength());
    }

    [Fact]
    public async Task The_plan_is_printed_before_anything_goes()
    {
        (int exitCode, string output, string error) =
            await NewCli().RunAsync("expire", Copy(), "--window", "1ms");
        Assert.Equal(0, exitCode);
        Assert.Contains($"removes set   {fixture.Ids[0]}", error, StringComparison.Ordinal);
        Assert.StartsWith("removed 1 sets", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(2, "expire", "store")]
    [InlineData(2, "expire", "store", "--window", "0d")]
    [InlineData(2, "expire", "store", "--window", "-1d")]
    [InlineData(2, "expire", "store", "--window", "two weeks")]
    [InlineData(1, "expire", "nowhere", "--window", "14d")]
    [InlineData(3, "expire", "db/wal", "--window", "14d")]
    [InlineData(1, "expire", "store", "--window", "14d", "--archive", "nowhere")]
    [InlineData(3, "pin", "store", "20260101T000000Z-000000")]
    [InlineData(3, "unpin", "store", "..")]
    [InlineData(1, "pin", "nowhere", "x")]
    [InlineData(2, "pin", "store")]
    public async Task What_is_wrong_is_said_in_two_lines_and_nothing_goes(int expected, params string[] args)
    {
        string[] before = Files(fixture.Store);
        (int exitCode, string output, string error) = await NewCli().RunAsync(args);
        Assert.Equal((expected, ""), (exitCode, output));
        Assert.Equal(2, error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal(before, Files(fixture.Store));
    }

    private string Copy()
    {
        string store = Path.Combine(fixture.Home, $"copy-{Guid.NewGuid():N}");
        BadInputFixture.CopyFolder(fixture.Store, store);
        return store;
    }

    private static string[] Files(string folder) =>
        [.. Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    private CliRun NewCli() => new(new MemoryTarget()) { CurrentFolder = fixture.Home };

    private async Task<JsonElement> JsonAsync(params string[] args)
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync([.. args, "--json"]);
        Assert.True(exitCode == 0, error);
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.Clone();
    }
}
