using Microsoft.Extensions.Logging;
using Serilog.Core;
using Serilog.Events;
using LogLevel = Microsoft.Extensions.Logging.LogLevel;

namespace Pitr.Hosting;

/// <summary>
/// Hands what the engine logs to the host's own loggers, in the category <c>Pitr</c>: the host decides what of it is kept.
/// </summary>
internal sealed class HostLogSink(ILoggerFactory loggers) : ILogEventSink
{
    private readonly Microsoft.Extensions.Logging.ILogger _log = loggers.CreateLogger("Pitr");

    /// <summary>A Serilog logger that ends in the host's.</summary>
    public static Logger For(ILoggerFactory loggers) => new Serilog.LoggerConfiguration()
        .MinimumLevel.Verbose()
        .WriteTo.Sink(new HostLogSink(loggers))
        .CreateLogger();

    /// <inheritdoc/>
    public void Emit(LogEvent logEvent)
    {
        LogLevel level = LevelOf(logEvent.Level);
        if (_log.IsEnabled(level))
        {
            _log.Log(
                level, default, logEvent, logEvent.Exception,
                static (entry, _) => entry.RenderMessage(System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    private static LogLevel LevelOf(LogEventLevel level) => level switch
    {
        LogEventLevel.Verbose => LogLevel.Trace,
        LogEventLevel.Debug => LogLevel.Debug,
        LogEventLevel.Information => LogLevel.Information,
        LogEventLevel.Warning => LogLevel.Warning,
        LogEventLevel.Error => LogLevel.Error,
        _ => LogLevel.Critical,
    };
}
