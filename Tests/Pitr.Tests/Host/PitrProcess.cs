using System.Diagnostics;
using System.Text;

namespace Pitr.Tests;

/// <summary>What a command left behind.</summary>
internal sealed record Outcome(int ExitCode, string Output, string Error)
{
    public override string ToString() => $"exit code {ExitCode}\n-- output\n{Output}\n-- error\n{Error}";
}

/// <summary>
/// The built executable <c>pitr</c>, run as scripts run it: from a scratch folder, which is its home too.
/// </summary>
internal static class PitrProcess
{
    /// <summary>Far more than any command here takes; a command that hangs fails its test instead of the run.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Where the build has put it: beside the tests' own folder, in the same configuration.</summary>
    public static string Executable { get; } = Find();

    /// <summary>Runs a command to its end.</summary>
    public static Task<Outcome> RunAsync(string home, params string[] args) => RunAsync(home, input: null, args);

    /// <summary>Runs a command to its end, with a text as its standard input.</summary>
    public static async Task<Outcome> RunAsync(string home, string? input, string[] args)
    {
        using Process process = Start(home, args);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            if (input is not null)
                await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended before it had read everything; its exit code tells why.
        }
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            Assert.Fail(
                $"`pitr {string.Join(' ', args)}` did not end within {Patience}.\n{await output}\n{await error}");
        }
        return new Outcome(process.ExitCode, await output, await error);
    }

    /// <summary>Runs a command that must succeed; returns what it printed.</summary>
    public static async Task<string> MustAsync(string home, params string[] args)
    {
        Outcome outcome = await RunAsync(home, args);
        Assert.True(outcome.ExitCode == 0, $"`pitr {string.Join(' ', args)}`: {outcome}");
        return outcome.Output;
    }

    /// <summary>Starts a command; its three streams are the caller's.</summary>
    public static Process Start(string home, params string[] args)
    {
        // Who runs the tests in the background ignores SIGINT, and so would every process that is started here.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", Executable])
        {
            WorkingDirectory = home,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach (string arg in args)
            start.ArgumentList.Add(arg);
        start.Environment["HOME"] = home; // tokens lie there
        start.Environment.Remove("XDG_RUNTIME_DIR");
        start.Environment.Remove("PITR_DATABASE");
        start.Environment.Remove("PITR_HOST");
        return Process.Start(start)!;
    }

    private static string Find()
    {
        string own = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string path = Path.Combine(own, "..", "..", "Pitr.Cli", Path.GetFileName(own), "pitr");
        Assert.True(File.Exists(path), $"The executable is not at {path}: build Pitr.sln.");
        return Path.GetFullPath(path);
    }
}

/// <summary>A running <c>pitr serve</c> on ports that the system chose.</summary>
internal sealed class ServeProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _log = new();
    private readonly List<(string Text, TaskCompletionSource Seen)> _awaited = [];
    private readonly Task _reading;

    private ServeProcess(Process process)
    {
        _process = process;
        _reading = ReadLogAsync();
    }

    /// <summary>The line that said that it takes commits.</summary>
    public string Ready { get; private set; } = "";

    /// <summary>Where clients find it.</summary>
    public string Host { get; private set; } = "";

    /// <summary>Where it answers HTTP.</summary>
    public string Http { get; private set; } = "";

    /// <summary>Completes when a line of the log holds the text.</summary>
    public async Task WhenLoggedAsync(string text)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_log)
        {
            _awaited.Add((text, seen));
            if (_log.ToString().Contains(text, StringComparison.Ordinal))
                seen.TrySetResult();
        }
        await seen.Task.WaitAsync(PitrProcess.Patience);
    }

    /// <summary>SIGTERM; its end is not waited for.</summary>
    public async Task SignalAsync()
    {
        using Process kill =
            Process.Start("kill", ["-TERM", _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }

    /// <summary>What it logged so far.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    /// <summary>Its exit code, once it has ended.</summary>
    public int ExitCode => _process.ExitCode;

    /// <summary>Starts an engine and waits until it takes commits.</summary>
    public static async Task<ServeProcess> StartAsync(string home, string folder, params string[] options)
    {
        var serve = new ServeProcess(
            PitrProcess.Start(
                home, ["serve", folder, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", .. options]));
        string? line = await serve._process.StandardOutput.ReadLineAsync().WaitAsync(PitrProcess.Patience);
        string[] words = (line ?? "").Split(' ');
        int host = Array.IndexOf(words, "--host");
        if (host < 0)
        {
            await serve.DisposeAsync();
            Assert.Fail($"`pitr serve` did not get ready: '{line}'\n{serve.Log}");
        }
        serve.Ready = line!;
        serve.Host = words[host + 1];
        serve.Http = words[Array.IndexOf(words, "--http") + 1];
        return serve;
    }

    /// <summary>SIGKILL: the engine gets no chance to write another byte.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>SIGTERM: the orderly end.</summary>
    public async Task<int> TerminateAsync()
    {
        await SignalAsync();
        return await EndAsync();
    }

    /// <summary>Waits for its end.</summary>
    public async Task<int> EndAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(PitrProcess.Patience);
        await _reading;
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        await _reading;
        _process.Dispose();
    }

    private async Task ReadLogAsync()
    {
        while (await _process.StandardError.ReadLineAsync() is { } line)
        {
            lock (_log)
            {
                _log.AppendLine(line);
                foreach ((string text, TaskCompletionSource seen) in _awaited)
                {
                    if (line.Contains(text, StringComparison.Ordinal))
                        seen.TrySetResult();
                }
            }
        }
    }
}
