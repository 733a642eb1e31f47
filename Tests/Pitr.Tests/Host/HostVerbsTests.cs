using System.Text.Json;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>Each verb of the contract that works on a running engine, once, with <c>--host</c>, in an order that makes sense.</summary>
public sealed class HostVerbsTests : IDisposable
{
    /// <summary>What works on a folder that no engine has open: an engine can do nothing about it.</summary>
    private static readonly string[] s_offline = ["init DIR", "serve DIR", "tour", "recover DIR", "check DIR"];

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
            ($"backups {archive}", "\"state\":\"complete\""),
            ($"pin {archive} ID", "\"pinned\":true"),
            ($"unpin {archive} ID", "\"pinned\":false"),
            ($"verify {archive}", "\"restores\":true"),
            ($"expire {archive} --window 1d --plan", "\"done\":false"),
            ($"restore --from {archive} --into restored --target-immediate --plan", "\"backupId\":"),
            ($"wal dump {archive} --table lines", "\"table\":\"lines\""),
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
                s_offline.Any(one => one.Split(' ')[0] == verb)
                != here.Any(one => one == verb || one.StartsWith(verb + " ", StringComparison.Ordinal)),
                $"`pitr {verb}` is in neither list, or in both.");
        }

        string set = "";
        foreach ((string verb, string shows) in table)
        {
            Outcome outcome = await RunAsync(verb.Replace("ID", set, StringComparison.Ordinal), serve.Host);
            Assert.True(outcome.ExitCode == ExitCodes.Done, $"{verb}: {outcome}");
            Assert.True(outcome.Output.Contains(shows, StringComparison.Ordinal), $"{verb}: {outcome}");
            string[] documents = verb.StartsWith("restore ", StringComparison.Ordinal) // a plan takes many lines
                ? [outcome.Output] : outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            foreach (string one in documents)
                using (JsonDocument document = JsonDocument.Parse(one))
                {
                    if (verb.StartsWith("backup ", StringComparison.Ordinal))
                        set = document.RootElement.GetProperty("backupId").GetString()!;
                }
        }

        Assert.Equal(0, await serve.EndAsync());
        await CliInProcess.MustAsync(_home, "verify", "set.tar");
        await CliInProcess.MustAsync(_home, "verify", archive);
        await CliInProcess.MustAsync(_home, "check", "db");
    }

    /// <summary>Without an engine behind it: nobody asks one.</summary>
    [Fact]
    public async Task A_verb_of_a_folder_refuses_an_engine_and_does_nothing()
    {
        string folder = Path.Combine(_home, "db");
        foreach (string verb in s_offline)
        {
            Outcome outcome = await RunAsync(verb.Replace("DIR", folder, StringComparison.Ordinal), "127.0.0.1:1");
            Assert.True(outcome.ExitCode == ExitCodes.Usage, $"{verb}: {outcome}");
            Assert.Contains("Leave --host out", outcome.Error, StringComparison.Ordinal);
            Assert.Equal("", outcome.Output);
        }

        Assert.False(Path.Exists(folder));
    }

    /// <summary>A store of commands is what the pitr.json of its database says: nothing else knows it.</summary>
    [Fact]
    public async Task A_verb_of_a_store_reads_it_by_the_settings_of_the_engine()
    {
        string tape = Directory.CreateDirectory(Path.Combine(_home, "tape")).FullName;
        await CliInProcess.MustAsync(_home, "init", "db");
        await File.WriteAllTextAsync(Path.Combine(_home, "db", "pitr.json"), $$"""
            { "commands": { "tape": {
                "archive": ["sh", "-c", "cp \"$1\" '{{tape}}/.new' && mv '{{tape}}/.new' '{{tape}}/'$2", "sh", "%p", "%f"],
                "restore": ["sh", "-c", "test -e '{{tape}}/'$2 && cp '{{tape}}/'$2 \"$1\"", "sh", "%p", "%f"],
                "list": ["ls", "{{tape}}"], "unclaimed": true } } }
            """);
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        await CliInProcess.MustAsync(_home, "archive", "add", "command:tape", "--host", serve.Host);
        Assert.Equal("[]\n", await CliInProcess.MustAsync(_home, "backups", "command:tape", "--json", "--host", serve.Host));
        Outcome without = await CliInProcess.RunAsync(_home, "backups", "command:tape", "--json");
        Assert.True(without.ExitCode == ExitCodes.Refused, without.ToString());
        Outcome gone = await CliInProcess.RunAsync(_home, "backups", "command:tape", "--host", "127.0.0.1:1");
        Assert.True(gone.ExitCode == ExitCodes.Failed, gone.ToString());
        Assert.Contains("No engine answers", gone.Error, StringComparison.Ordinal);
        Assert.Equal(0, await serve.TerminateAsync());
    }

    private async Task<Outcome> RunAsync(string verb, string host)
    {
        string[] words = verb.Split(' ');
        if (words[0] != "pgtar")
            return await CliInProcess.RunAsync(_home, [.. words, "--host", host, "--json"]);
        return await CliInProcess.RunPgtarAsync(_home, [.. words[1..], "--host", host]);
    }
}
