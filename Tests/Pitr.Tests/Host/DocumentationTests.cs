using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Pitr.Tests;

/// <summary>
/// What the documents show is what works: each C# sample is a program of <c>samples/</c>, each command is run by a
/// shell as it stands. Only what differs from machine to machine is put in: ports, folders, a moment in time, and
/// waiting for `ready`.
/// </summary>
public sealed partial class DocumentationTests : IDisposable
{
    private const string Prepare = """
        set -euo pipefail
        engine=
        pitr() { "$PITR_EXE" "$@"; }
        pgtar() { "$PGTAR_EXE" "$@"; }
        serve() { serve_as_it_says "$1" --listen 127.0.0.1:$PORT --http 127.0.0.1:0; }
        serve_as_it_says() {
            mkfifo "ready-$PORT"
            "$PITR_EXE" serve "$@" > "ready-$PORT" 2> serve.log &
            engine=$!
            read -r line < "ready-$PORT" || { cat serve.log >&2; exit 1; }
            rm "ready-$PORT"
        }
        trap 'test -z "$engine" || kill -9 $engine 2>/dev/null || true' EXIT
        shipped() {
            for n in $(seq 100); do
                pitr archive status --json | grep -q '"lagBytes":0,' && return
                sleep 0.05
            done
            echo "the archive stays behind" >&2
            exit 1
        }
        time_of() { pitr wal dump "$2" | grep "\"$1\"" | tail -1 | sed 's/.*"time":"\([^"]*\)".*/\1/'; }

        """;

    /// <summary>A page runs a dozen programs one after the other; only one that hangs reaches this.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-docs-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Theory]
    [InlineData("README.md", "Readme", "")]
    [InlineData("docs/guide/getting-started.md", "GettingStarted", "1003 = rug\n")]
    public async Task A_sample_is_a_program_that_runs_and_runs_again(string document, string name, string ends)
    {
        string text = SourceTree.Text(document);
        int begin = text.IndexOf("```csharp\n", StringComparison.Ordinal) + "```csharp\n".Length;
        string sample = text[begin..text.IndexOf("```", begin, StringComparison.Ordinal)];
        Assert.Equal(sample, SourceTree.Text($"samples/{name}/Program.cs"));

        string configuration = Path.GetFileName(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory));
        string program = Path.Combine(
            SourceTree.Root, "artifacts/bin", $"Pitr.Samples.{name}", configuration, $"Pitr.Samples.{name}");
        for (int run = 0; run < 2; run++)
        {
            Outcome outcome = await RunAsync(program);
            Assert.True(outcome.ExitCode == 0, outcome.ToString());
            Assert.EndsWith(ends, outcome.Output, StringComparison.Ordinal);
        }
    }

    /// <summary>What is no program by itself is compiled where it stands in one.</summary>
    [Theory]
    [InlineData("docs/guide/hosting.md", "Hosting", 4)]
    [InlineData("docs/guide/remote.md", "Remote", 1)]
    public void What_a_guide_shows_of_CSharp_stands_in_a_sample_that_compiles(string document, string name, int count)
    {
        string sample = WithoutIndentation(SourceTree.Text($"samples/Guides/{name}.cs"));
        string[] shown =
        [
            .. CSharpText().Matches(SourceTree.Text(document)).Select(code => code.Groups["code"].Value),
            .. Blocks(document).Where(static block => block.Contains("await using", StringComparison.Ordinal)),
        ];
        Assert.Equal(count, shown.Length);
        Assert.All(shown, code => Assert.Contains(WithoutIndentation(code).Trim(), sample, StringComparison.Ordinal));

        static string WithoutIndentation(string code) => string.Join('\n', code.Split('\n').Select(line => line.Trim()));
    }

    /// <summary>In a fence, or a statement in the line.</summary>
    [GeneratedRegex(@"^```csharp\n(?<code>.*?)^```|`(?<code>services\.[^`]+|AddKeyed[^`]+\))`",
        RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex CSharpText();

    [Fact]
    public void The_first_two_commands_of_the_readme_run_the_main_job_and_the_tests()
    {
        string[] blocks = Blocks("README.md");
        Assert.Equal("dotnet build Pitr.sln -c Release && artifacts/bin/Pitr.Cli/release/pitr tour\n", blocks[0]);
        Assert.Equal("dotnet test Pitr.sln -c Release\n", blocks[1]);
        string checks = SourceTree.Text(".ci/run"); // both are run there
        foreach (string part in new[] { "dotnet build Pitr.sln -c Release", "artifacts/bin/Pitr.Cli/release/pitr tour",
            "dotnet test Pitr.sln -c Release" })
            Assert.Contains(part, checks, StringComparison.Ordinal);
    }

    [Fact]
    public void The_command_that_installs_pgtar_is_run_with_the_checks()
    {
        const string command = "dotnet publish Host/Pgtar -c Release -r linux-x64";
        Assert.Contains($"```sh\n{command}\n```", SourceTree.Text("docs/guide/pgtar.md"), StringComparison.Ordinal);
        Assert.Contains(command, SourceTree.Text(".ci/run"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_story_of_the_readme_goes_as_it_is_told()
    {
        string story = Blocks("README.md").Single(block => block.Contains("$pitr init db", StringComparison.Ordinal));
        Outcome outcome = await ShellAsync(
            story,
            ("pitr=artifacts/bin/Pitr.Cli/release/pitr", "pitr=$PITR_EXE"),
            ("data=Host/", $"data={SourceTree.Root}/Host/"),
            ("$pitr serve db &", "serve db"),
            ("PITR_HOST=127.0.0.1:4053", "PITR_HOST=127.0.0.1:$PORT"),
            ("$pitr archive status", "shipped"),
            ("$pitr dump packages --database back", "$pitr dump packages --database back | wc -l"),
            ("$pitr shutdown", "$pitr shutdown; wait $engine; engine="));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("\n63666\n", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_guide_to_backup_and_restore_goes_as_it_is_told()
    {
        string archive = Path.Combine(_home, "archive");
        File.WriteAllText(Path.Combine(_home, "in.jsonl"), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
        Outcome outcome = await ShellAsync(
            string.Concat(Blocks("docs/guide/backup-and-restore.md")),
            ("/mnt/archive", archive),
            ($"pitr pin {archive} $id", $"id=$(pitr backups {archive} --json | grep -o '[0-9TZ]*-[0-9a-f]\\{{6\\}}' | tail -n 1); pitr pin {archive} $id"),
            ("pitr init shop --", "pitr init shop --wal-segment-size 64KiB --"),
            ("pitr serve shop &", "serve shop"),
            ("PITR_HOST=127.0.0.1:4053",
                "PITR_HOST=127.0.0.1:$PORT; pitr table create orders; pitr load orders in.jsonl --key id"),
            ("pitr switch-wal", "pitr table drop orders; pitr switch-wal; shipped"),
            ("--target-time 2026-11-22T14:05:00Z", $"--target-time $(time_of RestorePoint {archive})"),
            ("--target-time 2026-11-22T14:06:00Z", $"--target-time $(time_of RestorePoint {archive})"),
            ("# which sets are left", """
                > /dev/null; shipped; kill -9 $engine; wait $engine 2>/dev/null || true; rm -r shop; unset PITR_HOST
                PORT=$PORT_AGAIN
                """),
            ("pitr serve shop\n", "serve shop; pitr shutdown --host 127.0.0.1:$PORT; wait $engine; engine=\n"));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("\"kind\":\"DropTable\"", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("it lies in the window", outcome.Output, StringComparison.Ordinal);
        Assert.Equal("{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n", File.ReadAllText(Path.Combine(_home, "orders.jsonl")));
        Assert.Equal("3\n", await PitrProcess.MustAsync(_home, "count", "orders", "--database", "look"));
        Assert.Equal("3\n", await PitrProcess.MustAsync(_home, "count", "orders", "--database", "shop"));
    }

    [Fact]
    public async Task The_guide_to_which_transaction_did_it_goes_as_it_is_told()
    {
        string archive = Path.Combine(_home, "archive");
        Outcome outcome = await ShellAsync(
            $"pitr init shop --archive {archive} --wal-segment-size 64KiB\nserve shop\n"
            + "export PITR_HOST=127.0.0.1:$PORT; pitr table create orders\n"
            + $"pitr backup --to {archive}; pitr put orders 4711 lamp; pitr put orders 1 rug; pitr delete orders 4711\n"
            + "pitr put orders 2 vase; shipped\n"
            + string.Concat(Blocks("docs/guide/which-transaction.md")) + "pitr get orders 4711\n",
            ("/mnt/archive", archive));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("\"operation\":\"delete\"", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("just before the last one: pitr restore --from", outcome.Output, StringComparison.Ordinal);
        Assert.EndsWith("\nlamp\n", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_guide_to_recovering_datafiles_goes_as_it_is_told()
    {
        string archive = Path.Combine(_home, "archive");
        File.WriteAllText(Path.Combine(_home, "in.jsonl"), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
        Outcome outcome = await ShellAsync(
            $"""
            mkdir disk; pitr init shop --archive {archive}
            for file in orders stock; do
                pitr datafile create $file --database shop; pitr table create $file --datafile $file --database shop
                pitr load $file in.jsonl --key id --database shop
            done
            pitr backup --to {archive} --database shop
            pitr put orders 4 4 --database shop; pitr put stock 4 4 --database shop
            pitr datafile move stock disk/stock.pitr --database shop
            dd if=/dev/zero of=shop/orders.pitr bs=8192 count=3 conv=notrunc status=none
            serve shop

            """ + string.Concat(Blocks("docs/guide/recovering-datafiles.md")),
            ("PITR_HOST=127.0.0.1:4053", "PITR_HOST=127.0.0.1:$PORT"),
            ("pitr recover shop --plan", """
                pitr shutdown; wait $engine; engine=; unset PITR_HOST; PORT=$PORT_AGAIN; rm -r disk
                pitr recover shop --plan
                """),
            ("pitr serve shop &", "serve shop; pitr count stock --host 127.0.0.1:$PORT; "
                + "pitr shutdown --host 127.0.0.1:$PORT; wait $engine; engine=; pitr check shop"),
            ("pitr recover shop                            # only if", "! pitr recover shop # only if"));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("rebuilt from the checkpoint", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("begins a new timeline", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("datafile orders serves again", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("datafile stock serves again", outcome.Output, StringComparison.Ordinal);
        foreach (string table in new[] { "orders", "stock" })
            Assert.Equal("4\n", await PitrProcess.MustAsync(_home, "count", table, "--database", "shop"));
        Assert.False(File.GetAttributes(Path.Combine(_home, "shop/stock.pitr")).HasFlag(FileAttributes.ReparsePoint));
    }

    [Fact]
    public async Task The_guide_to_fencing_goes_as_it_is_told()
    {
        Outcome outcome = await ShellAsync(
            "pitr init shop\nserve shop\n" + string.Concat(Blocks("docs/guide/fencing.md")),
            ("PITR_HOST=127.0.0.1:4053", "PITR_HOST=127.0.0.1:$PORT"),
            ("coproc pitr", "coproc exec \"$PITR_EXE\""),
            ("/mnt/copies", _home));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.True(File.Exists(Path.Combine(_home, "main.pitr")));
        Assert.Contains("the copy is good", outcome.Error, StringComparison.Ordinal); // of the one that was held
        Assert.True(File.Exists(Path.Combine(_home, "main-held.pitr")));
    }

    [Fact]
    public async Task The_guide_to_moving_goes_as_it_is_told()
    {
        string place = Directory.CreateDirectory(Path.Combine(_home, "big")).FullName;
        Outcome outcome = await ShellAsync(
            "pitr init shop\nserve shop\npitr table create t --host 127.0.0.1:$PORT\n"
            + "pitr put t k v --host 127.0.0.1:$PORT\n" + string.Concat(Blocks("docs/guide/moving.md"))
            + "pitr get t k\npitr shutdown; wait $engine; engine=\npitr check shop\n",
            ("PITR_HOST=127.0.0.1:4053", "PITR_HOST=127.0.0.1:$PORT"),
            ("/mnt/big", place));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("\nv\n", outcome.Output, StringComparison.Ordinal);
        Assert.Equal(["archive.pitr", "main.pitr"], Directory.GetFiles(place).Select(Path.GetFileName).Order());
        Assert.Equal(Path.Combine(place, "main.pitr"), new FileInfo(Path.Combine(_home, "shop/main.pitr")).LinkTarget);
        Assert.False(File.Exists(Path.Combine(_home, "shop/archive.pitr")));
        Assert.Equal("v\n", await PitrProcess.MustAsync(_home, "get", "t", "k", "--database", "shop"));
    }

    [NetworkFact]
    public async Task The_guide_to_other_machines_goes_as_it_is_told()
    {
        string guide = string.Concat(Blocks("docs/guide/remote.md")
            .Where(static block => !block.Contains("await using", StringComparison.Ordinal)));
        Outcome outcome = await ShellAsync(
            "pitr init shop\n" + guide + "pitr shutdown --token-file operator.token; wait $engine; engine=\n",
            ("pitr serve shop &", "serve_as_it_says shop"),
            ("10.0.0.5:4053", $"{NetworkFactAttribute.OwnAddress}:$PORT"),
            ("10.0.0.5:8053", $"{NetworkFactAttribute.OwnAddress}:0"),
            ("10.0.0.5", $"{NetworkFactAttribute.OwnAddress}"),
            ("<<'JSON'", "<<JSON"));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Contains("\nrug\n", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("refused with 4\n", outcome.Output, StringComparison.Ordinal);
        Assert.Contains("needs the role of an operator", outcome.Error, StringComparison.Ordinal);
    }

    /// <summary>The sample service, end to end.</summary>
    [ToolFact("curl")]
    public async Task The_guide_to_hosting_goes_as_it_is_told()
    {
        Outcome outcome = await ShellAsync(
            string.Concat(Blocks("docs/guide/hosting.md")),
            ("PITR__LISTEN=127.0.0.1:4053", "PITR__LISTEN=127.0.0.1:$PORT"),
            ("dotnet run -c Release --project samples/Shop -- --urls http://127.0.0.1:8080 &", """
                "$SHOP_EXE" --urls http://127.0.0.1:$PORT_AGAIN > shop.log 2>&1 &
                engine=$!
                for n in $(seq 600); do
                    curl -fsS http://127.0.0.1:$PORT_AGAIN/health > /dev/null 2>&1 && break
                    kill -0 $engine || { cat shop.log >&2; exit 1; }
                    sleep 0.1
                done
                """),
            ("shop=http://127.0.0.1:8080", "shop=http://127.0.0.1:$PORT_AGAIN"),
            ("PITR_HOST=127.0.0.1:4053", "PITR_HOST=127.0.0.1:$PORT"),
            ("kill -TERM %1; wait %1", "kill -TERM $engine; wait $engine; engine="));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        const string ada = """{"number":1,"customer":"ada","item":"lamp","quantity":2}""";
        const string all = $$"""
            [{{ada}},{"number":2,"customer":"alan","item":"rug","quantity":5},{"number":3,"customer":"edsger","item":"vase","quantity":1}]
            """;
        Assert.StartsWith("Healthy" + ada, outcome.Output, StringComparison.Ordinal);
        foreach (string answer in new[]
        {
            "There is not so much", """{"lamp":98,"rug":0,"vase":20}""", "3[]" + all, // removed, gone, and as it was
            """{"broughtBack":3}""" + all, "pitr_commits_total{",
        })
            Assert.Contains(answer, outcome.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(_home, "shop-data/disks/fast/orders.pitr")));
        Assert.True(File.Exists(Path.Combine(_home, "shop-data/copies/orders.pitr")));
        Assert.False(Directory.Exists(Path.Combine(_home, "shop-data/past")));
        await PitrProcess.MustAsync(_home, "check", "shop-data/db");
        Assert.Equal("4\n", await PitrProcess.MustAsync(_home, "count", "orders", "--database", "shop-data/db"));
    }

    [Fact]
    public async Task The_guide_to_pgtar_goes_as_it_is_told()
    {
        string archive = Path.Combine(_home, "archive");
        File.WriteAllText(Path.Combine(_home, "in.jsonl"), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
        Outcome outcome = await ShellAsync(
            $"pitr init shop --archive {archive}\nserve shop\n" + string.Concat(Blocks("docs/guide/pgtar.md")),
            ("PITR_HOST=127.0.0.1:4053",
                "PITR_HOST=127.0.0.1:$PORT; pitr table create orders; pitr load orders in.jsonl --key id"),
            ("/mnt/copies", _home),
            ("/mnt/archive", archive),
            ("ssh backup@vault 'cat > shop.tar'", "cat > piped.tar; pitr verify piped.tar"),
            ("mkdir set", "pitr put orders 4 4; pitr restore-point before-release-42; shipped; mkdir set"));
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        foreach ((string folder, string rows) in new[] { ("copy", "3\n"), ("copy-of-set", "3\n"), ("then", "4\n") })
            Assert.Equal(rows, await PitrProcess.MustAsync(_home, "count", "orders", "--database", folder));
    }

    [Fact]
    public async Task Every_verb_that_the_reference_and_the_contract_name_has_its_help()
    {
        string reference = SourceTree.Text("docs/reference/cli.md");
        var cli = new CliRun(new MemoryTarget());
        foreach (string verb in await VerbsAsync(cli, []))
        {
            (int exitCode, string output, string error) = await cli.RunAsync([.. verb.Split(' '), "--help"]);
            Assert.Equal((0, ""), (exitCode, error));
            Assert.Contains("Usage:", output, StringComparison.Ordinal);
            Assert.All(verb.Split(' '), word => Assert.Contains(word, reference, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Every_type_and_file_that_the_documents_name_is_there()
    {
        string[] sources = [.. SourceTree.Sources(SourceTree.Everything)];
        HashSet<string> words =
            [.. sources.SelectMany(file => WordText().Matches(SourceTree.Text(file)).Select(word => word.Value))];
        string[] documents =
        [
            "README.md", "CONTRIBUTING.md", "docs/architecture.md",
            .. Directory.GetFiles(Path.Combine(SourceTree.Root, "docs/formats"))
                .Select(file => Path.GetRelativePath(SourceTree.Root, file)),
        ];
        foreach (string document in documents)
        {
            foreach (Match name in NameText().Matches(SourceTree.Text(document)))
            {
                string text = name.Groups[1].Value;
                bool isThere = text.EndsWith(".cs", StringComparison.Ordinal)
                    ? sources.Any(file => file == text || file.EndsWith("/" + text, StringComparison.Ordinal))
                    : words.Contains(text);
                Assert.True(isThere, $"{document} names {text}, which is not there.");
            }
        }
    }

    [GeneratedRegex(@"`([A-Z][a-z]\w+|[\w/]+\.cs)`")]
    private static partial Regex NameText();

    [GeneratedRegex(@"\b[A-Z][a-z]\w+\b")]
    private static partial Regex WordText();

    /// <summary>A hint is the next thing that somebody in trouble types.</summary>
    [Fact]
    public async Task Every_command_that_a_hint_or_a_document_names_is_there_with_its_options()
    {
        var cli = new CliRun(new MemoryTarget());
        List<string> verbs = await VerbsAsync(cli, []);
        string[] files =
        [
            .. SourceTree.Sources(SourceTree.Production), "README.md",
            .. Directory.GetFiles(Path.Combine(SourceTree.Root, "docs"), "*.md", SearchOption.AllDirectories)
                .Select(file => Path.GetRelativePath(SourceTree.Root, file)),
        ];
        var wrong = new List<string>();
        foreach (string file in files)
        {
            foreach (Match command in CommandText().Matches(SourceTree.Text(file)))
            {
                string? verb = verbs.Where(verb =>
                    (command.Groups["words"].Value + " ").StartsWith(verb + " ", StringComparison.Ordinal))
                    .MaxBy(verb => verb.Length);
                string help = verb is null ? "" : (await cli.RunAsync([.. verb.Split(' '), "--help"])).Output;
                if (verb is null || OptionText().Matches(command.Value)
                    .Any(option => !help.Contains(option.Value, StringComparison.Ordinal)))
                    wrong.Add($"{file}: {command.Value}");
            }
        }
        Assert.Empty(wrong);
    }

    [GeneratedRegex(@"(?:(?<=[`:(""$] ?)|(?<=^ {4,7}|\$))pitr (?<words>[a-z][a-z-]*(?: [a-z]+)?)(?: [^\s""`&|;#]+)*",
        RegexOptions.Multiline)]
    private static partial Regex CommandText();

    [GeneratedRegex("--[a-z-]+")]
    private static partial Regex OptionText();

    /// <summary>Every verb, by what the help itself lists.</summary>
    internal static async Task<List<string>> VerbsAsync(CliRun cli, string[] above)
    {
        string output = (await cli.RunAsync([.. above, "--help"])).Output;
        int commands = output.IndexOf("Commands:\n", StringComparison.Ordinal);
        if (commands < 0)
            return [string.Join(' ', above)];
        var verbs = new List<string>();
        foreach (string line in output[commands..].Split('\n').Skip(1)
            .TakeWhile(line => line.StartsWith("  ", StringComparison.Ordinal)))
        {
            string name = line.Trim().Split("  ")[0].Split(" <")[0].Split(", ")[^1];
            verbs.AddRange(await VerbsAsync(cli, [.. above, name]));
        }
        return verbs;
    }

    /// <summary>The indented blocks of a document, those in lists too, without their indentation.</summary>
    private static string[] Blocks(string document)
    {
        var blocks = new List<string>();
        var block = new StringBuilder();
        bool isFenced = false;
        string before = "";
        foreach (string line in SourceTree.Lines(document).Append("."))
        {
            isFenced ^= line.StartsWith("```", StringComparison.Ordinal);
            bool isCode = !isFenced && line.StartsWith("    ", StringComparison.Ordinal)
                && (block.Length > 0 || before.Length == 0);
            if (isCode)
                block.Append(line.TrimStart()).Append('\n');
            else if (line.Length > 0 && block.Length > 0)
            {
                blocks.Add(block.ToString());
                block.Clear();
            }
            before = line;
        }
        return [.. blocks];
    }

    private Task<Outcome> ShellAsync(string script, params (string From, string To)[] here)
    {
        foreach ((string from, string to) in here)
        {
            Assert.Contains(from, script, StringComparison.Ordinal); // the document no longer says this: adapt the test
            script = script.Replace(from, to, StringComparison.Ordinal);
        }
        return RunAsync("bash", "-c", Prepare + script);
    }

    private async Task<Outcome> RunAsync(string program, params string[] args)
    {
        var start = new ProcessStartInfo(program, args)
        {
            WorkingDirectory = _home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["HOME"] = _home;
        start.Environment.Remove("XDG_RUNTIME_DIR");
        start.Environment.Remove("PITR_DATABASE");
        start.Environment.Remove("PITR_HOST");
        start.Environment["PITR_EXE"] = PitrProcess.Executable;
        start.Environment["SHOP_EXE"] = ShopProcess.Executable;
        start.Environment["PGTAR_EXE"] = PgtarTests.Executable;
        start.Environment["PORT"] = FreePort();
        start.Environment["PORT_AGAIN"] = FreePort();
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.WaitForExitAsync().WaitAsync(Patience);
        }
        catch (TimeoutException)
        {
            process.Kill(entireProcessTree: true);
        }
        return new Outcome(process.HasExited ? process.ExitCode : -1, await output, await error);
    }

    private static string FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }
}
