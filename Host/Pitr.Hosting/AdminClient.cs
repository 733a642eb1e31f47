using Akka.Actor;
using Akka.Remote;
using Pitr.Actors;
using static Pitr.Actors.AdminProtocol;

namespace Pitr.Hosting;

/// <summary>
/// The client's end of a session: the one reference that the Administrator knows, which sends the requests and gives
/// each answer to who waits for it.
/// </summary>
/// <remarks>
/// INVARIANT  every request ends: with its answer, or with ConnectionLost when the engine's end closes or is silent for
/// <see cref="SilenceMax"/> (it answers Ping at once whatever it does).
/// </remarks>
internal sealed class AdminClient : UntypedActor, IWithTimers
{
    /// <summary>An engine that said nothing for so long is dead. (A client ends within 30 s of its engine.)</summary>
    public static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(3);

    private readonly string _address;
    private readonly bool _tls;
    private readonly string _token;
    private readonly TaskCompletionSource<SessionOpened> _opened;
    private readonly Action<Exception> _whenLost;
    private readonly Action<BrokenFence> _whenBroken;
    private readonly Dictionary<long, SendRequest> _pending = [];
    private IActorRef? _administrator;
    private Exception? _lost;
    private long _lastHeard = TimeProvider.System.GetTimestamp();
    private long _requests;

    /// <summary>Made by <see cref="PropsFor"/>.</summary>
    public AdminClient(
        string address, bool tls, string token, TaskCompletionSource<SessionOpened> opened, Action<Exception> whenLost,
        Action<BrokenFence> whenBroken)
    {
        _address = address;
        _tls = tls;
        _token = token;
        _opened = opened;
        _whenLost = whenLost;
        _whenBroken = whenBroken;
    }

    /// <inheritdoc/>
    public ITimerScheduler Timers { get; set; } = null!;

    /// <summary>How it is made.</summary>
    /// <param name="address">HOST:PORT of the engine.</param>
    /// <param name="tls">Whether TLS is spoken.</param>
    /// <param name="token">Its token.</param>
    /// <param name="opened">Completes when the session is open, or fails with why not.</param>
    /// <param name="whenLost">Called once if an open session is lost.</param>
    /// <param name="whenBroken">Called for each fence of the session that the engine says was broken.</param>
    public static Props PropsFor(
        string address, bool tls, string token, TaskCompletionSource<SessionOpened> opened, Action<Exception> whenLost,
        Action<BrokenFence> whenBroken) =>
        Props.Create(() => new AdminClient(address, tls, token, opened, whenLost, whenBroken));

    /// <inheritdoc/>
    protected override void PreStart()
    {
        Context.System.EventStream.Subscribe(Self, typeof(DisassociatedEvent));
        Context.System.EventStream.Subscribe(Self, typeof(AssociationErrorEvent));
        Timers.StartPeriodicTimer("ping", new Tick(), PingInterval);
        Context.ActorSelection(RemotingConfig.AdministratorPath(_address, _tls))
            .Tell(new OpenSession(ProtocolVersion, _token, $"pitr {Environment.ProcessId}"), Self);
    }

    /// <inheritdoc/>
    protected override void PostStop() => Lose("the session was closed");

    /// <inheritdoc/>
    protected override void OnReceive(object message)
    {
        if (message is IAdminMessage)
            _lastHeard = TimeProvider.System.GetTimestamp();
        switch (message)
        {
            case SessionOpened opened:
                _administrator = Sender;
                _opened.TrySetResult(opened);
                break;
            case SessionRefused refused:
                _opened.TrySetException(AdminProblems.ToException(refused.Why));
                break;
            case SendRequest send:
                Send(send);
                break;
            case Progress progress when _pending.TryGetValue(progress.RequestId, out SendRequest? waiting):
                waiting.Progress?.Report(new JobProgress(progress.Step, progress.DoneBytes, progress.TotalBytes));
                break;
            case FolderDrained { More: true } page when _pending.TryGetValue(page.RequestId, out SendRequest? waiting):
                waiting.Page?.Invoke(page);
                break;
            case Failed failed when _pending.Remove(failed.RequestId, out SendRequest? waiting):
                waiting.Answer.TrySetException(AdminProblems.ToException(failed.Why));
                break;
            case Unintelligible nonsense when _pending.Remove(nonsense.RequestId, out SendRequest? waiting):
                waiting.Answer.TrySetException(AdminErrors.Unintelligible(nonsense.Why));
                break;
            case AdminAnswer answer when _pending.Remove(answer.RequestId, out SendRequest? waiting):
                waiting.Answer.TrySetResult(answer);
                break;
            case FenceWasBroken broken:
                _whenBroken(new BrokenFence(
                    broken.FenceId, broken.Datafile,
                    AdminProblems.ToException(broken.Why) as PitrException
                        ?? new RefusedException(ErrorCode.FenceBroken, broken.Why.Message, broken.Why.Hint)));
                break;
            case Pong pong when _administrator is not null && !pong.SessionIsOpen:
                Lose("it no longer knows this session");
                break;
            case Tick when TimeProvider.System.GetElapsedTime(_lastHeard) > SilenceMax:
                Lose($"it has been silent for {SilenceMax.TotalSeconds} s");
                break;
            case Tick:
                _administrator?.Tell(new Ping());
                break;
            case AssociationErrorEvent error:
                Lose(error.Cause.GetBaseException().Message.TrimEnd('.'));
                break;
            case DisassociatedEvent:
                Lose("it closed the connection");
                break;
            case GiveUp given:
                Cancel(given);
                break;
            case Leave:
                _administrator?.Tell(new CloseSession());
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Send(SendRequest send)
    {
        if (_lost is not null)
        {
            send.Answer.TrySetException(_lost);
            return;
        }
        AdminRequest request = send.Request with { RequestId = ++_requests };
        if (AdminSerializer.BytesOf(request) is var bytes and > AdminSerializer.MessageBytesMax)
        {
            send.Answer.TrySetException(AdminErrors.RequestTooLong(bytes, AdminSerializer.MessageBytesMax));
            return;
        }
        _pending.Add(request.RequestId, send);
        _administrator.Tell(request);
    }

    private void Cancel(GiveUp given)
    {
        long number = _pending.FirstOrDefault(one => one.Value.Answer == given.Answer).Key;
        if (number > 0) // else it was answered meanwhile
            _administrator.Tell(new CancelRequest(number));
    }

    private void Lose(string why)
    {
        if (_lost is not null)
            return;
        _lost = AdminErrors.ConnectionLost(_address, why);
        _opened.TrySetException(AdminErrors.NoEngine(_address, why));
        foreach (SendRequest waiting in _pending.Values)
            waiting.Answer.TrySetException(_lost);
        _pending.Clear();
        _whenLost(_lost);
    }

    // ---- from the session's owner, and to itself -----------------------------------------------------

    /// <summary>Send this (its RequestId is given here) and complete that; the pages before the last one are called out.</summary>
    internal sealed record SendRequest(
        AdminRequest Request, TaskCompletionSource<AdminAnswer> Answer, IProgress<JobProgress>? Progress,
        Action<AdminAnswer>? Page = null) : INoSerializationVerificationNeeded;

    /// <summary>Nobody waits for that any more. (It completes all the same, when the engine has answered.)</summary>
    internal sealed record GiveUp(TaskCompletionSource<AdminAnswer> Answer) : INoSerializationVerificationNeeded;

    /// <summary>Tell the engine that this client leaves.</summary>
    internal sealed record Leave : INoSerializationVerificationNeeded;

    private sealed record Tick : INoSerializationVerificationNeeded;
}
