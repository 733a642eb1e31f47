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
    /// setting. A host that keeps several databases gives each of the others a name: <see cref="AddKeyedPitr"/>.
    /// </remarks>
    public static IServiceCollection AddPitr(
        this IServiceCollection services, string path, Func<PitrOptions, PitrOptions>? options = null,
        Action<PitrHostSettings>? host = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(path);
        RequireNew(services, null, "AddPitr was called before. Give each further database a name: AddKeyedPitr.");
        var settings = new PitrHostSettings();
        host?.Invoke(settings);
        services.AddSingleton(provider => EngineOf(provider, path, options, settings));
        services.AddSingleton<IHostedService>(static provider => provider.GetRequiredService<HostedEngine>());
        services.AddSingleton(static provider => provider.GetRequiredService<HostedEngine>().Database);
        AddChecks(services, "", static provider => provider.GetRequiredService<HostedEngine>());
        return services;
    }

    /// <summary>
    /// The same for a host with several databases: this one is injected by its name, as
    /// <c>[FromKeyedServices("orders")] PitrDatabase</c>. Its health checks end with the name: <c>pitr-engine-orders</c>.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">A name, as those of datafiles are; the key of the service.</param>
    /// <param name="path">As of <see cref="AddPitr"/>; each database has a folder of its own.</param>
    /// <param name="options">As of <see cref="AddPitr"/>. The environment's settings are those of all of them.</param>
    /// <param name="host">How the host keeps it. Each needs an address of its own, if any is to be reached.</param>
    public static IServiceCollection AddKeyedPitr(
        this IServiceCollection services, string name, string path, Func<PitrOptions, PitrOptions>? options = null,
        Action<PitrHostSettings>? host = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(name);
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!Limits.IsName(name))
            throw new ArgumentException($"'{name}' is not a name: it is [a-z][a-z0-9_-]{{0,62}}.", nameof(name));
        RequireNew(services, name, $"AddKeyedPitr was called before with the name '{name}'.");
        var settings = new PitrHostSettings();
        host?.Invoke(settings);
        services.AddKeyedSingleton(name, (provider, _) => EngineOf(provider, path, options, settings));
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredKeyedService<HostedEngine>(name));
        services.AddKeyedSingleton(
            name, static (provider, key) => provider.GetRequiredKeyedService<HostedEngine>(key).Database);
        AddChecks(services, $"-{name}", provider => provider.GetRequiredKeyedService<HostedEngine>(name));
        return services;
    }

    private static HostedEngine EngineOf(
        IServiceProvider provider, string path, Func<PitrOptions, PitrOptions>? options, PitrHostSettings settings) =>
        new(
            path, options, settings, provider.GetRequiredService<ILoggerFactory>(),
            provider.GetRequiredService<IHostApplicationLifetime>().StopApplication);

    private static void RequireNew(IServiceCollection services, string? name, string otherwise)
    {
        if (services.Any(service => service.ServiceType == typeof(HostedEngine) && Equals(service.ServiceKey, name)))
            throw new InvalidOperationException(otherwise);
    }

    private static void AddChecks(IServiceCollection services, string end, Func<IServiceProvider, HostedEngine> engine)
    {
        IHealthChecksBuilder checks = services.AddHealthChecks();
        foreach ((string name, HealthQuestion question) in HealthOfEngine.Checks)
        {
            checks.Add(new HealthCheckRegistration(
                name + end, provider => new PitrHealthCheck(engine(provider).Health, question),
                failureStatus: null, ["pitr"], HealthOfEngine.AnswerWithin));
        }
    }
}
