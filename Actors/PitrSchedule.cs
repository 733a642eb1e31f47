namespace Pitr;

/// <summary>What a host does for a database at times of its own.</summary>
public enum ScheduledWork
{
    /// <summary>A backup set is made.</summary>
    Backup,

    /// <summary>Every set of a store and its WAL are read back, and proved to restore.</summary>
    Verify,

    /// <summary>Sets and WAL that no moment of the promised window needs are removed.</summary>
    Expire,
}

/// <summary>
/// Work that <c>pitr serve</c>, or a host, does while the database is open, at the times of a cron expression. Of one kind
/// of work one run goes at a time.
/// </summary>
/// <remarks>
/// A time that passes while the database is not open is made up for by one run, at the next opening; so is a run that
/// the end of the process cut off. A time that passes while a run of the same schedule goes on is left out. A run that
/// failed is told in the log, the status, the health check and the metrics, and comes again at its next time.
/// </remarks>
public sealed record PitrSchedule
{
    /// <summary>What is done.</summary>
    public required ScheduledWork Run { get; init; }

    /// <summary>
    /// When: minute, hour, day of the month, month, day of the week, as in <c>30 2 * * SUN</c>. If both days are said, both
    /// have to be so.
    /// </summary>
    public required string Cron { get; init; }

    /// <summary>The store of the backup sets; a relative path is taken from the database's folder.</summary>
    public required string Store { get; init; }

    /// <summary>An IANA time zone, such as <c>Europe/Berlin</c>, of which the times are; null: the machine's own.</summary>
    public string? TimeZone { get; init; }

    /// <summary>Of an expire, and needed there: the promise, any moment of so much time up to the last one.</summary>
    public TimeSpan? Window { get; init; }

    /// <summary>Of a backup: bytes a second at most; null: as fast as commits allow.</summary>
    public long? BytesPerSecondMax { get; init; }

    /// <summary>Of a backup: files copied at the same time.</summary>
    public int Jobs { get; init; } = 1;

    /// <summary>
    /// Of a backup: only what changed since the newest set of the store that it can build on; where there is none, all. A
    /// chain grows until a schedule without this one begins the next.
    /// </summary>
    public bool Incremental { get; init; }
}
