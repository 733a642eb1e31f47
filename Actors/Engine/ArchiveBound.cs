namespace Pitr.Actors;

/// <summary>How far a store may be behind, and what happens then (design §8).</summary>
internal sealed record ArchiveBound(long LagBytesMax, ArchiveLagChoice Choice)
{
    /// <summary>As much WAL as may be kept for fenced files.</summary>
    public const long LagBytesMaxDefault = 16L << 30;

    /// <summary>Options in code win over <c>pitr.json</c>.</summary>
    public static ArchiveBound Of(PitrOptions options, DatabaseSettings settings) => new(
        options.ArchiveLagBytesMax ?? settings.ArchiveLagBytesMax ?? LagBytesMaxDefault,
        options.ArchiveLagChoice ?? settings.ArchiveLagChoice ?? ArchiveLagChoice.RefuseCommits);
}
