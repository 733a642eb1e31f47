using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Pitr.Tests;

/// <summary>
/// The README's story by the executable: load, backup, fence and copy, a table dropped, back by name and by time.
/// </summary>
public sealed class StoryTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-story-").FullName;

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task A_table_dropped_by_mistake_comes_back_by_name_and_by_time_from_a_running_engine()
    {
        await MustAsync("init", "db", "--archive", "archive", "--wal-segment-size", "256KiB");
        await using ServeProcess serve = await ServeProcess.StartAsync(_home, "db");
        Assert.StartsWith("ready ", serve.Ready, StringComparison.Ordinal);
        string[] host = ["--host", serve.Host];
        await TellAsync(host, fenced: true);

        using JsonDocument status = await JsonAsync(["status", .. host]);
        AssertMembers(
            status.RootElement,
            "systemId", "state", "timeline", "currentLsn", "flushedLsn", "redoLsn", "datafiles", "archive",
            "recoveryWindow");
        AssertMembers(
            status.RootElement.GetProperty("datafiles")[0],
            "name", "path", "state", "checkpointLsn", "bytes", "tables", "bufferedBytes", "fences");
        AssertMembers(
            status.RootElement.GetProperty("archive")[0], "store", "lastSegment", "lagBytes", "lagSeconds",
            "lastError");

        await MustAsync(["shutdown", .. host]);
        Assert.Equal(0, await serve.EndAsync());
        await MustAsync("check", "db");
    }

    [Fact]
    public async Task A_table_dropped_by_mistake_comes_back_by_name_and_by_time_without_a_running_engine()
    {
        await MustAsync("init", "db", "--archive", "archive", "--wal-segment-size", "256KiB");
        await TellAsync(["--database", "db"], fenced: false);
        await MustAsync("check", "db");
    }

    private async Task TellAsync(string[] where, bool fenced)
    {
        await MustAsync(["table", "create", "t", .. where]);
        using (JsonDocument loaded =
            await JsonAsync(Records(0, 3000), ["load", "t", "-", "--format", "jsonl", "--key", "key", .. where]))
        {
            AssertMembers(loaded.RootElement, "records", "transactions", "lsn", "time", "seconds");
            Assert.Equal(3, loaded.RootElement.GetProperty("transactions").GetInt64());
        }
        using (JsonDocument backup = await JsonAsync(["backup", "--to", "archive", .. where]))
            AssertMembers(backup.RootElement, "backupId", "startLsn", "stopLsn", "bytes", "files", "seconds");
        await JsonAsync(Records(3000, 2000), ["load", "t", "-", "--format", "jsonl", "--key", "key", .. where]);

        string good = Digest(await MustAsync(["dump", "t", .. where]));
        string moment;
        using (JsonDocument point = await JsonAsync(["restore-point", "good", .. where]))
        {
            AssertMembers(point.RootElement, "name", "lsn", "time");
            moment = point.RootElement.GetProperty("time").GetString()!;
        }
        if (fenced)
        {
            using JsonDocument fence = await JsonAsync(["fence", "main", "--lease", "1m", .. where]);
            AssertMembers(fence.RootElement, "fenceId", "datafile", "path", "length", "checkpointLsn");
            string path = fence.RootElement.GetProperty("path").GetString()!;
            byte[] copy = ReadAsCpDoes(path);
            Assert.Equal(fence.RootElement.GetProperty("length").GetInt64(), copy.Length);
            await MustAsync(["put", "t", "while-fenced", "1", .. where]);
            Assert.Equal(copy, ReadAsCpDoes(path));
            using JsonDocument unfence = await JsonAsync(["unfence", "main", .. where]);
            AssertMembers(unfence.RootElement, "datafile", "flushedLsn");
            await MustAsync(["delete", "t", "while-fenced", .. where]);
        }
        await MustAsync(["table", "drop", "t", .. where]);
        Assert.Equal(3, (await PitrProcess.RunAsync(_home, ["count", "t", .. where])).ExitCode);
        using (JsonDocument switched = await JsonAsync(["switch-wal", .. where]))
            Assert.Equal(JsonValueKind.Object, switched.RootElement.ValueKind);
        await ArchivedAsync(where);

        using (JsonDocument restored = await JsonAsync(
            ["restore", "--from", "archive", "--into", "by-name", "--target-name", "good", "--detached"]))
        {
            AssertMembers(
                restored.RootElement, "backupId", "timeline", "startLsn", "stoppedAt", "recordsReplayed", "seconds");
            AssertMembers(restored.RootElement.GetProperty("stoppedAt"), "lsn", "time", "transactionId");
            Assert.Equal(2, restored.RootElement.GetProperty("timeline").GetInt32());
        }
        Assert.Equal(good, Digest(await MustAsync("dump", "t", "--database", "by-name")));
        await MustAsync("check", "by-name");
        await MustAsync("restore", "--from", "archive", "--into", "by-time", "--target-time", moment, "--timeline", "1",
            "--detached");
        Assert.Equal(good, Digest(await MustAsync("dump", "t", "--database", "by-time")));
        await MustAsync("check", "by-time");

        string[] records = (await MustAsync("wal", "dump", "archive"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(records.Length > 5);
        foreach (string record in records)
            JsonDocument.Parse(record).Dispose();
    }

    /// <summary>Waits until the store has everything that is durable now.</summary>
    private async Task ArchivedAsync(string[] where)
    {
        using var patience = new CancellationTokenSource(PitrProcess.Patience);
        while (true)
        {
            using JsonDocument status = await JsonAsync(["status", .. where]);
            if (status.RootElement.GetProperty("archive")[0].GetProperty("lagBytes").GetInt64() == 0
                || where[0] == "--database")
                return; // closing in order ships to the last record
            await Task.Delay(100, patience.Token);
        }
    }

    private Task<string> MustAsync(params string[] args) => PitrProcess.MustAsync(_home, args);

    private Task<JsonDocument> JsonAsync(string[] args) => JsonAsync(null, args);

    private async Task<JsonDocument> JsonAsync(string? input, string[] args)
    {
        Outcome outcome = await PitrProcess.RunAsync(_home, input, [.. args, "--json"]);
        Assert.True(outcome.ExitCode == 0, $"`pitr {string.Join(' ', args)}`: {outcome}");
        return JsonDocument.Parse(outcome.Output);
    }

    private static void AssertMembers(JsonElement element, params string[] names)
    {
        foreach (string name in names)
            Assert.True(element.TryGetProperty(name, out _), $"'{name}' is missing in {element}");
    }

    /// <summary>Without the lock that File.ReadAllBytes would ask for: the engine holds it.</summary>
    private static byte[] ReadAsCpDoes(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }

    private static string Records(int first, int count)
    {
        var records = new StringBuilder();
        for (int number = first; number < first + count; number++)
            records.Append(CultureInfo.InvariantCulture, $$"""{"key":"{{number:D6}}","text":"record {{number}}, ä and all"}""").Append('\n');
        return records.ToString();
    }

    private static string Digest(string text) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
