using System.CommandLine;
using Serilog.Events;

namespace Pitr.Cli;

/// <summary><c>pitr serve DIR</c>: the engine, until a signal or <c>pitr shutdown</c>; then an orderly end.</summary>
internal static class ServeCommand
{
    public static Command Create(CliContext cli)
    {
        var folder = new Argument<string>("DIR") { Description = "The database's folder." };
        Option<string?> listen = CliContext.OptionOf(
            "--listen", "HOST:PORT", $"Administration ({ProcessTargets.ListenDefault}); port 0: any.", TextForms.Address);
        Option<string?> http = CliContext.OptionOf(
            "--http", "HOST:PORT", $"Data, /health, /metrics ({ProcessTargets.HttpDefault}); port 0: any.", TextForms.Address);
        Option<LogEventLevel?> level = CliContext.OptionOf<LogEventLevel?>(
            "--log-level", "LEVEL", "debug, information, warning or error (information).", static text => LevelOf(text));
        var json = new Option<bool>("--log-json") { Description = "Log one JSON document a line." };
        return cli.FolderVerb("serve", "Run the engine until a signal.", [folder, listen, http, level, json], async (parsed, _) =>
        {
            var request = new ServeRequest(
                cli.Console.FullPath(parsed.GetRequiredValue(folder)),
                parsed.GetValue(listen),
                parsed.GetValue(http),
                parsed.GetValue(cli.TokenFileOption) is { } file ? cli.Console.FullPath(file) : null,
                parsed.GetValue(level) ?? LogEventLevel.Information,
                parsed.GetValue(json));
            await cli.Targets.ServeAsync(request, cli.Console, cli.Interruption).ConfigureAwait(false);
            return Answer.Streamed;
        });
    }

    private static LogEventLevel LevelOf(string text) => ServeLog.Levels.TryGetValue(text, out LogEventLevel level)
        ? level
        : throw new FormatException($"'{text}' is not a LEVEL: {string.Join(", ", ServeLog.Levels.Keys)}.");
}
