namespace Pitr;

/// <summary>
/// The names under which a program's telemetry finds what Pitr measures and traces: with OpenTelemetry,
/// <c>AddMeter(PitrTelemetry.MeterName)</c> and <c>AddSource(PitrTelemetry.SourceName)</c>.
/// </summary>
/// <remarks>docs/reference/metrics.md has every instrument and every activity.</remarks>
public static class PitrTelemetry
{
    /// <summary>Name of the <see cref="System.Diagnostics.Metrics.Meter"/> of each open database.</summary>
    public const string MeterName = "Pitr";

    /// <summary>Name of the <see cref="System.Diagnostics.ActivitySource"/>.</summary>
    public const string SourceName = "Pitr";
}
