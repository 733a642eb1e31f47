using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>A file's own flush. It may be dropped before its meta page (H9).</summary>
internal sealed class StepFlush(StepScene scene, StepFile file) : StepActivity(scene)
{
    private FlushJob? _waiting; // for its worker

    public override void LetGo()
    {
        if (_waiting is { } job)
            Scene.Late.Add(job);
        _waiting = null;
    }

    public override IEnumerable<Turn> Run()
    {
        if (file.IsBusy || file.IsDropped || file.Fenced is not null)
            yield break;
        if (file.File.NeedsSeal && file.Progress.CanSeal)
            file.Progress.Seal();
        foreach (Turn turn in Sealed())
            yield return turn;
    }

    /// <summary>What is sealed goes to the file; whoever seals may call it.</summary>
    public IEnumerable<Turn> Sealed()
    {
        if (file.IsOffline)
            yield break;
        file.IsBusy = true;
        FlushJob? job = file.File.PrepareFlush(file.Progress.Lineage);
        if (job is null)
        {
            file.Progress.NoteClean(file.File.CleanUpTo);
            file.IsBusy = false;
            yield break;
        }

        Scene.Flushes++;
        _waiting = job;
        yield return default;
        _waiting = null;
        if (Scene.Chance(5))
            Scene.Disk.BeforeNext(() => RequireKept(job, "while its worker was inside (H13)"));
        if (Scene.Settings.FillsDisk && Scene.Chance(5)) // no room is found only when it is written back
            Scene.Disk.Faults.On(FileOp.StartWriteback).Of(file.File.Path).Fail(Errno.ENOSPC);
        bool isWritten = StepScene.Try(() => job.WritePages());
        yield return default;
        if (!isWritten || Scene.Chance(10))
        {
            file.File.DropFlush(job);
            End();
            Scene.Hazards.Note(9);
            yield break;
        }

        if (Scene.Settings.FillsDisk && Scene.Chance(5)) // in place there is room, but not on every file system
            Scene.Disk.Faults.On(FileOp.Write).Of(file.File.Path).Fail(Errno.ENOSPC);
        if (!StepScene.Try(job.WriteMeta))
        {
            RequireKept(job, "after its meta page was submitted (H9)");
            if (!file.IsOffline)
                throw new SimulationFailure($"Datafile {file.Name} goes on after its meta page failed (H9).");
            End();
            Scene.Hazards.Note(9);
            yield break; // the file is offline, and the job can't be taken back (H9)
        }

        if (Scene.Chance(5))
            RequireKept(job, "after its meta page was submitted (H9)");
        yield return default;
        while (Engine.VisibleLsn < job.Meta.CheckpointLsn && !file.IsDropped)
            yield return default;
        if (!file.IsDropped)
        {
            file.File.CompleteFlush(job);
            file.Progress.NoteClean(file.File.CleanUpTo);
            file.SealIfPossible();
        }

        End();
    }

    /// <summary>Whoever drops it now is refused.</summary>
    private void RequireKept(FlushJob job, string when)
    {
        try
        {
            file.File.DropFlush(job);
        }
        catch (BugException)
        {
            return;
        }

        throw new SimulationFailure($"A flush of {file.Name} was dropped {when}.");
    }

    private void End()
    {
        file.IsBusy = false;
        Scene.Flushes--;
    }
}
