namespace Pitr.Wal;

/// <summary>What a store can do of what <see cref="IArchiveStore"/> asks.</summary>
[Flags]
internal enum StoreAbilities
{
    /// <summary>Objects are put and got by their names.</summary>
    None = 0,

    /// <summary>It tells which names there are.</summary>
    Lists = 1,

    /// <summary>Objects can be removed.</summary>
    Deletes = 2,

    /// <summary>Of several conditional creates exactly one succeeds (S3), so timelines are claimed and owned in it.</summary>
    Claims = 4,

    /// <summary>Whatever a store of services and folders can.</summary>
    All = Lists | Deletes | Claims,
}
