using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// kill -9 under load, twenty times at random moments: what was acknowledged is there, no transaction is there by half,
/// and what is there is a beginning of what was sent. The engine is killed as <c>serve</c> and as <c>load
/// --database</c>.
/// </summary>
public sealed class KillTests : IDisposable
{
    private const int Rounds = 20;
    // not a divisor of anything: a transaction's borders fall anywhere in page and segment
    private const int BatchRecords = 7;

    private readonly string _home = Directory.CreateTempSubdirectory("pitr-kill-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task After_kill_9_nothing_acknowledged_is_missing_and_no_transaction_is_there_by_half()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        string folder = Path.Combine(_home, "db");
        await PitrProcess.MustAsync(
            _home, "init", folder, "--wal-segment-size", "256KiB", "--archive", Path.Combine(_home, "archive"));
        await PitrProcess.MustAsync(_home, "table", "create", "t", "--database", folder);
        var survived = new List<string>();
        long acknowledged = 0;
        for (int round = 0; round < Rounds; round++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"r{round:D2}-");
            string acks = Path.Combine(_home, $"acks-{round}");
            TimeSpan until = TimeSpan.FromMilliseconds(random.Next(0, 1200));
            if (round % 2 == 0)
                await KillServeAsync(folder, prefix, acks, until, checkpoint: round % 4 == 0);
            else
                await KillLoadAsync(folder, prefix, acks, until);

            string what = $"seed {seed}, round {round}, killed after {until.TotalMilliseconds} ms";
            string[] present = Values(
                await PitrProcess.MustAsync(_home, "scan", "t", "--prefix", prefix, "--json", "--database", folder));
            int missing = Enumerable.Range(0, present.Length)
                .FirstOrDefault(n => present[n] != RecordOf(prefix, n), -1);
            Assert.True(missing < 0, $"{what}: record {missing} is not what was sent, or one before it is missing.");
            Assert.True(
                present.Length % BatchRecords == 0,
                $"{what}: {present.Length} records are there, so the last transaction is there by half.");
            long acknowledgedRecords = AcknowledgedRecords(acks, prefix);
            Assert.True(
                present.Length >= acknowledgedRecords,
                $"{what}: {acknowledgedRecords} records were acknowledged, {present.Length} are there.");
            acknowledged += acknowledgedRecords;
            survived.AddRange(present);
        }
        Assert.True(acknowledged > 0, "No round acknowledged anything: the kills come too early to prove something.");
        Assert.Equal(survived, (await PitrProcess.MustAsync(_home, "dump", "t", "--database", folder))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries));
        await PitrProcess.MustAsync(_home, "check", folder);
    }

    /// <summary>The engine is a process of its own; the client that loads sees it die.</summary>
    private async Task KillServeAsync(string folder, string prefix, string acks, TimeSpan until, bool checkpoint)
    {
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, folder);
        using Process load = PitrProcess.Start(
            _home, "load", "t", "-", "--format", "jsonl", "--key", "key", "--host", serve.Host,
            "--batch", BatchRecords.ToString(CultureInfo.InvariantCulture), "--acks", acks);
        Task feed = FeedAsync(load, prefix);
        Task<string> error = load.StandardError.ReadToEndAsync();
        await FirstAckOrEndAsync(load, acks);
        Task<Outcome>? flush = checkpoint ? PitrProcess.RunAsync(_home, "checkpoint", "--host", serve.Host) : null;
        await Task.Delay(until);
        await serve.KillAsync();
        // the contract's bound for a client whose engine dies
        await load.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
        await feed;
        Assert.True(load.ExitCode == 1, $"The client of a killed engine ended with {load.ExitCode}: {await error}");
        if (flush is not null)
            await flush;
    }

    /// <summary>The engine runs in the process that loads.</summary>
    private async Task KillLoadAsync(string folder, string prefix, string acks, TimeSpan until)
    {
        using Process load = PitrProcess.Start(
            _home, "load", "t", "-", "--format", "jsonl", "--key", "key", "--database", folder,
            "--batch", BatchRecords.ToString(CultureInfo.InvariantCulture), "--acks", acks);
        Task feed = FeedAsync(load, prefix);
        Task<string> error = load.StandardError.ReadToEndAsync();
        await FirstAckOrEndAsync(load, acks);
        await Task.Delay(until);
        Assert.False(load.HasExited, $"The load ended before it was killed: {(load.HasExited ? await error : "")}");
        load.Kill();
        await load.WaitForExitAsync();
        await feed;
    }

    private static string RecordOf(string prefix, int number) => string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"key":"{{prefix}}{{number:D8}}","transaction":{{number / BatchRecords}},"text":"a record of the transaction {{number / BatchRecords}}"}""");

    /// <summary>Writes records until nobody reads them any more.</summary>
    private static async Task FeedAsync(Process load, string prefix)
    {
        try
        {
            var lines = new StringBuilder();
            for (int number = 0; ; number++)
            {
                lines.Append(RecordOf(prefix, number)).Append('\n');
                if (lines.Length < 32 << 10)
                    continue;
                await load.StandardInput.WriteAsync(lines);
                lines.Clear();
            }
        }
        catch (IOException)
        {
            // The pipe is closed: the reader was killed, or its engine was.
        }
    }

    private static async Task FirstAckOrEndAsync(Process load, string acks)
    {
        var clock = Stopwatch.StartNew();
        while (!load.HasExited && !(File.Exists(acks) && new FileInfo(acks).Length > 0))
        {
            Assert.True(clock.Elapsed < PitrProcess.Patience, "No transaction was acknowledged.");
            await Task.Delay(5);
        }
    }

    /// <summary>How many records the acknowledged transactions have; their keys must follow each other.</summary>
    private static long AcknowledgedRecords(string acks, string prefix)
    {
        if (!File.Exists(acks))
            return 0;
        string text = File.ReadAllText(acks);
        long records = 0;
        foreach (string line in text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            using JsonDocument ack = JsonDocument.Parse(line);
            Assert.Equal(
                string.Create(CultureInfo.InvariantCulture, $"{prefix}{records:D8}"),
                ack.RootElement.GetProperty("firstKey").GetString());
            Assert.Equal(BatchRecords, ack.RootElement.GetProperty("records").GetInt32());
            records += BatchRecords;
        }
        return records;
    }

    private static string[] Values(string scan)
    {
        var values = new List<string>();
        foreach (string line in scan.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            using JsonDocument row = JsonDocument.Parse(line);
            values.Add(row.RootElement.GetProperty("value").GetString()!);
        }
        return [.. values];
    }
}
