using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Pitr.Hosting;

/// <summary>
/// <c>GET /health</c>: 200 while an engine is healthy or degraded, 503 while it is unhealthy, with the checks as JSON.
/// </summary>
/// <remarks>
/// What probes a service has no token, so none is asked for; then it is told the states alone. Descriptions name files
/// and stores, and are for who has a token.
/// </remarks>
internal sealed class HealthEndpoint(HealthOfEngine health)
{
    /// <summary>Where it is.</summary>
    public const string Path = "/health";

    /// <summary>Answers.</summary>
    /// <param name="context">The request.</param>
    /// <param name="tellsWhy">True if it came with a token.</param>
    /// <param name="ended">The request's end.</param>
    public async Task AnswerAsync(HttpContext context, bool tellsWhy, CancellationToken ended)
    {
        IReadOnlyList<(string Name, HealthCheckResult Result)> answers = await health.AskAllAsync(ended).ConfigureAwait(false);
        HealthStatus worst = answers.Min(answer => answer.Result.Status); // Unhealthy is the least
        context.Response.StatusCode = worst == HealthStatus.Unhealthy
            ? StatusCodes.Status503ServiceUnavailable
            : StatusCodes.Status200OK;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-store";
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("status", Word(worst));
            json.WriteStartArray("checks");
            foreach ((string name, HealthCheckResult result) in answers)
            {
                json.WriteStartObject();
                json.WriteString("name", name);
                json.WriteString("status", Word(result.Status));
                if (tellsWhy)
                    json.WriteString("description", result.Description);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        body.WriteByte((byte)'\n');
        await context.Response.Body.WriteAsync(body.GetBuffer().AsMemory(0, (int)body.Length), ended).ConfigureAwait(false);
    }

    private static string Word(HealthStatus status) => status switch
    {
        HealthStatus.Healthy => "healthy",
        HealthStatus.Degraded => "degraded",
        _ => "unhealthy",
    };
}
