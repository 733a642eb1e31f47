using System.Text.Json;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>
/// <c>pitr restore</c> to each kind of target, on each branch, of a store with two branches and a datafile that lies outside the
/// database's folder: what is there afterwards, or with what it is refused, and nothing is written.
/// </summary>
/// <remarks>
/// <code>
///   timeline 1   a b c ─ backup ─ d e [named] f g
///   timeline 2                      └ h          forked behind d
/// </code>
/// Each letter is two transactions: one writes it into the table of the near datafile, the one that is named into the far one's.
/// </remarks>
public sealed class RestoreTargetsTests : IAsyncLifetime, IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-targets-").FullName;
    private readonly Dictionary<string, Commit> _commits = [];

    private sealed record Commit(string Lsn, string Time, ulong Transaction);

    public async Task InitializeAsync()
    {
        Directory.CreateDirectory(PathOf("outside"));
        await MustAsync("init", "db", "--archive", "archive");
        await MustAsync("datafile", "create", "far", "--path", PathOf("outside/far.pitr"), "--database", "db");
        await MustAsync("table", "create", "near", "--database", "db");
        await MustAsync("table", "create", "far", "--datafile", "far", "--database", "db");
        await CommitAsync("db", "a", "b", "c");
        await MustAsync("backup", "--to", "archive", "--database", "db");
        await CommitAsync("db", "d", "e");
        await MustAsync("restore-point", "named", "--database", "db");
        await CommitAsync("db", "f", "g");
        await MustAsync(
            "restore", "--from", "archive", "--into", "drill", "--archive", "archive", "--target-lsn", _commits["d"].Lsn);
        await CommitAsync("drill", "h");
    }

    public Task DisposeAsync() => Task.CompletedTask;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Each_target_and_branch_is_reached_exactly()
    {
        (string Args, string Expected)[] table =
        [
            ("--timeline 1", "abcdefg"),
            ("--timeline 2", "abcdh"),
            ("--timeline latest", "abcdh"),
            ("--timeline current", "abcdefg"), // that of the backup
            ("--target-immediate", "abc"),
            ($"--target-xid {_commits["d"].Transaction}", "abcd"),
            ($"--target-xid {_commits["d"].Transaction} --exclusive", "abc"),
            ($"--target-xid {_commits["f"].Transaction} --timeline 1", "abcdef"),
            ($"--target-lsn {_commits["e"].Lsn} --timeline 1", "abcde"),
            ($"--target-lsn {_commits["e"].Lsn} --timeline 1 --exclusive", "abcd"),
            ($"--target-time {_commits["e"].Time} --timeline 1", "abcde"),
            ($"--target-time {_commits["e"].Time} --timeline 1 --exclusive", "abcd"),
            ("--target-name named --timeline 1", "abcde"),
            ("--target-name named --timeline 1 --exclusive", "abcde"),
        ];
        int n = 0;
        foreach ((string args, string expected) in table)
        {
            string into = $"back{n++}";
            await MustAsync(["restore", "--from", "archive", "--into", into, "--detached", .. args.Split(' ')]);
            await RequireAsync(into, expected, args);
        }
    }

    [Fact]
    public async Task A_datafile_outside_comes_back_where_it_is_mapped_to()
    {
        Directory.CreateDirectory(PathOf("elsewhere"));
        await MustAsync(
            "restore", "--from", "archive", "--into", "back", "--detached", "--timeline", "1", "--map",
            $"{PathOf("outside")}={PathOf("elsewhere")}");
        Assert.True(File.Exists(PathOf("elsewhere/far.pitr")));
        await RequireAsync("back", "abcdefg", "--map");
        await RequireAsync("db", "abcdefg", "the source, beside it");
    }

    [Fact]
    public async Task What_is_no_one_moment_or_of_another_database_is_refused_and_nothing_is_written()
    {
        await MustAsync("init", "other", "--archive", "others");
        await MustAsync("table", "create", "t", "--database", "other");
        await MustAsync("backup", "--to", "others", "--database", "other");
        (string Args, int ExitCode, string Says)[] table =
        [
            ("--from archive", ExitCodes.Refused, "another moment on each of several timelines"),
            ($"--from archive --target-lsn {_commits["e"].Lsn}", ExitCodes.Refused, "another moment on each of several timelines"),
            ("--from archive --target-name nowhere --timeline 1", ExitCodes.Refused, "'nowhere'"),
            ($"--from archive --target-lsn {_commits["b"].Lsn} --timeline 1", ExitCodes.Refused, "before the stop of backup set"),
            ("--from archive --target-xid 99999 --timeline 1", ExitCodes.Refused, "is not reached"),
            ("--from archive --timeline 9", ExitCodes.Refused, "Timeline 9 is not in the archive"),
            ("--from archive --backup nothing --timeline 1", ExitCodes.NotFound, "no backup set 'nothing'"),
            ("--from archive --archive others --timeline 1", ExitCodes.Refused, "belongs to the database"),
            ("--from others --archive archive", ExitCodes.Refused, "belongs to the database"),
        ];
        foreach ((string args, int exitCode, string says) in table)
        {
            foreach (string[] more in (string[][])[["--plan"], []])
            {
                Outcome refused = await CliInProcess.RunAsync(_home, ["restore", "--into", "none", .. args.Split(' '), .. more]);
                Assert.True(
                    refused.ExitCode == exitCode && refused.Output.Length == 0
                    && refused.Error.Contains(says, StringComparison.Ordinal),
                    $"{args} {string.Join(' ', more)}: {refused}");
                Assert.False(Directory.Exists(PathOf("none")), args);
            }
        }
    }

    // ---- parts -----------------------------------------------------------------------------------

    private string PathOf(string name) => Path.Combine(_home, name);

    private Task<string> MustAsync(params string[] args) => CliInProcess.MustAsync(_home, args);

    private async Task CommitAsync(string database, params string[] letters)
    {
        foreach (string letter in letters)
        {
            await MustAsync("put", "near", letter, letter, "--database", database);
            using JsonDocument done = JsonDocument.Parse(
                await MustAsync("put", "far", letter, letter, "--database", database, "--json"));
            _commits[letter] = new Commit(
                done.RootElement.GetProperty("lsn").GetString()!, done.RootElement.GetProperty("time").GetString()!,
                done.RootElement.GetProperty("transactionId").GetUInt64());
        }
    }

    /// <summary>Up to which letter; in the near datafile also the next one, if the target lies between its two transactions.</summary>
    private async Task RequireAsync(string database, string expected, string how)
    {
        foreach (string table in (string[])["near", "far"])
        {
            string there = string.Concat((await MustAsync("dump", table, "--database", database)).Where(char.IsLetter));
            bool isBetween = table == "near" && there.Length == expected.Length + 1 && there.StartsWith(expected, StringComparison.Ordinal);
            Assert.True(there == expected || isBetween, $"{how}: table {table} has {there}, not {expected}.");
        }
    }
}
