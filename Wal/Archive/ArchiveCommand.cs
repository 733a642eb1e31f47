namespace Pitr;

/// <summary>
/// The commands behind a store <c>command:NAME</c>: one copies a file into the archive, one copies it back, as
/// PostgreSQL's archive_command and restore_command do.
/// </summary>
/// <remarks>
/// Each is a program and its arguments; no shell is between. In an argument <c>%p</c> is the path of a local file,
/// <c>%f</c> the name under which it is archived (letters, digits, <c>.</c>, <c>_</c>, <c>-</c>), <c>%%</c> a percent sign.
/// A command must not leave a part of a file under a name. Exit code 0 is done. Of a restore or a delete, 1 to 125 is "no
/// such file"; anything else, a signal and a timeout are failures, which are tried again.
/// </remarks>
public sealed record ArchiveCommand
{
    /// <summary>Copies <c>%p</c> into the archive as <c>%f</c>.</summary>
    public required IReadOnlyList<string> Archive { get; init; }

    /// <summary>Copies <c>%f</c> of the archive to <c>%p</c>, which is not there.</summary>
    public required IReadOnlyList<string> Restore { get; init; }

    /// <summary>
    /// Prints the names in the archive, one a line. Null: there is none; then nothing can be planned or restored from the
    /// store, only archived into it.
    /// </summary>
    public IReadOnlyList<string>? List { get; init; }

    /// <summary>Removes <c>%f</c>. Null: nothing is ever removed, so only finished segments are archived.</summary>
    public IReadOnlyList<string>? Delete { get; init; }

    /// <summary>
    /// Must be true: says that the operator knows that no command can take a timeline for one database alone, and sees to
    /// it that only one database archives there.
    /// </summary>
    public bool Unclaimed { get; init; }

    /// <summary>The longest that one command may run; then it is killed. Default 60 s.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);
}
