using Akka.Actor;
using Akka.Event;
using Pitr.Wal;
using static Pitr.Actors.ArchiveProtocol;
using static Pitr.Actors.WalFolderProtocol;
using static Pitr.Actors.WalProtocol;

namespace Pitr.Actors;

/// <summary>
/// Keeps segments ready ahead of the log, and lets go of those behind it: a segment is recycled when it is older than
/// the redo point, archived in every store, and not held by a backup (design §7); one that was left behind a fork is set
/// aside instead (<see cref="LeftWal"/>).
/// </summary>
/// <remarks>
/// Its handlers do file I/O, so it runs on the blocking dispatcher. A failed preallocation is survivable (ENOSPC):
/// WalWriter is told, refuses what waits, and asks again. A crash of it loses nothing; the supervisor stops the engine
/// all the same, since no segment would ever be ready again.
/// </remarks>
internal sealed class WalFolderActor : UntypedActor
{
    private readonly WalFolder _folder;
    private readonly LeftWal _left;
    private readonly ILoggingAdapter _log = Context.GetLogger();
    private readonly Dictionary<Guid, Lsn> _holds = [];
    private Lsn _redo;
    private IActorRef? _archiver;

    public WalFolderActor(WalFolder folder, TimelineHistory path)
    {
        _folder = folder;
        _left = new LeftWal(folder, path);
    }

    public static Props PropsFor(WalFolder folder, TimelineHistory path) =>
        ActorProps.Of(() => new WalFolderActor(folder, path)).WithDispatcher(EngineConfig.BlockingDispatcher);

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case PrepareSegments prepare:
                Prepare(prepare);
                break;
            case RedoMoved moved:
                _redo = Lsn.Max(_redo, moved.RedoLsn);
                LetGo();
                break;
            case UseArchiver use:
                _archiver = use.Archiver;
                LetGo();
                break;
            case MayGo free:
                Recycle(free.Segments);
                break;
            case HoldWal hold:
                _holds[hold.Holder] = hold.From;
                Sender.Tell(new WalHeld(hold.Holder));
                break;
            case ReleaseWal release:
                _holds.Remove(release.Holder);
                LetGo();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Prepare(PrepareSegments prepare)
    {
        try
        {
            _folder.EnsureReady(prepare.Count);
            Sender.Tell(new SegmentsReady());
        }
        catch (StorageFailedException error)
        {
            _log.Warning("No WAL segment could be made ready: {0}", error.Message);
            Sender.Tell(new SegmentsFailed(Problem.From(error)));
        }
    }

    /// <summary>
    /// Segments that end at or below what anybody needs; with stores, the archiver has a say (design §7).
    /// </summary>
    private void LetGo()
    {
        Lsn needed = _redo;
        foreach (Lsn held in _holds.Values)
            needed = Lsn.Min(needed, held);
        SegmentName[] free;
        try
        {
            free = [.. _folder.List().Where(name => EndOf(name) <= needed)];
        }
        catch (StorageFailedException error)
        {
            _log.Warning(
                "The WAL folder could not be listed, segments below {0} stay for now: {1}", needed, error.Message);
            return;
        }

        if (free.Length == 0)
            return;
        if (_archiver is null)
            Recycle(free);
        else
            _archiver.Tell(new WhichMayGo(free));
    }

    /// <summary>A hold may have come after the archiver was asked, so it is looked at again.</summary>
    private void Recycle(IReadOnlyList<SegmentName> segments)
    {
        Lsn held = _holds.Values.Aggregate(_redo, Lsn.Min);
        try
        {
            IReadOnlyList<SegmentName> free = _left.SetAside(
                segments.Where(name => EndOf(name) <= held),
                (name, error) => _log.Warning("WAL segment {0} stays for now: {1}", name, error.Message),
                aside => _log.Info("WAL that was left behind a fork is kept as {0}: remove it when it is not wanted", aside));
            _folder.Recycle(free);
            if (free.Count > 0)
                _log.Debug("{0} WAL segments below {1} were recycled or removed", free.Count, held);
        }
        catch (StorageFailedException error)
        {
            _log.Warning("WAL segments below {0} could not be recycled: {1}", held, error.Message);
        }
    }

    private Lsn EndOf(SegmentName name) => _folder.Geometry.StartOf(name.Number + 1);
}
