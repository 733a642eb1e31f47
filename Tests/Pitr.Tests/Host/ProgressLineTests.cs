using Microsoft.Extensions.Time.Testing;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>What somebody at a terminal sees of a long job: how far it is, and when it ends if it goes on so.</summary>
public sealed class ProgressLineTests : IDisposable
{
    private const long Mebi = 1 << 20;

    private readonly FakeTimeProvider _clock = new();
    private readonly StringWriter _error = new();

    public void Dispose() => _error.Dispose();

    [Fact]
    public void The_estimate_is_what_is_left_at_the_pace_so_far()
    {
        using var line = new ProgressLine(Console(isTerminal: true));
        Assert.Equal("copying  0 %  0 B of 100 MiB", Shown(line, "copying", 0, TimeSpan.FromMilliseconds(1)));
        Assert.Equal("copying  5 %  5 MiB of 100 MiB", Shown(line, "copying", 5, TimeSpan.FromMilliseconds(900)));
        Assert.EndsWith(", about 30 s left", Shown(line, "copying", 25, TimeSpan.FromSeconds(9.1)), StringComparison.Ordinal);
        // four times as fast from here on: the pace is that of all of it
        Assert.EndsWith(", about 10 s left", Shown(line, "copying", 60, TimeSpan.FromSeconds(5)), StringComparison.Ordinal);
        Assert.EndsWith(", about 0 s left", Shown(line, "copying", 100, TimeSpan.FromSeconds(5)), StringComparison.Ordinal);
    }

    [Fact]
    public void Each_step_and_each_file_has_an_estimate_of_its_own()
    {
        using var line = new ProgressLine(Console(isTerminal: true));
        Shown(line, "copying", 0, TimeSpan.FromMilliseconds(1));
        Shown(line, "copying", 100, TimeSpan.FromSeconds(100));
        Assert.Equal("verifying  1 %  1 MiB of 100 MiB", Shown(line, "verifying", 1, TimeSpan.FromSeconds(1)));
        Assert.EndsWith(", about 9 s left", Shown(line, "verifying", 10, TimeSpan.FromSeconds(1)), StringComparison.Ordinal);
        Assert.Equal("verifying  2 %  2 MiB of 100 MiB", Shown(line, "verifying", 2, TimeSpan.FromSeconds(1))); // the next file
    }

    [Fact]
    public void It_is_drawn_ten_times_a_second_at_most_and_not_where_nobody_looks()
    {
        using var line = new ProgressLine(Console(isTerminal: true));
        for (int n = 0; n < 1000; n++)
            Shown(line, "copying", n % 100, TimeSpan.FromMilliseconds(1));
        Assert.InRange(_error.ToString().Count(one => one == '\r'), 9, 11);

        _error.GetStringBuilder().Clear();
        using (var silent = new ProgressLine(Console(isTerminal: false)))
            Shown(silent, "copying", 5, TimeSpan.FromSeconds(2));
        Assert.Empty(_error.ToString());
    }

    /// <summary>The last line that was drawn, after so much time.</summary>
    private string Shown(ProgressLine line, string step, long doneMebi, TimeSpan after)
    {
        _clock.Advance(after);
        line.Report(new JobProgress(step, doneMebi * Mebi, 100 * Mebi));
        return _error.ToString().Split('\r')[^1].TrimEnd();
    }

    private CliConsole Console(bool isTerminal) => new(
        Stream.Null, _error, static () => Stream.Null, static _ => null, "/", OutputIsTerminal: isTerminal,
        ErrorIsTerminal: isTerminal)
    {
        Clock = _clock,
    };
}
