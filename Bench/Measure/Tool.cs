using System.Diagnostics;

namespace Pitr.Bench;

/// <summary>How a program ended.</summary>
/// <param name="Took">From before its start.</param>
/// <param name="Told">On standard error.</param>
internal readonly record struct ToolEnd(TimeSpan Took, string Told);

/// <summary>A program of the system, run to its end and timed, its start included.</summary>
internal static class Tool
{
    /// <exception cref="InvalidOperationException">It did not end well.</exception>
    public static async Task<ToolEnd> RunAsync(string program, params string[] arguments)
    {
        var watch = Stopwatch.StartNew();
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        string told = await process.StandardError.ReadToEndAsync().ConfigureAwait(false);
        await process.WaitForExitAsync().ConfigureAwait(false);
        return process.ExitCode == 0
            ? new ToolEnd(watch.Elapsed, told)
            : throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {told}");
    }

    /// <summary>By the shell, as an operator would type it; its start counts.</summary>
    public static Task<ToolEnd> ShellAsync(string line) => RunAsync("/bin/bash", "-o", "pipefail", "-c", line);
}
