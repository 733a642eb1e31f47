using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pitr.Cli;
using Spectre.Console;

namespace Pitr.Tests;

/// <summary>What <c>pitr status</c> shows on a terminal, and what <c>--watch</c> gives to whom.</summary>
public sealed partial class StatusScreenTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 22, 14, 5, 0, TimeSpan.Zero);
    private static readonly Guid FenceId = new("01234567-89ab-cdef-0123-456789abcdef");

    private static EngineStatus Quiet { get; } = new(
        new SystemIdentifier(0x0123456789ABCDEF), "running", new TimelineId(2), new Lsn(0x1_016B3F80), new Lsn(0x1_016B3F80),
        new Lsn(0x1_01000000),
        [new DatafileStatus("main", "/db/main.pitr", "open", new Lsn(0x10), 81920, 3, 4096, 65536, 16384, 0, [])], [], null);

    private static EngineStatus Busy { get; } = Quiet with
    {
        CurrentLsn = new Lsn(0x1_02000000),
        Datafiles =
        [
            Quiet.Datafiles[0] with
            {
                State = "fenced",
                Fences = [new FenceStatus(FenceId, "pitr", "a copy to the lab", Now.AddMinutes(-5), Now.AddMinutes(5).AddSeconds(7))],
            },
            new DatafileStatus(
                "orders", "/mnt/fast/orders.pitr", "offline", new Lsn(0x20), 3L << 30, 12, 300 << 20, 2L << 30, 1L << 30, 0, []),
        ],
        Archive =
        [
            new ArchiveStatus("/archive", "000000020000000000000007", 0, 0, 0, null),
            new ArchiveStatus("/mnt/second", "000000020000000000000005", 2, 33 << 20, 95.5, "the disk is full"),
        ],
        RecoveryWindow = new RecoveryWindow(Now.AddDays(-14).AddHours(-3), Now.AddSeconds(-2), null),
    };

    [Fact]
    public void A_quiet_engine_is_a_frame_and_its_datafiles() =>
        GoldenFile.Check("cli/status-screen-quiet.txt", Drawn(Quiet, 110, []));

    [Fact]
    public void Fences_stores_and_the_recovery_window_have_rows_of_their_own() =>
        GoldenFile.Check("cli/status-screen-busy.txt", Drawn(Busy, 110, [0, 1 << 10, 5 << 20, 3 << 20]));

    [Theory]
    [InlineData(64)]
    [InlineData(80)]
    public void On_a_narrow_terminal_nothing_is_lost_but_paths_and_reasons(int width)
    {
        string screen = Drawn(Busy, width, []);
        Assert.All(screen.Split('\n'), line => Assert.True(line.Length <= width, $"{line.Length}: {line}"));
        foreach (string text in new[] { "fenced", "offline", "95.5 s", "/mnt/second" })
            Assert.Contains(text, string.Concat(screen.Split('\n').Select(line => line.Trim() + " ")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Watch_elsewhere_than_on_a_terminal_gives_a_document_a_look()
    {
        var cli = new CliRun(new MemoryTarget());
        (int exitCode, string output, string error) = await cli.RunAsync(
            "status", "--watch", "--count", "3", "--interval", "1ms", "--json", "--host", "h:1");
        Assert.Equal((0, ""), (exitCode, error));
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.All(lines, line =>
        {
            using JsonDocument status = JsonDocument.Parse(line);
            Assert.Equal(2, status.RootElement.GetProperty("timeline").GetInt32());
        });

        output = (await cli.RunAsync("status", "--watch", "--count", "2", "--interval", "1ms", "--host", "h:1")).Output;
        Assert.Equal(2, Regex.Count(output, "^database ", RegexOptions.Multiline));
        Assert.DoesNotContain('\u001b', output);
    }

    [Fact]
    public async Task Watch_on_a_terminal_draws_in_place_on_the_other_screen_and_leaves_it_with_the_last_look()
    {
        string output = await OnTerminalAsync(new MemoryTarget(), "status", "--watch", "--count", "2", "--interval", "1ms");
        Assert.StartsWith("\u001b[?1049h", output, StringComparison.Ordinal);
        Assert.Equal(2, Regex.Count(output, Regex.Escape("\u001b[H"))); // drawn twice, each from the top
        Assert.Contains("every 1ms; Ctrl-C ends", output, StringComparison.Ordinal);
        string after = output[output.IndexOf("\u001b[?1049l", StringComparison.Ordinal)..];
        Assert.Contains("main", after, StringComparison.Ordinal);
        Assert.Contains("of WAL", after, StringComparison.Ordinal); // the second look knows a rate
    }

    [Fact]
    public async Task Watch_leaves_the_other_screen_also_when_the_engine_goes_away()
    {
        var target = new MemoryTarget { StatusFailsAtLook = 2 };
        string output = await OnTerminalAsync(target, "status", "--watch", "--interval", "1ms");
        Assert.Contains("\u001b[?1049l", output, StringComparison.Ordinal);
        Assert.Contains("pitr: The engine is shutting down.", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_terminal_without_capabilities_gets_the_plain_text()
    {
        string output = await OnTerminalAsync(new MemoryTarget(), "dumb", "status");
        Assert.StartsWith("database ", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', output);
    }

    /// <summary>The screen as text, without colours.</summary>
    private static string Drawn(EngineStatus status, int width, double[] rates)
    {
        using var text = new StringWriter { NewLine = "\n" };
        CliConsole console = Terminal(Stream.Null, TextWriter.Null, "xterm") with { ScreenWidth = width };
        Answer.AnsiTo(text, console).Write(StatusScreen.Of(status, Now, width, rates));
        return string.Join(
            '\n', AnsiCode().Replace(text.ToString(), "").Split('\n').Select(static line => line.TrimEnd()));
    }

    private static Task<string> OnTerminalAsync(MemoryTarget target, params string[] args) => args[0] == "dumb"
        ? OnTerminalAsync(target, "dumb", args[1..])
        : OnTerminalAsync(target, "xterm-256color", args);

    /// <summary>Both streams as a terminal shows them.</summary>
    private static async Task<string> OnTerminalAsync(MemoryTarget target, string term, string[] args)
    {
        using var output = new MemoryStream();
        using var error = new StringWriter { NewLine = "\n" };
        using var interruption = new Interruption();
        CliConsole console = Terminal(output, error, term) with { ScreenWidth = 100 };
        await CommandLine.RunAsync([.. args, "--host", "h:1"], console, new CliRun(target), interruption).Within();
        return Encoding.UTF8.GetString(output.ToArray()) + error;
    }

    private static CliConsole Terminal(Stream output, TextWriter error, string term) => new(
        output, error, static () => Stream.Null, name => name == "TERM" ? term : null, "/", OutputIsTerminal: true,
        ErrorIsTerminal: true);

    [GeneratedRegex("\u001b\\[[0-9;?]*[A-Za-z]")]
    private static partial Regex AnsiCode();
}
