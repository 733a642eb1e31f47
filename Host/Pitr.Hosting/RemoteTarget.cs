using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Pitr.Actors;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Hosting;

/// <summary>
/// A running engine behind an address: administration as messages to its Administrator, data over its HTTP endpoint,
/// whose address the Administrator tells. A session that is lost ends everything that is under way with ConnectionLost.
/// </summary>
internal sealed class RemoteTarget : IDatabaseTarget
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly string _address;
    private readonly ActorSystem _system;
    private readonly IActorRef _client;
    private readonly HttpData _data;
    private readonly CancellationTokenSource _lost;
    private readonly Func<Exception?> _whyLost;

    private RemoteTarget(
        string address, ActorSystem system, IActorRef client, HttpData data, CancellationTokenSource lost,
        Func<Exception?> whyLost)
    {
        _address = address;
        _system = system;
        _client = client;
        _data = data;
        _lost = lost;
        _whyLost = whyLost;
    }

    /// <summary>Opens a session.</summary>
    /// <param name="address">HOST:PORT of the engine's administration.</param>
    /// <param name="token">Reads the token; called when something listens there.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="StorageFailedException">ConnectionLost: no engine answers.</exception>
    /// <exception cref="RefusedException">NotAuthorized: the token is not the engine's.</exception>
    public static async Task<RemoteTarget> ConnectAsync(
        string address, Func<string> token, CancellationToken cancellationToken)
    {
        IPAddress local = await ProbeAsync(address, cancellationToken).ConfigureAwait(false);
        string shown = token();
        ActorSystem system = ActorSystem.Create("pitr-client", RemotingConfig.ForClient(local));
        var opened = new TaskCompletionSource<SessionOpened>(TaskCreationOptions.RunContinuationsAsynchronously);
        var lost = new CancellationTokenSource();
        Exception? why = null;
        IActorRef client = system.ActorOf(AdminClient.PropsFor(address, shown, opened, cause =>
        {
            Volatile.Write(ref why, cause);
            ThreadPool.UnsafeQueueUserWorkItem(static source => Cancel(source), lost, preferLocal: false);
        }));
        try
        {
            SessionOpened session = await opened.Task.WaitAsync(ConnectTimeout, cancellationToken)
                .ConfigureAwait(false);
            return new RemoteTarget(
                address, system, client, new HttpData(session.Http, shown), lost, () => Volatile.Read(ref why));
        }
        catch (Exception failure)
        {
            await system.Terminate().ConfigureAwait(false);
            throw failure is TimeoutException
                ? AdminErrors.NoEngine(
                    address, $"nothing that speaks its protocol answered within {ConnectTimeout.TotalSeconds} s")
                : failure;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _client.Tell(new AdminClient.Leave());
        _data.Dispose();
        await _system.Terminate().ConfigureAwait(false);
        _lost.Dispose();
    }

    // ---- administration ------------------------------------------------------------------------------

    /// <inheritdoc/>
    public async Task<EngineStatus> GetStatusAsync(CancellationToken cancellationToken)
    {
        StatusRead read = await RequestAsync<StatusRead>(new ReadStatus(0), cancellationToken).ConfigureAwait(false);
        return read.Status with { Datafiles = await ReadDatafilesAsync(cancellationToken).ConfigureAwait(false) };
    }

    /// <inheritdoc/>
    public async Task<CheckpointResult> CheckpointAsync(CancellationToken cancellationToken) =>
        (await RequestAsync<Checkpointed>(new Checkpoint(0), cancellationToken).ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<Lsn> SwitchWalAsync(CancellationToken cancellationToken) =>
        (await RequestAsync<WalSwitched>(new SwitchWal(0), cancellationToken).ConfigureAwait(false)).Lsn;

    /// <inheritdoc/>
    public async Task<RestorePoint> CreateRestorePointAsync(string name, CancellationToken cancellationToken) =>
        (await RequestAsync<RestorePointCreated>(new CreateRestorePoint(0, name), cancellationToken)
            .ConfigureAwait(false)).Point;

    /// <inheritdoc/>
    public Task ShutdownAsync(bool force, CancellationToken cancellationToken) =>
        RequestAsync<Done>(new Shutdown(0, force), cancellationToken);

    /// <inheritdoc/>
    public async Task<DatafileEntry> CreateDatafileAsync(
        string name, string? path, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileCreated>(new CreateDatafile(0, name, path), cancellationToken)
            .ConfigureAwait(false)).Datafile;

    /// <inheritdoc/>
    public async Task<IReadOnlyList<DatafileEntry>> ListDatafilesAsync(CancellationToken cancellationToken) =>
        [
            .. (await ReadDatafilesAsync(cancellationToken).ConfigureAwait(false))
                .Select(file => new DatafileEntry(file.Name, file.Path)),
        ];

    /// <inheritdoc/>
    public Task DropDatafileAsync(string name, CancellationToken cancellationToken) =>
        RequestAsync<Done>(new DropDatafile(0, name), cancellationToken);

    /// <inheritdoc/>
    public async Task<TableEntry> CreateTableAsync(
        string name, string? datafile, CancellationToken cancellationToken) =>
        (await RequestAsync<TableCreated>(new CreateTable(0, name, datafile), cancellationToken)
            .ConfigureAwait(false)).Table;

    /// <inheritdoc/>
    public async Task<IReadOnlyList<TableEntry>> ListTablesAsync(CancellationToken cancellationToken)
    {
        var tables = new List<TableEntry>();
        TablesRead page;
        do
        {
            page = await RequestAsync<TablesRead>(
                new ReadTables(0, tables.Count == 0 ? null : tables[^1].Name), cancellationToken).ConfigureAwait(false);
            tables.AddRange(page.Tables);
        }
        while (page.More);
        return tables;
    }

    /// <inheritdoc/>
    public Task DropTableAsync(string name, CancellationToken cancellationToken) =>
        RequestAsync<Done>(new DropTable(0, name), cancellationToken);

    /// <inheritdoc/>
    public async Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileFenced>(
            new FenceDatafile(0, datafile, lease.TotalSeconds, reason), cancellationToken).ConfigureAwait(false)).Fence;

    /// <inheritdoc/>
    public async Task<UnfenceResult> UnfenceAsync(
        string? datafile, Guid? fenceId, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileUnfenced>(new UnfenceDatafile(0, datafile, fenceId), cancellationToken)
            .ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken) =>
        (await RequestAsync<BackupMade>(
            new MakeBackup(0, request.Store, request.BytesPerSecondMax, request.Jobs), cancellationToken,
            request.Progress)
            .ConfigureAwait(false)).Result;

    // ---- data ----------------------------------------------------------------------------------------

    /// <inheritdoc/>
    public Task<CommitResult> PutAsync(
        string table, ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.PutAsync(table, key, value, token), cancellationToken);

    /// <inheritdoc/>
    public Task<CommitResult> DeleteAsync(
        string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.DeleteAsync(table, key, token), cancellationToken);

    /// <inheritdoc/>
    public Task<FoundValue?> GetAsync(string table, ReadOnlyMemory<byte> key, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.GetAsync(table, key, token), cancellationToken);

    /// <inheritdoc/>
    public Task<long> CountAsync(string table, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.CountAsync(table, token), cancellationToken);

    /// <inheritdoc/>
    public IAsyncEnumerable<KeyValue> ScanAsync(string table, ScanRange range, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.ScanAsync(table, range, token), cancellationToken);

    /// <inheritdoc/>
    public IAsyncEnumerable<CommitResult> LoadAsync(
        string table, IAsyncEnumerable<IReadOnlyList<KeyValue>> transactions, CancellationToken cancellationToken) =>
        WhileSessionAsync(token => _data.LoadAsync(table, transactions, token), cancellationToken);

    // ---- parts ---------------------------------------------------------------------------------------

    /// <summary>Something must listen there; the answer is the address by which this machine reaches it.</summary>
    private static async Task<IPAddress> ProbeAsync(string address, CancellationToken cancellationToken)
    {
        int colon = address.LastIndexOf(':');
        string host = address[..colon].Trim('[', ']');
        int port = int.Parse(address.AsSpan(colon + 1), System.Globalization.CultureInfo.InvariantCulture);
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(TimeSpan.FromSeconds(5));
        using var probe = new TcpClient();
        try
        {
            await probe.ConnectAsync(host, port, timeout.Token).ConfigureAwait(false);
            IPAddress local = ((IPEndPoint)probe.Client.LocalEndPoint!).Address;
            return local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local;
        }
        catch (SocketException failure)
        {
            throw AdminErrors.NoEngine(address, failure.Message.TrimEnd('.'));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw AdminErrors.NoEngine(address, "no connection within 5 s");
        }
    }

    private static void Cancel(CancellationTokenSource source)
    {
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The target was closed meanwhile: nothing is under way.
        }
    }

    private async Task<IReadOnlyList<DatafileStatus>> ReadDatafilesAsync(CancellationToken cancellationToken)
    {
        var files = new List<DatafileStatus>();
        DatafilesRead page;
        do
        {
            page = await RequestAsync<DatafilesRead>(
                new ReadDatafiles(0, files.Count == 0 ? null : files[^1].Name), cancellationToken)
                    .ConfigureAwait(false);
            files.AddRange(page.Datafiles);
        }
        while (page.More);
        return files;
    }

    private async Task<TAnswer> RequestAsync<TAnswer>(
        AdminRequest request, CancellationToken cancellationToken, IProgress<JobProgress>? progress = null)
        where TAnswer : AdminAnswer
    {
        var answer = new TaskCompletionSource<AdminAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
        _client.Tell(new AdminClient.SendRequest(request, answer, progress));
        return await answer.Task.WaitAsync(cancellationToken).ConfigureAwait(false) as TAnswer
            ?? throw AdminErrors.ConnectionLost(_address, "it gave an answer of another kind");
    }

    private async Task<T> WhileSessionAsync<T>(
        Func<CancellationToken, Task<T>> work, CancellationToken cancellationToken)
    {
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _lost.Token);
        try
        {
            return await work(linked.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_whyLost() is { } why && !cancellationToken.IsCancellationRequested)
        {
            throw why;
        }
    }

    private async IAsyncEnumerable<T> WhileSessionAsync<T>(
        Func<CancellationToken, IAsyncEnumerable<T>> work, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _lost.Token);
        IAsyncEnumerator<T> items = work(linked.Token).GetAsyncEnumerator(linked.Token);
        await using (items.ConfigureAwait(false))
        {
            while (true)
            {
                try
                {
                    if (!await items.MoveNextAsync().ConfigureAwait(false))
                        break;
                }
                catch (OperationCanceledException) when (_whyLost() is { } why
                    && !cancellationToken.IsCancellationRequested)
                {
                    throw why;
                }
                yield return items.Current;
            }
        }
    }
}
