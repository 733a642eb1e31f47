using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Akka.Actor;
using Pitr.Actors;
using Pitr.Recovery;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Hosting;

/// <summary>
/// A running engine behind an address, for any .NET program: administration as messages to its Administrator, data over
/// its HTTP endpoint, whose address the Administrator tells.
/// </summary>
/// <remarks>
/// A session: it is open from <see cref="ConnectAsync"/> on, until it is disposed of or lost; then everything that is
/// under way fails with ConnectionLost, and what of it the engine has done is not known. A request whose token is
/// cancelled is given up by the engine as well, as far as it still can be; its caller does not wait for that. Failures
/// are those of the engine, with their code, text and hint. Fences that were taken live on, to their lease or an
/// unfence, unless they are bound to the session (<see cref="FenceBond"/>).
/// Any number of threads may use one. `pitr --host` is built on this.
/// </remarks>
public sealed class PitrAdmin : IDatabaseTarget
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly string _address;
    private readonly ActorSystem _system;
    private readonly IActorRef _client;
    private readonly HttpData _data;
    private readonly BrokenFences _broken;
    private readonly CancellationTokenSource _lost;
    private readonly Func<Exception?> _whyLost;
    private readonly TlsIdentity? _tls;

    private PitrAdmin(
        string address, SessionOpened session, ActorSystem system, IActorRef client, HttpData data, TlsIdentity? tls,
        BrokenFences broken, CancellationTokenSource lost, Func<Exception?> whyLost)
    {
        _address = address;
        Role = session.Role;
        SystemId = session.SystemId;
        Folder = session.Folder;
        _system = system;
        _client = client;
        _data = data;
        _tls = tls;
        _broken = broken;
        _lost = lost;
        _whyLost = whyLost;
    }

    /// <summary>What the token allows: all that is refused is refused by the engine.</summary>
    public AdminRole Role { get; }

    /// <summary>Which database it is.</summary>
    public SystemIdentifier SystemId { get; }

    /// <summary>Where the database lies, on the engine's machine.</summary>
    public string Folder { get; }

    /// <summary>Opens a session.</summary>
    /// <param name="address">HOST:PORT of the engine's administration.</param>
    /// <param name="options">The token and the certificates; null: the token of this user's engine, on loopback.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="ArgumentException">The address is not HOST:PORT.</exception>
    /// <exception cref="StorageFailedException">ConnectionLost: no engine answers.</exception>
    /// <exception cref="RefusedException">NotAuthorized: the token is not the engine's, or there is none; or the address
    /// is not on loopback and no certificates are given. FormatVersion: the engine is of another release.</exception>
    public static async Task<PitrAdmin> ConnectAsync(
        string address, PitrAdminOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new PitrAdminOptions();
        ListenAddress engine = ListenAddress.Parse(address).Numeric;
        address = engine.ToString();
        TlsIdentity? tls = engine.IsLoopback
            ? null
            : TlsIdentity.Load(options.Tls ?? throw AdminErrors.ClientNeedsTls(address), TimeProvider.System);
        IPAddress local = await ProbeAsync(engine, cancellationToken).ConfigureAwait(false);
        string shown = options.Token ?? TokenFile.Read(options.TokenFile, address, options.Variable);
        ActorSystem system = ActorSystem.Create("pitr-client", RemotingConfig.ForClient(local, engine.Host, tls));
        var opened = new TaskCompletionSource<SessionOpened>(TaskCreationOptions.RunContinuationsAsynchronously);
        var lost = new CancellationTokenSource();
        var broken = new BrokenFences();
        Exception? why = null;
        void WhenLost(Exception cause)
        {
            Volatile.Write(ref why, cause);
            ThreadPool.UnsafeQueueUserWorkItem(static source => Cancel(source), lost, preferLocal: false);
        }
        IActorRef client = system.ActorOf(
            AdminClient.PropsFor(address, tls is not null, shown, opened, WhenLost, broken.Note));
        try
        {
            SessionOpened session = await opened.Task.WaitAsync(ConnectTimeout, cancellationToken)
                .ConfigureAwait(false);
            bool reachable = engine.IsLoopback || !ListenAddress.Parse(session.Http).IsLoopback;
            var data = new HttpData(session.Http, shown, engine.IsLoopback ? null : tls)
            {
                Refusal = reachable ? null : AdminErrors.HttpOnLoopback(address, session.Http),
            };
            return new PitrAdmin(
                address, session, system, client, data, tls, broken, lost, () => Volatile.Read(ref why));
        }
        catch (Exception failure)
        {
            await system.Terminate().ConfigureAwait(false);
            tls?.Dispose();
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
        _tls?.Dispose();
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
    public async Task<ArchiveStatus> AddStoreAsync(string store, CancellationToken cancellationToken) =>
        (await RequestAsync<StoreWasAdded>(new AddArchiveStore(0, store), cancellationToken).ConfigureAwait(false)).Status;

    /// <inheritdoc/>
    public async Task<StoreRemoval> RemoveStoreAsync(string store, CancellationToken cancellationToken) =>
        (await RequestAsync<StoreWasRemoved>(new RemoveArchiveStore(0, store), cancellationToken)
            .ConfigureAwait(false)).Removal;

    /// <inheritdoc/>
    public async Task<IReadOnlyList<StoreCheck>> CheckArchiveAsync(CancellationToken cancellationToken) =>
        (await RequestAsync<ArchiveChecked>(new CheckArchive(0), cancellationToken).ConfigureAwait(false)).Stores;

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
    public Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken) =>
        FenceAsync(datafile, lease, reason, FenceBond.Lease, cancellationToken);

    /// <summary>Holds a datafile still until its lease ends, it is unfenced, or what it is bound to ends.</summary>
    /// <param name="datafile">Its name.</param>
    /// <param name="lease">More than zero, at most 24 hours; <see cref="RenewFenceAsync"/> prolongs it.</param>
    /// <param name="reason">For status and log.</param>
    /// <param name="bond">Whether this session's end breaks it.</param>
    /// <param name="cancellationToken">Ends the wait; a fence that is granted all the same is given back.</param>
    public async Task<FenceGrant> FenceAsync(
        string datafile, TimeSpan lease, string reason, FenceBond bond, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileFenced>(
            bond == FenceBond.Session
                ? new FenceForSession(0, datafile, lease.TotalSeconds, reason)
                : new FenceDatafile(0, datafile, lease.TotalSeconds, reason),
            cancellationToken).ConfigureAwait(false)).Fence;

    /// <inheritdoc/>
    public async Task<DateTimeOffset> RenewFenceAsync(
        Guid fenceId, TimeSpan lease, CancellationToken cancellationToken) =>
        (await RequestAsync<FenceRenewed>(new RenewFence(0, fenceId, lease.TotalSeconds), cancellationToken)
            .ConfigureAwait(false)).Until;

    /// <summary>
    /// Completes when a fence of this session is broken: its lease has ended, the engine was shut down by force, too much WAL
    /// was kept for it. The copy is void, and need not go on.
    /// </summary>
    /// <param name="fenceId">A fence of <see cref="FenceBond.Session"/>; the engine tells nobody of others.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="StorageFailedException">ConnectionLost: the session is lost, and its fences with it.</exception>
    public Task<BrokenFence> FenceBrokenAsync(Guid fenceId, CancellationToken cancellationToken = default) =>
        WhileSessionAsync(token => _broken.Of(fenceId).WaitAsync(token), cancellationToken);

    /// <inheritdoc/>
    IFenceHolder IDatabaseTarget.HoldFences(string name, Action<BrokenFence>? whenBroken) => new SessionHolder(this, whenBroken);

    /// <inheritdoc/>
    public async Task<UnfenceResult> UnfenceAsync(
        string? datafile, Guid? fenceId, CancellationToken cancellationToken)
    {
        UnfenceResult result = (await RequestAsync<DatafileUnfenced>(
            new UnfenceDatafile(0, datafile, fenceId), cancellationToken).ConfigureAwait(false)).Result;
        if (fenceId is { } left)
            _broken.Forget(left);
        return result;
    }

    /// <inheritdoc/>
    public async Task<BackupResult> BackupAsync(BackupRequest request, CancellationToken cancellationToken) =>
        (await RequestAsync<BackupMade>(
            new MakeBackup(0, request.Store, request.BytesPerSecondMax, request.Jobs, request.Incremental),
            cancellationToken, request.Progress)
            .ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<MoveResult> MoveAsync(MoveRequest request, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileMoved>(
            new MoveDatafile(0, request.Datafile, request.Path, request.WithoutLink, request.BytesPerSecondMax),
            cancellationToken, request.Progress).ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<CompactResult> CompactAsync(CompactRequest request, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileCompacted>(
            new CompactDatafile(0, request.Datafile, request.BytesPerSecondMax), cancellationToken, request.Progress)
            .ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<IReadOnlyList<MoveResult>> DrainAsync(
        DrainRequest request, CancellationToken cancellationToken)
    {
        var moves = new List<MoveResult>();
        FolderDrained last = await RequestAsync<FolderDrained>(
            new DrainFolder(0, request.Folder, request.To, request.BytesPerSecondMax, InPages: true), cancellationToken,
            request.Progress, page => moves.AddRange(((FolderDrained)page).Results)).ConfigureAwait(false);
        return [.. moves, .. last.Results];
    }

    /// <inheritdoc/>
    public async Task<DatafileRecoveryResult> RecoverDatafileAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken) =>
        (await RequestAsync<DatafileRecovered>(
            new RecoverDatafile(0, request.Datafile, request.Store, request.Archive, PlanOnly: false), cancellationToken,
            request.Progress).ConfigureAwait(false)).Result;

    /// <inheritdoc/>
    public async Task<RecoveryPlan> PlanDatafileRecoveryAsync(
        DatafileRecoveryRequest request, CancellationToken cancellationToken) =>
        RecoveryPlan.Parse((await RequestAsync<DatafileRecoveryPlanned>(
            new RecoverDatafile(0, request.Datafile, request.Store, request.Archive, PlanOnly: true), cancellationToken,
            request.Progress).ConfigureAwait(false)).Plan);

    /// <inheritdoc/>
    async Task<IKeptSet> IDatabaseTarget.KeepSetAsync(string reason, CancellationToken cancellationToken) =>
        await RemoteKeptSet.BeginAsync(
            Folder, reason, (request, cancel) => RequestAsync<AdminAnswer>(request, cancel), cancellationToken)
            .ConfigureAwait(false);

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

    /// <summary>The session itself: its fences are broken when it is disposed of, and not before.</summary>
    private sealed class SessionHolder(PitrAdmin session, Action<BrokenFence>? whenBroken) : IFenceHolder
    {
        public async Task<FenceGrant> FenceAsync(
            string datafile, TimeSpan lease, string reason, CancellationToken cancellationToken)
        {
            FenceGrant fence = await session.FenceAsync(datafile, lease, reason, FenceBond.Session, cancellationToken)
                .ConfigureAwait(false);
            if (whenBroken is not null)
                _ = TellAsync(fence.FenceId, whenBroken);
            return fence;
        }

        private async Task TellAsync(Guid fenceId, Action<BrokenFence> tell) =>
            tell(await session._broken.Of(fenceId).ConfigureAwait(false));

        public void Dispose()
        {
        }
    }

    /// <summary>Something must listen there; the answer is the address by which this machine reaches it.</summary>
    private static async Task<IPAddress> ProbeAsync(ListenAddress engine, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(TimeSpan.FromSeconds(5));
        using var probe = new TcpClient();
        try
        {
            await probe.ConnectAsync(engine.Host, engine.Port, timeout.Token).ConfigureAwait(false);
            IPAddress local = ((IPEndPoint)probe.Client.LocalEndPoint!).Address;
            return local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local;
        }
        catch (SocketException failure)
        {
            throw AdminErrors.NoEngine(engine.ToString(), failure.Message.TrimEnd('.'));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw AdminErrors.NoEngine(engine.ToString(), "no connection within 5 s");
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
        AdminRequest request, CancellationToken cancellationToken, IProgress<JobProgress>? progress = null,
        Action<AdminAnswer>? page = null)
        where TAnswer : AdminAnswer
    {
        cancellationToken.ThrowIfCancellationRequested();
        var answer = new TaskCompletionSource<AdminAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
        _client.Tell(new AdminClient.SendRequest(request, answer, progress, page));
        try
        {
            return await answer.Task.WaitAsync(cancellationToken).ConfigureAwait(false) as TAnswer
                ?? throw AdminErrors.ConnectionLost(_address, "it gave an answer of another kind");
        }
        catch (OperationCanceledException)
        {
            GiveUp(answer);
            throw;
        }
    }

    /// <summary>
    /// Nobody waits for an answer any more. What was granted by then is given back when the answer comes: the engine
    /// cannot take back what it has sent, and one of an earlier release knows of no giving up.
    /// </summary>
    private void GiveUp(TaskCompletionSource<AdminAnswer> answer)
    {
        _client.Tell(new AdminClient.GiveUp(answer));
        answer.Task.ContinueWith(
            late =>
            {
                AdminRequest? givesBack = !late.IsCompletedSuccessfully ? null : late.Result switch
                {
                    DatafileFenced granted => new UnfenceDatafile(0, null, granted.Fence.FenceId),
                    SetBegun begun => new ReleaseSet(0, begun.Set),
                    _ => null,
                };
                if (givesBack is not null)
                    _client.Tell(new AdminClient.SendRequest(givesBack, new TaskCompletionSource<AdminAnswer>(), null));
                else
                    _ = late.Exception; // refused: nothing is left of it
            },
            CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
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
