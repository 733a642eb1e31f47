using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Pitr.Hosting;

/// <summary>A database in a generic host.</summary>
public static class PitrServices
{
    /// <summary>
    /// Keeps a database open while the host runs: <see cref="PitrDatabase"/> can be injected. It is opened, recovery
    /// included, before any hosted service starts, and closed in order after all of them have stopped, however short the
    /// host's ShutdownTimeout is. The health checks <c>pitr-engine</c>, <c>pitr-archive</c> and <c>pitr-datafiles</c> (tag
    /// <c>pitr</c>) are registered with it.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="path">The database's folder; created if absent or empty, unless MustExist is set.</param>
    /// <param name="options">
    /// What the program says of the options, over the environment and <c>pitr.json</c>: it is given what those say.
    /// </param>
    /// <param name="host">How the host keeps it.</param>
    /// <remarks>
    /// A start fails with the <see cref="PitrException"/> of the opening, among them SettingsInvalid with the source of a bad
    /// setting. A host keeps one database this way; more of them are opened with <see cref="PitrDatabase.OpenAsync"/>.
    /// </remarks>
    public static IServiceCollection AddPitr(
        this IServiceCollection services, string path, Func<PitrOptions, PitrOptions>? options = null,
        Action<PitrHostSettings>? host = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (services.Any(service => service.ServiceType == typeof(HostedEngine)))
        {
            throw new InvalidOperationException(
                "AddPitr was called before: a host keeps one database. Open others with PitrDatabase.OpenAsync.");
        }

        var settings = new PitrHostSettings();
        host?.Invoke(settings);
        services.AddSingleton(provider => new HostedEngine(
            path, options, settings, provider.GetRequiredService<ILoggerFactory>(),
            provider.GetRequiredService<IHostApplicationLifetime>().StopApplication));
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredService<HostedEngine>());
        services.AddSingleton(provider => provider.GetRequiredService<HostedEngine>().Database);
        IHealthChecksBuilder checks = services.AddHealthChecks();
        foreach ((string name, HealthQuestion question) in HealthOfEngine.Checks)
        {
            checks.Add(new HealthCheckRegistration(
                name, provider => new PitrHealthCheck(provider.GetRequiredService<HostedEngine>().Health, question),
                failureStatus: null, ["pitr"], HealthOfEngine.AnswerWithin));
        }

        return services;
    }
}
