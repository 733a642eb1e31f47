using System.Globalization;
using Serilog;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting.Compact;

namespace Pitr.Cli;

/// <summary>The log of <c>pitr serve</c>, on standard error: standard output is the answer's.</summary>
internal static class ServeLog
{
    /// <summary>The levels by the names that the command line knows.</summary>
    public static IReadOnlyDictionary<string, LogEventLevel> Levels { get; } = new Dictionary<string, LogEventLevel>
    {
        ["debug"] = LogEventLevel.Debug,
        ["information"] = LogEventLevel.Information,
        ["warning"] = LogEventLevel.Warning,
        ["error"] = LogEventLevel.Error,
    };

    /// <summary>A logger; the web server's own chatter is left out below warnings.</summary>
    public static Logger Create(LogEventLevel least, bool json)
    {
        LoggerConfiguration configuration = new LoggerConfiguration()
            .MinimumLevel.Is(least)
            .MinimumLevel.Override("Microsoft", least > LogEventLevel.Warning ? least : LogEventLevel.Warning);
        return (json
            ? configuration.WriteTo.Console(
                new RenderedCompactJsonFormatter(), standardErrorFromLevel: LogEventLevel.Verbose)
            : configuration.WriteTo.Console(
                standardErrorFromLevel: LogEventLevel.Verbose,
                formatProvider: CultureInfo.InvariantCulture,
                outputTemplate: "{Timestamp:yyyy-MM-dd HH:mm:ss.fff zzz} {Level:u3} {Message:lj}{NewLine}{Exception}"))
            .CreateLogger();
    }
}
