using Pitr.Actors;
using Pitr.Wal;

namespace Pitr.Cli;

/// <summary>The process's surroundings as the command line sees them; a test gives its own.</summary>
/// <param name="Output">Standard output: answers, nothing else.</param>
/// <param name="Error">Standard error: failures, progress, log.</param>
/// <param name="Input">Standard input.</param>
/// <param name="Variable">An environment variable; null if there is none.</param>
/// <param name="CurrentFolder">Where relative paths are taken from.</param>
/// <param name="OutputIsTerminal">True if somebody looks at standard output.</param>
/// <param name="ErrorIsTerminal">True if somebody looks at standard error: progress bars make sense.</param>
internal sealed record CliConsole(
    Stream Output,
    TextWriter Error,
    Func<Stream> Input,
    Func<string, string?> Variable,
    string CurrentFolder,
    bool OutputIsTerminal,
    bool ErrorIsTerminal)
{
    /// <summary>The environment as a source of settings.</summary>
    public Func<IEnumerable<KeyValuePair<string, string>>> Settings { get; init; } = LayeredSettings.OfProcess;

    /// <summary>For estimates.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Those of this process.</summary>
    public static CliConsole OfProcess() => new(
        Console.OpenStandardOutput(),
        Console.Error,
        Console.OpenStandardInput,
        Environment.GetEnvironmentVariable,
        Environment.CurrentDirectory,
        !Console.IsOutputRedirected,
        !Console.IsErrorRedirected);

    /// <summary>True if standard output is a terminal that can be drawn on.</summary>
    public bool IsScreen => OutputIsTerminal && Variable("TERM") is not (null or "" or "dumb");

    /// <summary>Characters in a line of the terminal; null: ask it.</summary>
    public int? ScreenWidth { get; init; }

    /// <summary>A path that was given on the command line, in full.</summary>
    public string FullPath(string path) => Path.GetFullPath(path, CurrentFolder);

    /// <summary>
    /// A store that was given on the command line: a folder's path is taken from where the client runs, and made full,
    /// so that an engine elsewhere understands the same; an address with a scheme stays as it is.
    /// </summary>
    public string FullStore(string store) =>
        StoreAddress.HasScheme(store) ? store : FullPath(store);
}
