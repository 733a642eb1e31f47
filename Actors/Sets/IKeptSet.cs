using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Actors;

/// <summary>What a set that is made outside of the engine is of, and where the engine runs.</summary>
/// <param name="Backup">Its id, and the catalogue at C.</param>
/// <param name="Folder">The database's folder, on the engine's machine.</param>
/// <param name="Place">Where that is: which machine, and which folder there.</param>
/// <param name="HasArchive">The database has an archive.</param>
internal sealed record KeptSetStart(
    BackupStart Backup, string Folder, FolderPlace Place, bool HasArchive);

/// <param name="StartLsn">What the engine certifies as the set's start.</param>
/// <param name="Stop">Where it ends.</param>
internal sealed record KeptSetEnd(Lsn StartLsn, BackupStop Stop);

/// <summary>
/// A backup set that is made outside of the engine, while the engine keeps still what it needs: the same near and far.
/// </summary>
/// <remarks>
/// ORDER  for each file <see cref="FenceAsync"/>, the copying, <see cref="UnfenceAsync"/>; <see cref="EndAsync"/>; the
/// WAL; <see cref="ConfirmAsync"/> before the manifest. One call at a time, but <see cref="RenewAsync"/>, which has to
/// come within each <see cref="SetKeeper.Lease"/>. Disposing of it lets everything go.
/// FAILURE  RefusedException FenceBroken: the copy is void, whatever broke its fence; BackupVoid: the set is.
/// </remarks>
internal interface IKeptSet : IAsyncDisposable
{
    KeptSetStart Start { get; }

    /// <summary>The set is still being made.</summary>
    Task RenewAsync(CancellationToken cancellationToken);

    /// <summary>Holds a datafile still; null: it was dropped since the set began.</summary>
    Task<FencedFile?> FenceAsync(FileId file, CancellationToken cancellationToken);

    /// <summary>The copy of the fenced file is good when this completes.</summary>
    Task UnfenceAsync(CancellationToken cancellationToken);

    /// <summary>Every file is copied: the set's stop.</summary>
    Task<KeptSetEnd> EndAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Nothing was taken away meanwhile. False: the archive, which is to have the WAL, does not have it yet.
    /// </summary>
    Task<bool> ConfirmAsync(bool needsArchive, CancellationToken cancellationToken);
}
