using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>A database with many archived segments, and keys that few of them have.</summary>
public sealed class WalFindFixture : IAsyncLifetime
{
    public string Home { get; } = Directory.CreateTempSubdirectory("pitr-find-").FullName;

    public string Database => Path.Combine(Home, "db");

    public string Store => Path.Combine(Home, "store");

    public CommitResult Put { get; private set; }

    public CommitResult Changed { get; private set; }

    public CommitResult Deleted { get; private set; }

    /// <summary>The value of a key over several segments.</summary>
    public CommitResult Long { get; private set; }

    public async Task InitializeAsync()
    {
        var options = new PitrOptions { WalSegmentBytes = 64 << 10, ArchiveStores = [Store] };
        await using PitrDatabase database = await PitrDatabase.CreateAsync(Database, options);
        Table orders = await database.CreateTableAsync("orders");
        await database.BackupAsync(new BackupRequest { Store = Store });
        Put = await database.PutAsync(orders, "lost"u8.ToArray(), "1"u8.ToArray());
        await FillAsync(database, orders, 0);
        Changed = await database.PutAsync(orders, "lost"u8.ToArray(), "two"u8.ToArray());
        Long = await database.PutAsync(orders, "long"u8.ToArray(), new byte[150_000]);
        await FillAsync(database, orders, 1);
        var batch = new WriteBatch();
        batch.Put(orders, "lost"u8, "3"u8);
        batch.Delete(orders, "lost"u8);
        Deleted = await database.CommitAsync(batch);
        await FillAsync(database, orders, 2);
        await database.CreateDatafileAsync("extra");
        Table gone = await database.CreateTableAsync("gone", "extra");
        await database.PutAsync(gone, "k"u8.ToArray(), "v"u8.ToArray());
        await database.DropTableAsync("gone");
        await database.CreateTableAsync("gone");
        await FillAsync(database, orders, 3);
    }

    public Task DisposeAsync()
    {
        Directory.Delete(Home, recursive: true);
        return Task.CompletedTask;
    }

    private static async Task FillAsync(PitrDatabase database, Table table, int round)
    {
        for (int n = 0; n < 200; n++)
            await database.PutAsync(table, Encoding.ASCII.GetBytes($"filler-{round}-{n}"), new byte[3_000]);
    }
}

/// <summary><c>pitr wal find</c>: who touched a key, when, and where to go back to; without reading everything.</summary>
public sealed class WalFindTests(WalFindFixture fixture) : IClassFixture<WalFindFixture>
{
    [Theory]
    [InlineData("--archive", "store")]
    [InlineData("--database", "db")]
    public async Task Every_transaction_that_touched_a_key_is_found_and_few_segments_are_read(params string[] where)
    {
        JsonElement found = await FindAsync(["--table", "orders", "--key", "lost", .. where]);
        Assert.Equal(
            [("put", Lsn(fixture.Put)), ("put", Lsn(fixture.Changed)), ("delete", Lsn(fixture.Deleted))],
            Touches(found));
        JsonElement last = found.GetProperty("touches")[2];
        Assert.Equal(fixture.Deleted.TransactionId.Value, last.GetProperty("transactionId").GetUInt64());
        Assert.Equal($"--target-lsn {Lsn(fixture.Deleted)} --exclusive", last.GetProperty("targetBefore").GetString());
        Assert.True(found.GetProperty("segments").GetInt32() > 30);
        Assert.InRange(found.GetProperty("segmentsRead").GetInt32(), 3, 12);
    }

    [Fact]
    public async Task Only_what_removed_it_and_only_since_a_moment()
    {
        JsonElement deleted = await FindAsync(["--table", "orders", "--key", "lost", "--deleted", "--archive", "store"]);
        Assert.Equal([("delete", Lsn(fixture.Deleted))], Touches(deleted));
        string since = fixture.Changed.Time.UtcDateTime.ToString("O", null);
        JsonElement later =
            await FindAsync(["--table", "orders", "--key", "lost", "--since", since, "--archive", "store"]);
        Assert.Equal([("put", Lsn(fixture.Changed)), ("delete", Lsn(fixture.Deleted))], Touches(later));
    }

    [Fact]
    public async Task A_record_over_several_segments_is_found()
    {
        JsonElement found = await FindAsync(["--table", "orders", "--key", "long", "--archive", "store"]);
        Assert.Equal([("put", Lsn(fixture.Long))], Touches(found));
        Assert.Equal(150_000, found.GetProperty("touches")[0].GetProperty("valueBytes").GetInt32());
    }

    [Fact]
    public async Task The_drop_of_a_table_removed_its_keys()
    {
        JsonElement found = await FindAsync(["--table", "gone", "--key", "k", "--deleted", "--archive", "store"]);
        (string operation, string lsn) = Assert.Single(Touches(found));
        Assert.Equal("drop-table", operation);
        Assert.Equal($"--target-lsn {lsn} --exclusive", found.GetProperty("touches")[0]
            .GetProperty("targetBefore").GetString());
    }

    [Fact]
    public async Task Without_its_indexes_or_with_damaged_ones_the_same_is_found_by_reading_more()
    {
        string store = Path.Combine(fixture.Home, $"bare-{Guid.NewGuid():N}");
        BadInputFixture.CopyFolder(fixture.Store, store);
        string[] args = ["--table", "orders", "--key", "lost", "--archive"];
        JsonElement with = await FindAsync([.. args, store]);
        string[] indexes = Directory.GetFiles(Path.Combine(store, "index"));
        Assert.True(indexes.Length > 30);
        foreach (string index in indexes.Take(10))
            File.Delete(index);
        foreach (string index in indexes.Skip(10))
        {
            byte[] bytes = File.ReadAllBytes(index);
            bytes[bytes.Length / 2] ^= 1;
            File.WriteAllBytes(index, bytes);
        }
        JsonElement without = await FindAsync([.. args, store]);
        Assert.Equal(Touches(with), Touches(without));
        Assert.Equal(without.GetProperty("segments").GetInt32(), without.GetProperty("segmentsRead").GetInt32());
    }

    [Fact]
    public async Task A_dump_of_a_key_out_of_a_store_has_the_same_transactions()
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync(
            "wal", "dump", "store", "--table", "orders", "--key", "lost");
        Assert.Equal((0, ""), (exitCode, error));
        string[] lsns = [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonDocument.Parse(line).RootElement.GetProperty("lsn").GetString()!)];
        Assert.Equal([Lsn(fixture.Put), Lsn(fixture.Changed), Lsn(fixture.Deleted)], lsns);
    }

    [Fact]
    public async Task What_is_found_is_the_target_that_has_the_key_as_it_was()
    {
        JsonElement found = await FindAsync(["--table", "orders", "--key", "lost", "--deleted", "--archive", "store"]);
        string target = found.GetProperty("touches")[0].GetProperty("targetBefore").GetString()!;
        string back = Path.Combine(fixture.Home, "back");
        await PitrProcess.MustAsync(
            fixture.Home, ["restore", "--from", fixture.Store, "--into", back, "--detached", .. target.Split(' ')]);
        Assert.Equal("two\n", await PitrProcess.MustAsync(fixture.Home, "get", "orders", "lost", "--database", back));
    }

    [Theory]
    [InlineData(2, "--table", "orders", "--key", "lost")]
    [InlineData(2, "--table", "orders", "--archive", "store")]
    [InlineData(2, "--table", "orders", "--key", "lost", "--since", "2026-01-01T00:00:00", "--archive", "store")]
    [InlineData(2, "--table", "orders", "--key", "xyz", "--hex", "--archive", "store")]
    [InlineData(3, "--table", "orders", "--key", "never", "--archive", "store")]
    [InlineData(3, "--table", "orders", "--key", "long", "--deleted", "--archive", "store")]
    [InlineData(3, "--table", "never-made", "--key", "lost", "--archive", "store")]
    [InlineData(3, "--table", "orders", "--key", "lost", "--database", "store")]
    [InlineData(1, "--table", "orders", "--key", "lost", "--archive", "nowhere")]
    public async Task What_cannot_be_found_is_said_in_two_lines(int expected, params string[] args)
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync(["wal", "find", .. args]);
        Assert.Equal((expected, ""), (exitCode, output));
        Assert.Equal(2, error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public async Task WAL_that_is_missing_between_what_is_searched_is_told()
    {
        string store = Path.Combine(fixture.Home, $"holed-{Guid.NewGuid():N}");
        BadInputFixture.CopyFolder(fixture.Store, store);
        string[] segments = [.. Directory.GetFiles(Path.Combine(store, "wal"), "*.zst")
            .Where(file => !file.Contains(".part-", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        File.Delete(segments[^2]); // of the last round, which has nothing of the key
        File.Delete(segments[^3]);
        string[] find = ["wal", "find", "--table", "orders", "--key", "lost", "--archive", store];

        (int exitCode, string output, string error) = await NewCli().RunAsync([.. find, "--json"]);
        Assert.Equal((4, ""), (exitCode, error));
        using JsonDocument document = JsonDocument.Parse(output);
        Assert.Equal(3, Touches(document.RootElement).Length);
        JsonElement gap = Assert.Single(document.RootElement.GetProperty("gaps").EnumerateArray());
        Assert.Equal(("missing", 1), (gap.GetProperty("kind").GetString(), gap.GetProperty("timeline").GetInt32()));
        Assert.Equal(2 * ((64 << 10) - 512), Position(gap, "to") - Position(gap, "from"));
        (exitCode, output, _) = await NewCli().RunAsync(find);
        Assert.Equal(4, exitCode);
        Assert.Contains("is missing", output, StringComparison.Ordinal);

        (exitCode, output, error) = await NewCli().RunAsync([.. find[..4], "--key", "never", "--archive", store]);
        Assert.Equal((4, ""), (exitCode, error)); // nobody knows that it was never there

        (exitCode, output, _) = await NewCli().RunAsync([.. find, "--archive", fixture.Store, "--json"]);
        Assert.Equal(0, exitCode); // another store has it
        Assert.Empty(JsonDocument.Parse(output).RootElement.GetProperty("gaps").EnumerateArray());
    }

    /// <summary>H6: below a later group; the end of the log of a database that runs is none.</summary>
    [Fact]
    public async Task A_damaged_record_of_the_database_itself_is_told_and_read_from_a_store_that_has_it()
    {
        string home = Path.Combine(fixture.Home, $"damaged-{Guid.NewGuid():N}");
        string archive = Path.Combine(home, "archive");
        Directory.CreateDirectory(home);
        var options = new PitrOptions { WalSegmentBytes = 64 << 10, ArchiveStores = [archive] };
        await using (PitrDatabase database = await PitrDatabase.CreateAsync(Path.Combine(home, "db"), options))
        {
            Table t = await database.CreateTableAsync("t");
            for (int n = 0; n < 60; n++)
                await database.PutAsync(t, Encoding.ASCII.GetBytes($"k{n}"), new byte[3_000]);
            foreach (string file in Directory.GetFiles(Path.Combine(home, "db"), "*", SearchOption.AllDirectories)
                .Where(file => file.EndsWith("pitr.control", StringComparison.Ordinal) || file.Contains("/wal/", StringComparison.Ordinal)))
            {
                string copy = file.Replace("/db/", "/copy/", StringComparison.Ordinal);
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(file, copy);
            }
        }
        string[] find = ["wal", "find", "--json", "--table", "t", "--key", "k1", "--database", Path.Combine(home, "copy")];
        (int exitCode, string output, string error) = await NewCli().RunAsync(find);
        Assert.Equal((0, ""), (exitCode, error));
        Assert.Empty(JsonDocument.Parse(output).RootElement.GetProperty("gaps").EnumerateArray());

        string first = Directory.GetFiles(Path.Combine(home, "copy", "wal")).Order(StringComparer.Ordinal).First();
        byte[] bytes = await File.ReadAllBytesAsync(first);
        bytes[40_000] ^= 1;
        await File.WriteAllBytesAsync(first, bytes);
        (exitCode, output, error) = await NewCli().RunAsync(find);
        Assert.Equal((5, ""), (exitCode, error));
        JsonElement gap = Assert.Single(JsonDocument.Parse(output).RootElement.GetProperty("gaps").EnumerateArray());
        Assert.Equal("damaged", gap.GetProperty("kind").GetString());
        Assert.InRange(Position(gap, "to") - Position(gap, "from"), 3_000, 3_200); // one record
        Assert.Single(JsonDocument.Parse(output).RootElement.GetProperty("touches").EnumerateArray());

        (exitCode, output, error) = await NewCli().RunAsync([.. find, "--archive", archive]);
        Assert.Equal((0, ""), (exitCode, error));
        Assert.Empty(JsonDocument.Parse(output).RootElement.GetProperty("gaps").EnumerateArray());
    }

    private static long Position(JsonElement gap, string end)
    {
        string[] halves = gap.GetProperty(end).GetString()!.Split('/');
        return (Convert.ToInt64(halves[0], 16) << 32) + Convert.ToInt64(halves[1], 16);
    }

    private CliRun NewCli() => new(new MemoryTarget()) { CurrentFolder = fixture.Home };

    private async Task<JsonElement> FindAsync(string[] args)
    {
        (int exitCode, string output, string error) = await NewCli().RunAsync(["wal", "find", "--json", .. args]);
        Assert.Equal((0, ""), (exitCode, error));
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.Clone();
    }

    private static (string Operation, string Lsn)[] Touches(JsonElement found) =>
        [.. found.GetProperty("touches").EnumerateArray().Select(touch =>
            (touch.GetProperty("operation").GetString()!, touch.GetProperty("lsn").GetString()!))];

    private static string Lsn(CommitResult commit) => commit.Lsn.ToString();
}
