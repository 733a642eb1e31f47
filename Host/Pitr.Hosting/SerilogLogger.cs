using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;
using Serilog.Events;
using LogEvent = Akka.Event.LogEvent;

namespace Pitr.Hosting;

/// <summary>Gives an actor system the logger that <see cref="SerilogLogger"/> writes to.</summary>
internal sealed class SerilogSetup(Serilog.ILogger log) : Setup
{
    /// <summary>Where its events go.</summary>
    public Serilog.ILogger Log { get; } = log;
}

/// <summary>
/// Writes an actor system's log to Serilog. The system needs a <see cref="SerilogSetup"/> and <see cref="Config"/>.
/// </summary>
internal sealed class SerilogLogger : UntypedActor, IRequiresMessageQueue<ILoggerMessageQueueSemantics>
{
    private readonly Serilog.ILogger _log =
        Context.System.Settings.Setup.Get<SerilogSetup>() is { HasValue: true } setup
        ? setup.Value.Log
        : Serilog.Core.Logger.None;

    /// <summary>
    /// Makes it the only logger of a system: nothing of Akka's goes to standard output. What the log wants to hear of
    /// debugging the system tells; how much it tells otherwise is for the rest of its settings.
    /// </summary>
    public static Config Config(Serilog.ILogger log) => ConfigurationFactory.ParseString($$"""
        akka {
          loggers = ["Pitr.Hosting.SerilogLogger, Pitr.Hosting"]
          logger-startup-timeout = 30s
          stdout-loglevel = OFF
          {{(log.IsEnabled(LogEventLevel.Debug) ? "loglevel = DEBUG" : "")}}
        }
        """);

    /// <inheritdoc/>
    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case InitializeLogger:
                Sender.Tell(new LoggerInitialized());
                break;
            case LogEvent entry:
                _log.ForContext("Source", entry.LogSource)
                    .Write(LevelOf(entry), IsOfConnection(entry) ? null : entry.Cause, "{Message:l}", entry.Message);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    /// <summary>A client that leaves is an error to Akka's remoting, and everyday here: nobody must act.</summary>
    private static bool IsOfConnection(LogEvent entry) =>
        entry.LogSource.Contains("/system/endpointManager", StringComparison.Ordinal)
        || entry.LogSource.Contains("/system/remote-watcher", StringComparison.Ordinal);

    private static LogEventLevel LevelOf(LogEvent entry) => entry.LogLevel() switch
    {
        _ when IsOfConnection(entry) => LogEventLevel.Debug,
        LogLevel.DebugLevel => LogEventLevel.Debug,
        LogLevel.InfoLevel => LogEventLevel.Information,
        LogLevel.WarningLevel => LogEventLevel.Warning,
        _ => LogEventLevel.Error,
    };
}
