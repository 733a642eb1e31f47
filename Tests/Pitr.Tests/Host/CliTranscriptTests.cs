using System.Text;
using System.Text.RegularExpressions;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>
/// Every verb against a real engine, as the executable runs it: what it prints as JSON, with what differs from run to
/// run masked, is a golden transcript. A script that works on it today works tomorrow.
/// </summary>
public sealed partial class CliTranscriptTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("pitr-cli-").FullName;
    private readonly StringBuilder _transcript = new();

    public void Dispose() => Directory.Delete(_home, recursive: true);

    [Fact]
    public async Task Every_verb_prints_the_json_that_scripts_depend_on()
    {
        File.WriteAllText(Path.Combine(_home, "in.jsonl"),
            "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":2}\n{\"id\":\"c\",\"n\":3}\n");
        await TellAsync("init db --archive store --wal-segment-size 64KiB");
        using var interruption = new Interruption();
        var ready = new ReadyStream();
        Task<int> serve = CliInProcess.RunAsync(
            _home, null, ready, TextWriter.Null, interruption, "serve", "db", "--listen", "127.0.0.1:0", "--http",
            "127.0.0.1:0");
        string[] words = (await ready.Line.WaitAsync(PitrProcess.Patience)).Split(' ');
        string host = words[Array.IndexOf(words, "--host") + 1];
        string[] online =
        [
            "datafile create orders --path orders-file", "datafile list", "table create t",
            "table create lines --datafile orders",
            "table list", "put t k v", "get t k", "delete t k", "load lines in.jsonl --key id --batch 2 --acks acks",
            "count lines", "scan lines --limit 2", "dump lines", "checkpoint", "backup --to store",
            "backup --to store --incremental --jobs 2", "restore-point good",
            "fence orders --lease 1m --reason test", "status", "unfence orders",
            "datafile move orders moved-orders --rate 100MiB", "datafile move orders moved-orders",
            "datafile compact orders --rate 100MiB", "datafile compact nope", "datafile compact orders --rate 0",
            "datafile move nope elsewhere", "drain db --to elsewhere", "drain db --to .", "table drop t", "datafile drop orders",
            "get t k",
            "switch-wal", "archive status", "shutdown",
        ];
        foreach (string verb in online)
            await TellAsync(verb, "--host", host);
        Assert.Equal(0, await serve.WaitAsync(PitrProcess.Patience));
        foreach (string verb in new[]
        {
            "status --database db", "backups store", "verify store",
            "restore --from store --into back --target-name good --detached",
            "count lines --database back",
            "restore --from store --into paused --target-name good --action pause --detached",
            "put lines x y --database paused", "recover paused --promote", "count lines --database paused",
            "check back", "unfence nope", "nonsense", "table nonsense", "count", "count t u --database db",
        })
            await TellAsync(verb);
        _transcript.Append("-- acks\n").Append(Masked(File.ReadAllText(Path.Combine(_home, "acks"))));
        GoldenFile.Check("cli/transcript.txt", _transcript.ToString());
    }

    private async Task TellAsync(string verb, params string[] where)
    {
        (int exitCode, string printed, string error) =
            await CliInProcess.RunAsync(_home, [.. verb.Split(' '), "--json", .. where]);
        Assert.True(exitCode == 0 || printed.Length == 0, $"{verb}: a failure prints nothing: {printed}");
        Assert.True(exitCode == 0 == (error.Length == 0), $"{verb}: {exitCode}, {error}");
        _transcript.Append("$ pitr ").Append(verb).Append('\n').Append(Masked(printed)).Append(Masked(error));
        if (exitCode != 0)
            _transcript.Append("exit code ").Append(exitCode).Append('\n');
    }

    /// <summary>Ids, moments, LSNs, durations and sizes by what they are; counts of what was done stay.</summary>
    private string Masked(string text)
    {
        text = text.Replace(_home, "HOME", StringComparison.Ordinal);
        text = Window().Replace(text, "$1WINDOW");
        text = Disks().Replace(text, "$1DISKS");
        text = BackupId().Replace(text, "BACKUP");
        text = FenceId().Replace(text, "FENCE");
        text = Time().Replace(text, "TIME");
        text = Hex().Replace(text, "SYSTEM");
        text = LsnText().Replace(text, "LSN");
        text = Float().Replace(text, "$1SECONDS");
        text = Name().Replace(text, "$1NAME");
        return Number().Replace(text, "$1N");
    }

    /// <summary>What is free on the disks of this machine, once somebody has looked.</summary>
    [GeneratedRegex("""("disks":)\[[^\]]*\]""")]
    private static partial Regex Disks();

    [GeneratedRegex(@"(""recoveryWindow"":)(?:null|\{[^}]*\})")]
    private static partial Regex Window();

    [GeneratedRegex(@"\b\d{8}T\d{6}Z-[0-9a-f]+")]
    private static partial Regex BackupId();

    [GeneratedRegex(@"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")]
    private static partial Regex FenceId();

    [GeneratedRegex(@"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")]
    private static partial Regex Time();

    [GeneratedRegex(@"\b[0-9A-F]{16}\b")]
    private static partial Regex Hex();

    [GeneratedRegex(@"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b")]
    private static partial Regex LsnText();

    [GeneratedRegex(@"(""(?:seconds|lagSeconds|fencedSeconds)"":)[0-9.E-]+")]
    private static partial Regex Float();

    [GeneratedRegex(
        @"(""(?:lagSegments|lagBytes|bytes|bufferedBytes|liveBytes|freeBytes|length|recordsReplayed|pages)"":"
        + @"|""records"":(?=\d+,""(?:endOfWal|restores)""))\d+")]
    private static partial Regex Number();

    [GeneratedRegex(@"(""(?:holder|lastSegment)"":)(?:null|""[^""]*"")")]
    private static partial Regex Name();

    /// <summary>Standard output of serve: completes with its one line.</summary>
    private sealed class ReadyStream : MemoryStream
    {
        private readonly TaskCompletionSource<string> _line = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<string> Line => _line.Task;

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            base.Write(buffer);
            _line.TrySetResult(Encoding.UTF8.GetString(buffer));
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Write(buffer.Span);
            return ValueTask.CompletedTask;
        }
    }
}
