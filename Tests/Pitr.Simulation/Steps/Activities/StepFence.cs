using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// A holder that keeps a file still for some turns, or dies in the middle of it: not one byte changes (I6, §5).
/// </summary>
internal sealed class StepFence(StepScene scene, StepFile file, int lasts) : StepActivity(scene)
{
    /// <summary>True once it is granted.</summary>
    public bool IsHeld { get; private set; }

    public override IEnumerable<Turn> Run()
    {
        foreach (Turn turn in Take())
            yield return turn;
        if (!IsHeld)
            yield break;
        for (int i = lasts; i > 0; i--)
            yield return default;
        Leave();
    }

    /// <summary>The turns until it is granted; the file may turn out to be gone.</summary>
    public IEnumerable<Turn> Take()
    {
        if (file.IsBusy || file.IsDropped || file.IsOffline || file.Fenced is not null)
            yield break;
        file.IsBusy = true;
        file.Progress.TakeSkipped();
        if (Scene.Chance(20) && file.File.HasChanges)
            RequireNothingClaimed();
        if (file.File.CleanUpTo > file.File.CheckpointLsn)
        {
            Scene.Hazards.Note(22);
            FlushJob job = file.File.PrepareMetaFlush(file.Progress.Lineage, file.File.CleanUpTo);
            yield return default;
            job.WritePages();
            if (!StepScene.Try(job.WriteMeta))
            {
                file.IsBusy = false;
                yield break;
            }

            yield return default;
            file.File.CompleteFlush(job);
        }

        if (file.File.CheckpointLsn < Engine.Control.RedoLsn && file.File.Generation > 1)
        {
            throw new SimulationFailure(
                $"Datafile {file.Name} was fenced at {file.File.CheckpointLsn}, below the redo point "
                + $"{Engine.Control.RedoLsn}: its copy asks for WAL that may be gone (H22).");
        }

        ControlFile next = Engine.Control.WithFile(file.Clean);
        if (next != Engine.Control)
            Engine.Note(next with { KnownEndOfWal = Engine.DurableLsn });
        yield return default;
        file.File.IsStill = true;
        file.IsBusy = false;
        file.Fenced = Scene.Disk.Fingerprint(file.File.Path);
        IsHeld = true;
    }

    /// <summary>A meta page that speaks of changes which are in buffers alone is not written (H22).</summary>
    private void RequireNothingClaimed()
    {
        try
        {
            file.File.PrepareMetaFlush(file.Progress.Lineage, file.File.CleanUpTo + 8);
        }
        catch (BugException)
        {
            return;
        }

        throw new SimulationFailure($"A meta page of {file.Name} is to claim what is in its buffers (H22).");
    }

    /// <summary>The copy is good, or the run has failed.</summary>
    public void Leave()
    {
        if (file.Fenced != Scene.Disk.Fingerprint(file.File.Path))
            throw new SimulationFailure($"Datafile {file.Name} changed while it was fenced (D3, I6).");
        file.Fenced = null;
        file.File.IsStill = false;
        IsHeld = false;
    }

    /// <summary>The answer of the fence, as a backup takes it.</summary>
    public FencedFile Answer() => new(
        file.Id, file.Name, file.File.Path, file.File.LengthBytes, file.File.CheckpointLsn, file.File.Incarnation,
        file.File.Generation, file.File.Meta.Lineage,
        Path.IsPathRooted(Catalogue.StoredPath(Engine.Folder, file.File.Path)) ? file.File.Path : null);
}
