using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>The archiver's steps for one store, until there is nothing or it fails; then WAL may go (§8).</summary>
internal sealed class StepShip(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (Engine.Shippers.Count == 0)
            yield break;
        StoreShipper shipper = Engine.Shippers[Scene.Next(Engine.Shippers.Count)];
        if (Scene.Chance(50))
            shipper.Retry.TryNow();
        for (int steps = 1 + Scene.Next(8); steps > 0; steps--)
        {
            int parts = PartsInStore();
            ShipStep step = Engine.Ship(shipper, Model);
            if (step == ShipStep.Tail)
                Scene.Hazards.Note(25);
            if (PartsInStore() < parts)
                Scene.Hazards.Note(36);
            if (step == ShipStep.Segment && Engine.History.Path.Count > 1)
                Scene.Hazards.Note(31);
            if (step == ShipStep.Failed && shipper.Retry.LastError is { } error && IsNeverRight(error))
                throw new SimulationFailure($"Shipping to {shipper.StoreName} was refused: {error.Message}", error);
            if (step is ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting)
                break;
            if (step == ShipStep.Prepared)
                RequireNoStrays();
            yield return default;
        }

        if (Scene.Chance(30))
            Engine.Recycle();
    }

    /// <summary>A store may fail at any time; what is said no to for ever has a cause, and here there is none.</summary>
    private static bool IsNeverRight(PitrException error) => error is RefusedException or DamageException;

    /// <summary>What writes that died have left there is gone once a start has taken the timeline (I12).</summary>
    private void RequireNoStrays()
    {
        if (StepCheck.StraysIn(Scene.Disk, StepSettings.Store) is { Length: > 0 } strays)
            throw new SimulationFailure($"The store still has {string.Join(", ", strays)} (I12).");
    }

    private int PartsInStore()
    {
        const string folder = $"{StepSettings.Store}/wal";
        return Scene.Disk.Stat(folder) is null
            ? 0
            : Scene.Disk.List(folder).Count(static name => name.Contains(".part-", StringComparison.Ordinal));
    }
}
