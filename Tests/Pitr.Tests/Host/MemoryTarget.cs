using System.Runtime.CompilerServices;
using Pitr.Actors;
using Pitr.Recovery;

namespace Pitr.Tests;

/// <summary>
/// A database of dictionaries, for tests of what stands before an engine. Deterministic: fixed identifiers and times.
/// </summary>
internal sealed class MemoryTarget : IDatabaseTarget
{
    private static readonly DateTimeOffset Start = new(2026, 11, 22, 14, 5, 0, TimeSpan.Zero);
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, SortedDictionary<string, byte[]>> _tables = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, string> _datafiles =
        new(StringComparer.Ordinal) { ["main"] = "/db/main.pitr" };
    private ulong _transactions;
    private int _looks;

    public static readonly Guid FenceId = new("01234567-89ab-cdef-0123-456789abcdef");

    /// <summary>Rows that a scan gives before it fails; null: it does not.</summary>
    public int? ScanFailsAfterRows { get; set; }

    /// <summary>The next transaction of a load fails from this one on; null: none.</summary>
    public int? LoadFailsAtTransaction { get; set; }

    /// <summary>The status fails when it is asked for this often; null: it does not.</summary>
    public int? StatusFailsAtLook { get; set; }

    /// <summary>Holds a checkpoint until it is set.</summary>
    public TaskCompletionSource? CheckpointGate { get; set; }

    /// <summary>Completes when a checkpoint was given up.</summary>
    public TaskCompletionSource CheckpointCancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsDisposed { get; private set; }

    public string? LastHolder { get; private set; }

    public bool? ShutdownForced { get; private set; }

    public BackupRequest? LastBackup { get; private set; }

    public void AddTable(string name, params (string Key, string Value)[] rows)
    {
        var table = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        foreach ((string key, string value) in rows)
            table[Convert.ToHexStringLower(Encoding.GetBytes(key))] = Encoding.GetBytes(value);
        _tables[name] = table;
    }

    public void AddDatafile(string name, string path) => _datafiles[name] = path;

    /// <summary>How many fences status shows of main, and why.</summary>
    public int FencesOfMain { get; set; } = 1;

    public string FenceReason { get; set; } = "a copy";

    public Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken) => ++_looks == StatusFailsAtLook
        ? Task.FromException<EngineStatus>(
            new RefusedException(ErrorCode.ShuttingDown, "The engine is shutting down.", "Try later."))
        : Task.FromResult(new EngineStatus(
        new SystemIdentifier(0x0123456789ABCDEF), "Running", new TimelineId(2), new Lsn(0x1_016B3F80),
        new Lsn(0x1_016B3F80),
        new Lsn(0x1_00000008),
        [
            .. _datafiles.Select(file => new DatafileStatus(
                file.Key, file.Value, "Open", new Lsn(0x1_00000010), 81920, 1, 4096, 65536, 16384, 0,
                file.Key == "main"
                    ? [.. Enumerable.Repeat(
                        new FenceStatus(FenceId, "pitr", FenceReason, Start, Start.AddMinutes(10)), FencesOfMain)]
                    : [])),
        ],
        [new ArchiveStatus("/archive", "000000020000000000000007", 1, 4096, 0.25, null)],
        new RecoveryWindow(Start, Start.AddHours(1), null)));

    public async Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken)
    {
        if (CheckpointGate is { } gate)
        {
            try
            {
                await gate.Task.WaitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                CheckpointCancelled.TrySetResult();
                throw;
            }
        }
        return new CheckpointResult(new Lsn(0x10), new Lsn(0x20), ["main"], ["orders"]);
    }

    public Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken) => Task.FromResult(new Lsn(0x1000000));

    public Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken) =>
        Task.FromResult(new ArchiveStatus(store, null, 1, 4096, 0.25, null));

    public Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken) => store == "/archive"
        ? Task.FromResult(new StoreRemoval(store, 3, 50_000_000, 0))
        : throw new NotFoundException(ErrorCode.StoreUnknown, $"There is no store '{store}'.", "List them.");

    public Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<StoreCheck>>(
            [new StoreCheck("/archive", new Lsn(0x1000), new Lsn(0x1_016B3F80), 7, 2, 117_440_512)]);

    public Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken) =>
        Task.FromResult(new RestorePoint(name, new Lsn(0x16B3F80), Start.AddTicks(1234567)));

    public Task ShutdownAsync(bool force, CancellationToken cancellationToken)
    {
        ShutdownForced = force;
        return Task.CompletedTask;
    }

    public Task<DatafileEntry> CreateDatafileAsync(string name, string? path, CancellationToken cancellationToken)
    {
        _datafiles[name] = path ?? $"/db/{name}.pitr";
        return Task.FromResult(new DatafileEntry(name, _datafiles[name]));
    }

    public Task<IReadOnlyList<DatafileEntry>> ListDatafilesAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<DatafileEntry>>(
            [.. _datafiles.Select(file => new DatafileEntry(file.Key, file.Value))]);

    public Task DropDatafileAsync(string name, CancellationToken cancellationToken) => _datafiles.Remove(name)
        ? Task.CompletedTask
        : throw new NotFoundException(ErrorCode.DatafileUnknown, $"There is no datafile '{name}'.", "List them.");

    public Task<TableEntry> CreateTableAsync(string name, string? datafile, CancellationToken cancellationToken)
    {
        if (_tables.ContainsKey(name))
            throw new RefusedException(
                ErrorCode.NameTaken, $"There is a table '{name}' already.", "Choose another name.");
        AddTable(name);
        return Task.FromResult(new TableEntry(name, datafile ?? "main"));
    }

    public Task<IReadOnlyList<TableEntry>> ListTablesAsync(CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<TableEntry>>([.. _tables.Keys.Select(name => new TableEntry(name, "main"))]);

    public Task DropTableAsync(string name, CancellationToken cancellationToken)
    {
        Table(name);
        _tables.Remove(name);
        return Task.CompletedTask;
    }

    public async Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken)
    {
        if (FenceGate is { } gate)
            await gate(cancellationToken);
        return new FenceGrant(FenceId, datafile, $"/db/{datafile}.pitr", 81920, new Lsn(0x20), Start + lease);
    }

    /// <summary>A fence is granted when this completes, whether its caller still waits or not.</summary>
    public Func<CancellationToken, Task>? FenceGate { get; set; }

    /// <summary>Completes with the first fence that is unfenced.</summary>
    public TaskCompletionSource<Guid?> Unfenced { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Fences that end with their holder, and have not.</summary>
    public int FencesOfHolders => _fencesOfHolders;

    public IFenceHolder HoldFences(string name, Action<BrokenFence>? whenBroken = null) => new Holder(this, name);

    public Task<DateTimeOffset> RenewFenceAsync(Guid fenceId, TimeSpan lease, CancellationToken cancellationToken) =>
        Task.FromResult(Start + lease);

    public Task<UnfenceResult> UnfenceAsync(string? datafile, Guid? fenceId, CancellationToken cancellationToken)
    {
        Unfenced.TrySetResult(fenceId);
        return Task.FromResult(new UnfenceResult(datafile ?? "main", new Lsn(0x30), 0));
    }

    public Task<IKeptSet> KeepSetAsync(string reason, CancellationToken cancellationToken) =>
        throw EngineErrors.SetIsBusy(reason);

    public Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken)
    {
        LastBackup = request;
        request.Progress?.Report(new JobProgress("copying", 1, 2));
        return Task.FromResult(new BackupResult("20261122T140500Z", new Lsn(0x10), new Lsn(0x40), 123456, 2, 1.5)
        {
            BaseId = request.Incremental ? "20261121T140500Z" : null,
        });
    }

    public MoveRequest? LastMove { get; private set; }

    public DrainRequest? LastDrain { get; private set; }

    /// <summary>What a drain has moved; null: it moves main.</summary>
    public IReadOnlyList<MoveResult>? Drained { get; set; }

    public Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken)
    {
        LastMove = request;
        request.Progress?.Report(new JobProgress("copying", 1, 2));
        string from = _datafiles.TryGetValue(request.Datafile, out string? path) ? path
            : throw new NotFoundException(
                ErrorCode.DatafileUnknown, $"There is no datafile '{request.Datafile}'.", "List them.");
        _datafiles[request.Datafile] = request.Path;
        return Task.FromResult(new MoveResult(request.Datafile, from, request.Path, 81920, 1.5, 0.25));
    }

    public DatafileRecoveryRequest? LastRecovery { get; private set; }

    public Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken)
    {
        LastRecovery = request;
        if (!_datafiles.TryGetValue(request.Datafile, out string? path))
            throw EngineErrors.DatafileUnknown(request.Datafile);
        return Task.FromResult(new DatafileRecoveryResult(
            request.Datafile, path, "set", new Lsn(0x1000), new Lsn(0x2000), 3, 81920, 1.5));
    }

    public Task<RecoveryPlan> PlanDatafileRecoveryAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken) =>
        throw new RefusedException(ErrorCode.DatafileServes, "It serves.", "Leave it.");

    public CompactRequest? LastCompact { get; private set; }

    public Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken)
    {
        LastCompact = request;
        if (request.Datafile != "main")
            throw EngineErrors.DatafileUnknown(request.Datafile);
        request.Progress?.Report(new JobProgress("compacting", 8192, 16384));
        return Task.FromResult(new CompactResult(request.Datafile, "/db/main.pitr", 81920, 16384, 1.5, 0.25));
    }

    public async Task<IReadOnlyList<MoveResult>> DrainAsync(DrainRequest request, CancellationToken cancellationToken)
    {
        LastDrain = request;
        if (Drained is { } moves)
            return moves;
        return [await MoveAsync(
            new MoveRequest { Datafile = "main", Path = request.To + "/main.pitr" }, cancellationToken)];
    }

    public Task<CommitResult> PutAsync(
        string table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            Table(table)[Convert.ToHexStringLower(key.Span)] = value.ToArray();
            return Task.FromResult(Commit());
        }
    }

    public Task<CommitResult> DeleteAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            Table(table).Remove(Convert.ToHexStringLower(key.Span));
            return Task.FromResult(Commit());
        }
    }

    public Task<FoundValue?> GetAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken) =>
        Task.FromResult(Table(table).TryGetValue(Convert.ToHexStringLower(key.Span), out byte[]? value)
            ? new FoundValue(value, new Lsn(0x16B3F80))
            : null);

    public async IAsyncEnumerable<KeyValue> ScanAsync(
        string table, ScanRange range, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await Task.Yield();
        string? Hex(byte[]? bytes) => bytes is null ? null : Convert.ToHexStringLower(bytes);
        IEnumerable<KeyValuePair<string, byte[]>> rows = Table(table).Where(row =>
            (range.From is null || string.CompareOrdinal(row.Key, Hex(range.From)) >= 0)
            && (range.To is null || string.CompareOrdinal(row.Key, Hex(range.To)) < 0)
            && (range.Prefix is null || row.Key.StartsWith(Hex(range.Prefix)!, StringComparison.Ordinal)));
        if (range.Reverse)
            rows = rows.Reverse();
        if (range.RowsMax is { } limit)
            rows = rows.Take((int)limit);
        int count = 0;
        foreach (KeyValuePair<string, byte[]> row in rows)
        {
            if (ScanFailsAfterRows == count++)
                throw new DamageException(
                    ErrorCode.PageChecksum, "Page 7 is damaged.", "Recover the file.")
                { Path = "x" };
            cancellationToken.ThrowIfCancellationRequested();
            yield return new KeyValue(Convert.FromHexString(row.Key), row.Value);
        }
    }

    public Task<long> CountAsync(string table, CancellationToken cancellationToken) =>
        Task.FromResult((long)Table(table).Count);

    public async IAsyncEnumerable<CommitResult> LoadAsync(
        string table,
        IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        SortedDictionary<string, byte[]> rows = Table(table);
        int number = 0;
        await foreach (IReadOnlyList<KeyValue> transaction in transactions.WithCancellation(cancellationToken))
        {
            if (LoadFailsAtTransaction == number++)
                throw new RefusedException(ErrorCode.ShuttingDown, "The engine is shutting down.", "Try later.");
            foreach (KeyValue row in transaction)
                rows[Convert.ToHexStringLower(row.Key)] = row.Value;
            yield return Commit();
        }
    }

    public ValueTask DisposeAsync()
    {
        IsDisposed = true;
        return ValueTask.CompletedTask;
    }

    private int _fencesOfHolders;

    private sealed class Holder(MemoryTarget engine, string name) : IFenceHolder
    {
        private int _fences;

        public Task<FenceGrant> FenceAsync(
            string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken)
        {
            _fences++;
            Interlocked.Increment(ref engine._fencesOfHolders);
            engine.LastHolder = name;
            return engine.FenceAsync(datafile, lease, reason, cancellationToken);
        }

        public void Dispose() => Interlocked.Add(ref engine._fencesOfHolders, -_fences);
    }

    private static System.Text.Encoding Encoding => System.Text.Encoding.UTF8;

    private CommitResult Commit()
    {
        _transactions++;
        return new CommitResult(
            new Lsn(0x16B3F80 + _transactions * 64), Start.AddTicks(1234567 + (long)_transactions),
            new TransactionId(_transactions));
    }

    private SortedDictionary<string, byte[]> Table(string name) => _tables.TryGetValue(name, out var table)
        ? table
        : throw new NotFoundException(
            ErrorCode.TableUnknown, $"There is no table '{name}'.", "List them with `pitr table list`.");
}
