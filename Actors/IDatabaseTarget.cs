using Pitr.Recovery;

namespace Pitr.Actors;

/// <summary>
/// What is done for an operator: the same whether the engine is in this process or behind an address.
/// </summary>
/// <remarks>
/// The command line and the Administrator speak to this and to nothing else. Implementations: <c>LocalTarget</c>
/// over <c>PitrDatabase</c>, <c>PitrAdmin</c> (Pitr.Hosting) over administration messages and HTTP, and the tests'
/// own.
/// FAILURE  every member fails with a <see cref="PitrException"/>; remote ones with the code, text and hint of the
/// engine.
/// THREADS  any.
/// </remarks>
internal interface IDatabaseTarget : IAsyncDisposable
{
    /// <summary>What the engine is doing.</summary>
    Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken);

    /// <summary>Flushes what is not fenced and moves the redo point.</summary>
    Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken);

    /// <summary>Ends the segment in use; the LSN at which the next one begins.</summary>
    Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken);

    /// <summary>Archives into one more store.</summary>
    Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken);

    /// <summary>Archives into a store no longer.</summary>
    Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken);

    /// <summary>Compares what the stores have with what the database expects.</summary>
    Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken);

    /// <summary>Names the present moment.</summary>
    Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken);

    /// <summary>Stops the engine in order; waits for fences unless forced.</summary>
    Task ShutdownAsync(bool force, CancellationToken cancellationToken);

    /// <summary>Creates a datafile; <paramref name="path"/> null: in the database's folder.</summary>
    Task<DatafileEntry> CreateDatafileAsync(string name, string? path, CancellationToken cancellationToken);

    /// <summary>All datafiles.</summary>
    Task<IReadOnlyList<DatafileEntry>> ListDatafilesAsync(CancellationToken cancellationToken);

    /// <summary>Drops a datafile that has no tables.</summary>
    Task DropDatafileAsync(string name, CancellationToken cancellationToken);

    /// <summary>Creates a table; <paramref name="datafile"/> null: in <c>main</c>.</summary>
    Task<TableEntry> CreateTableAsync(string name, string? datafile, CancellationToken cancellationToken);

    /// <summary>All tables.</summary>
    Task<IReadOnlyList<TableEntry>> ListTablesAsync(CancellationToken cancellationToken);

    /// <summary>Drops a table with all of its keys.</summary>
    Task DropTableAsync(string name, CancellationToken cancellationToken);

    /// <summary>Holds a datafile still until its lease ends or it is unfenced.</summary>
    Task<FenceGrant> FenceAsync(string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken);

    /// <summary>
    /// A holder of fences that this program ends: they are broken then, also by the program's own death. The name is for
    /// status and log.
    /// </summary>
    /// <param name="name">Of the holder.</param>
    /// <param name="whenBroken">Called when one of them is broken before that: the copy is void. It does not wait.</param>
    IFenceHolder HoldFences(string name, Action<BrokenFence>? whenBroken = null);

    /// <summary>Prolongs a fence's lease, from now on; returns until when.</summary>
    Task<DateTimeOffset> RenewFenceAsync(Guid fenceId, TimeSpan lease, CancellationToken cancellationToken);

    /// <summary>Ends the only fence of a datafile, or the one with this id; exactly one of the two is given.</summary>
    Task<UnfenceResult> UnfenceAsync(string? datafile, Guid? fenceId, CancellationToken cancellationToken);

    /// <summary>Makes a backup set.</summary>
    Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken);

    /// <summary>Moves a datafile while it is in use.</summary>
    Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken);

    /// <summary>Makes a datafile anew with its live pages only, while it is in use.</summary>
    Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken);

    /// <summary>Moves every datafile of a folder.</summary>
    Task<IReadOnlyList<MoveResult>> DrainAsync(DrainRequest request, CancellationToken cancellationToken);

    /// <summary>Brings one datafile back while the others serve.</summary>
    Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken);

    /// <summary>What that would do.</summary>
    Task<RecoveryPlan> PlanDatafileRecoveryAsync(DatafileRecoveryRequest request, CancellationToken cancellationToken);

    /// <summary>
    /// Begins a backup set that the caller makes by itself, from the engine's disk (pgtar); <paramref name="reason"/>
    /// is for status and log.
    /// </summary>
    Task<IKeptSet> KeepSetAsync(string reason, CancellationToken cancellationToken);

    /// <summary>Puts one key; durable and visible when it completes.</summary>
    Task<CommitResult> PutAsync(
        string table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken);

    /// <summary>Deletes one key; durable and visible when it completes.</summary>
    Task<CommitResult> DeleteAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken);

    /// <summary>The value of a key; null if there is none.</summary>
    Task<FoundValue?> GetAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken);

    /// <summary>Rows of one snapshot, in key order. A stream that was cut off throws; it never just ends.</summary>
    IAsyncEnumerable<KeyValue> ScanAsync(string table, ScanRange range, CancellationToken cancellationToken);

    /// <summary>Keys of a table.</summary>
    Task<long> CountAsync(string table, CancellationToken cancellationToken);

    /// <summary>
    /// Commits each list as one transaction, in order, many on the way; gives one result for each, in the same order,
    /// as soon as it is durable. The first failure ends it; what was not answered by then has an unknown fate.
    /// </summary>
    IAsyncEnumerable<CommitResult> LoadAsync(
        string table, IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions, CancellationToken cancellationToken);
}
