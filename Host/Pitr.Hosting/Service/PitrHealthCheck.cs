using Akka.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Pitr.Hosting;

/// <summary>One question of <see cref="HealthOfEngine"/> as a health check of a host.</summary>
/// <remarks>A registration's own FailureStatus stands for unhealthy, as everywhere.</remarks>
internal sealed class PitrHealthCheck(HealthOfEngine engine, HealthQuestion question) : IHealthCheck
{
    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        HealthCheckResult answer = await engine.AskAsync(question, cancellationToken).ConfigureAwait(false);
        return answer.Status == HealthStatus.Unhealthy
            ? new HealthCheckResult(context.Registration.FailureStatus, answer.Description, answer.Exception, answer.Data)
            : answer;
    }
}

/// <summary>The same for an actor system that Akka.Hosting runs.</summary>
internal sealed class PitrAkkaHealthCheck(HealthQuestion question) : IAkkaHealthCheck
{
    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(AkkaHealthCheckContext context, CancellationToken cancellationToken) =>
        PitrExtension.Of(context.ActorSystem).Engine is { } engine
            ? engine.Health.AskAsync(question, cancellationToken)
            : Task.FromResult(HealthCheckResult.Unhealthy("The database is not open yet: it is opened, or recovered."));
}
