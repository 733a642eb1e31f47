using System.Text;
using System.Text.Json;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>
/// The command line as scripts depend on it: shapes, exit codes, two-line failures, global options anywhere.
/// </summary>
public sealed class CliTests : IDisposable
{
    private readonly MemoryTarget _target = new();
    private readonly CliRun _cli;
    private readonly string _folder = Directory.CreateTempSubdirectory("pitr-cli-").FullName;

    public CliTests() => _cli = new CliRun(_target) { CurrentFolder = _folder };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("status")]
    [InlineData("archive", "status")]
    [InlineData("archive", "check")]
    [InlineData("archive", "add", "/more")]
    [InlineData("archive", "remove", "/archive")]
    [InlineData("checkpoint")]
    [InlineData("switch-wal")]
    [InlineData("restore-point", "before-drop")]
    [InlineData("put", "t", "k", "v")]
    [InlineData("delete", "t", "k")]
    [InlineData("get", "t", "a")]
    [InlineData("scan", "t")]
    [InlineData("count", "t")]
    [InlineData("table", "list")]
    [InlineData("table", "create", "u", "--datafile", "main")]
    [InlineData("table", "drop", "t")]
    [InlineData("datafile", "list")]
    [InlineData("datafile", "create", "orders")]
    [InlineData("backup", "--to", "/backups")]
    [InlineData("backup", "--to", "/backups", "--incremental", "--jobs", "3")]
    public async Task An_answer_as_json_has_the_shape_of_the_contract(params string[] verb)
    {
        _target.AddTable("t", ("a", "1"), ("ä", "\"2\""));
        (int exitCode, string output, string error) = await _cli.RunAsync([.. verb, "--json", "--database", "/db"]);
        Assert.Equal((0, ""), (exitCode, error));
        GoldenFile.Check($"cli/{string.Join('-', verb).Replace("/", "", StringComparison.Ordinal)}.json", output);
    }

    [Theory]
    [InlineData("status")]
    [InlineData("archive", "status")]
    [InlineData("archive", "check")]
    [InlineData("table", "list")]
    [InlineData("fence", "main")]
    public async Task An_answer_for_people_is_lines_and_tables_without_colours_where_nobody_looks(params string[] verb)
    {
        _target.AddTable("t", ("a", "1"));
        (int exitCode, string output, string error) = await _cli.RunAsync([.. verb, "--host", "h:1"]);
        Assert.Equal((0, ""), (exitCode, error));
        string[] lines = [.. output.Split('\n').Select(line => line.TrimEnd())];
        GoldenFile.Check($"cli/{string.Join('-', verb)}.txt", string.Join('\n', lines));
    }

    [Theory]
    [InlineData("fence", "main", "--lease", "10m")]
    [InlineData("begin-backup", "main", "--lease", "10m")]
    [InlineData("unfence", "main")]
    [InlineData("end-backup", "--fence", "01234567-89ab-cdef-0123-456789abcdef")]
    public async Task A_fence_as_json_has_the_shape_of_the_contract(params string[] verb)
    {
        (int exitCode, string output, string error) = await _cli.RunAsync(["--host", "localhost:1", "--json", .. verb]);
        Assert.Equal((0, ""), (exitCode, error));
        GoldenFile.Check($"cli/{verb[0]}.json", output);
    }

    [Fact]
    public async Task A_hint_that_has_a_choice_is_one_line_in_which_each_stands_by_itself()
    {
        Outcome refused = await CliInProcess.RunAsync(_folder, "count", "t", "--database", "nothing");
        string[] lines = refused.Error.TrimEnd('\n').Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.Contains("pitr init DIR · If ", lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Global_options_stand_before_or_after_the_verb()
    {
        _target.AddTable("t");
        string before = (await _cli.RunAsync("--json", "--database", "x", "count", "t")).Output;
        Assert.Equal(Path.Combine(_folder, "x"), _cli.OpenedFolder);
        Assert.Equal(before, (await _cli.RunAsync("count", "--database", "x", "t", "--json")).Output);
        Assert.Equal("{\"count\":0}\n", before);
    }

    [Fact]
    public async Task The_environment_names_the_database_first_and_then_the_host()
    {
        _target.AddTable("t");
        _cli.Variables["PITR_HOST"] = "localhost:4053";
        await _cli.RunAsync("count", "t");
        Assert.Equal("127.0.0.1:4053", _cli.OpenedAddress);
        _cli.Variables["PITR_DATABASE"] = "/db";
        await _cli.RunAsync("count", "t");
        Assert.Equal("/db", _cli.OpenedFolder);
    }

    [Theory]
    [InlineData(2, "nix")]
    [InlineData(2, "put", "t", "k", "--database", "/db")]
    [InlineData(2, "count", "t")]
    [InlineData(2, "count", "t", "--database", "/db", "--host", "h:1")]
    [InlineData(2, "count", "No", "--database", "/db")]
    [InlineData(2, "count", "t", "--nix", "--database", "/db")]
    [InlineData(2, "scan", "t", "--limit", "0", "--database", "/db")]
    [InlineData(2, "get", "t", "xyz", "--hex", "--database", "/db")]
    [InlineData(2, "unfence", "--host", "h:1")]
    [InlineData(2, "init", "x", "--wal-segment-size", "100")]
    [InlineData(3, "count", "nope", "--database", "/db")]
    [InlineData(3, "get", "t", "nope", "--database", "/db")]
    [InlineData(3, "datafile", "drop", "nope", "--database", "/db")]
    [InlineData(4, "table", "create", "t", "--database", "/db")]
    [InlineData(4, "fence", "main", "--database", "/db")]
    [InlineData(4, "shutdown", "--database", "/db")]
    [InlineData(1, "load", "t", "no-such-file", "--key", "id", "--database", "/db")]
    public async Task A_failure_is_an_exit_code_and_two_lines_and_nothing_on_standard_output(
        int expected, params string[] args)
    {
        _target.AddTable("t");
        (int exitCode, string output, string error) = await _cli.RunAsync([.. args, "--json"]);
        Assert.Equal((expected, ""), (exitCode, output));
        string[] lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("pitr: ", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("hint: ", lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_may_look_like_options_and_files()
    {
        _target.AddTable("t");
        Assert.Equal(0, (await _cli.RunAsync("put", "--database", "/db", "t", "@file", "v")).ExitCode);
        Assert.Equal("v\n", (await _cli.RunAsync("get", "--database", "/db", "t", "@file")).Output);
        Assert.Equal(0, (await _cli.RunAsync("put", "--database", "/db", "t", "--", "-k", "-v")).ExitCode);
        Assert.Equal("-v\n", (await _cli.RunAsync("get", "--database", "/db", "t", "--", "-k")).Output);
    }

    [Fact]
    public async Task A_value_may_come_from_standard_input_byte_for_byte()
    {
        _target.AddTable("t");
        _cli.Input = [0, 255, 10];
        Assert.Equal(0, (await _cli.RunAsync("put", "t", "k", "-", "--database", "/db")).ExitCode);
        Assert.Equal("00ff0a\n", (await _cli.RunAsync("get", "t", "6b", "--hex", "--database", "/db")).Output);
        (int exitCode, string output, string error) =
            await _cli.RunAsync("get", "t", "k", "--json", "--database", "/db");
        Assert.Equal((1, ""), (exitCode, output));
        Assert.Contains("--hex", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_scan_reads_a_range_in_either_direction()
    {
        _target.AddTable("t", ("a1", "1"), ("a2", "2"), ("b1", "3"), ("c1", "4"));
        Assert.Equal(
            "b1\t3\na2\t2\n",
            (await _cli.RunAsync("scan", "t", "--from", "a2", "--to", "c", "--reverse", "--database", "/db")).Output);
        Assert.Equal(
            "a1\t1\n", (await _cli.RunAsync("scan", "t", "--prefix", "a", "--limit", "1", "--database", "/db")).Output);
    }

    [Fact]
    public async Task A_dump_that_was_cut_off_does_not_end_well()
    {
        _target.AddTable("t", ("a", "1"), ("b", "2"));
        Assert.Equal((0, "1\n2\n"), await Short("dump", "t"));
        _target.ScanFailsAfterRows = 1;
        Assert.Equal(5, (await Short("dump", "t")).ExitCode);

        async Task<(int ExitCode, string)> Short(params string[] args)
        {
            (int exitCode, string output, _) = await _cli.RunAsync([.. args, "--database", "/db"]);
            return (exitCode, output);
        }
    }

    [Fact]
    public async Task A_load_acknowledges_each_transaction_in_the_order_of_the_file()
    {
        _target.AddTable("t");
        Write("in.jsonl", "{\"id\":\"x\",\"n\":1}\n\n  {\"n\":2, \"id\":7}\r\n{\"id\":true,\"n\":{\"id\":\"inner\"}}");
        (int exitCode, string output, string error) = await _cli.RunAsync(
            "load", "t", "in.jsonl", "--key", "id", "--batch", "2", "--acks", "acks", "--json", "--database", "/db");
        Assert.Equal((0, ""), (exitCode, error));
        using JsonDocument answer = JsonDocument.Parse(output);
        Assert.Equal(
            ["records", "transactions", "lsn", "time", "seconds"],
            answer.RootElement.EnumerateObject().Select(member => member.Name));
        Assert.Equal((3, 2), (answer.RootElement.GetProperty("records")
            .GetInt32(), answer.RootElement.GetProperty("transactions").GetInt32()));
        GoldenFile.Check("cli/load-acks.jsonl", File.ReadAllText(Path.Combine(_folder, "acks")));
        Assert.Equal(
            "{\"n\":2, \"id\":7}\n{\"id\":true,\"n\":{\"id\":\"inner\"}}\n{\"id\":\"x\",\"n\":1}\n",
            (await _cli.RunAsync("dump", "t", "--database", "/db")).Output);
    }

    [Fact]
    public async Task A_csv_record_becomes_json_with_its_columns_as_texts()
    {
        _target.AddTable("t");
        Write("in.csv", "\uFEFFid,name,note\r\n1,\"Müller, A\",\"say \"\"hi\"\"\"\r\n2,,\"two\nlines\"\r\n");
        Assert.Equal(0, (await _cli.RunAsync("load", "t", "in.csv", "--key", "id", "--database", "/db")).ExitCode);
        Assert.Equal(
            "{\"id\":\"1\",\"name\":\"Müller, A\",\"note\":\"say \\\"hi\\\"\"}\n{\"id\":\"2\",\"name\":\"\",\"note\":\"two\\nlines\"}\n",
            (await _cli.RunAsync("dump", "t", "--database", "/db")).Output);
    }

    [Theory]
    [InlineData("a.jsonl", "{\"id\":1}\n{\"id\":}\n", 2, "not JSON")]
    [InlineData("a.jsonl", "{\"id\":1}\n{\"x\":1}\n", 2, "no text, number or boolean 'id'")]
    [InlineData("a.jsonl", "[1]\n", 1, "not JSON")]
    [InlineData("a.jsonl", "{\"id\":1} {\"id\":2}\n", 1, "not JSON")]
    [InlineData("a.csv", "a,b\n1,2\n", 1, "no column 'id'")]
    [InlineData("a.csv", "id,b\n1,2\n3\n", 3, "")]
    [InlineData("a.csv", "id,b\n1,\"2\n", 2, "")]
    public async Task A_record_that_cannot_be_loaded_is_named_by_its_line(
        string file, string content, int line, string why)
    {
        _target.AddTable("t");
        Write(file, content);
        (int exitCode, string output, string error) =
            await _cli.RunAsync("load", "t", file, "--key", "id", "--batch", "1", "--json", "--database", "/db");
        Assert.Equal((1, ""), (exitCode, output));
        Assert.StartsWith($"pitr: Line {line} of '{file}'", error, StringComparison.Ordinal);
        Assert.Contains(why, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_acknowledged_before_a_load_failed_stands_in_the_file()
    {
        _target.AddTable("t");
        _target.LoadFailsAtTransaction = 2;
        Write("in.jsonl", string.Concat(Enumerable.Range(0, 5).Select(n => $"{{\"id\":{n}}}\n")));
        Assert.Equal(4, (await _cli.RunAsync(
            "load", "t", "in.jsonl", "--key", "id", "--batch", "1", "--acks", "acks", "--database", "/db")).ExitCode);
        Assert.Equal(2, File.ReadAllLines(Path.Combine(_folder, "acks")).Length);
    }

    [Fact]
    public async Task Records_that_no_transaction_holds_are_told_with_the_way_out()
    {
        _target.AddTable("t");
        var loader = new Loader(_target, TimeProvider.System) { TransactionBytesMax = 1000, BatchRecords = 3 };
        var wrong =
            await Assert.ThrowsAsync<UsageException>(() => loader.LoadAsync("t", Records(10, 500, 500), default));
        Assert.Contains("The 3 records up to line 3", wrong.Message, StringComparison.Ordinal);
        Assert.Contains("--batch", wrong.Hint, StringComparison.Ordinal);
        // each begins from nothing
        Assert.Equal(3, (await loader.LoadAsync("t", Records(10, 700, 10), default)).Transactions);

        static async IAsyncEnumerable<InputRecord> Records(params int[] lengths)
        {
            await Task.Yield();
            for (int n = 0; n < 9; n++)
                yield return new InputRecord($"k{n}", new byte[lengths[n % 3]], n + 1);
        }
    }

    [Fact]
    public async Task The_target_is_closed_whatever_happens()
    {
        await _cli.RunAsync("count", "nope", "--database", "/db");
        Assert.True(_target.IsDisposed);
    }

    [Fact]
    public async Task A_store_of_the_client_is_taken_from_where_the_client_runs()
    {
        await _cli.RunAsync("backup", "--to", "sets", "--rate", "1MiB", "--host", "h:1");
        Assert.Equal((Path.Combine(_folder, "sets"), 1048576),
            (_target.LastBackup!.Store, _target.LastBackup.BytesPerSecondMax));
    }

    private void Write(string name, string content) =>
        File.WriteAllText(Path.Combine(_folder, name), content, new UTF8Encoding(false));
}
