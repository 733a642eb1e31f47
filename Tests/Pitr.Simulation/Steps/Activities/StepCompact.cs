using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>
/// A datafile is made anew, in the orders of DatafileMover and of the datafile's actor (H42): snapshots of before read on
/// in the former file, and each opening finds one file, of the incarnation that is noted.
/// </summary>
internal sealed class StepCompact(StepScene scene, StepFile file) : StepActivity(scene)
{
    private readonly StepFence _fence = new(scene, file, lasts: 0);
    private CompactCopy? _copy;
    private readonly StepSnapshot _snapshot = new(scene);
    private SwitchOutcome.Done? _switched;
    private bool _isSwitched;

    /// <summary>Half of them beside a snapshot of before, which is looked at afterwards.</summary>
    public override IEnumerable<Turn> Run()
    {
        using IEnumerator<Turn>? snapshot = Scene.Chance(50) ? _snapshot.Run().GetEnumerator() : null;
        snapshot?.MoveNext();
        foreach (Turn turn in Compact())
            yield return turn;
        while (snapshot?.MoveNext() is true)
            yield return default;
    }

    private IEnumerable<Turn> Compact()
    {
        if (file.IsBusy || file.IsDropped || file.IsOffline || file.Fenced is not null
            || Engine.Control.MoveOf(file.Id) is not null || Plan() is not { } plan)
            yield break;
        Engine.Note(Engine.Control.WithMove(plan.Note(Engine.Folder, Engine.Context.Outside.Here)));
        Scene.Hazards.Note(19);
        yield return default;
        FileClean before = file.Clean;
        foreach (Turn turn in _fence.Take())
            yield return turn;
        if (!_fence.IsHeld)
        {
            Forget();
            yield break;
        }

        _copy = CompactCopy.Of(
            Engine.Context.Environment, plan, file.File.Incarnation, file.File.Generation, file.File.CheckpointLsn);
        if (!StepScene.Try(_copy.Create))
        {
            Undo();
            yield break;
        }

        Scene.Hazards.Note(17);
        yield return default;
        bool isFilled = StepScene.Try(() => _copy.Fill(static _ => { }, static _ => { }, CancellationToken.None));
        yield return default;
        if (!isFilled || !IsProven())
        {
            Undo();
            yield break;
        }

        yield return default;
        while (file.IsBusy) // with a spill, which the switch waits for, and of which none begins meanwhile
            yield return default;
        file.IsBusy = true;
        foreach (Turn turn in Switch())
            yield return turn;
        file.IsBusy = false;
        if (_isSwitched && Scene.Chance(50)) // a checkpoint that had its report before the file was compacted
            Engine.Note(Engine.Control.WithFile(before));
    }

    public override void LetGo()
    {
        _snapshot.LetGo();
        _switched?.LetGo();
        _copy?.Dispose();
        (_switched, _copy) = (null, null);
    }

    private IEnumerable<Turn> Switch()
    {
        Scene.Hazards.Note(18);
        CompactCopy copy = _copy!;
        Scene.IsCritical = true;
        SwitchOutcome outcome = Switched(copy);
        if (outcome is SwitchOutcome.NotSwitched)
        {
            Scene.IsCritical = false;
            Undo();
            yield break;
        }

        if (outcome is not SwitchOutcome.Done switched)
        {
            copy.Dispose();
            _copy = null;
            Scene.IsCritical = false;
            yield break; // still: nothing is flushed into it in this life
        }

        _switched = switched;
        yield return default;
        Engine.Note(Engine.Control.WithSwitched(copy));
        yield return default;
        Scene.IsCritical = false;
        Scene.Hazards.Note(20);
        if (file.File.PinnedViews > 1)
            Scene.Hazards.Note(42);
        (Incarnation incarnation, ulong generation) = (file.File.Incarnation, file.File.Generation);
        switched.GoOn(file.File, Engine.TakeNameless);
        (_switched, _isSwitched) = (null, true);
        copy.Dispose();
        _copy = null;
        if (file.File.Incarnation == incarnation || file.File.Generation != generation + 1)
        {
            throw new SimulationFailure(
                $"Datafile {file.Name} was compacted, and is incarnation {file.File.Incarnation}, generation "
                + $"{file.File.Generation}, after {incarnation}, {generation} (H15, H42).");
        }

        file.Fenced = Scene.Disk.Fingerprint(file.File.Path);
        yield return default;
        _fence.Leave();
    }

    /// <summary>
    /// Now and then the disk has written something else than it was given: that is no datafile (H42). What passes by itself
    /// may lie where it says nothing; if not, the rows are told to be others, or are compared soon.
    /// </summary>
    private bool IsProven()
    {
        const int first = (int)MetaPage.Slots * PageLayout.PageBytes;
        bool isSpoiled = _copy!.LengthBytes > first && Scene.Chance(20);
        bool passes = isSpoiled && Scene.Chance(50);
        if (passes)
            StepMove.SpoilPage(Scene, _copy.Plan.Copy, first + (Scene.Next((int)(_copy.LengthBytes - first) / PageLayout.PageBytes) * PageLayout.PageBytes));
        else if (isSpoiled)
            Scene.Disk.Damage(_copy.Plan.Copy, first + Scene.Next((int)_copy.LengthBytes - first));
        try
        {
            bool isProven = StepScene.Try(() => _copy.Prove(static _ => { }, CancellationToken.None));
            if (isSpoiled && isProven && !passes)
                throw new SimulationFailure($"Datafile {file.Name} is to go on in a file that is not what was written (H42).");
            return isProven;
        }
        catch (DamageException) when (isSpoiled)
        {
            return false;
        }
    }

    /// <summary>Now and then the rename fails, or it is done and does not get durable (H20).</summary>
    private SwitchOutcome Switched(CompactCopy copy)
    {
        bool fails = Scene.Disk.Faults.IsEmpty && Scene.Chance(10);
        if (fails)
            Scene.Disk.Faults.On(Scene.Chance(70) ? FileOp.SyncFolder : FileOp.Rename).Fail(Errno.EIO);
        SwitchOutcome outcome = copy.Switch();
        if (fails)
            Scene.Disk.Faults.Clear();
        return outcome;
    }

    private CompactPlan? Plan()
    {
        try
        {
            return CompactPlan.Make(
                Scene.Disk, Engine.Folder, Engine.Control.Catalogue.File(file.Id)!, file.File.LiveBytes,
                new Incarnation(Scene.Draw()));
        }
        catch (Exception refused) when (refused is RefusedException or StorageFailedException)
        {
            return null; // no room; or an earlier life's leftover could not be removed
        }
    }

    private void Undo()
    {
        _fence.Leave();
        CompactCopy copy = _copy!;
        _copy = null;
        bool isGone = StepScene.Try(copy.Remove);
        copy.Dispose();
        if (isGone)
            Forget();
    }

    private void Forget() => Engine.Note(Engine.Control.WithoutMove(file.Id));
}
