using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Threading.Channels;
using Pitr.Recovery;

namespace Pitr.Actors;

/// <summary>An engine in this process.</summary>
/// <param name="database">The engine; closed with this.</param>
/// <param name="whenClosed">What ends after the engine: the actor system that it was given.</param>
/// <remarks>
/// ORDER  <see cref="LoadAsync"/> hands commits in one after the other and lets <see cref="LoadsUnderWay"/> of them be
/// on the way; they get their LSNs in that order.
/// </remarks>
internal sealed class LocalTarget(PitrDatabase database, Func<Task>? whenClosed = null) : IDatabaseTarget
{
    /// <summary>Transactions of one load on the way at a time.</summary>
    public const int LoadsUnderWay = 64;

    private const int ScanRowsBetweenChecks = 256;

    /// <summary>The engine.</summary>
    public PitrDatabase Database => database;

    /// <summary>Told once it is closed, if the archive lacks what the shutdown could not ship.</summary>
    public Action<string>? WhenArchiveLeft { get; set; }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await database.DisposeAsync().ConfigureAwait(false);
            if (database.ArchiveLeft is { } left)
                WhenArchiveLeft?.Invoke(left);
        }
        finally
        {
            if (whenClosed is not null)
                await whenClosed().ConfigureAwait(false);
        }
    }

    // ---- administration ------------------------------------------------------------------------------

    /// <inheritdoc/>
    public Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken) =>
        database.GetStatusAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken) =>
        database.CheckpointAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken) => database.SwitchWalAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken) =>
        database.AddStoreAsync(store, cancellationToken);

    /// <inheritdoc/>
    public Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken) =>
        database.RemoveStoreAsync(store, cancellationToken);

    /// <inheritdoc/>
    public Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken) =>
        database.CheckArchiveAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken) =>
        database.CreateRestorePointAsync(name, cancellationToken);

    /// <inheritdoc/>
    public Task ShutdownAsync(bool force, CancellationToken cancellationToken) =>
        database.ShutdownAsync(force, cancellationToken);

    /// <inheritdoc/>
    public async Task<DatafileEntry> CreateDatafileAsync(string name, string? path, CancellationToken cancellationToken)
    {
        DatafileInfo file = await database.CreateDatafileAsync(name, path, cancellationToken).ConfigureAwait(false);
        return new DatafileEntry(file.Name, file.Path);
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<DatafileEntry>> ListDatafilesAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<DatafileEntry>>(
            [.. database.Datafiles.Select(file => new DatafileEntry(file.Name, file.Path))
                .OrderBy(file => file.Name, StringComparer.Ordinal)]);

    /// <inheritdoc/>
    public Task DropDatafileAsync(string name, CancellationToken cancellationToken) =>
        database.DropDatafileAsync(name, cancellationToken);

    /// <inheritdoc/>
    public async Task<TableEntry> CreateTableAsync(
        string name, string? datafile, CancellationToken cancellationToken) =>
        EntryOf(await database.CreateTableAsync(name, datafile, cancellationToken)
            .ConfigureAwait(false), database.Datafiles);

    /// <inheritdoc/>
    public Task<IReadOnlyList<TableEntry>> ListTablesAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<DatafileInfo> files = database.Datafiles;
        return Task.FromResult<IReadOnlyList<TableEntry>>(
            [.. database.Tables.Select(table => EntryOf(table, files))
                .OrderBy(table => table.Name, StringComparer.Ordinal)]);
    }

    /// <inheritdoc/>
    public Task DropTableAsync(string name, CancellationToken cancellationToken) =>
        database.DropTableAsync(name, cancellationToken);

    /// <inheritdoc/>
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken) =>
        database.FenceAsync(datafile, lease, reason, cancellationToken);

    /// <inheritdoc/>
    public IFenceHolder HoldFences(string name, Action<BrokenFence>? whenBroken = null) =>
        new FenceHolder(database, name, whenBroken);

    /// <inheritdoc/>
    public Task<DateTimeOffset> RenewFenceAsync(Guid fenceId, TimeSpan lease, CancellationToken cancellationToken) =>
        database.RenewFenceAsync(fenceId, lease, cancellationToken);

    /// <inheritdoc/>
    public Task<UnfenceResult> UnfenceAsync(string? datafile, Guid? fenceId, CancellationToken cancellationToken) =>
        fenceId is { } id
            ? database.UnfenceAsync(id, cancellationToken)
            : database.UnfenceAsync(
                datafile ?? throw new ArgumentException("Either a datafile or a fence is named.", nameof(datafile)),
                cancellationToken);

    /// <inheritdoc/>
    public Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken) =>
        database.BackupAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken) =>
        database.MoveAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken) =>
        database.CompactAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<IReadOnlyList<MoveResult>> DrainAsync(DrainRequest request, CancellationToken cancellationToken) =>
        database.DrainAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken) =>
        database.RecoverDatafileAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<RecoveryPlan> PlanDatafileRecoveryAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken) =>
        database.PlanDatafileRecoveryAsync(request, cancellationToken);

    /// <inheritdoc/>
    public Task<IKeptSet> KeepSetAsync(string reason, CancellationToken cancellationToken) =>
        database.KeepSetAsync(reason, cancellationToken);

    // ---- data ----------------------------------------------------------------------------------------

    /// <inheritdoc/>
    public Task<CommitResult> PutAsync(
        string table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken) =>
        database.PutAsync(database.GetTable(table), key, value, cancellationToken).AsTask();

    /// <inheritdoc/>
    public Task<CommitResult> DeleteAsync(
        string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken) =>
        database.DeleteAsync(database.GetTable(table), key, cancellationToken).AsTask();

    /// <inheritdoc/>
    public Task<FoundValue?> GetAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        var value = new ArrayBufferWriter<byte>();
        return Task.FromResult(database.TryGet(database.GetTable(table), key.Span, value, out Lsn lsn)
            ? new FoundValue(value.WrittenSpan.ToArray(), lsn)
            : null);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<KeyValue> ScanAsync(
        string table, ScanRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.Yield();
        using Snapshot snapshot = database.OpenSnapshot();
        int rowsToCheck = ScanRowsBetweenChecks;
        foreach (KeyValue row in snapshot.Scan(database.GetTable(table), range))
        {
            yield return row;
            if (--rowsToCheck > 0)
                continue;
            cancellationToken.ThrowIfCancellationRequested();
            rowsToCheck = ScanRowsBetweenChecks;
        }
    }

    /// <inheritdoc/>
    public Task<long> CountAsync(string table, CancellationToken cancellationToken) =>
        database.Engine.Workers.RunAsync(() => database.Count(database.GetTable(table)), cancellationToken);

    /// <inheritdoc/>
    public async IAsyncEnumerable<CommitResult> LoadAsync(
        string table,
        IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Table target = database.GetTable(table);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var underWay = Channel.CreateBounded<(WriteBatch Batch, Task<CommitResult> Commit)>(LoadsUnderWay);
        var spare = new Stack<WriteBatch>();
        Task<Exception?> sending = SendAsync(target, transactions, underWay.Writer, spare, ended.Token);
        try
        {
            await foreach ((WriteBatch batch, Task<CommitResult> commit) in underWay.Reader.ReadAllAsync(
                cancellationToken).ConfigureAwait(false))
            {
                CommitResult result = await commit.ConfigureAwait(false);
                batch.Clear();
                lock (spare)
                    spare.Push(batch);
                yield return result;
            }
            if (await sending.ConfigureAwait(false) is { } failure)
                ExceptionDispatchInfo.Throw(failure);
        }
        finally
        {
            await ended.CancelAsync().ConfigureAwait(false);
            await sending.ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Hands in transaction after transaction; the failure of their source is the result, thrown after what was sent
    /// was answered.
    /// </summary>
    private async Task<Exception?> SendAsync(
        Table table,
        IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions,
        ChannelWriter<(WriteBatch Batch, Task<CommitResult> Commit)> underWay,
        Stack<WriteBatch> spare,
        CancellationToken ended)
    {
        try
        {
            await foreach (
                IReadOnlyList<KeyValue> transaction in transactions.WithCancellation(ended).ConfigureAwait(false))
            {
                WriteBatch? batch;
                lock (spare)
                    spare.TryPop(out batch);
                batch ??= new WriteBatch();
                foreach (KeyValue row in transaction)
                    batch.Put(table, row.Key, row.Value);
                Task<CommitResult> commit = database.CommitAsync(batch, ended).AsTask();
                await underWay.WriteAsync((batch, commit), ended).ConfigureAwait(false);
            }
            return null;
        }
        catch (Exception failure)
        {
            return failure;
        }
        finally
        {
            underWay.Complete();
        }
    }

    private static TableEntry EntryOf(Table table, IReadOnlyList<DatafileInfo> files) =>
        new(table.Name, files.FirstOrDefault(file => file.Id == table.DatafileId)?.Name ?? table.DatafileId.ToString());
}
