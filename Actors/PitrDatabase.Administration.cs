using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.CheckpointProtocol;
using static Pitr.Actors.EngineProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr;

/// <content>What an operator asks for at once: checkpoints, the archive, restore points, the status.</content>
public sealed partial class PitrDatabase
{
    /// <summary>Flushes every datafile that is not fenced, offline or in recovery, and moves the redo point.</summary>
    public Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken = default) =>
        Traces.RunAsync("pitr.checkpoint", Folder, async () =>
        {
            RequireWritable();
            return (await AskAsync<CheckpointEnded>(
                _actors.Supervisor, new RunCheckpoint(), cancellationToken, Timeout.InfiniteTimeSpan)
                    .ConfigureAwait(false)).Result;
        });

    /// <summary>Ends the WAL segment in use, so that it can be shipped; returns where the next one begins.</summary>
    public async Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<SegmentSwitched>(_actors.WalWriter, new SwitchSegment(), cancellationToken)
            .ConfigureAwait(false)).Lsn;
    }

    /// <summary>
    /// Archives into one more store from now on, and notes it in <c>pitr.json</c>; when the task completes that is durable.
    /// The store is made this database's archive, and has to honour conditional creates. What is archived in it begins
    /// with the WAL that is still here: a backup set made before may need older WAL from another store.
    /// </summary>
    /// <param name="store">Its address; a relative path is taken from the database's folder.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="PitrException">
    /// RefusedException StoreAddressInvalid, StoreKindUnavailable, StoreKnown, StoreWithoutClaims, ForeignSystem,
    /// ArchiveOwned, WalTooShort; StorageFailedException StoreFailed. Then nothing has changed.
    /// </exception>
    public async Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<StoreAdded>(_actors.Supervisor, new AddStore(store), cancellationToken)
            .ConfigureAwait(false)).Status;
    }

    /// <summary>
    /// Archives into a store no longer, and takes it out of <c>pitr.json</c>; when the task completes that is durable. WAL
    /// that only this store lacks is kept no longer for it. What lies in it stays, and restores as far as it reaches.
    /// </summary>
    /// <exception cref="PitrException">
    /// NotFoundException StoreUnknown; RefusedException StoreAddressInvalid, StoreNotInSettings.
    /// </exception>
    public async Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return (await AskAsync<StoreRemoved>(_actors.Supervisor, new RemoveStore(store), cancellationToken)
            .ConfigureAwait(false)).Removal;
    }

    /// <summary>
    /// Reads all WAL that the stores have of this database's path, and compares it with what the database expects: that
    /// each store is its archive, every object is what was written, and nothing is missing of what was shipped.
    /// </summary>
    /// <exception cref="PitrException">
    /// The worst that was found: DamageException ArchiveDamaged, RefusedException WalGap, ForeignSystem, ArchiveOwned,
    /// StorageFailedException StoreFailed.
    /// </exception>
    public async Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken = default)
    {
        ArchiveSeen seen = await SeeArchiveAsync(cancellationToken).ConfigureAwait(false);
        return await _engine.Workers.RunAsync(
            () => ArchiveCheck.Run(seen.Stores, seen.Path, seen.Geometry, _engine.DurableLsn, cancellationToken), cancellationToken)
            .ConfigureAwait(false);
    }

    /// <summary>The stores that the database archives into, without asking anybody how they are.</summary>
    internal Task<ArchiveSeen> SeeArchiveAsync(CancellationToken cancellationToken)
    {
        RequireWritable();
        return AskAsync<ArchiveSeen>(_actors.Supervisor, new SeeArchive(), cancellationToken);
    }

    /// <summary>Names the present moment, durably.</summary>
    public async Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        EventLogged logged = await AskAsync<EventLogged>(
            _actors.WalWriter, new LogEvent(new WalEvent.RestorePoint(name)), cancellationToken).ConfigureAwait(false);
        return new RestorePoint(name, logged.Lsn, logged.Time);
    }

    /// <summary>What the engine is doing.</summary>
    public async Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken = default) =>
        (await AskAsync<StatusReported>(_actors.Supervisor, new GetStatus(), cancellationToken)
            .ConfigureAwait(false)).Status;
}
