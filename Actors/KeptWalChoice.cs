namespace Pitr;

/// <summary>
/// What happens when the WAL that a datafile needs, which is offline or needs recovery, exceeds
/// <see cref="PitrOptions.FencedWalBytesMax"/>: it can't be kept for ever, and nobody else can let it go.
/// </summary>
public enum KeptWalChoice
{
    /// <summary>No commit is taken until the file is back, or was dropped; reads go on.</summary>
    RefuseCommits,

    /// <summary>
    /// The local WAL goes: what the file lacks is in the archive and in backups only. It needs recovery from then on.
    /// </summary>
    GiveFileUp,
}
