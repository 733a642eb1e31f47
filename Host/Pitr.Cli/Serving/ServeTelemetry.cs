using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using Pitr.Hosting;
using Serilog;

namespace Pitr.Cli;

/// <summary>
/// What <c>pitr serve</c> tells of itself: <c>/metrics</c> for Prometheus, and metrics and traces by OTLP if an endpoint is
/// named as OpenTelemetry names it.
/// </summary>
internal static class ServeTelemetry
{
    private const string OtlpEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private const string RuntimeMeter = "System.Runtime";

    /// <summary>For the HTTP address of an engine.</summary>
    /// <param name="log">Where the web server logs.</param>
    /// <param name="variable">The environment.</param>
    public static HttpExtras Extras(ILogger log, Func<string, string?> variable)
    {
        bool exports = !string.IsNullOrEmpty(variable(OtlpEndpoint));
        return new HttpExtras(
            builder =>
            {
                builder.Services.AddSerilog(log);
                OpenTelemetry.OpenTelemetryBuilder telemetry = builder.Services.AddOpenTelemetry()
                    .ConfigureResource(static resource => resource.AddService("pitr"))
                    .WithMetrics(metrics =>
                    {
                        metrics.AddMeter(PitrTelemetry.MeterName, RuntimeMeter).AddPrometheusExporter();
                        if (exports)
                            metrics.AddOtlpExporter();
                    });
                if (exports)
                    telemetry.WithTracing(static traces => traces.AddSource(PitrTelemetry.SourceName).AddOtlpExporter());
            },
            static application => application.UseOpenTelemetryPrometheusScrapingEndpoint());
    }
}
