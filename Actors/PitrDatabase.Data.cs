using System.Buffers;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Storage;
using Pitr.Wal;
using static Pitr.Actors.ControlFileProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr;

/// <content>What an application does with its data: commits, reads, tables and datafiles.</content>
public sealed partial class PitrDatabase
{
    // ---- commits ---------------------------------------------------------------------------------

    /// <summary>
    /// Commits a batch. When the task completes it is durable and visible; the batch may then be cleared and used
    /// again. The commits of one thread get their LSNs in the order of its calls, awaited or not.
    /// </summary>
    /// <param name="batch">Not to be touched until the task completes.</param>
    /// <param name="cancellationToken">
    /// Before WalWriter took the commit in, withdraws it; afterwards only the wait ends, and the commit's fate is that
    /// of the WAL.
    /// </param>
    /// <exception cref="PitrException">
    /// NotFoundException TableUnknown; RefusedException DatafileOffline, DatafileNeedsRecovery, ReadOnly, CommitRefused
    /// (not in the WAL), CommitFateUnknown; StorageFailedException DiskFull (not in the WAL).
    /// </exception>
    public ValueTask<CommitResult> CommitAsync(WriteBatch batch, CancellationToken cancellationToken = default) =>
        CommitAsync(batch, null, null, cancellationToken);

    /// <summary>Commits one put.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<CommitResult> PutAsync(
        Table table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken =
            default)
    {
        WriteBatch batch = RentBatch();
        batch.Put(table, key.Span, value.Span);
        CommitResult result = await CommitAsync(batch, cancellationToken).ConfigureAwait(false);
        ReturnBatch(batch);
        return result;
    }

    /// <summary>Commits one delete.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<CommitResult> DeleteAsync(
        Table table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken = default)
    {
        WriteBatch batch = RentBatch();
        batch.Delete(table, key.Span);
        CommitResult result = await CommitAsync(batch, cancellationToken).ConfigureAwait(false);
        ReturnBatch(batch);
        return result;
    }

    /// <summary>Begins a transaction: its snapshot shows everything that was stamped before (H37).</summary>
    public async ValueTask<Transaction> BeginTransactionAsync(CancellationToken cancellationToken = default)
    {
        RequireWritable();
        var begin = new PendingCommit(new WriteBatch());
        // one that was stamped must be ended: so it is waited for all the same
        begin.PrepareBegin(_engine.Threads, CancellationToken.None);
        Task<CommitResult> begun = begin.Task.AsTask();
        if (_engine.Intake.Enqueue(begin))
            _actors.WalWriter.Tell(Drain.Instance, ActorRefs.NoSender);
        try
        {
            await begun.WaitAsync(cancellationToken).ConfigureAwait(false);
            return new Transaction(this, OpenSnapshot(), begin.Ticket!);
        }
        catch
        {
            _ = begun.ContinueWith(
                _ => EndTransaction(begin.Ticket!), CancellationToken.None,
                TaskContinuationOptions.OnlyOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
            throw;
        }
    }

    internal ValueTask<CommitResult> CommitAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken) =>
        Traces.IsListenedTo && batch is not null
            ? Traces.CommitAsync(
                _engine.Folder, () => FinishAsync(batch, reads, ticket, cancellationToken), batch.Count)
            : FinishAsync(batch!, reads, ticket, cancellationToken);

    private ValueTask<CommitResult> FinishAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken) =>
        _engine.ArchiveWait is { } wait
            ? ArchivedAsync(HandInAsync(batch, reads, ticket, cancellationToken), wait, cancellationToken)
            : HandInAsync(batch, reads, ticket, cancellationToken);

    private async ValueTask<CommitResult> ArchivedAsync(
        ValueTask<CommitResult> commit, ArchiveWait wait, CancellationToken cancellationToken)
    {
        CommitResult result = await commit.ConfigureAwait(false);
        await wait.UntilAsync(result.Lsn, _actors.Stopped, cancellationToken).ConfigureAwait(false);
        return result;
    }

    private ValueTask<CommitResult> HandInAsync(
        WriteBatch batch, ReadSet? reads, TransactionTicket? ticket, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Count == 0)
            throw new ArgumentException("The batch is empty: there is nothing to commit.", nameof(batch));
        batch.RequireIdle();
        RequireWritable();
        cancellationToken.ThrowIfCancellationRequested();
        PendingCommit commit = batch.Pending;
        commit.Prepare(_engine.Threads, cancellationToken);
        commit.Reads = reads;
        commit.Ticket = ticket;
        ValueTask<CommitResult> task = commit.Task;
        commit.ArmCancellation();
        _delay.Enqueue(commit);
        return task;
    }

    internal void EndTransaction(TransactionTicket ticket) =>
        _actors.WalWriter.Tell(new EndTransaction(ticket), ActorRefs.NoSender);

    private WriteBatch RentBatch() => _spareBatches.TryDequeue(out WriteBatch? batch) ? batch : new WriteBatch();

    private void ReturnBatch(WriteBatch batch)
    {
        batch.Clear();
        if (_spareBatches.Count < 4096)
            _spareBatches.Enqueue(batch);
    }

    // ---- reads -----------------------------------------------------------------------------------

    /// <summary>A table by its name.</summary>
    /// <exception cref="NotFoundException">There is none (TableUnknown).</exception>
    public Table GetTable(string name) =>
        TryGetTable(name, out Table? table) ? table : throw EngineErrors.TableUnknown(name);

    /// <summary>A table by its name, if there is one.</summary>
    public bool TryGetTable(
        string name, [global::System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Table? table) =>
        _engine.Catalogue.TryTable(name, out table);

    /// <summary>The newest visible value of a key; null if it is not there.</summary>
    public byte[]? Get(Table table, ReadOnlySpan<byte> key)
    {
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, RequireAlive(table), key);
        using EpochGuard guard = _engine.Epochs.Enter();
        ReadView view = _engine.Slots.Of(table.DatafileId).Readable.View;
        return Reading.Get(view, treeKey, _engine.Visibility.Visible);
    }

    /// <summary>
    /// Writes the newest visible value of a key to <paramref name="value"/>; false if the key is not there.
    /// </summary>
    /// <param name="table">The table.</param>
    /// <param name="key">The key.</param>
    /// <param name="value">Gets the value's bytes.</param>
    /// <param name="lsn">The LSN that was read at.</param>
    public bool TryGet(Table table, ReadOnlySpan<byte> key, IBufferWriter<byte> value, out Lsn lsn)
    {
        Span<byte> treeKey = stackalloc byte[OperationCodec.TableIdBytes + Limits.KeyBytesMax];
        treeKey = TreeKey.Write(treeKey, RequireAlive(table), key);
        using EpochGuard guard = _engine.Epochs.Enter();
        FileSlot slot = _engine.Slots.Of(table.DatafileId);
        ReadView view;
        do
        {
            lsn = _engine.Visibility.Visible;
            view = slot.Readable.View;
        }
        while (!PinnedViews.Shows(view, lsn)); // it was sealed or flushed between the two

        return Reading.TryGet(view, treeKey, lsn, value);
    }

    /// <summary>
    /// Rows of a table as of now, in key order or backwards. The views are let go when the enumeration ends.
    /// </summary>
    public IEnumerable<KeyValue> Scan(Table table, ScanRange range)
    {
        using Snapshot snapshot = OpenSnapshot();
        foreach (KeyValue row in snapshot.Scan(table, range))
            yield return row;
    }

    /// <summary>How many keys a table holds now; reads all of them.</summary>
    public long Count(Table table)
    {
        using Snapshot snapshot = OpenSnapshot();
        return snapshot.Count(table);
    }

    /// <summary>The database as of now, over all datafiles.</summary>
    public Snapshot OpenSnapshot()
    {
        CatalogueView catalogue = _engine.Catalogue;
        return new Snapshot(_engine, catalogue, PinnedViews.Take(_engine));
    }

    private TableId RequireAlive(Table table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return _engine.Catalogue.IsAlive(table.Id) ? table.Id : throw EngineErrors.TableGone(table.Id);
    }

    // ---- tables and datafiles --------------------------------------------------------------------

    /// <summary>Creates a table. When the task completes it is durable.</summary>
    /// <param name="name"><c>[a-z][a-z0-9_-]{0,62}</c>, unique in the database.</param>
    /// <param name="datafile">Where it lies; null: <c>main</c>.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<Table> CreateTableAsync(
        string name, string? datafile = null, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        TableCreated created = await AskAsync<TableCreated>(
            _actors.ControlFile, new CreateTable(name, datafile), cancellationToken).ConfigureAwait(false);
        return created.Table;
    }

    /// <summary>Drops a table. When the task completes that is durable. Only recovery brings it back.</summary>
    public Task DropTableAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return AskAsync<Done>(_actors.ControlFile, new DropTable(name), cancellationToken);
    }

    /// <summary>Creates a datafile.</summary>
    /// <param name="name"><c>[a-z][a-z0-9_-]{0,62}</c>, unique in the database.</param>
    /// <param name="path">Where; null: <c>NAME.pitr</c> in the database's folder. It must not exist.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task<DatafileInfo> CreateDatafileAsync(
        string name, string? path = null, CancellationToken cancellationToken = default)
    {
        RequireName(name);
        RequireWritable();
        DatafileCreated created = await AskAsync<DatafileCreated>(
            _actors.ControlFile, new CreateDatafile(name, path), cancellationToken).ConfigureAwait(false);
        return new DatafileInfo(created.File, created.Name, created.Path);
    }

    /// <summary>Drops a datafile that holds no tables.</summary>
    public Task DropDatafileAsync(string name, CancellationToken cancellationToken = default)
    {
        RequireWritable();
        return AskAsync<Done>(_actors.ControlFile, new DropDatafile(name), cancellationToken);
    }
}
