using System.Text;
using Pitr.Cli;

namespace Pitr.Tests;

/// <summary>
/// Command lines as the executable runs them, with real engines, but in this process: a process takes half a second to
/// start. What a process is needed for (kill, signals, the lock against others) is tested with <see
/// cref="PitrProcess"/>.
/// </summary>
internal static class CliInProcess
{
    /// <summary>Runs a command to its end, from a folder that is its home too.</summary>
    public static Task<Outcome> RunAsync(string home, params string[] args) => RunAsync(home, input: null, args);

    /// <summary>Runs a command to its end, with a text as its standard input.</summary>
    public static async Task<Outcome> RunAsync(string home, string? input, string[] args)
    {
        using var output = new MemoryStream();
        using var error = new StringWriter { NewLine = "\n" };
        using var interruption = new Interruption();
        int exitCode = await RunAsync(home, input, output, error, interruption, args).WaitAsync(PitrProcess.Patience);
        return new Outcome(exitCode, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }

    /// <summary>Runs pgtar to its end.</summary>
    public static async Task<Outcome> RunPgtarAsync(string home, params string[] args)
    {
        using var output = new MemoryStream();
        using var error = new StringWriter { NewLine = "\n" };
        using var interruption = new Interruption();
        CliConsole console = ConsoleOf(home, null, output, error);
        int exitCode = await CommandLine.RunPgtarAsync(args, console, new ProcessTargets(console), interruption)
            .WaitAsync(PitrProcess.Patience);
        return new Outcome(exitCode, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }

    /// <summary>Runs a command that must succeed; returns what it printed.</summary>
    public static async Task<string> MustAsync(string home, params string[] args)
    {
        Outcome outcome = await RunAsync(home, args);
        Assert.True(outcome.ExitCode == 0, $"`pitr {string.Join(' ', args)}`: {outcome}");
        return outcome.Output;
    }

    /// <summary>Runs a command whose streams and signals are the caller's.</summary>
    public static async Task<int> RunAsync(
        string home, string? input, Stream output, TextWriter error, Interruption interruption, params string[] args)
    {
        CliConsole console = ConsoleOf(home, input, output, error);
        return await CommandLine.RunAsync(args, console, new ProcessTargets(console), interruption);
    }

    private static CliConsole ConsoleOf(string home, string? input, Stream output, TextWriter error) => new(
        output, error, () => new MemoryStream(Encoding.UTF8.GetBytes(input ?? "")),
        new Dictionary<string, string> { ["HOME"] = home }.GetValueOrDefault, home,
        OutputIsTerminal: false, ErrorIsTerminal: false);
}
