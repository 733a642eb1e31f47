using System.Globalization;
using System.Text;
using System.Text.Json;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Tests;

/// <summary>
/// A database whose WAL has records over segments, two tables of one name, and a key that is no text.
/// </summary>
public sealed class WalDumpFixture : IAsyncLifetime
{
    public static readonly byte[] NoText = [0xFF, 0x00, 0xFE];

    public string Home { get; } = Directory.CreateTempSubdirectory("pitr-wal-").FullName;

    /// <summary>Control file and WAL as they were before the database was closed: closing recycles segments.</summary>
    public string Copy => Path.Combine(Home, "db");

    public string Database => Path.Combine(Home, "live");

    public string Store => Path.Combine(Home, "store");

    /// <summary>LSNs of the three transactions with values that span segments.</summary>
    public List<string> Long { get; } = [];

    public async Task InitializeAsync()
    {
        var options = new PitrOptions { WalSegmentBytes = 64 << 10, ArchiveStores = [Store] };
        await using PitrDatabase database = await PitrDatabase.CreateAsync(Database, options);
        Table first = await database.CreateTableAsync("t");
        await database.PutAsync(first, "a"u8.ToArray(), "1"u8.ToArray());
        await database.DropTableAsync("t");
        Table second = await database.CreateTableAsync("t");
        Table other = await database.CreateTableAsync("other");
        for (int number = 0; number < 3; number++)
        {
            CommitResult commit =
                await database.PutAsync(second, Encoding.UTF8.GetBytes($"long-{number}"), new byte[100_000]);
            Long.Add(commit.Lsn.ToString());
            await database.PutAsync(other, "a"u8.ToArray(), "2"u8.ToArray());
        }
        await database.PutAsync(other, NoText, "3"u8.ToArray());
        await database.DeleteAsync(second, "long-0"u8.ToArray());
        BadInputFixture.CopyFolder(Path.Combine(Database, "wal"), Path.Combine(Copy, "wal"));
        File.Copy(Path.Combine(Database, "pitr.control"), Path.Combine(Copy, "pitr.control"));
    }

    public Task DisposeAsync()
    {
        Directory.Delete(Home, recursive: true);
        return Task.CompletedTask;
    }
}

/// <summary><c>pitr wal dump</c>: every record once, wherever its bytes lie, and only what was asked for.</summary>
public sealed class WalDumpTests(WalDumpFixture fixture) : IClassFixture<WalDumpFixture>
{
    [Theory]
    [InlineData("db")]
    [InlineData("db/wal")]
    [InlineData("store")]
    public async Task Records_that_span_segments_come_once_and_in_order(string source)
    {
        List<JsonElement> records = await DumpAsync(source);
        string[] lsns = [.. records.Select(record => record.GetProperty("lsn").GetString()!)];
        // nothing is left out, nothing comes twice: each begins where the one before it ends
        for (int n = 1; n < records.Count; n++)
            Assert.Equal(lsns[n - 1], records[n].GetProperty("startLsn").GetString());
        Assert.All(fixture.Long, lsn => Assert.Contains(lsn, lsns));
    }

    [Fact]
    public async Task A_segment_has_the_records_that_begin_in_it_and_all_segments_have_each_once()
    {
        foreach ((string source, string folder) in new[] { ("db", "db/wal"), ("store", "store/wal") })
        {
            string[] whole = Lsns(await DumpAsync(source));
            var joined = new List<string>();
            // Neither a spare segment, nor one that was being made when the folder was copied.
            IEnumerable<string> segments = Directory.GetFiles(Path.Combine(fixture.Home, folder))
                .Where(path => SegmentName.TryParse(Path.GetFileName(path).AsSpan()[..SegmentName.Length], out _)
                    && !path.EndsWith(DurableReplace.UnfinishedSuffix, StringComparison.Ordinal))
                .Order(StringComparer.Ordinal);
            foreach (string segment in segments)
                joined.AddRange(Lsns(await DumpAsync(segment)));
            Assert.Equal(whole, joined);
        }
    }

    [Theory]
    [InlineData("db")]
    [InlineData("store")]
    public async Task A_table_by_name_is_every_table_that_ever_had_it(string source)
    {
        List<JsonElement> records = await DumpAsync(source, "--table", "t");
        Assert.Equal(
            ["CreateTable", "Transaction", "DropTable", "CreateTable", "Transaction", "Transaction", "Transaction",
                "Transaction"],
            records.Select(record => record.GetProperty("kind").GetString()));
        Assert.All(Operations(records), operation => Assert.Equal("t", operation.GetProperty("table").GetString()));
        string second = records[3].GetProperty("event").GetProperty("tableId").GetRawText();
        Assert.Equal(5, (await DumpAsync(source, "--table", second)).Count);
    }

    [Fact]
    public async Task A_key_is_looked_for_in_the_table_that_was_named()
    {
        Assert.Equal(4, (await DumpAsync("db", "--key", "a")).Count);
        Assert.Equal(3, (await DumpAsync("db", "--key", "a", "--table", "other")).Count);
        Assert.Equal(4, (await DumpAsync("db", "--key", "61", "--hex")).Count);
        List<JsonElement> records = await DumpAsync("db", "--key", "long-0", "--table", "t");
        Assert.Equal(
            ["put", "delete"], Operations(records).Select(operation => operation.GetProperty("operation").GetString()));
    }

    [Fact]
    public async Task A_key_is_text_and_hexadecimal_where_it_is_none_or_where_that_is_wanted()
    {
        JsonElement[] operations = [.. Operations(await DumpAsync("db"))];
        Assert.Contains(operations, operation =>
            operation.TryGetProperty("key", out JsonElement key) && key.GetString() == "long-1");
        Assert.Contains(operations, operation =>
            operation.TryGetProperty("keyHex", out JsonElement key) && key.GetString() == "ff00fe");
        Assert.All(
            Operations(await DumpAsync("db", "--hex")), operation =>
                Assert.False(operation.TryGetProperty("key", out _)));
    }

    [Fact]
    public async Task A_range_of_lsns_is_open_below_and_closed_above()
    {
        List<JsonElement> records = await DumpAsync("db", "--from", fixture.Long[0], "--to", fixture.Long[1]);
        Assert.Equal(fixture.Long[0], records[0].GetProperty("startLsn").GetString());
        Assert.Equal(fixture.Long[1], records[^1].GetProperty("lsn").GetString());
    }

    /// <summary>Its segment ends below the LSN from which on records are wanted.</summary>
    [Theory]
    [InlineData("db")]
    [InlineData("store")]
    public async Task A_record_that_ends_above_the_first_lsn_comes_wherever_it_begins(string source)
    {
        foreach (string end in fixture.Long)
        {
            Lsn within = new(Lsn.Parse(end, CultureInfo.InvariantCulture).Value - 8);
            List<JsonElement> records = await DumpAsync(source, "--from", within.ToString(), "--to", end);
            Assert.Equal([end], Lsns(records));
        }
    }

    [Fact]
    public async Task A_checkpoint_shows_its_control_file_as_a_document()
    {
        JsonElement checkpoint = (await DumpAsync("live"))
            .First(record => record.GetProperty("kind").GetString() == "Checkpoint");
        Assert.Equal(
            "main",
            checkpoint.GetProperty("event").GetProperty("controlFile").GetProperty("catalogue").GetProperty("files")[0]
                .GetProperty("name").GetString());
    }

    [Theory]
    [InlineData(3, "db", "--table", "never-made")]
    [InlineData(1, "nowhere")]
    [InlineData(1, "db/pitr.control")]
    [InlineData(2, "db", "--from", "12")]
    [InlineData(2, "db", "--key", "xyz", "--hex")]
    public async Task What_cannot_be_dumped_is_said_in_two_lines(int expected, params string[] args)
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync(["wal", "dump", .. args]);
        Assert.Equal((expected, ""), (exitCode, output));
        Assert.Equal(2, error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    private CliRun NewCli() => new(new MemoryTarget()) { CurrentFolder = fixture.Home };

    private async Task<List<JsonElement>> DumpAsync(params string[] args)
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync(["wal", "dump", .. args]);
        Assert.Equal((0, ""), (exitCode, error));
        return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            using JsonDocument record = JsonDocument.Parse(line);
            return record.RootElement.Clone();
        })];
    }

    private static string[] Lsns(List<JsonElement> records) =>
        [.. records.Select(record => record.GetProperty("lsn").GetString()!)];

    private static IEnumerable<JsonElement> Operations(List<JsonElement> records) => records
        .Where(record => record.TryGetProperty("operations", out _))
        .SelectMany(record => record.GetProperty("operations").EnumerateArray());
}
