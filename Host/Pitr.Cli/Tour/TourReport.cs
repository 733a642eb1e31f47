using System.Text.Json;

namespace Pitr.Cli;

/// <summary>What a tour measured and proved.</summary>
internal sealed class TourReport
{
    private readonly List<(string Step, double Seconds)> _steps = [];

    /// <summary>Records that were loaded.</summary>
    public long Records { get; set; }

    /// <summary>The table's content by name and by time was the one before the mistake.</summary>
    public bool IsEqual { get; set; }

    /// <summary>How long each step took.</summary>
    public IReadOnlyList<(string Step, double Seconds)> Steps => _steps;

    /// <summary>Notes a step's time.</summary>
    public void Took(string step, double seconds) => _steps.Add((step, seconds));

    /// <summary>The report as JSON.</summary>
    public void WriteJson(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteNumber("records", Records);
        json.WriteBoolean("equal", IsEqual);
        json.WriteStartArray("steps");
        foreach ((string step, double seconds) in _steps)
        {
            json.WriteStartObject();
            json.WriteString("step", step);
            json.WriteNumber("seconds", JsonShapes.Seconds(seconds));
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
