using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Pitr.Tests;

/// <summary>
/// <c>pitr serve</c> ends in the middle of a move or of compacting, by SIGKILL or SIGTERM: the next start finds one
/// datafile, whole, and nothing else of it (H19, H42).
/// </summary>
public sealed class MoveProcessTests : IDisposable
{
    private const int Records = 20_000;

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-move-").FullName;
    private readonly int _seed = Environment.TickCount;
    private readonly Random _random;

    public MoveProcessTests() => _random = new Random(_seed);

    public void Dispose() => Directory.Delete(_home, recursive: true);

    /// <summary>H19: a move that is slow enough to be met is killed at any moment of it, again and again.</summary>
    [Fact]
    public async Task A_move_whose_engine_is_killed_leaves_one_datafile_and_the_next_one_ends()
    {
        await BeginAsync();
        int cutOff = 0;
        for (int round = 0; round < 4; round++)
        {
            string to = Path.Combine(_home, "disk", $"round-{round}.pitr");
            string before = PlaceOfMain();
            await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
            {
                Task<Outcome> move = PitrProcess.RunAsync(
                    _home, "datafile", "move", "main", to, "--rate", "4MiB", "--host", serve.Host);
                await UntilAsync(() => move.IsCompleted || File.Exists(to), "the copy has begun");
                await Task.WhenAny(move, Task.Delay(_random.Next(0, (300 * round) + 1))); // the first one at once
                await serve.KillAsync();
                cutOff += (await move).ExitCode == 0 ? 0 : 1;
            }

            await RequireOneDatafileAsync(before, to);
        }

        Assert.True(cutOff > 0, $"seed {_seed}: each move had ended before its engine was killed.");
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            await PitrProcess.MustAsync(
                _home, "datafile", "move", "main", Path.Combine(_home, "disk", "last.pitr"), "--host", serve.Host);
            Assert.Equal(0, await serve.TerminateAsync());
        }

        await RequireOneDatafileAsync(Path.Combine(_home, "disk", "last.pitr"), "");
    }

    /// <summary>H16, H19, H42: the same of compacting, in which the datafile stays in its place.</summary>
    [Fact]
    public async Task Compacting_whose_engine_is_killed_leaves_one_datafile_and_the_next_one_ends()
    {
        await BeginAsync();
        string place = PlaceOfMain();
        int cutOff = 0;
        for (int round = 0; round < 4; round++)
        {
            await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
            {
                Task<Outcome> compact = PitrProcess.RunAsync(
                    _home, "datafile", "compact", "main", "--rate", "128KiB", "--host", serve.Host);
                await UntilAsync(
                    () => compact.IsCompleted || File.Exists(place + ".compacting"), "the new file is there");
                await Task.WhenAny(compact, Task.Delay(_random.Next(0, (300 * round) + 1))); // the first one at once
                await serve.KillAsync();
                cutOff += (await compact).ExitCode == 0 ? 0 : 1;
            }

            await RequireOneDatafileAsync(place, place);
        }

        Assert.True(cutOff > 0, $"seed {_seed}: each had ended before its engine was killed.");
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            await PitrProcess.MustAsync(_home, "datafile", "compact", "main", "--host", serve.Host);
            Assert.Equal(0, await serve.TerminateAsync());
        }

        await RequireOneDatafileAsync(place, place);
    }

    /// <summary>An orderly end does not leave a move by half, whether it waits for it or gives it up.</summary>
    [Fact]
    public async Task A_move_whose_engine_is_terminated_leaves_one_datafile()
    {
        await BeginAsync();
        string before = PlaceOfMain();
        string to = Path.Combine(_home, "disk", "main.pitr");
        await using (ServeProcess serve = await ServeProcess.StartAsync(_home, "db"))
        {
            Task<Outcome> move = PitrProcess.RunAsync(
                _home, "datafile", "move", "main", to, "--rate", "4MiB", "--host", serve.Host);
            await UntilAsync(() => move.IsCompleted || File.Exists(to), "the copy has begun");
            Assert.Equal(0, await serve.TerminateAsync());
            await move;
        }

        await RequireOneDatafileAsync(before, to);
    }

    private async Task BeginAsync()
    {
        Directory.CreateDirectory(Path.Combine(_home, "disk"));
        await PitrProcess.MustAsync(_home, "init", "db");
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", "db");
        var records = new StringBuilder();
        for (int number = 0; number < Records; number++)
            records.Append(RecordOf(number)).Append('\n');
        Outcome load = await PitrProcess.RunAsync(
            _home, records.ToString(), ["load", "t", "-", "--format", "jsonl", "--key", "key", "--database", "db"]);
        Assert.True(load.ExitCode == 0, load.ToString());
        await PitrProcess.MustAsync(_home, "checkpoint", "--database", "db");
    }

    /// <summary>It is whole, lies at one of both places, and neither the copy nor a temporary name is left.</summary>
    private async Task RequireOneDatafileAsync(string before, string to)
    {
        Assert.Equal(
            $"{Records}\n", await PitrProcess.MustAsync(_home, "count", "t", "--database", "db")); // settles it
        await PitrProcess.MustAsync(_home, "check", "db");
        string place = PlaceOfMain();
        Assert.Contains(place, new[] { before, to });
        string[] files =
        [
            .. Directory.GetFiles(Path.Combine(_home, "db"), "main.pitr*").Concat(
                Directory.GetFiles(Path.Combine(_home, "disk"))).Where(path => new FileInfo(path).LinkTarget is null),
        ];
        Assert.True(files.SequenceEqual([place]), $"seed {_seed}: {string.Join(", ", files)}");
    }

    private string PlaceOfMain()
    {
        string name = Path.Combine(_home, "db", "main.pitr");
        return new FileInfo(name).LinkTarget ?? name;
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

    private static string RecordOf(int number) => string.Create(
        CultureInfo.InvariantCulture, $$"""{"key":"{{number:D8}}","text":"record {{number}} of some length, to fill pages"}""");
}
