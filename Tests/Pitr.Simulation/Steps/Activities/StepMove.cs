using Pitr.Actors;
using Pitr.Recovery;
using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// A datafile moves, comes back to its name, or gets another path in the control file, in the orders of DatafileMover
/// and of the datafile's actor (H17 to H20). At each opening exactly one file is left of it.
/// </summary>
internal sealed class StepMove(StepScene scene, StepFile file, string? into = null, DrainStep? drained = null)
    : StepActivity(scene)
{
    private const int FirstPageAt = (int)MetaPage.Slots * PageLayout.PageBytes;

    private readonly StepFence _fence = new(scene, file, lasts: 0);
    private MoveCopy? _copy;
    private bool _isSwitched;
    private SwitchOutcome.Done? _switched;

    public override IEnumerable<Turn> Run()
    {
        if (file.IsBusy || file.IsDropped || file.IsOffline || file.Fenced is not null
            || Engine.Control.MoveOf(file.Id) is not null || Plan() is not { } plan)
            yield break;
        FolderPlace place = Engine.Context.Outside.Here;
        PlannedMove note = plan.Note(Engine.Folder, place);
        Engine.Note(Engine.Control.WithMove(note));
        Scene.Hazards.Note(19);
        yield return default;
        foreach (Turn turn in _fence.Take())
            yield return turn;
        if (!_fence.IsHeld)
        {
            Forget();
            yield break;
        }

        _copy = MoveCopy.Of(
            Scene.Disk, Engine.Context.PacedWriter, plan, file.File.Incarnation, file.File.Generation,
            file.File.CheckpointLsn);
        if (!StepScene.Try(_copy.Create))
        {
            Undo();
            yield break;
        }

        Scene.Hazards.Note(17);
        yield return default;
        bool isCopied = StepScene.Try(() => _copy.CopyPages(static _ => { }, static _ => { }, CancellationToken.None));
        yield return default;
        if (!isCopied || !IsProven())
        {
            Undo();
            yield break;
        }

        yield return default;
        Engine.Log(new WalEvent.MoveDatafile(file.Id, note.Origin, note.To), Model);
        yield return default;
        foreach (Turn turn in Switch(plan))
            yield return turn;
        if (!_isSwitched)
            yield break; // it was undone, or the file is held still for ever
        yield return default;
        var settlement = new MoveSettlement(Scene.Disk, Engine.Folder, place, Engine.Control.SystemId)
        {
            IsOwner = true,
            TakesNameless = Engine.TakeNameless,
            CutBytes = Engine.Context.PacedWriter.CutBytes,
        };
        if (settlement.Remove(Engine.Control.MoveOf(file.Id)!, Engine.Control.Catalogue))
            Forget();
        Scene.IsCritical = false;
    }

    public override void LetGo()
    {
        _switched?.LetGo();
        _copy?.Dispose();
        (_switched, _copy) = (null, null);
    }

    private IEnumerable<Turn> Switch(MovePlan plan)
    {
        Scene.Hazards.Note(18);
        Scene.IsCritical = true;
        SwitchOutcome outcome = Switched(plan);
        if (outcome is SwitchOutcome.NotSwitched)
        {
            Scene.IsCritical = false;
            Undo();
            yield break;
        }

        if (outcome is not SwitchOutcome.Done switched)
        {
            LetGo();
            Scene.IsCritical = false;
            yield break; // still: nothing is flushed into it in this life
        }

        _switched = switched;
        yield return default;
        Engine.Note(Engine.Control.WithWinner(file.Id, plan.Way == MoveWay.ByRecord));
        yield return default;
        Scene.Hazards.Note(20);
        if (plan.Way != MoveWay.ByReturn && Scene.Disk.Stat(plan.Origin) is { IsSymlink: false }
            && file.Fenced != Scene.Disk.Fingerprint(plan.Origin))
            throw new SimulationFailure($"Datafile {file.Name} changed while it was moved (D3, I6, H20).");
        switched.GoOn(file.File, Engine.TakeNameless);
        (_switched, _isSwitched) = (null, true);
        _copy!.Dispose();
        _copy = null;
        file.Fenced = Scene.Disk.Fingerprint(plan.To);
        yield return default;
        _fence.Leave();
    }

    /// <summary>Now and then the disk has written something else than it was given: that is no copy (H20).</summary>
    private bool IsProven()
    {
        bool isSpoiled = _copy!.LengthBytes > FirstPageAt && Scene.Chance(20);
        if (isSpoiled)
        {
            int pages = (int)(_copy.LengthBytes - FirstPageAt) / PageLayout.PageBytes;
            Spoil(_copy.Plan.Copy, FirstPageAt + (Scene.Next(pages) * PageLayout.PageBytes));
        }

        try
        {
            bool isProven = StepScene.Try(() => _copy.Verify(
                new ReachablePages(Engine.Context.Environment, CancellationToken.None), static _ => { },
                CancellationToken.None));
            if (isSpoiled && isProven)
                throw new SimulationFailure($"A copy of datafile {file.Name} is not what was read, and is to be used (H20).");
            return isProven;
        }
        catch (DamageException) when (isSpoiled)
        {
            return false;
        }
    }

    /// <summary>
    /// A page is not what was written; or a write was lost, and in its place is a page that was there before and has its
    /// checksum, as in blocks that an earlier copy of the file had.
    /// </summary>
    private void Spoil(string path, long pageAt)
    {
        if (Scene.Chance(50))
        {
            Scene.Disk.Damage(path, pageAt + Scene.Next(PageLayout.PageBytes));
            return;
        }

        SpoilPage(Scene, path, pageAt);
    }

    /// <summary>A page is another one, which passes by itself.</summary>
    public static void SpoilPage(StepScene scene, string path, long pageAt) =>
        SpoilPage(scene, path, pageAt, PageLayout.PageBytes - 1 - scene.Next(PageLayout.ContentBytes));

    /// <param name="scene">Of the disk.</param>
    /// <param name="path">The file.</param>
    /// <param name="pageAt">Where the page begins.</param>
    /// <param name="at">Which byte of it.</param>
    public static void SpoilPage(StepScene scene, string path, long pageAt, int at)
    {
        byte[] page = new byte[PageLayout.PageBytes];
        using (IFileHandle handle = scene.Disk.Open(path, FileOpen.Read))
            handle.Read(pageAt, page);
        byte[] other = [.. page];
        other[at] ^= 0x20;
        PageChecksum.Stamp(other, PageLayout.Number(page), PageLayout.Generation(page));
        for (int i = 0; i < page.Length; i++)
        {
            if (page[i] != other[i])
                scene.Disk.Damage(path, pageAt + i, mask: (byte)(page[i] ^ other[i]));
        }
    }

    /// <summary>Now and then the rename fails, or it is done and does not get durable (H20).</summary>
    private SwitchOutcome Switched(MovePlan plan)
    {
        bool fails = plan.Way != MoveWay.ByRecord && Scene.Disk.Faults.IsEmpty && Scene.Chance(10);
        if (fails)
            Scene.Disk.Faults.On(Scene.Chance(70) ? FileOp.SyncFolder : FileOp.Rename).Fail(Errno.EIO);
        SwitchOutcome outcome = MoveSwitch.Run(Scene.Disk, _copy!);
        if (fails)
            Scene.Disk.Faults.Clear();
        return outcome;
    }

    private MovePlan? Plan()
    {
        CatalogueFile listed = Engine.Control.Catalogue.File(file.Id)!;
        string name = Catalogue.FullPath(Engine.Folder, listed.Path);
        bool isBack = into is null && file.File.Path != name && Scene.Chance(40);
        string folder = into ?? (Scene.Chance(35) ? StepSettings.Outside : Engine.Folder);
        string to = isBack
            ? name
            : $"{folder}/{MoveCheck.OwnPrefix(Engine.Folder)}{Scene.NewName('m')}-{Scene.Draw():x8}{MoveCheck.Ending}";
        bool isRecorded = into is null && Scene.Chance(30);
        if (drained is not null)
            (to, isRecorded) = (drained.To, drained.WithoutLink);
        try
        {
            return MovePlan.Make(Scene.Disk, Engine.Folder, listed, to, isRecorded);
        }
        catch (Exception refused) when (refused is RefusedException or StorageFailedException)
        {
            return null; // no room; or an earlier life's leftover could not be removed
        }
    }

    private void Undo()
    {
        _fence.Leave();
        MoveCopy copy = _copy!;
        _copy = null;
        bool isGone = StepScene.Try(copy.Remove);
        copy.Dispose();
        if (isGone)
            Forget();
    }

    private void Forget() => Engine.Note(Engine.Control.WithoutMove(file.Id));
}
