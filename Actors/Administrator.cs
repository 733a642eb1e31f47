using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Actors;

/// <summary>What an <see cref="Administrator"/> is told about the engine that it speaks for.</summary>
/// <param name="SystemId">Which database.</param>
/// <param name="Folder">Where it lies.</param>
/// <param name="Http">HOST:PORT of the HTTP endpoint.</param>
/// <param name="RoleOf">What the token that a client shows allows it.</param>
/// <param name="PathIsAllowed">Whether a path that a client named may be used (the configured roots).</param>
/// <param name="StoreIsAllowed">The same of a store.</param>
/// <param name="WhenShutdown">Called once, with "forced", when a client asked for the end; completes when the engine
/// has stopped.</param>
internal sealed record AdministratorSettings(
    SystemIdentifier SystemId,
    string Folder,
    string Http,
    Func<string, AdminRole> RoleOf,
    Func<string, bool> PathIsAllowed,
    Func<string, bool> StoreIsAllowed,
    Func<bool, Task> WhenShutdown);

/// <summary>
/// The one actor that remote callers reach: admits them by token, carries out their requests on the engine.
/// </summary>
/// <remarks>
/// STATE  the open sessions, by the client's reference. A session belongs to exactly one reference; a request from any
/// other is answered with NotAuthorized (a token that was shown once does not open the door for neighbours).
/// INVARIANTS
///   A1  Nothing reaches the engine for a client without an open session, or whose role is too low.
///   A2  Every request of an open session is answered exactly once, also one that its client gave up.
///   A3  A session ends with CloseSession, its client's death, or <see cref="SilenceMax"/> without a message; what it
///       had running is cancelled then, and the fences of FenceForSession break: the death watch on the client is
///       theirs. Those of FenceDatafile live on, to their lease or an unfence.
///   A4  A fence is granted to a client that waits for it, or given back.
/// FAILURE  a request's failure is its answer. A crash of this actor ends the sessions, never the engine.
/// </remarks>
internal sealed class Administrator : UntypedActor, IWithTimers
{
    /// <summary>A session without a message for so long is over. Clients send a Ping every few seconds.</summary>
    public static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(60);

    /// <summary>
    /// More sessions than this at a time are refused: each is a small record, and a leak would not end.
    /// </summary>
    public const int SessionsMax = 1000;

    private const int PageBytesMax = 64 << 10;
    private const int ReasonCharactersMax = 500;

    private readonly IDatabaseTarget _engine;
    private readonly AdministratorSettings _settings;
    private readonly TimeProvider _clock;
    private readonly IThreads _threads;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Dictionary<IActorRef, Session> _sessions = [];

    /// <summary>Made by <see cref="PropsFor"/>.</summary>
    public Administrator(
        IDatabaseTarget engine, AdministratorSettings settings, TimeProvider clock, IThreads threads)
    {
        _engine = engine;
        _settings = settings;
        _clock = clock;
        _threads = threads;
    }

    /// <inheritdoc/>
    public ITimerScheduler Timers { get; set; } = null!;

    /// <summary>How it is made.</summary>
    public static Props PropsFor(
        IDatabaseTarget engine, AdministratorSettings settings, TimeProvider clock, IThreads? threads = null) =>
        Props.Create(() => new Administrator(engine, settings, clock, threads ?? PoolThreads.Instance));

    /// <inheritdoc/>
    protected override void PreStart() =>
        Timers.StartPeriodicTimer("silence", new LookForSilentSessions(), SilenceMax / 4);

    /// <inheritdoc/>
    protected override void PostStop()
    {
        foreach (Session session in _sessions.Values)
            session.End();
    }

    /// <inheritdoc/>
    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case OpenSession open:
                Open(open, Sender);
                break;
            case Ping:
                Sender.Tell(new Pong(Touch(Sender) is not null));
                break;
            case CloseSession:
                Close(Sender, "its client left");
                break;
            case CancelRequest cancel:
                Touch(Sender)?.GiveUp(cancel.Cancelled);
                break;
            case AdminRequest request when Touch(Sender) is { } session && session.Role < RoleNeeded(request): // A1
                Refuse(request.RequestId, AdminErrors.RoleTooLow(session.Role));
                break;
            case AdminRequest request when Touch(Sender) is { } session:
                Start(request, session, Sender);
                break;
            case AdminRequest request: // A1
                Refuse(request.RequestId, AdminErrors.NotAuthorized());
                break;
            case Unintelligible nonsense:
                Refuse(
                    nonsense.RequestId,
                    Touch(Sender) is null ? AdminErrors.NotAuthorized() : AdminErrors.Unintelligible(nonsense.Why));
                break;
            case RequestEnded ended:
                End(ended.Of, ended.Answer);
                break;
            case SessionFenceEnded ended when _sessions.ContainsKey(ended.Client): // else its end broke them
                ended.Client.Tell(new FenceWasBroken(
                    ended.Fence.FenceId, ended.Fence.Datafile, AdminProblems.Of(ended.Fence.Why)));
                break;
            case SessionFenceEnded:
                break;
            case Terminated terminated:
                Close(terminated.ActorRef, "its client died");
                break;
            case LookForSilentSessions:
                CloseSilentSessions();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- sessions ----------------------------------------------------------------------------------

    private void Open(OpenSession open, IActorRef client)
    {
        AdminRole role = _settings.RoleOf(open.Token);
        PitrException? refusal = open.Version != ProtocolVersion
            ? AdminErrors.ProtocolVersion(open.Version)
            : role == AdminRole.None ? AdminErrors.NotAuthorized()
            : _sessions.Count >= SessionsMax && !_sessions.ContainsKey(client)
                ? AdminErrors.TooManySessions(SessionsMax)
            : null;
        if (refusal is not null)
        {
            _log.Warning("Session refused to {0}: {1}", client.Path, refusal.Message);
            client.Tell(new SessionRefused(AdminProblems.Of(refusal)));
            return;
        }
        if (!_sessions.TryGetValue(client, out Session? session))
        {
            IActorRef self = Self;
            _sessions.Add(client, session = new Session(
                _clock.GetTimestamp(),
                new SessionFences(_engine, NameOf(open, client), broken => self.Tell(new SessionFenceEnded(client, broken)))));
            Context.Watch(client);
            _log.Debug("Session opened for {0} ({1}) as {2}", client.Path, open.Client, role);
        }
        session.Role = role;
        client.Tell(new SessionOpened(ProtocolVersion, _settings.SystemId, _settings.Folder, _settings.Http, role));
    }

    private void Refuse(long requestId, PitrException why) =>
        Sender.Tell(new Failed(requestId, AdminProblems.Of(why)));

    /// <summary>What only looks is named here; all else needs an operator.</summary>
    private static AdminRole RoleNeeded(AdminRequest request) =>
        request is ReadStatus or ReadDatafiles or ReadTables ? AdminRole.Viewer : AdminRole.Operator;

    private Session? Touch(IActorRef client)
    {
        if (!_sessions.TryGetValue(client, out Session? session))
            return null;
        session.LastHeard = _clock.GetTimestamp();
        return session;
    }

    private void Close(IActorRef client, string why)
    {
        if (!_sessions.Remove(client, out Session? session))
            return;
        Context.Unwatch(client);
        session.End(); // A3
        _log.Debug("Session of {0} ended: {1}", client.Path, why);
    }

    private void CloseSilentSessions()
    {
        foreach ((IActorRef client, Session session) in _sessions.ToArray())
        {
            if (_clock.GetElapsedTime(session.LastHeard) > SilenceMax)
                Close(client, "its client went silent");
        }
    }

    // ---- requests ----------------------------------------------------------------------------------

    private void Start(AdminRequest request, Session session, IActorRef client)
    {
        IActorRef self = Self;
        var underWay = new RequestUnderWay(client, request, session.Ended.Token);
        session.UnderWay.Add(underWay);
        CarryOutAsync(underWay, session).PipeTo(
            self,
            success: answer => new RequestEnded(underWay, answer),
            failure: cause => new RequestEnded(underWay, new Failed(request.RequestId, AdminProblems.Of(cause)))); // A2
    }

    private void End(RequestUnderWay request, AdminAnswer answer)
    {
        if (_sessions.TryGetValue(request.Client, out Session? session))
            session.UnderWay.Remove(request);
        if (request.IsGivenUp && answer is DatafileFenced late) // A4
        {
            _ = GiveBackAsync(late.Fence.FenceId);
            answer = new Failed(answer.RequestId, AdminProblems.Of(new OperationCanceledException()));
        }

        request.Dispose();
        foreach (AdminAnswer part in PartsOf(answer, request.Request))
            request.Client.Tell(Fitting(part));
    }

    /// <summary>An answer in pages, if its client takes it so; to another one that no message holds is refused.</summary>
    private static IEnumerable<AdminAnswer> PartsOf(AdminAnswer answer, AdminRequest request)
    {
        if (answer is not FolderDrained drained || request is not DrainFolder { InPages: true })
        {
            yield return answer;
            yield break;
        }

        int told = 0;
        bool more;
        do
        {
            (List<MoveResult> page, more) = Page(
                drained.Results.Skip(told), static one => 200 + (6 * (one.Datafile.Length + one.From.Length + one.To.Length)));
            told += page.Count;
            yield return drained with { Results = page, More = more };
        }
        while (more);
    }

    private async Task GiveBackAsync(Guid fence)
    {
        await new Elsewhere(_threads);
        try
        {
            await _engine.UnfenceAsync(null, fence, CancellationToken.None).ConfigureAwait(false);
        }
        catch (PitrException)
        {
            // It was broken, or the engine ends: nothing is left of it.
        }
    }

    /// <summary>A2 of an answer that no message holds.</summary>
    private static AdminAnswer Fitting(AdminAnswer answer) =>
        AdminSerializer.BytesOf(answer) is var bytes and > AdminSerializer.MessageBytesMax
            ? new Failed(
                answer.RequestId, AdminProblems.Of(AdminErrors.AnswerTooLong(bytes, AdminSerializer.MessageBytesMax)))
            : answer;

    private async Task<AdminAnswer> CarryOutAsync(RequestUnderWay underWay, Session session)
    {
        (AdminRequest request, IActorRef client) = (underWay.Request, underWay.Client);
        CancellationToken ended = underWay.GivenUp;
        await new Elsewhere(_threads); // never on this actor's thread: a synchronous part of the engine must not delay a Pong
        long id = request.RequestId;
        if (SessionSets.Takes(request))
            return await session.Sets.CarryOutAsync(request, _engine, ended).ConfigureAwait(false);
        switch (request)
        {
            case ReadStatus:
                EngineStatus status = await _engine.GetStatusAsync(ended).ConfigureAwait(false);
                return new StatusRead(id, status with { Datafiles = [] });
            case ReadDatafiles read:
                return await ReadDatafilesAsync(read, ended).ConfigureAwait(false);
            case ReadTables read:
                return await ReadTablesAsync(read, ended).ConfigureAwait(false);
            case Checkpoint:
                return new Checkpointed(id, await _engine.CheckpointAsync(ended).ConfigureAwait(false));
            case SwitchWal:
                return new WalSwitched(id, await _engine.SwitchWalAsync(ended).ConfigureAwait(false));
            case AddArchiveStore add:
                RequireAllowed(add.Store, _settings.StoreIsAllowed);
                return new StoreWasAdded(id, await _engine.AddStoreAsync(add.Store, ended).ConfigureAwait(false));
            case RemoveArchiveStore remove:
                return new StoreWasRemoved(id, await _engine.RemoveStoreAsync(remove.Store, ended).ConfigureAwait(false));
            case CheckArchive:
                return new ArchiveChecked(id, await _engine.CheckArchiveAsync(ended).ConfigureAwait(false));
            case CreateRestorePoint create:
                RequireName(create.Name);
                return new RestorePointCreated(
                    id, await _engine.CreateRestorePointAsync(create.Name, ended).ConfigureAwait(false));
            case Shutdown shutdown:
                await _settings.WhenShutdown(shutdown.Force).ConfigureAwait(false);
                return new Done(id);
            case CreateDatafile create:
                RequireName(create.Name);
                if (create.Path is { } path)
                    RequireAllowed(path, _settings.PathIsAllowed);
                return new DatafileCreated(
                    id, await _engine.CreateDatafileAsync(create.Name, create.Path, ended).ConfigureAwait(false));
            case DropDatafile drop:
                await _engine.DropDatafileAsync(drop.Name, ended).ConfigureAwait(false);
                return new Done(id);
            case CreateTable create:
                RequireName(create.Name);
                return new TableCreated(
                    id, await _engine.CreateTableAsync(create.Name, create.Datafile, ended).ConfigureAwait(false));
            case DropTable drop:
                await _engine.DropTableAsync(drop.Name, ended).ConfigureAwait(false);
                return new Done(id);
            case FenceDatafile fence:
                return new DatafileFenced(id, await _engine
                    .FenceAsync(fence.Datafile, LeaseOf(fence.LeaseSeconds), Shown(fence.Reason), ended)
                    .ConfigureAwait(false));
            case FenceForSession fence:
                return new DatafileFenced(id, await session.Fences
                    .FenceAsync(fence.Datafile, LeaseOf(fence.LeaseSeconds), Shown(fence.Reason), ended)
                    .ConfigureAwait(false));
            case RenewFence renew:
                return new FenceRenewed(id, await _engine
                    .RenewFenceAsync(renew.FenceId, LeaseOf(renew.LeaseSeconds), ended).ConfigureAwait(false));
            case UnfenceDatafile unfence:
                return new DatafileUnfenced(
                    id, await _engine.UnfenceAsync(unfence.Datafile, unfence.FenceId, ended).ConfigureAwait(false));
            case MakeBackup backup:
                RequireAllowed(backup.Store, _settings.StoreIsAllowed);
                var progress = new TellProgress(id, client);
                return new BackupMade(id, await _engine.BackupAsync(
                    new BackupRequest
                    {
                        Store = backup.Store,
                        BytesPerSecondMax = backup.BytesPerSecondMax,
                        Jobs = Math.Clamp(backup.Jobs, 1, 64),
                        Incremental = backup.Incremental,
                        Progress = progress,
                    },
                    ended).ConfigureAwait(false));
            case MoveDatafile move:
                RequireAllowed(move.Path, _settings.PathIsAllowed);
                return new DatafileMoved(id, await _engine.MoveAsync(
                    new MoveRequest
                    {
                        Datafile = move.Datafile,
                        Path = move.Path,
                        WithoutLink = move.WithoutLink,
                        BytesPerSecondMax = move.BytesPerSecondMax,
                        Progress = new TellProgress(id, client),
                    },
                    ended).ConfigureAwait(false));
            case CompactDatafile compact:
                return new DatafileCompacted(id, await _engine.CompactAsync(
                    new CompactRequest
                    {
                        Datafile = compact.Datafile,
                        BytesPerSecondMax = compact.BytesPerSecondMax,
                        Progress = new TellProgress(id, client),
                    },
                    ended).ConfigureAwait(false));
            case DrainFolder drain:
                RequireAllowed(drain.Folder, _settings.PathIsAllowed);
                RequireAllowed(drain.To, _settings.PathIsAllowed);
                IReadOnlyList<MoveResult> moved = await _engine.DrainAsync(
                    new DrainRequest
                    {
                        Folder = drain.Folder,
                        To = drain.To,
                        BytesPerSecondMax = drain.BytesPerSecondMax,
                        Progress = new TellProgress(id, client),
                    },
                    ended).ConfigureAwait(false);
                return new FolderDrained(id, moved);
            case RecoverDatafile recover:
                foreach (string? store in (string?[])[recover.Store, recover.Archive])
                {
                    if (store is not null)
                        RequireAllowed(store, _settings.StoreIsAllowed);
                }

                var asked = new DatafileRecoveryRequest
                {
                    Datafile = recover.Datafile,
                    Store = recover.Store,
                    Archive = recover.Archive,
                    Progress = new TellProgress(id, client),
                };
                return recover.PlanOnly
                    ? new DatafileRecoveryPlanned(id, (await _engine.PlanDatafileRecoveryAsync(asked, ended)
                        .ConfigureAwait(false)).Condensed().ToJson())
                    : new DatafileRecovered(
                        id, await _engine.RecoverDatafileAsync(asked, ended).ConfigureAwait(false));
            default:
                throw new BugException($"The administrator has no answer to '{request.GetType().Name}'.");
        }
    }

    private async Task<AdminAnswer> ReadDatafilesAsync(ReadDatafiles read, CancellationToken ended)
    {
        EngineStatus status = await _engine.GetStatusAsync(ended).ConfigureAwait(false);
        IEnumerable<DatafileStatus> rest = status.Datafiles
            .OrderBy(file => file.Name, StringComparer.Ordinal)
            .Where(file => read.After is null || string.CompareOrdinal(file.Name, read.After) > 0)
            .Select(static file => BytesAtMost(file) <= PageBytesMax ? file : WithShortTexts(file));
        (List<DatafileStatus> page, bool more) = Page(rest, BytesAtMost);
        return new DatafilesRead(read.RequestId, page, more);
    }

    private static int BytesAtMost(DatafileStatus file) => 400 + (6 * (file.Name.Length + file.Path.Length))
        + file.Fences.Sum(static fence => 200 + (6 * (fence.Holder.Length + fence.Reason.Length)));

    /// <summary>A row that is a page by itself, of very many fences: each is there, with the beginning of what it says.</summary>
    private static DatafileStatus WithShortTexts(DatafileStatus file) => file with
    {
        Fences =
        [
            .. file.Fences.Select(static fence => fence with
            {
                Holder = Begin(fence.Holder),
                Reason = Begin(fence.Reason),
            }),
        ],
    };

    private static string Begin(string text) => text.Length <= 20 ? text : string.Concat(text.AsSpan(0, 20), "…");

    private async Task<AdminAnswer> ReadTablesAsync(ReadTables read, CancellationToken ended)
    {
        IEnumerable<TableEntry> rest = (await _engine.ListTablesAsync(ended).ConfigureAwait(false))
            .OrderBy(table => table.Name, StringComparer.Ordinal)
            .Where(table => read.After is null || string.CompareOrdinal(table.Name, read.After) > 0);
        (List<TableEntry> page, bool more) = Page(rest, table => 40 + table.Name.Length + table.Datafile.Length);
        return new TablesRead(read.RequestId, page, more);
    }

    /// <summary>
    /// As many rows as stay below a frame, at least one. The size of a row is an upper bound (a character may take 6
    /// bytes).
    /// </summary>
    private static (List<T> Page, bool More) Page<T>(IEnumerable<T> rows, Func<T, int> bytesAtMost)
    {
        var page = new List<T>();
        int bytes = 0;
        foreach (T row in rows)
        {
            bytes += bytesAtMost(row);
            if (page.Count > 0 && bytes > PageBytesMax)
                return (page, true);
            page.Add(row);
        }
        return (page, false);
    }

    /// <summary>What is no time at all is none; the engine says which leases it allows.</summary>
    private static TimeSpan LeaseOf(double seconds) =>
        double.IsNaN(seconds) ? TimeSpan.Zero : TimeSpan.FromSeconds(Math.Clamp(seconds, -1, 1e9));

    /// <summary>Text of a client as others see it: not too much of it, on one line, with no control characters.</summary>
    internal static string Shown(string text) => new(
        [.. text.Take(ReasonCharactersMax).Select(one => char.IsControl(one) ? ' ' : one)]);

    private static string NameOf(OpenSession open, IActorRef client) =>
        Shown($"{open.Client} at {client.Path.Address.Host ?? "this machine"}");

    private static void RequireName(string name)
    {
        if (!Limits.IsName(name))
            throw AdminErrors.NotAName(name);
    }

    private static void RequireAllowed(string named, Func<string, bool> isAllowed)
    {
        if (!isAllowed(named))
            throw AdminErrors.PathOutsideRoots(named);
    }

    // ---- parts -------------------------------------------------------------------------------------

    private sealed class Session(long openedAt, SessionFences fences)
    {
        public SessionFences Fences { get; } = fences;

        public CancellationTokenSource Ended { get; } = new();

        public SessionSets Sets { get; } = new();

        public HashSet<RequestUnderWay> UnderWay { get; } = [];

        public long LastHeard { get; set; } = openedAt;

        public AdminRole Role { get; set; }

        public void GiveUp(long requestId)
        {
            foreach (RequestUnderWay request in UnderWay.Where(one => one.Request.RequestId == requestId))
                request.GiveUp();
        }

        public void End()
        {
            Ended.Cancel();
            Fences.Close();
            Sets.Close();
        }
    }

    /// <summary>Passes a job's progress on to its client, on whichever thread it is reported.</summary>
    private sealed class TellProgress(long requestId, IActorRef client) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) =>
            client.Tell(new Progress(requestId, value.Step, value.DoneBytes, value.TotalBytes));
    }
}
