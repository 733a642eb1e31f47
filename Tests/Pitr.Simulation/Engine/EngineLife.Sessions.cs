using Akka.Actor;
using Pitr.Actors;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Simulation;

/// <content>
/// Clients of the administrator: one actor each, as a program far away has one. They fence with the life of their session,
/// ask for what they may and may not, go silent, and die (promise 6, H49).
/// </content>
internal sealed partial class EngineLife
{
    private const string OperatorToken = "operator";
    private const string ViewerToken = "viewer";

    private IActorRef? _administrator;
    private readonly List<AdminClient> _clients = [];
    private readonly HashSet<Guid> _told = []; // fences that were said to be broken
    private long _requests;

    private IActorRef AdministratorOfLife => _administrator ??= _database.System.ActorOf(
        Administrator.PropsFor(
            new LocalTarget(_database),
            new AdministratorSettings(
                _database.SystemId, _database.Folder, "127.0.0.1:1",
                static token => token switch
                {
                    OperatorToken => AdminRole.Operator,
                    ViewerToken => AdminRole.Viewer,
                    _ => AdminRole.None,
                },
                static path => path.StartsWith("/db", StringComparison.Ordinal),
                static store => store == Store,
                static _ => Task.CompletedTask),
            _world.Clock, _stage.Threads),
        $"administrator-{_seed:x}");

    private AdminClient NewClient()
    {
        var client = new AdminClient(
            _database.System.ActorOf(ActorProps.Of(() => new AdminCaller(_told)), $"client-{_seed:x}-{++_requests}"));
        _clients.Add(client);
        return client;
    }

    /// <summary>Who has no session, or dies with one, or goes silent: what he held is let go, and nobody else's is.</summary>
    public async Task TellSessionsAsync(ClientRandom random)
    {
        await PutAsync("f0", 4, 300, random);
        AdminClient looks = await OpenAsync(ViewerToken);
        await RequireRefusedAsync(looks, new Checkpoint(++_requests), "A viewer has made a checkpoint");
        AdminClient stranger = NewClient();
        await RequireRefusedAsync(
            stranger, new ReadStatus(++_requests), "Somebody without a session was served");
        AdminClient operates = await OpenAsync(OperatorToken);
        await RequireRefusedAsync(
            operates, new MakeBackup(++_requests, "/elsewhere", null, 1, false), "A backup was written outside of the roots");
        await RequireSessionFencesEndAsync(dies: true, random);
        await RequireSessionFencesEndAsync(dies: false, random);
        await RequireToldAsync();
        if (await AskAsync(operates, new MakeBackup(++_requests, Store, null, 1, false)) is BackupMade made)
            Backups.Add(made.Result);
        await PutAsync("f0", 2, 300, random);
        EndAdministrator();
    }

    private async Task AdministerAsync(ClientRandom random)
    {
        bool isThere = random.Chance(30); // the other seeds are the runs that they were without it
        while (isThere && !IsOver && _writersLeft > 0)
        {
            await _world.Delay(random.Time(4000));
            if (IsOver)
                break;
            AdminClient client = await OpenAsync(random.Chance(80) ? OperatorToken : ViewerToken);
            string file = random.Of(_database.Datafiles).Name;
            AdminRequest request = random.Next(4) switch
            {
                0 => new Checkpoint(++_requests),
                1 => new FenceForSession(++_requests, file, 1 + random.Next(100), "a copy"),
                2 => new CreateRestorePoint(++_requests, $"{_prefix}a{++_names}"),
                _ => new ReadStatus(++_requests),
            };
            Task<object> answer = AskAsync(client, request);
            if (random.Chance(30))
                await _world.Delay(random.Time(20));
            else if (await _world.On(answer) is RestorePointCreated point)
                Acknowledge(point.Point.Lsn);
            client.Actor.Tell(random.Chance(50) ? PoisonPill.Instance : new Say(AdministratorOfLife, new CloseSession(), null));
        }

        EndAdministrator();
    }

    private void EndAdministrator()
    {
        if (_administrator is not null)
            _database.System.Stop(_administrator);
        _administrator = null;
        foreach (AdminClient client in _clients)
            _database.System.Stop(client.Actor);
    }

    private async Task<AdminClient> OpenAsync(string token)
    {
        AdminClient client = NewClient();
        object answer = await SayAsync(client, new OpenSession(ProtocolVersion, token, "a client"), "open");
        return answer is SessionOpened
            ? client : throw new SimulationFailure($"A session with a good token was answered with {answer}.");
    }

    /// <summary>A fence of a session breaks soon after its client has died, or said nothing for long: nothing waits for it.</summary>
    private async Task RequireSessionFencesEndAsync(bool dies, ClientRandom random)
    {
        AdminClient holder = await OpenAsync(OperatorToken);
        object answer = await AskAsync(holder, new FenceForSession(++_requests, "f0", 36_000, "a copy"));
        if (answer is not DatafileFenced)
            throw new SimulationFailure($"A fence was refused: {answer}.");
        await PutAsync("f0", 2, 300, random);
        if (dies)
            holder.Actor.Tell(PoisonPill.Instance, ActorRefs.NoSender);
        await _world.Delay(dies ? TimeSpan.FromSeconds(2) : Administrator.SilenceMax * 2);
        (_, EngineStatus? status) = await TryAsync("status", () => _database.GetStatusAsync());
        if (status!.Datafiles.Any(static file => file.Fences.Count > 0))
            throw new SimulationFailure($"The client has {(dies ? "died" : "gone silent")}, and its session's fence is held (promise 6).");
    }

    /// <summary>Whose fence breaks while his session lives is told so: his copy is void (promise 6).</summary>
    private async Task RequireToldAsync()
    {
        AdminClient holder = await OpenAsync(OperatorToken);
        object answer = await AskAsync(holder, new FenceForSession(++_requests, "f0", 5, "a copy"));
        if (answer is not DatafileFenced fenced)
            throw new SimulationFailure($"A fence was refused: {answer}.");
        await _world.Delay(TimeSpan.FromSeconds(10)); // nobody renews it
        if (!_told.Contains(fenced.Fence.FenceId))
            throw new SimulationFailure("The lease of a session's fence has ended, and its client was not told (promise 6).");
    }

    private async Task RequireRefusedAsync(AdminClient client, AdminRequest request, string otherwise)
    {
        object answer = await AskAsync(client, request);
        if (answer is not Failed)
            throw new SimulationFailure($"{otherwise}: {answer} (H49).");
    }

    /// <summary>The answer; each request has one (A2).</summary>
    private Task<object> AskAsync(AdminClient client, AdminRequest request) =>
        SayAsync(client, request, request.GetType().Name);

    private async Task<object> SayAsync(AdminClient client, object message, string what)
    {
        _world.Note("says", what);
        var answered = new TaskCompletionSource<object>();
        client.Actor.Tell(new Say(AdministratorOfLife, message, answered), ActorRefs.NoSender);
        object answer = await _world.On(answered.Task);
        _world.Note("hears", answer.GetType().Name);
        return answer;
    }

    private sealed record AdminClient(IActorRef Actor);

    private sealed record Say(IActorRef To, object Message, TaskCompletionSource<object>? Answered);

    /// <summary>The one actor of a program that administers: its reference is what the administrator admits.</summary>
    private sealed class AdminCaller(HashSet<Guid> told) : UntypedActor
    {
        private readonly Queue<TaskCompletionSource<object>> _asked = new();

        /// <summary>Who is gone hears nothing.</summary>
        protected override void PostStop()
        {
            foreach (TaskCompletionSource<object> asked in _asked)
                asked.TrySetCanceled();
        }

        protected override void OnReceive(object message)
        {
            if (message is Say say)
            {
                if (say.Answered is not null)
                    _asked.Enqueue(say.Answered);
                say.To.Tell(say.Message, Self);
            }
            else if (message is FenceWasBroken broken)
            {
                told.Add(broken.FenceId);
            }
            else if (message is not (Progress or Pong) && _asked.TryDequeue(out TaskCompletionSource<object>? asked))
            {
                asked.SetResult(message);
            }
        }
    }
}
