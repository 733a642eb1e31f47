namespace Pitr;

/// <summary>
/// What happens when an archive store lacks more WAL than <see cref="PitrOptions.ArchiveLagBytesMax"/>.
/// </summary>
public enum ArchiveLagChoice
{
    /// <summary>Commits are refused (ArchiveBehind) until the store has caught up below the bound.</summary>
    RefuseCommits,

    /// <summary>
    /// Commits go on; the oldest segments that the store lacks are given up, which is logged and shown by the status.
    /// Moments in and before that gap can be restored only from sets after it.
    /// </summary>
    DropAndRecordGap,
}
