using Cronos;
using Pitr.Actors;
using Pitr.Wal;

namespace Pitr.Hosting;

/// <summary>A schedule that was found to be usable, and when its times are.</summary>
/// <remarks>Immutable; any thread.</remarks>
internal sealed class ScheduleTimes
{
    private readonly CronExpression _cron;
    private readonly TimeZoneInfo _zone;

    private ScheduleTimes(PitrSchedule says, CronExpression cron, TimeZoneInfo zone) =>
        (Says, _cron, _zone) = (says, cron, zone);

    public PitrSchedule Says { get; }

    /// <summary>Tells it from others over a restart: another time or store is another schedule.</summary>
    public string Key => $"{Says.Run} {Says.Store} {Says.Cron} {_zone.Id}";

    /// <summary>Reads what the settings say.</summary>
    /// <param name="schedules">In their order there.</param>
    /// <param name="folder">The database's, from which relative paths are taken.</param>
    /// <param name="clock">Whose time zone is the machine's.</param>
    /// <exception cref="RefusedException">SettingsInvalid, with the key that is wrong.</exception>
    public static IReadOnlyList<ScheduleTimes> Read(
        IReadOnlyList<PitrSchedule> schedules, string folder, TimeProvider clock) =>
        [.. schedules.Select((says, n) => Read(says, $"schedules[{n}]", folder, clock))];

    /// <summary>The first time behind a moment; null if there is none any more.</summary>
    public DateTimeOffset? After(DateTimeOffset moment) => _cron.GetNextOccurrence(moment, _zone)?.ToUniversalTime();

    private static ScheduleTimes Read(PitrSchedule says, string key, string folder, TimeProvider clock)
    {
        CronExpression cron;
        try
        {
            cron = CronExpression.Parse(says.Cron ?? "");
        }
        catch (CronFormatException wrong)
        {
            throw EngineErrors.SettingsInvalid(
                $"{key}.cron", $"'{says.Cron}' is no cron expression of five fields. {wrong.Message}");
        }
        TimeZoneInfo zone = clock.LocalTimeZone;
        if (says.TimeZone is { } name && !TimeZoneInfo.TryFindSystemTimeZoneById(name, out zone!))
            throw EngineErrors.SettingsInvalid($"{key}.timeZone", $"this machine knows no time zone '{name}'.");
        if (!Enum.IsDefined(says.Run))
            throw EngineErrors.SettingsInvalid($"{key}.run", $"{says.Run} has no meaning.");
        if (says.Run == ScheduledWork.Expire && says.Window is null)
            throw EngineErrors.SettingsInvalid($"{key}.window", "an expire needs the window that is promised, such as 14d.");
        if (says.Window <= TimeSpan.Zero)
            throw EngineErrors.SettingsInvalid($"{key}.window", "it is not more than zero.");
        if (says.BytesPerSecondMax <= 0)
            throw EngineErrors.SettingsInvalid($"{key}.rate", "it is not more than zero.");
        if (says.Jobs is < 1 or > 64)
            throw EngineErrors.SettingsInvalid($"{key}.jobs", "it is from 1 to 64.");
        if (says.Run != ScheduledWork.Expire && says.Window is not null)
            throw EngineErrors.SettingsInvalid($"{key}.window", "only an expire has one.");
        if (says.Run != ScheduledWork.Backup && says.Incremental)
            throw EngineErrors.SettingsInvalid($"{key}.incremental", "only a backup is.");
        try
        {
            StoreAddress.Parse(says.Store ?? "", folder);
        }
        catch (RefusedException wrong)
        {
            throw EngineErrors.SettingsInvalid($"{key}.store", wrong.Message);
        }
        return new ScheduleTimes(says, cron, zone);
    }
}
