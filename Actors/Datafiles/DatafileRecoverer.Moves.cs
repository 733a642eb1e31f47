using Akka.Actor;
using Akka.Event;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.ControlFileProtocol;

namespace Pitr.Actors;

/// <content>
/// A move or compaction of the datafile that ended undecided is settled before a byte of either file changes: else a power
/// loss could bring the one back that was not recovered, behind WAL that is gone (H19, H20).
/// </content>
internal sealed partial class DatafileRecoverer
{
    private bool _isMoveSettled;

    /// <summary>On the worker that plans: a disk that still fails leaves the file as it is, offline and readable.</summary>
    private static void SyncFoldersOfMove(EngineContext engine, ControlFile control, FileId file)
    {
        if (control.MoveOf(file) is { } move)
            LeftOverMove.SyncFolders(engine.FileSystem, engine.Folder, control, move);
    }

    /// <summary>DR3: its former owner, and a switch that was under way in it, have ended.</summary>
    private void SettleMove(ControlFile control, CatalogueFile file, PlannedMove move)
    {
        (EngineContext engine, Datafile? former) = (_engine, _former);
        Work(_ =>
        {
            former?.AwaitClosed();
            return LeftOverMove.Settle(engine.FileSystem, engine.Folder, control, file, move);
        });
    }

    /// <summary>The control file names the winner; its answer goes on.</summary>
    private void NoteSettled(SettledMove settled)
    {
        _isMoveSettled = true;
        FileId file = _file!.Value;
        _log.Info("Datafile {0}: what its name leads to is settled: {1}", _run.Request.Datafile, settled);
        _routes.ControlFile.Tell(new ChangeControlFile(now => now.WithSettled(file, settled)));
    }
}
