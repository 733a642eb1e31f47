using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Pitr.Wal;

/// <summary>What a command left behind.</summary>
/// <param name="ExitCode">0 to 255; above 125 it was killed by a signal or could not be run. Null: it ran too long.</param>
/// <param name="Output">What it printed; only if that was asked for.</param>
/// <param name="Error">The end of what it said on standard error.</param>
internal sealed record CommandResult(int? ExitCode, string Output, string Error)
{
    public bool IsDone => ExitCode == 0;

    /// <summary>An orderly no: for a restore that there is no such file.</summary>
    public bool IsNo => ExitCode is >= 1 and <= 125;

    /// <summary>How it ended, for a message.</summary>
    public string Words => (ExitCode is { } code ? $"exit code {code}" : "it ran too long and was killed")
        + (Error.Length == 0 ? "" : $": {Error}");
}

/// <summary>Runs one command of a store: a program with its arguments, never a shell, and not for ever.</summary>
/// <remarks>
/// PLACEHOLDERS  are put into each argument by itself, so no name and no path becomes two arguments or an option of its
/// own; %f begins with a letter or a digit.
/// A command that runs too long is killed with what it has started, and waited for.
/// </remarks>
internal static class CommandRun
{
    private const int ErrorCharactersMax = 500;
    private const int OutputCharactersMax = 64 << 20;

    /// <exception cref="StorageFailedException">StoreFailed: there is no such program.</exception>
    public static CommandResult Run(
        string store, IReadOnlyList<string> command, string path, string file, TimeSpan timeout, TimeProvider clock,
        bool wantsOutput = false)
    {
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (string argument in command.Skip(1))
            start.ArgumentList.Add(Filled(argument, path, file));
        using var process = new Process { StartInfo = start };
        var output = new StringBuilder();
        var error = new StringBuilder();
        process.OutputDataReceived += (_, line) => Note(output, wantsOutput ? line.Data : null, OutputCharactersMax);
        process.ErrorDataReceived += (_, line) => Note(error, line.Data, ErrorCharactersMax);
        try
        {
            process.Start();
        }
        catch (Win32Exception missing)
        {
            throw ArchiveErrors.StoreFailed(store, "run", command[0], missing);
        }
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using var isTooLong = new CancellationTokenSource(timeout, clock);
        try
        {
            process.WaitForExitAsync(isTooLong.Token).GetAwaiter().GetResult();
            return new CommandResult(process.ExitCode, output.ToString(), error.ToString().Trim());
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
            return new CommandResult(null, "", error.ToString().Trim());
        }
    }

    /// <summary>True if an argument has no placeholder but those that there are.</summary>
    public static bool IsFillable(string argument)
    {
        for (int at = argument.IndexOf('%', StringComparison.Ordinal); at >= 0; at = argument.IndexOf('%', at + 2))
        {
            if (at + 1 >= argument.Length || argument[at + 1] is not ('p' or 'f' or '%'))
                return false;
            if (at + 2 >= argument.Length)
                break;
        }
        return true;
    }

    private static string Filled(string argument, string path, string file)
    {
        var filled = new StringBuilder();
        for (int at = 0; at < argument.Length; at++)
        {
            if (argument[at] != '%')
            {
                filled.Append(argument[at]);
                continue;
            }
            filled.Append(argument[++at] switch { 'p' => path, 'f' => file, _ => "%" });
        }
        return filled.ToString();
    }

    private static void Note(StringBuilder text, string? line, int most)
    {
        if (line is null)
            return;
        text.Append(line).Append('\n');
        if (text.Length > most)
            text.Remove(0, text.Length - most);
    }
}
