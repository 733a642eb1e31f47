using Akka.Actor;
using static Pitr.Actors.EngineProtocol;

namespace Pitr.Actors;

/// <summary>
/// The backups, sets and moves that an engine has under way, and what gives room back behind the moves. It ends only when
/// they have: what they began in a store or beside a datafile is removed by them, or by nobody.
/// </summary>
/// <remarks>THREADS  the supervisor's, within its handlers.</remarks>
internal sealed class EngineJobs
{
    private readonly HashSet<IActorRef> _running = [];
    private readonly HashSet<IActorRef> _backups = [];
    private readonly Dictionary<IActorRef, MoverJob> _movers = [];
    private IActorRef _roomReturn = ActorRefs.Nobody;
    private bool _isEnding;

    /// <summary>True if none is under way.</summary>
    public bool HaveEnded => _running.Count == 0;

    /// <summary>True if no backup is under way.</summary>
    public bool HasNoBackup => _backups.Count == 0;

    /// <summary>A job of its own for this request, watched by the supervisor.</summary>
    public IActorRef Start(Props props, object request, IActorContext supervisor, IActorRef asker)
    {
        IActorRef job = supervisor.Watch(supervisor.ActorOf(props));
        _running.Add(job);
        if (request is BackupProtocol.RunBackup)
            _backups.Add(job);
        if (request is MoveProtocol.RunMover run)
            _movers.Add(job, run.Job);
        job.Tell(request, asker);
        if (_isEnding)
            job.Tell(new EndJob());
        return job;
    }

    /// <summary>What moves or compacts a datafile; null if nothing does.</summary>
    public MoverJob? MoverOf(string datafile) => _movers.Values.FirstOrDefault(job => job.Datafile == datafile);

    /// <summary>A mover has done its last; it goes on being a job until it has ended.</summary>
    public void NoteMoverEnds(IActorRef mover) => _movers.Remove(mover);

    /// <summary>To the one that cuts one file after the other; it is made for the first.</summary>
    public void ReturnRoom(ReturnRoom request, EngineContext engine, IActorContext supervisor)
    {
        if (_running.Contains(_roomReturn))
            _roomReturn.Tell(request);
        else
            _roomReturn = Start(RoomReturn.PropsFor(engine), request, supervisor, ActorRefs.Nobody);
    }

    /// <summary>Each is told, once, to give up.</summary>
    public void End()
    {
        if (_isEnding)
            return;
        _isEnding = true;
        foreach (IActorRef job in _running)
            job.Tell(new EndJob());
    }

    /// <summary>True if the actor that ended was a job.</summary>
    public bool NoteEnd(IActorRef dead)
    {
        _backups.Remove(dead);
        _movers.Remove(dead);
        return _running.Remove(dead);
    }
}
