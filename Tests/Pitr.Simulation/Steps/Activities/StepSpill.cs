using Pitr.Actors;
using Pitr.Storage;

namespace Pitr.Simulation;

/// <summary>
/// What a fenced file buffers goes into a scratch file beside it, in the order of its actor: sealed between two groups,
/// written, published when the visible LSN is there. A crash loses nothing by it, since it says nothing (H45, promise 8).
/// </summary>
internal sealed class StepSpill(StepScene scene, StepFile file, bool isKept = false) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (file.IsBusy || file.IsDropped || file.Fenced is null || !file.Progress.CanSeal || !file.File.CanSpill)
            yield break;
        file.Progress.Seal();
        if (file.File.PrepareSpill() is not { } job)
            yield break;
        file.IsBusy = true;
        yield return default;
        bool isWritten = StepScene.Try(() => job.Run());
        yield return default;
        bool isGivenUp = isWritten && Scene.Chance(10);
        if (isWritten && (isKept || !isGivenUp))
        {
            while (Engine.VisibleLsn < job.UpTo)
                yield return default;
            Scene.Hazards.Note(45);
            if (Scene.Disk.HasUnsyncedScratch)
                throw new SimulationFailure($"What {file.Name} has spilled is not on the disk, and its buffers go (H45).");
            file.File.CompleteSpill(job);
            RequireNotReadBelow(job.UpTo);
        }
        else
        {
            file.File.DropSpill(job);
        }

        file.IsBusy = false;
        if (Engine.Control.MoveOf(file.Id) is null && file.Fenced is { } fenced
            && fenced != Scene.Disk.Fingerprint(file.File.Path))
            throw new SimulationFailure($"Datafile {file.Name} changed while it spilled (D3, I6).");
    }

    /// <summary>A spill has one version of a key: the view that names it is not read at older LSNs (H45).</summary>
    private void RequireNotReadBelow(Lsn upTo)
    {
        try
        {
            _ = new MergedCursor(file.File.View, upTo + -8);
        }
        catch (BugException)
        {
            return;
        }

        throw new SimulationFailure($"{file.Name} is read at {upTo + -8}, below what it has spilled (H45).");
    }
}
