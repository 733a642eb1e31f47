using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>
/// The archiver's work for one store, several segments side by side in an order that the seed draws, until there is
/// nothing or it fails; then WAL may go (§8).
/// </summary>
internal sealed class StepShip(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (Engine.Shippers.Count == 0)
            yield break;
        StoreShipper shipper = Engine.Shippers[Scene.Next(Engine.Shippers.Count)];
        if (Scene.Chance(50))
            shipper.Retry.TryNow();
        var begun = new List<ShipWork>();
        for (int steps = 1 + Scene.Next(8); steps > 0 || begun.Count > 0;)
        {
            if (steps > 0 && Scene.Chance(60) && shipper.TryBegin(Engine.DurableLsn) is { } one)
            {
                begun.Add(one);
                continue;
            }
            steps--;
            if (begun.Count == 0)
                continue;
            int chosen = Scene.Next(begun.Count); // several are begun, and end in any order
            ShipWork work = begun[chosen];
            begun.RemoveAt(chosen);
            if (IsAheadOfOthers(shipper, work))
                Scene.Hazards.Note(47);
            (int parts, HashSet<ulong> segments, ulong next) = (PartsInStore(), SegmentsInStore(), shipper.LastSegment + 1);
            ShipStep step = Engine.Ship(shipper, work, Model);
            RequireInOrder(next, segments);
            if (step == ShipStep.Tail)
                Scene.Hazards.Note(25);
            if (PartsInStore() < parts)
                Scene.Hazards.Note(36);
            if (step == ShipStep.Segment && Engine.History.Path.Count > 1)
                Scene.Hazards.Note(31);
            if (step == ShipStep.Failed && shipper.Retry.LastError is { } error && IsNeverRight(error))
                throw new SimulationFailure($"Shipping to {shipper.StoreName} was refused: {error.Message}", error);
            if (step is ShipStep.Nothing or ShipStep.Failed or ShipStep.Waiting)
                steps = 0;
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

    /// <summary>A segment is written while the one before it has no name yet.</summary>
    private static bool IsAheadOfOthers(StoreShipper shipper, ShipWork work) =>
        work.Shipment is { Stage: ShipStage.Write } shipment && shipment.Number > shipper.LastSegment + 1;

    /// <summary>A segment that has got its name follows one that has its own, or counts already (H47).</summary>
    private void RequireInOrder(ulong next, HashSet<ulong> before)
    {
        HashSet<ulong> now = SegmentsInStore();
        foreach (ulong number in now.Where(number => !before.Contains(number)))
        {
            if (number > next && !now.Contains(number - 1))
                throw new SimulationFailure($"The store has segment {number:X}, and not the one before it (H47).");
        }
    }

    private HashSet<ulong> SegmentsInStore()
    {
        const string folder = $"{StepSettings.Store}/wal";
        var numbers = new HashSet<ulong>();
        if (Scene.Disk.Stat(folder) is null)
            return numbers;
        foreach (string name in Scene.Disk.List(folder))
        {
            if (ObjectName.TryParseSegment(ObjectName.WalPrefix + name, out TimelineId of, out ulong number)
                && of == Engine.History.Last.Timeline)
                numbers.Add(number);
        }
        return numbers;
    }

    private int PartsInStore()
    {
        const string folder = $"{StepSettings.Store}/wal";
        return Scene.Disk.Stat(folder) is null
            ? 0
            : Scene.Disk.List(folder).Count(static name => name.Contains(".part-", StringComparison.Ordinal));
    }
}
