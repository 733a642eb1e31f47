namespace Pitr.Hosting;

/// <summary>How a host keeps its database; what the engine itself does is in <see cref="PitrOptions"/>.</summary>
public sealed class PitrHostSettings
{
    /// <summary>True to refuse a folder without a database; else one is created in it. Default false.</summary>
    public bool MustExist { get; set; }

    /// <summary>
    /// HOST:PORT at which <c>pitr --host</c> reaches the engine; port 0: any. Outside of loopback it needs the settings of
    /// TLS. Null: what the setting <c>listen</c> says (<c>PITR__LISTEN</c>, <c>pitr.json</c>), else nobody reaches it.
    /// </summary>
    public string? Listen { get; set; }

    /// <summary>
    /// HOST:PORT at which those clients get data. Null: what the setting <c>http</c> says, else any port of loopback.
    /// </summary>
    public string? Http { get; set; }

    /// <summary>Where the token for those clients is written; null: in the user's runtime folder.</summary>
    public string? TokenFile { get; set; }

    /// <summary>
    /// How long the host's stop waits for fences that are held before it breaks them: their copies are void then. Null,
    /// the default: as long as they are held, at most until their leases end.
    /// </summary>
    public TimeSpan? FenceWait { get; set; }

    /// <summary>
    /// False to let the host run on when the engine has ended by itself: by a failure of the disk under its WAL, or by
    /// <c>pitr shutdown</c>. Default true: the host stops, and whoever watches over it starts it again.
    /// </summary>
    public bool StopsWithEngine { get; set; } = true;

    /// <summary>
    /// How old the oldest WAL that a store lacks may be before the health check calls the archive degraded. Default one
    /// minute.
    /// </summary>
    public TimeSpan ArchiveLagDegraded { get; set; } = TimeSpan.FromMinutes(1);
}
