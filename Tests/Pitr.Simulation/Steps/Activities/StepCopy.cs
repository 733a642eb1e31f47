using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// Somebody copies the whole folder and starts the copy beside its source (H26): it opens, but pushes nothing into an
/// archive that the source has taken.
/// </summary>
internal sealed class StepCopy(StepScene scene) : StepActivity(scene)
{
    private StepModel _model = scene.Model;

    public override IEnumerable<Turn> Run()
    {
        if (Engine.Control.Catalogue.Files.Any(static file => Path.IsPathRooted(file.Path)))
            yield break; // the copy would have its source's files
        if (Engine.Shippers.Count == 0 || !Engine.Shippers[0].IsPrepared)
            yield break;
        string folder = $"/copy{Scene.Draw():x8}";
        StepCheck.CopyFolder(Scene.Disk, Engine.Folder, folder);
        _model = Model.Copy();
        yield return default;
        foreach (Turn turn in Scene.AwaitReaders())
            yield return turn;
        using (StepEngine? copy = Open(folder))
        {
            if (copy is not null)
                TryToShip(copy);
        }

        Scene.Disk.Vanish(folder);
    }

    private void TryToShip(StepEngine copy)
    {
        _model.CutAt(StepCheck.Run(copy, _model));
        copy.Log(new WalEvent.Heartbeat(), _model);
        StoreShipper shipper = copy.Shippers[0];
        ShipStep step = copy.Ship(shipper, _model);
        if (step is ShipStep.Segment or ShipStep.Tail or ShipStep.Prepared)
            throw new SimulationFailure($"A copy of the database took its source's archive: {step} (H26).");
        Scene.Hazards.Note(26);
    }

    /// <summary>Its source may have shipped more since it was copied: then it is told so, and opens no more (H7).</summary>
    private StepEngine? Open(string folder)
    {
        try
        {
            return StepEngine.Open(folder, Scene.Settings.OptionsFor(Scene.Disk, Scene.Seed + 77), Scene.Memory);
        }
        catch (RefusedException shorter) when (shorter.Code == ErrorCode.WalTooShort
            && StepCheck.ListedInStore(Scene.Disk, Engine.History.Last.Timeline, Engine.Wal.Geometry) > _model.Acknowledged)
        {
            Scene.Hazards.Note(7);
            return null;
        }
    }
}
