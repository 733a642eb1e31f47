using System.Text.Json.Serialization;

namespace Pitr.Actors;

/// <summary>What <c>pitr.json</c> says of one schedule: see <see cref="PitrSchedule"/>.</summary>
internal sealed record ScheduleSettings(ScheduledWork Run, string Cron, string Store)
{
    /// <summary>As <see cref="PitrSchedule.TimeZone"/>.</summary>
    public string? TimeZone { get; init; }

    /// <summary>As <see cref="PitrSchedule.Window"/>.</summary>
    [JsonConverter(typeof(DurationJson))]
    public TimeSpan? Window { get; init; }

    /// <summary>As <see cref="PitrSchedule.BytesPerSecondMax"/>.</summary>
    [JsonConverter(typeof(SizeJson))]
    public long? Rate { get; init; }

    /// <summary>As <see cref="PitrSchedule.Jobs"/>.</summary>
    public int? Jobs { get; init; }

    /// <summary>As <see cref="PitrSchedule.Incremental"/>.</summary>
    public bool Incremental { get; init; }

    public PitrSchedule ToSchedule() => new()
    {
        Run = Run,
        Cron = Cron,
        Store = Store,
        TimeZone = TimeZone,
        Window = Window,
        BytesPerSecondMax = Rate,
        Jobs = Jobs ?? 1,
        Incremental = Incremental,
    };
}
