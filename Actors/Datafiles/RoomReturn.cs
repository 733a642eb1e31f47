using Akka.Actor;
using Akka.Event;
using Pitr.Storage;
using static Pitr.Actors.EngineProtocol;

namespace Pitr.Actors;

/// <summary>
/// Gives the room of large files back that have no name any more, behind moves and compactions: in steps, so that commits
/// do not wait for the disk (<see cref="GentleRemoval"/>).
/// </summary>
/// <remarks>
/// INVARIANTS
///   RR1  One file at a time: two that are cut side by side would take the disk twice as much.
///   RR2  Each file is taken out of the <see cref="HandOver"/> when its turn comes, by the worker that closes it whatever
///        happens. One that is never taken is let go, on a worker, when the engine ends.
///
/// Whoever gives a file away waits for nothing. The engine's end waits for the step that is under way; then each file is
/// closed, on a worker, and the kernel gives back what is left. Nothing on the disk depends on it.
/// A crash of it: what waits is let go when the engine ends, and the next file begins another one.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage(
    "Design", "CA1001", Justification = "An actor's end is PostStop; the token source outlives it in its worker.")]
internal sealed class RoomReturn : UntypedActor
{
    private readonly EngineContext _engine;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Queue<NamelessFile> _waiting = new();
    private readonly CancellationTokenSource _ended = new(); // of the cutting, not of the closing
    private bool _isWorking;

    public RoomReturn(EngineContext engine) => _engine = engine;

    public static Props PropsFor(EngineContext engine) => ActorProps.Of(() => new RoomReturn(engine));

    /// <summary>What sends files to it, from any thread. It does not throw.</summary>
    public static Action<NamelessFile> Through(EngineContext engine, IActorRef supervisor) => file =>
        supervisor.Tell(new ReturnRoom(engine.HandOver.Give(file, LetGo(engine))), ActorRefs.NoSender);

    /// <summary>On a worker: closing a large one takes long, and who lets it go is an actor, at the engine's end.</summary>
    private static Action<NamelessFile> LetGo(EngineContext engine) => left => engine.Workers.Start(
        ActorRefs.Nobody,
        () =>
        {
            left.Dispose();
            return new FileIsGone(Error: null);
        },
        static error => new FileIsGone(error));

    protected override void PostStop() => _ended.Cancel();

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ReturnRoom request:
                _waiting.Enqueue(request.File);
                GoOn();
                break;
            case FileIsGone gone:
                if (gone.Error is not null)
                    _log.Warning("The room of a file was given back at once: {0}", gone.Error.Message);
                _isWorking = false;
                GoOn();
                break;
            case EndJob:
                _ended.Cancel();
                GoOn();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void GoOn()
    {
        if (_isWorking)
            return; // RR1
        if (_waiting.TryDequeue(out NamelessFile? file))
            Cut(file);
        else if (_ended.IsCancellationRequested)
            Context.Stop(Self);
    }

    private void Cut(NamelessFile file)
    {
        _isWorking = true;
        EngineContext engine = _engine;
        CancellationToken ended = _ended.Token;
        engine.Workers.Start(
            Self,
            () =>
            {
                if (engine.HandOver.Take(file)) // RR2
                {
                    using (file)
                        file.Cut(engine.PacedWriter, ended);
                }

                return new FileIsGone(Error: null);
            },
            static error => new FileIsGone(error));
    }

    /// <summary>A worker has ended.</summary>
    private sealed record FileIsGone(Exception? Error) : ILocalMessage;
}
