using System.Text;
using System.Text.Json;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>Each verb of the contract that works on a running engine, once, with <c>--host</c>, in an order that makes sense.</summary>
public sealed class HostVerbsTests : IDisposable
{
    /// <summary>What works on a folder, a store or a segment alone.</summary>
    private static readonly string[] s_offline =
    [
        "init", "serve", "tour", "restore", "recover", "backups", "verify", "expire", "pin", "unpin", "check", "wal dump",
    ];

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-verbs-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Each_verb_works_with_host()
    {
        string archive = Path.Combine(_home, "archive");
        string second = Path.Combine(_home, "second");
        string outside = Directory.CreateDirectory(Path.Combine(_home, "outside")).FullName;
        string further = Directory.CreateDirectory(Path.Combine(_home, "further")).FullName;
        File.WriteAllText(Path.Combine(_home, "rows.jsonl"), "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":2}\n");
        await CliInProcess.MustAsync(_home, "init", "db", "--archive", archive);
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        (string Verb, string Shows)[] table =
        [
            ("status", "\"state\":\"running\""),
            ("datafile create orders", "\"name\":\"orders\""),
            ("datafile list", "\"name\":\"orders\""),
            ("table create lines --datafile orders", "\"datafile\":\"orders\""),
            ("table create spare", "\"datafile\":\"main\""),
            ("table list", "\"name\":\"lines\""),
            ("put lines k v", "\"transactionId\":"),
            ("get lines k", "\"value\":\"v\""),
            ("load lines rows.jsonl --key id", "\"records\":2"),
            ("wal find --table lines --key a", "\"operation\":\"put\""),
            ("scan lines --prefix a", "\"key\":\"a\""),
            ("count lines", "\"count\":3"),
            ("delete lines k", "\"lsn\":"),
            ("dump lines", "\"n\":2"),
            ("checkpoint", "\"skipped\":[]"),
            ("restore-point then", "\"name\":\"then\""),
            ("switch-wal", "\"lsn\":"),
            ("archive status", "\"store\":"),
            ("archive check", "\"store\":"),
            ($"archive add {second}", "\"store\":"),
            ($"archive remove {second}", "\"store\":"),
            ("fence orders --lease 5m --reason test", "\"datafile\":\"orders\""),
            ("unfence orders", "\"flushedLsn\":"),
            ("begin-backup orders", "\"fenceId\":"),
            ("end-backup orders", "\"holdersRemaining\":0"),
            ($"datafile move orders {outside}/orders.pitr", "\"fencedSeconds\":"),
            ($"datafile move orders {further}/orders.pitr --no-symlink --rate 100MiB", "\"fencedSeconds\":"),
            ("datafile compact orders --rate 100MiB", "\"bytesAfter\":"),
            ($"drain {further} --to {outside}", $"\"to\":\"{outside}/orders.pitr\""),
            ($"backup --to {archive} --rate 100MiB", "\"backupId\":"),
            ("pgtar -f set.tar", ""),
            ("table drop lines", "\"name\":\"lines\""),
            ("datafile drop orders", "\"name\":\"orders\""),
            ("shutdown", "\"state\":"),
        ];
        // One more works on a datafile that does not serve, and says so of one that does; pgtar is a program of its own.
        Outcome serves = await RunAsync("datafile recover main", serve.Host);
        Assert.True(serves.ExitCode == ExitCodes.Refused && serves.Error.Contains("main", StringComparison.Ordinal), serves.ToString());
        string[] here = [.. table.Select(static row => row.Verb).Append("datafile recover main")];
        foreach (string verb in await DocumentationTests.VerbsAsync(new CliRun(new MemoryTarget()), []))
        {
            Assert.True(
                s_offline.Contains(verb) != here.Any(one => one == verb || one.StartsWith(verb + " ", StringComparison.Ordinal)),
                $"`pitr {verb}` is in neither list, or in both.");
        }

        foreach ((string verb, string shows) in table)
        {
            Outcome outcome = await RunAsync(verb, serve.Host);
            Assert.True(outcome.ExitCode == ExitCodes.Done, $"{verb}: {outcome}");
            Assert.True(outcome.Output.Contains(shows, StringComparison.Ordinal), $"{verb}: {outcome}");
            foreach (string line in outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                using (JsonDocument.Parse(line))
                {
                }
        }

        Assert.Equal(0, await serve.EndAsync());
        await CliInProcess.MustAsync(_home, "verify", "set.tar");
        await CliInProcess.MustAsync(_home, "verify", archive);
        await CliInProcess.MustAsync(_home, "check", "db");
    }

    private async Task<Outcome> RunAsync(string verb, string host)
    {
        string[] words = verb.Split(' ');
        if (words[0] != "pgtar")
            return await CliInProcess.RunAsync(_home, [.. words, "--host", host, "--json"]);
        using var error = new StringWriter { NewLine = "\n" };
        using var output = new MemoryStream();
        using var interruption = new Interruption();
        var console = new CliConsole(
            output, error, static () => Stream.Null, name => name == "HOME" ? _home : null, _home,
            OutputIsTerminal: false, ErrorIsTerminal: false);
        int exitCode = await CommandLine.RunPgtarAsync(
            [.. words[1..], "--host", host], console, new ProcessTargets(console), interruption);
        return new Outcome(exitCode, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }
}
