using Akka.Actor;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Actors;

/// <summary>
/// What happens to a datafile while WAL is replayed into it; nobody reads it then. Plain: <see cref="DatafileActor"/>
/// runs the flushes that it answers with.
/// </summary>
internal sealed class DatafileReplay(Datafile file, DatafileProgress progress, Func<ulong> draw)
{
    private FinishRestore? _finish;
    private IActorRef _finishFrom = ActorRefs.Nobody;

    /// <summary>True once a restore has reached its target, until it is finished.</summary>
    public bool IsFinishing => _finish is not null;

    /// <summary>Whom to tell that it is finished.</summary>
    public IActorRef FinishFrom => _finishFrom;

    /// <summary>Applies a sorted batch, but for what the file has; returns how many changes it held.</summary>
    public int Apply(ReplayBatch batch)
    {
        int changes = batch.ChangeCount;
        while (batch.MoveNext())
        {
            if (batch.Lsn <= file.CheckpointLsn)
                continue; // an earlier try flushed it, and crashed before the control file knew the file
            file.Apply(batch.Kind, batch.Key, batch.Value, batch.Lsn);
        }

        batch.Recycle();
        return changes;
    }

    public void DropTable(ReplayDropTable drop)
    {
        file.DropTable(drop.Table, drop.Lsn);
        progress.Reach(drop.Lsn);
    }

    /// <summary>
    /// A long replay makes room: all that was replayed, which is everything at or below the LSN, goes to the file. Null
    /// if there is nothing to flush: then it is clean.
    /// </summary>
    public FlushJob? SealAt(SealReplay request)
    {
        progress.Lineage = request.Lineage;
        progress.Reach(request.Lsn);
        bool hasChanges = file.HasChanges;
        file.Seal(Lsn.Max(request.Lsn, file.SealedUpTo)); // the barrier may lie below what the file already had (D2)
        if (hasChanges)
            return file.PrepareFlush(progress.Lineage)!;
        progress.NoteClean(request.Lsn);
        return null;
    }

    /// <summary>A restore has replayed to its target.</summary>
    public void BeginFinish(FinishRestore finish, IActorRef from)
    {
        (_finish, _finishFrom) = (finish, from);
        progress.Lineage = finish.Lineage;
    }

    /// <summary>
    /// The next step to the end of a restore: a flush, then generation and incarnation of its own and the recovery's
    /// stamp (H15, H32). Null when there is none left: it is finished.
    /// </summary>
    public FlushJob? NextFinishStep()
    {
        FinishRestore finish = _finish!;
        if (file.HasChanges)
        {
            progress.Reach(finish.Lsn);
            file.Seal(finish.Lsn);
            return file.PrepareFlush(progress.Lineage)!;
        }

        if (file.Meta.RestoreStamp != finish.RecoveryId || file.CheckpointLsn != finish.Lsn)
        {
            file.Seal(finish.Lsn);
            progress.NoteClean(finish.Lsn);
            return file.PrepareMetaFlush(progress.Lineage, finish.Lsn, new Incarnation(draw()), finish.RecoveryId);
        }

        _finish = null;
        return null;
    }

    /// <summary>The restore will not be finished here: whom to tell; null if nobody waits.</summary>
    public IActorRef? TakeUnfinished()
    {
        IActorRef? waiting = IsFinishing ? _finishFrom : null;
        _finish = null;
        return waiting;
    }

    /// <summary>
    /// Everything was replayed. It has one version a key; what is committed from now on has all, so that it goes into a
    /// buffer of its own.
    /// </summary>
    public void End(EndReplay end)
    {
        file.KeepVersions = true;
        progress.Reach(end.Lsn);
        if (progress.CanSeal)
            progress.Seal();
        progress.Lineage = end.Lineage;
    }
}
