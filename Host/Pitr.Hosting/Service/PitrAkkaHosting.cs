using Akka;
using Akka.Actor;
using Akka.Configuration;
using Akka.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;

namespace Pitr.Hosting;

/// <summary>A database in an actor system that Akka.Hosting runs.</summary>
/// <remarks>
/// The engine has an actor system of its own, without remoting: a remote or clustered system's callers could reach its
/// actors by a direct reference otherwise (design §11), and no coordinated shutdown of the system can stop it under its
/// work.
/// STOP  the database is closed by a task of the phase <c>actor-system-terminate</c>, once all actors of the system have
/// ended: what they commit on their way out is taken. That phase's timeout would cut it short, and <c>exit-clr</c> would
/// end the process meanwhile; so both are set here, and looked at when the system starts.
/// </remarks>
public static class PitrAkkaHosting
{
    private const string ExitClr = "akka.coordinated-shutdown.exit-clr";
    private const string PhaseTimeout = "akka.coordinated-shutdown.phases.actor-system-terminate.timeout";
    private const string TerminatesSystem = "akka.coordinated-shutdown.terminate-actor-system";

    /// <summary>Long enough for the archive, and for fences until their leases end.</summary>
    private static readonly TimeSpan TimeoutMin = TimeSpan.FromDays(2);

    /// <summary>
    /// Keeps a database open while the actor system runs. It is opened, recovery included, where this stands in the
    /// order of the builder's actors: before those that are started after it. It is closed in order when the system's
    /// actors have ended. Actors get it by <see cref="GetPitr"/>.
    /// </summary>
    /// <param name="builder">Of the actor system.</param>
    /// <param name="path">The database's folder; created if absent or empty, unless MustExist is set.</param>
    /// <param name="options">
    /// What the program says of the options, over the environment and <c>pitr.json</c>: it is given what those say.
    /// </param>
    /// <param name="host">How the host keeps it.</param>
    public static AkkaConfigurationBuilder WithPitr(
        this AkkaConfigurationBuilder builder, string path, Func<PitrOptions, PitrOptions>? options = null,
        Action<PitrHostSettings>? host = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(path);
        var settings = new PitrHostSettings();
        host?.Invoke(settings);
        builder.AddHocon($"{ExitClr} = off\n{PhaseTimeout} = 20d", HoconAddMode.Prepend);
        builder.WithActors((system, _, resolver) =>
            OpenAsync(system, path, options, settings, resolver.GetService<ILoggerFactory>()));
        foreach ((string name, HealthQuestion question) in HealthOfEngine.Checks)
        {
            builder.WithHealthCheck(new AkkaHealthCheckRegistration(
                name, new PitrAkkaHealthCheck(question), HealthStatus.Unhealthy, ["pitr"], HealthOfEngine.AnswerWithin));
        }

        return builder;
    }

    /// <summary>The database that <see cref="WithPitr"/> has opened for this system.</summary>
    /// <exception cref="InvalidOperationException">There is none, or not yet: <c>WithPitr</c> comes first.</exception>
    public static PitrDatabase GetPitr(this ActorSystem system) =>
        PitrExtension.Of(system).Engine?.Database ?? throw new InvalidOperationException(
            $"The actor system '{system.Name}' has no database yet: call WithPitr before the actors that need it.");

    private static async Task OpenAsync(
        ActorSystem system, string path, Func<PitrOptions, PitrOptions>? options, PitrHostSettings settings,
        ILoggerFactory loggers)
    {
        RequireOrderlyEnd(system.Settings.Config);
        PitrExtension extension = PitrExtension.Of(system);
        if (extension.Engine is not null)
            throw new InvalidOperationException(
                "WithPitr was called before: a system keeps one database. Open others with PitrDatabase.OpenAsync.");
        CoordinatedShutdown shutdown = CoordinatedShutdown.Get(system);
        var engine = new HostedEngine(
            path, options, settings, loggers, () => _ = shutdown.Run(CoordinatedShutdown.UnknownReason.Instance));
        extension.Engine = engine;
        shutdown.AddTask(CoordinatedShutdown.PhaseActorSystemTerminate, "close-pitr", async () =>
        {
            if (system.Settings.Config.GetBoolean(TerminatesSystem, true))
                await system.WhenTerminated.ConfigureAwait(false);
            await engine.DisposeAsync().ConfigureAwait(false);
            return Done.Instance;
        });
        await engine.OpenAsync(CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>A setting that comes from elsewhere must not cut the end short.</summary>
    internal static void RequireOrderlyEnd(Config config)
    {
        if (config.GetBoolean(ExitClr))
        {
            throw new InvalidOperationException(
                $"{ExitClr} is on: the process would end while the database is being closed. Leave it off, the host ends the process.");
        }

        TimeSpan timeout = config.GetTimeSpan(PhaseTimeout);
        if (timeout < TimeoutMin)
        {
            throw new InvalidOperationException(
                $"{PhaseTimeout} is {timeout}: the database would not be closed in order. Leave it to WithPitr, or set at least {TimeoutMin}.");
        }
    }
}
