using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>The executable <c>pgtar</c> beside <c>pitr serve</c>: whole sets, and ends of either that leave none.</summary>
public sealed class PgtarTests : IDisposable
{
    private const int Rows = 3000;

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-pgtar-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    private string Tar => Path.Combine(_home, "set.tar");

    // ---- whole -----------------------------------------------------------------------------------------

    [Fact]
    public async Task A_set_of_a_running_engine_is_listed_extracted_verified_and_restored()
    {
        await using ServeProcess serve = await FilledAsync();
        Outcome made = await PgtarAsync("-f", "set.tar", "--host", serve.Host);
        Assert.True(made.ExitCode == 0, made.ToString());
        Assert.Equal("", made.Output);
        Assert.Contains("2 datafiles", made.Error, StringComparison.Ordinal);

        Outcome list = await ShellAsync("test \"$(stat -c %a set.tar)\" = 600 && tar -tf set.tar && mkdir extracted && tar -xf set.tar -C extracted");
        Assert.True(list.ExitCode == 0 && list.Error.Length == 0, list.ToString());
        string[] names = list.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["datafiles/main.pitr", "datafiles/orders.pitr"], names[..2]);
        Assert.Equal("manifest.json", names[^1]);

        foreach (string from in new[] { "set.tar", "extracted" })
        {
            await PitrProcess.MustAsync(_home, "verify", from);
            await PitrProcess.MustAsync(_home, "restore", "--from", from, "--into", $"of-{from}");
            Assert.Equal($"{Rows}\n", await PitrProcess.MustAsync(_home, "count", "lines", "--database", $"of-{from}"));
        }

        string[] sets = [.. JsonDocument.Parse(await PitrProcess.MustAsync(_home, "backups", "set.tar", "--json"))
            .RootElement.EnumerateArray().Select(set => set.GetProperty("state").GetString()!)];
        Assert.Equal(["complete"], sets);
        await RequireNoFenceAsync(serve);
    }

    [Fact]
    public async Task A_set_on_standard_output_is_the_same_and_its_target_may_lie_behind_it()
    {
        await using ServeProcess serve = await FilledAsync("--archive", "archive");
        Outcome made = await ShellAsync($"\"$PGTAR\" --no-wal --host {serve.Host} > set.tar");
        Assert.True(made.ExitCode == 0, made.ToString());
        await PitrProcess.MustAsync(_home, "put", "lines", "later", "1", "--host", serve.Host);
        string point = await PitrProcess.MustAsync(_home, "restore-point", "behind", "--host", serve.Host, "--json");
        await PitrProcess.MustAsync(_home, "put", "lines", "even-later", "1", "--host", serve.Host);
        Assert.Contains("behind", point, StringComparison.Ordinal);
        Assert.Equal(0, await serve.TerminateAsync()); // ships everything

        Outcome alone = await PitrProcess.RunAsync(_home, "restore", "--from", "set.tar", "--into", "alone");
        Assert.Equal(4, alone.ExitCode);
        await PitrProcess.MustAsync(
            _home, "restore", "--from", "set.tar", "--archive", "archive", "--into", "back", "--target-name", "behind",
            "--detached");
        Assert.Equal($"{Rows + 1}\n", await PitrProcess.MustAsync(_home, "count", "lines", "--database", "back"));
    }

    [Fact]
    public async Task A_database_that_is_not_running_is_opened_for_it()
    {
        await using (ServeProcess serve = await FilledAsync())
            Assert.Equal(0, await serve.TerminateAsync());

        Outcome made = await PgtarAsync("-f", "set.tar", "--database", "db");

        Assert.True(made.ExitCode == 0, made.ToString());
        await PitrProcess.MustAsync(_home, "restore", "--from", "set.tar", "--into", "back");
        Assert.Equal($"{Rows}\n", await PitrProcess.MustAsync(_home, "count", "lines", "--database", "back"));
    }

    [Fact]
    public async Task Some_datafiles_are_a_partial_set_which_is_said()
    {
        await using ServeProcess serve = await FilledAsync();
        Outcome made = await PgtarAsync("-f", "set.tar", "--datafile", "orders", "--host", serve.Host);
        Assert.True(made.ExitCode == 0, made.ToString());
        Assert.Contains("partial", made.Error, StringComparison.Ordinal);
        Outcome refused = await PitrProcess.RunAsync(_home, "restore", "--from", "set.tar", "--into", "back");
        Assert.NotEqual(0, refused.ExitCode);
        Assert.False(Directory.Exists(Path.Combine(_home, "back")));
    }

    // ---- ends ------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Interrupted_it_leaves_neither_a_fence_nor_a_file(string signal)
    {
        await using ServeProcess serve = await FilledAsync();
        await File.WriteAllTextAsync(Tar, "what was there");
        using Process pgtar = Start("-f", "set.tar", "--rate", "20KiB", "--host", serve.Host);
        await RequireFenceAsync(serve);

        await SignalAsync(pgtar, signal);
        (int exitCode, string error) = await EndOfAsync(pgtar);

        Assert.Equal(1, exitCode);
        Assert.Contains("pgtar: Interrupted.", error, StringComparison.Ordinal);
        Assert.Equal("what was there", await File.ReadAllTextAsync(Tar));
        Assert.DoesNotContain(Directory.GetFiles(_home), name => name.Contains(".pgtar-", StringComparison.Ordinal));
        await RequireNoFenceAsync(serve);
    }

    /// <summary>Nobody gives the fence back: the engine's watch on its client and the lease do.</summary>
    [Fact]
    public async Task Killed_it_leaves_no_fence_and_no_tar_that_passes_for_whole()
    {
        await using ServeProcess serve = await FilledAsync();
        using Process pgtar = Start("-f", "set.tar", "--rate", "20KiB", "--host", serve.Host);
        await RequireFenceAsync(serve);

        pgtar.Kill();
        await pgtar.WaitForExitAsync();

        Assert.False(File.Exists(Tar));
        string left = Assert.Single(
            Directory.GetFiles(_home), name => name.Contains(".pgtar-", StringComparison.Ordinal));
        Outcome refused = await PitrProcess.RunAsync(_home, "restore", "--from", left, "--into", "back");
        Assert.NotEqual(0, refused.ExitCode);
        Assert.False(Directory.Exists(Path.Combine(_home, "back")));
        await RequireNoFenceAsync(serve);
        await PitrProcess.MustAsync(_home, "put", "lines", "after", "1", "--host", serve.Host);
    }

    [Fact]
    public async Task A_pipe_that_is_closed_ends_it_with_a_failure_and_no_fence()
    {
        await using ServeProcess serve = await FilledAsync();
        Outcome outcome = await ShellAsync(
            $"{{ \"$PGTAR\" --host {serve.Host}; echo $? > exit; }} | head -c 20000 > cut.tar");
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        Assert.Equal("1\n", await File.ReadAllTextAsync(Path.Combine(_home, "exit")));
        Assert.Contains("pgtar: ", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(4, (await PitrProcess.RunAsync(_home, "verify", "cut.tar")).ExitCode);
        await RequireNoFenceAsync(serve);
    }

    /// <summary>A reader that stands still keeps nobody who interrupts.</summary>
    [Fact]
    public async Task Interrupted_while_its_pipe_is_full_it_ends_and_leaves_no_fence()
    {
        await using ServeProcess serve = await FilledAsync();
        using Process pgtar = Start("--host", serve.Host); // nobody reads
        await RequireFenceAsync(serve);

        await SignalAsync(pgtar, "INT");
        await pgtar.WaitForExitAsync().WaitAsync(PitrProcess.Patience);

        Assert.Equal(1, pgtar.ExitCode);
        await RequireNoFenceAsync(serve);
    }

    [Fact]
    public async Task When_the_engine_is_killed_it_ends_and_leaves_no_file()
    {
        await using ServeProcess serve = await FilledAsync();
        using Process pgtar = Start("-f", "set.tar", "--rate", "20KiB", "--host", serve.Host);
        await RequireFenceAsync(serve);

        await serve.KillAsync();
        (int exitCode, string error) = await EndOfAsync(pgtar);

        Assert.True(exitCode == 1, error);
        Assert.False(File.Exists(Tar));
        Assert.DoesNotContain(Directory.GetFiles(_home), name => name.Contains(".pgtar-", StringComparison.Ordinal));
    }

    /// <summary>Promise 5: the file that is being copied is waited for, and no other is fenced for it.</summary>
    [Fact]
    public async Task When_the_engine_is_told_to_end_it_ends_too_and_leaves_no_file()
    {
        int served;
        await using (ServeProcess serve = await FilledAsync())
        {
            using Process pgtar = Start("-f", "set.tar", "--rate", "60KiB", "--host", serve.Host);
            await RequireFenceAsync(serve);

            Task<int> ended = serve.TerminateAsync();
            (int exitCode, string error) = await EndOfAsync(pgtar);
            served = await ended;

            Assert.True(exitCode is 4 or 1, error); // the next file is refused, or the session has ended before
            Assert.StartsWith("pgtar: ", error.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^2], StringComparison.Ordinal);
        }

        Assert.Equal(0, served);
        Assert.False(File.Exists(Tar));
        Assert.DoesNotContain(Directory.GetFiles(_home), name => name.Contains(".pgtar-", StringComparison.Ordinal));
        await using ServeProcess again = await ServeProcess.StartAsync(_home, Path.Combine(_home, "db"));
        Assert.Empty(await FencesAsync(again));
        Assert.Equal($"{Rows}\n", await PitrProcess.MustAsync(_home, "count", "lines", "--host", again.Host));
    }

    // ---- bad input -------------------------------------------------------------------------------------

    [Theory]
    [InlineData(2, "which database")]
    [InlineData(2, "Both --database and --host", "--database", "db", "--host", "127.0.0.1:1")]
    [InlineData(1, "No engine answers", "-f", "set.tar", "--host", "127.0.0.1:1")]
    [InlineData(3, "nowhere", "-f", "set.tar", "--database", "nowhere")]
    [InlineData(3, "nosuch", "-f", "set.tar", "--database", "db", "--datafile", "nosuch")]
    [InlineData(4, "no archive", "-f", "set.tar", "--database", "db", "--no-wal")]
    [InlineData(1, "nowhere", "-f", "nowhere/set.tar", "--database", "db")]
    [InlineData(2, "SIZE", "-f", "set.tar", "--database", "db", "--rate", "fast")]
    [InlineData(2, "A rate of 0", "-f", "set.tar", "--database", "db", "--rate", "0")]
    [InlineData(2, "--wrong", "--wrong")]
    public async Task What_cannot_be_done_is_said_and_nothing_is_written(int exitCode, string says, params string[] args)
    {
        await PitrProcess.MustAsync(_home, "init", "db");
        Outcome outcome = await PgtarAsync(args);
        Assert.True(outcome.ExitCode == exitCode, outcome.ToString());
        Assert.Contains(says, outcome.Error, StringComparison.OrdinalIgnoreCase);
        Assert.StartsWith("pgtar: ", outcome.Error, StringComparison.Ordinal);
        Assert.Equal("", outcome.Output);
        Assert.False(File.Exists(Tar));
    }

    /// <summary>A device is written to, and never replaced.</summary>
    [Fact]
    public async Task A_pipe_under_a_name_gets_the_tar_and_stays_a_pipe()
    {
        await PitrProcess.MustAsync(_home, "init", "db");
        Outcome outcome = await ShellAsync(
            "mkfifo pipe && { cat pipe > set.tar & \"$PGTAR\" -f pipe --database db && wait && test -p pipe; }");
        Assert.True(outcome.ExitCode == 0, outcome.ToString());
        await PitrProcess.MustAsync(_home, "verify", "set.tar");
    }

    /// <summary>It opens when somebody reads it, which may be never; the engine keeps nothing for it until then.</summary>
    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Interrupted_before_anybody_reads_its_pipe_it_ends(string signal)
    {
        await PitrProcess.MustAsync(_home, "init", "db");
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, Path.Combine(_home, "db"));
        Assert.Equal(0, (await ShellAsync("mkfifo pipe")).ExitCode);
        // Without the runtime's own pipe, at which a debugger would be waited for.
        using Process pgtar = StartProgram(
            "env", "DOTNET_EnableDiagnostics=0", Executable, "-f", "pipe", "--host", serve.Host);
        await UntilAsync(
            () => Task.FromResult(TasksOf(pgtar).Any(Waits)), "it waits for somebody who reads");

        await SignalAsync(pgtar, signal);
        (int exitCode, string error) = await EndOfAsync(pgtar);

        Assert.True(exitCode == 1, error);
        Assert.Contains("pgtar: Interrupted.", error, StringComparison.Ordinal);
        Assert.Empty(await FencesAsync(serve));

        static string[] TasksOf(Process process) => Directory.GetDirectories($"/proc/{process.Id}/task");

        // In the kernel's words, where a thread sleeps; one that has ended meanwhile says nothing.
        static bool Waits(string task)
        {
            try
            {
                return File.ReadAllText($"{task}/wchan").Contains("wait_for_partner", StringComparison.Ordinal);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return false;
            }
        }
    }

    // ---- parts -----------------------------------------------------------------------------------------

    private async Task<ServeProcess> FilledAsync(params string[] init)
    {
        await PitrProcess.MustAsync(_home, ["init", "db", .. init]);
        ServeProcess serve = await ServeProcess.StartAsync(_home, Path.Combine(_home, "db"));
        await PitrProcess.MustAsync(_home, "datafile", "create", "orders", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "table", "create", "lines", "--datafile", "orders", "--host", serve.Host);
        await PitrProcess.MustAsync(_home, "table", "create", "more", "--host", serve.Host);
        var text = new StringBuilder();
        for (int row = 0; row < Rows; row++)
            text.Append(CultureInfo.InvariantCulture, $"{{\"id\":{row},\"text\":\"{new string('x', 100)}\"}}\n");
        await File.WriteAllTextAsync(Path.Combine(_home, "in.jsonl"), text.ToString());
        foreach (string table in new[] { "lines", "more" })
            await PitrProcess.MustAsync(_home, "load", table, "in.jsonl", "--key", "id", "--host", serve.Host);
        return serve;
    }

    private async Task RequireFenceAsync(ServeProcess serve) =>
        await UntilAsync(async () => (await FencesAsync(serve)).Length > 0, "a file is fenced");

    private async Task RequireNoFenceAsync(ServeProcess serve) =>
        await UntilAsync(async () => (await FencesAsync(serve)).Length == 0, "no file is fenced");

    private async Task<string[]> FencesAsync(ServeProcess serve)
    {
        string status = await PitrProcess.MustAsync(_home, "status", "--host", serve.Host, "--json");
        return [.. JsonDocument.Parse(status).RootElement.GetProperty("datafiles").EnumerateArray()
            .SelectMany(file => file.GetProperty("fences").EnumerateArray()).Select(fence => fence.ToString())];
    }

    private static async Task UntilAsync(Func<Task<bool>> isSo, string what)
    {
        long began = TimeProvider.System.GetTimestamp();
        while (!await isSo())
        {
            Assert.True(
                TimeProvider.System.GetElapsedTime(began) < PitrProcess.Patience * 2, $"It did not come to this: {what}.");
        }
    }

    private Task<Outcome> PgtarAsync(params string[] args) => OutcomeOfAsync(Start(args));

    private Task<Outcome> ShellAsync(string script) => OutcomeOfAsync(StartProgram("bash", "-c", script));

    private Process Start(params string[] args) => StartProgram(Executable, args);

    private Process StartProgram(string program, params string[] args)
    {
        // Who runs the tests in the background ignores SIGINT, and so would every process that is started here.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", program, .. args])
        {
            WorkingDirectory = _home,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["HOME"] = _home;
        start.Environment["PGTAR"] = Executable;
        start.Environment.Remove("XDG_RUNTIME_DIR");
        start.Environment.Remove("PITR_DATABASE");
        start.Environment.Remove("PITR_HOST");
        return Process.Start(start)!;
    }

    private static async Task<Outcome> OutcomeOfAsync(Process started)
    {
        using Process process = started;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        return new Outcome(process.ExitCode, await output, await error);
    }

    private static async Task<(int ExitCode, string Error)> EndOfAsync(Process process)
    {
        Task<string> error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        return (process.ExitCode, await error);
    }

    private static async Task SignalAsync(Process process, string signal)
    {
        using Process kill = Process.Start(
            "kill", ["-" + signal, process.Id.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }

    /// <summary>Where the build has put it.</summary>
    public static string Executable { get; } = Path.GetFullPath(Path.Combine(
        Path.GetDirectoryName(PitrProcess.Executable)!, "..", "..", "Pgtar",
        Path.GetFileName(Path.GetDirectoryName(PitrProcess.Executable)!), "pgtar"));
}
