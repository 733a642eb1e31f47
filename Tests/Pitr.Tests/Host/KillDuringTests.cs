using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// kill -9 while something long runs: the opening after an earlier kill, a checkpoint, a backup, a restore, a recovery. What was
/// acknowledged stays, and what was cut off can be done again and is whole then. (Under a load alone: KillTests.)
/// </summary>
public sealed class KillDuringTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-kill-").FullName;
    private readonly int _seed = Environment.TickCount;
    private readonly Random _random;

    public KillDuringTests() => _random = new Random(_seed);

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task An_opening_that_is_killed_again_and_again_loses_nothing()
    {
        const int Kills = 8;
        await InitAsync();
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            await LoadAsync(serve, 0, 20_000);
            await serve.KillAsync();
        }
        int interrupted = 0;
        for (int kill = 0; kill < Kills; kill++)
        {
            using Process opening =
                PitrProcess.Start(_home, "serve", "db", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0");
            Task<string?> ready = opening.StandardOutput.ReadLineAsync();
            Task<string> log = opening.StandardError.ReadToEndAsync();
            await Task.WhenAny(ready, Task.Delay(_random.Next(50, 900)));
            interrupted += ready.IsCompleted ? 0 : 1;
            opening.Kill();
            await opening.WaitForExitAsync();
            Assert.DoesNotContain("PITR-5", await log, StringComparison.Ordinal); // damage
        }
        Assert.True(interrupted > 0, $"seed {_seed}: each opening had ended before it was killed.");
        await RequireRecordsAsync("db", 20_000, "after the last kill");
    }

    [Fact]
    public async Task A_checkpoint_that_is_killed_loses_nothing()
    {
        await InitAsync();
        int count = 0;
        for (int round = 0; round < 3; round++)
        {
            await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
            await LoadAsync(serve, count, 5_000);
            count += 5_000;
            Task<Outcome> checkpoint = PitrProcess.RunAsync(_home, "checkpoint", "--host", serve.Host);
            await Task.WhenAny(checkpoint, Task.Delay(_random.Next(300, 900))); // the client takes a while to start
            await serve.KillAsync();
            await checkpoint;
        }
        await RequireRecordsAsync("db", count, "after the checkpoints");
    }

    [Fact]
    public async Task A_backup_that_is_killed_is_no_set_and_the_next_one_restores()
    {
        await InitAsync();
        int count = 0;
        int cutOff = 0;
        for (int round = 0; round < 3; round++)
        {
            await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
            await LoadAsync(serve, count, 4_000);
            count += 4_000;
            int before = Sets();
            Task<Outcome> backup = PitrProcess.RunAsync(
                _home, "backup", "--to", "archive", "--rate", "2MiB", "--host", serve.Host);
            await UntilAsync(() => backup.IsCompleted || Sets() > before, "the backup has begun");
            await Task.WhenAny(backup, Task.Delay(_random.Next(0, 700)));
            await serve.KillAsync();
            cutOff += (await backup).ExitCode == 0 ? 0 : 1;
        }
        Assert.True(cutOff > 0, $"seed {_seed}: each backup had ended before its engine was killed.");
        await PitrProcess.MustAsync(_home, "backup", "--to", "archive", "--database", "db");
        await PitrProcess.MustAsync(_home, "verify", "archive");
        await PitrProcess.MustAsync(_home, "restore", "--from", "archive", "--into", "copy", "--detached");
        await RequireRecordsAsync("copy", count, "restored");
        await RequireRecordsAsync("db", count, "the source");
    }

    /// <summary>H39: of a backup that was killed, what is whole is not copied again.</summary>
    [Fact]
    public async Task A_backup_that_is_killed_between_two_datafiles_is_gone_on_with()
    {
        await InitAsync();
        await PitrProcess.MustAsync(_home, "datafile", "create", "other", "--database", "db");
        await PitrProcess.MustAsync(_home, "table", "create", "u", "--datafile", "other", "--database", "db");
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            await LoadAsync(serve, 0, 4_000);
            await LoadAsync(serve, 0, 20_000, "u"); // so much that it is copied for longer than a kill takes
            Task<Outcome> backup = PitrProcess.RunAsync(
                _home, "backup", "--to", "archive", "--rate", "256KiB", "--host", serve.Host);
            await UntilAsync(
                () => Directory.EnumerateFiles(
                    Path.Combine(_home, "archive"), "main.json", SearchOption.AllDirectories).Any(), "main is whole");
            await serve.KillAsync();
            await backup;
        }

        using JsonDocument done = JsonDocument.Parse(
            await PitrProcess.MustAsync(_home, "backup", "--to", "archive", "--database", "db", "--json"));
        Assert.Equal(1, done.RootElement.GetProperty("filesResumed").GetInt32());
        await PitrProcess.MustAsync(_home, "verify", "archive");
        await PitrProcess.MustAsync(_home, "restore", "--from", "archive", "--into", "copy", "--detached");
        await RequireRecordsAsync("copy", 4_000, "restored");
    }

    [Fact]
    public async Task A_restore_that_is_killed_goes_on_to_the_same_target_or_is_begun_again()
    {
        await InitAsync();
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            await LoadAsync(serve, 0, 5_000);
            await PitrProcess.MustAsync(_home, "backup", "--to", "archive", "--host", serve.Host);
            await LoadAsync(serve, 5_000, 20_000);
            await PitrProcess.MustAsync(_home, "restore-point", "here", "--host", serve.Host);
            await LoadAsync(serve, 25_000, 1_000);
            await PitrProcess.MustAsync(_home, "shutdown", "--host", serve.Host);
            await serve.EndAsync();
        }
        int wentOn = 0;
        for (int round = 0; round < 4; round++)
        {
            string into = $"copy-{round}";
            string[] restore =
                ["restore", "--from", "archive", "--into", into, "--target-name", "here", "--detached"];
            for (int kill = 0; kill < 2; kill++)
            {
                // The second one interrupts what goes on with the first.
                using Process process = PitrProcess.Start(
                    _home, IsDatabase(into) ? ["recover", into, "--promote"] : restore);
                Task<string> output = process.StandardOutput.ReadToEndAsync();
                Task<string> error = process.StandardError.ReadToEndAsync();
                bool early = round % 2 == 0 && kill == 0;
                await UntilAsync(
                    () => process.HasExited || (early ? Directory.Exists(Path.Combine(_home, into)) : IsDatabase(into)),
                    "the restore has begun to write");
                await Task.WhenAny(process.WaitForExitAsync(), Task.Delay(_random.Next(0, kill == 0 ? 250 : 900)));
                if (!process.HasExited)
                    process.Kill();
                await process.WaitForExitAsync();
                _ = await output + await error;
                if (!IsDatabase(into) && Directory.Exists(Path.Combine(_home, into)))
                    Directory.Delete(Path.Combine(_home, into), recursive: true); // what the refusal says
            }
            if (!IsDatabase(into))
            {
                await PitrProcess.MustAsync(_home, restore);
            }
            else
            {
                wentOn++;
                Outcome recover = await PitrProcess.RunAsync(_home, "recover", into, "--promote");
                Assert.True(recover.ExitCode is 0 or 4, $"seed {_seed}, round {round}: {recover}"); // 4: it had ended
            }
            await RequireRecordsAsync(into, 25_000, $"round {round}");
        }
        Assert.True(wentOn > 0, $"seed {_seed}: each restore was killed before it had written its control file.");
        await RequireRecordsAsync("db", 26_000, "the source");
    }

    /// <summary>
    /// H3, H16, H32: the folder has lost its control file and its datafile; what was cut off is begun again, or gone on with, and
    /// ends at the last commit.
    /// </summary>
    [Fact]
    public async Task A_recovery_in_place_that_is_killed_again_and_again_ends_with_everything()
    {
        await InitAsync();
        await LoadAroundABackupAsync("t", 20_000);
        File.Delete(Path.Combine(_home, "db", "pitr.control"));
        File.Delete(Path.Combine(_home, "db", "main.pitr"));
        int cutOff = 0;
        for (int kill = 0; kill < 4; kill++)
        {
            bool isEarly = kill % 2 == 0 && !IsDatabase("db");
            cutOff += await KilledAsync(
                NextOf("db"), () => isEarly ? HasUnfinished() : IsDatabase("db"), _random.Next(0, isEarly ? 60 : 500)) ? 1 : 0;
        }

        Outcome last = await PitrProcess.RunAsync(_home, NextOf("db"));
        Assert.True(last.ExitCode is 0 or 4, $"seed {_seed}: {last}"); // 4: it had ended
        Assert.True(cutOff > 0, $"seed {_seed}: each recovery had ended before it was killed.");
        await RequireRecordsAsync("db", 20_000, "recovered in place");
    }

    /// <summary>H15, H40: one datafile is lost; it needs recovery until its recovery has ended.</summary>
    [Fact]
    public async Task A_recovery_of_a_datafile_that_is_killed_again_and_again_ends_with_everything()
    {
        await InitAsync();
        await PitrProcess.MustAsync(_home, "datafile", "create", "other", "--database", "db");
        await PitrProcess.MustAsync(_home, "table", "create", "u", "--datafile", "other", "--database", "db");
        await LoadAroundABackupAsync("u", 20_000);
        File.Delete(Path.Combine(_home, "db", "other.pitr"));
        string[] recover = ["datafile", "recover", "other", "--database", "db"];
        int cutOff = 0;
        for (int kill = 0; kill < 4; kill++)
        {
            bool isEarly = kill % 2 == 0;
            cutOff += await KilledAsync(
                recover, () => HasUnfinished() || (!isEarly && File.Exists(Path.Combine(_home, "db", "other.pitr"))),
                _random.Next(0, isEarly ? 60 : 500)) ? 1 : 0;
        }

        Outcome last = await PitrProcess.RunAsync(_home, recover);
        Assert.True(last.ExitCode is 0 or 4, $"seed {_seed}: {last}"); // 4: it serves
        Assert.True(cutOff > 0, $"seed {_seed}: each recovery had ended before it was killed.");
        await RequireRecordsAsync("db", 20_000, "recovered", "u");
    }

    /// <summary>What an operator runs next, by what lies there.</summary>
    private string[] NextOf(string folder) => IsDatabase(folder)
        ? ["recover", folder]
        : ["recover", folder, "--control-file", "backup"];

    private bool HasUnfinished() =>
        Directory.EnumerateFiles(Path.Combine(_home, "db"), "*.pitr.recovering").Any();

    /// <summary>Kills a command a moment after something is there; false if it had ended.</summary>
    private async Task<bool> KilledAsync(string[] args, Func<bool> isThere, int behindMilliseconds)
    {
        using Process process = PitrProcess.Start(_home, args);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        await UntilAsync(() => process.HasExited || isThere(), $"`pitr {string.Join(' ', args)}` has begun");
        await Task.WhenAny(process.WaitForExitAsync(), Task.Delay(behindMilliseconds));
        bool isRunning = !process.HasExited;
        if (isRunning)
            process.Kill();
        await process.WaitForExitAsync();
        _ = await output + await error;
        return isRunning;
    }

    /// <summary>Half of the records are in a set, the others in WAL behind it.</summary>
    private async Task LoadAroundABackupAsync(string table, int count)
    {
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        await LoadAsync(serve, 0, count / 2, table);
        await PitrProcess.MustAsync(_home, "backup", "--to", "archive", "--host", serve.Host);
        await LoadAsync(serve, count / 2, count / 2, table);
        await PitrProcess.MustAsync(_home, "shutdown", "--host", serve.Host);
        await serve.EndAsync();
    }

    private bool IsDatabase(string folder) => File.Exists(Path.Combine(_home, folder, "pitr.control"));

    private int Sets()
    {
        string folder = Path.Combine(_home, "archive", "backups");
        return Directory.Exists(folder) ? Directory.GetDirectories(folder).Length : 0;
    }

    private static async Task UntilAsync(Func<bool> holds, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!holds())
        {
            Assert.True(clock.Elapsed < PitrProcess.Patience, $"It did not come to be that {what}.");
            await Task.Delay(5);
        }
    }

    private async Task InitAsync()
    {
        await PitrProcess.MustAsync(
            _home, "init", "db", "--wal-segment-size", "256KiB", "--archive", Path.Combine(_home, "archive"));
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
    }

    /// <summary>Loads records and requires that all of them are acknowledged.</summary>
    private async Task LoadAsync(ServeProcess serve, int first, int count, string table = "t")
    {
        var records = new StringBuilder();
        for (int number = first; number < first + count; number++)
            records.Append(RecordOf(number)).Append('\n');
        Outcome load = await PitrProcess.RunAsync(
            _home, records.ToString(),
            ["load", table, "-", "--format", "jsonl", "--key", "key", "--batch", "250", "--host", serve.Host]);
        Assert.True(load.ExitCode == 0, load.ToString());
    }

    private async Task RequireRecordsAsync(string folder, int count, string what, string table = "t")
    {
        Outcome dump = await PitrProcess.RunAsync(_home, "dump", table, "--database", folder);
        Assert.True(dump.ExitCode == 0, $"seed {_seed}, {what}: {dump.Error}");
        string[] lines = dump.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        int wrong = Enumerable.Range(0, Math.Min(count, lines.Length))
            .FirstOrDefault(number => lines[number] != RecordOf(number), -1);
        Assert.True(
            lines.Length == count && wrong < 0,
            $"seed {_seed}, {what}: {lines.Length} records of {count} are there; the first wrong one is {wrong}.");
        await PitrProcess.MustAsync(_home, "check", folder);
    }

    private static string RecordOf(int number) => string.Create(
        CultureInfo.InvariantCulture, $$"""{"key":"{{number:D8}}","text":"record {{number}} of some length, to fill pages"}""");
}
