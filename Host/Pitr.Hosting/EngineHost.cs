using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Pitr.Actors;

namespace Pitr.Hosting;

/// <summary>Opens databases for a process that is not the application's own: with its log going to Serilog.</summary>
internal static class EngineHost
{
    /// <summary>Opens a database in this process, in an actor system without remoting that ends with it.</summary>
    public static Task<LocalTarget> OpenAsync(
        string folder, Serilog.ILogger log, PitrOptions options, CancellationToken cancellationToken) =>
        StartAsync(log, options, settings => PitrDatabase.OpenAsync(folder, settings, cancellationToken));

    /// <summary>Opens the database in the folder, or creates it if the folder is absent or empty.</summary>
    public static Task<LocalTarget> OpenOrCreateAsync(
        string folder, Serilog.ILogger log, PitrOptions options, CancellationToken cancellationToken) =>
        StartAsync(log, options, settings => PitrDatabase.OpenOrCreateAsync(folder, settings, cancellationToken));

    /// <summary>Creates a database, with its archives, and opens it.</summary>
    public static Task<LocalTarget> CreateAsync(
        string folder, Serilog.ILogger log, PitrOptions options, CancellationToken cancellationToken) =>
        StartAsync(log, options, settings => PitrDatabase.CreateAsync(folder, settings, cancellationToken));

    /// <summary>Does some work that opens databases by itself, in an actor system whose log goes to Serilog.</summary>
    public static async Task<T> WithSystemAsync<T>(
        Serilog.ILogger log, PitrOptions options, Func<PitrOptions, Task<T>> work)
    {
        ActorSystem system = NewSystem(log);
        try
        {
            return await work(options with { ActorSystem = system }).ConfigureAwait(false);
        }
        finally
        {
            await system.Terminate().ConfigureAwait(false);
        }
    }

    private static async Task<LocalTarget> StartAsync(
        Serilog.ILogger log, PitrOptions options, Func<PitrOptions, Task<PitrDatabase>> open)
    {
        ActorSystem system = NewSystem(log);
        try
        {
            return new LocalTarget(
                await open(options with { ActorSystem = system }).ConfigureAwait(false), system.Terminate);
        }
        catch
        {
            await system.Terminate().ConfigureAwait(false);
            throw;
        }
    }

    private static ActorSystem NewSystem(Serilog.ILogger log)
    {
        Config config = SerilogLogger.Config(log).WithFallback(ConfigurationFactory.ParseString("""
            akka {
              loglevel = INFO
              log-dead-letters = off
              log-dead-letters-during-shutdown = off
              coordinated-shutdown {
                terminate-actor-system = off
                exit-clr = off
                run-by-clr-shutdown-hook = off
                run-by-actor-system-terminate = off
              }
            }
            """));
        return ActorSystem.Create(
            "pitr-engine", ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config), new SerilogSetup(log)));
    }
}
