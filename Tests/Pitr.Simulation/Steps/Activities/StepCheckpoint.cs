using Pitr.Actors;
using Pitr.Storage;
using static Pitr.Actors.DatafileProtocol;

namespace Pitr.Simulation;

/// <summary>Files flush what a barrier seals, the control file notes it, and WAL that nobody needs goes (§7).</summary>
internal sealed class StepCheckpoint(StepScene scene) : StepActivity(scene)
{
    private const int TurnsMax = 60;

    public override IEnumerable<Turn> Run()
    {
        if (Scene.IsCheckpointing)
            yield break;
        Scene.IsCheckpointing = true;
        Lsn at = Engine.DurableLsn;
        StepFile[] all = [.. Engine.Files];
        StepFile[] files = [.. all.Where(static file => file.Fenced is null && !file.IsOffline)];
        if (files.Length < all.Length)
            Scene.Hazards.Note(24);
        foreach (StepFile file in files)
        {
            if (file.HasMail)
                Scene.Hazards.Note(1);
            file.Tell(() => file.TakeSeal(at));
        }

        var clean = new List<FileClean>();
        foreach (StepFile file in files)
        {
            for (int tries = 0; tries < TurnsMax && !IsSettled(file, at); tries++)
            {
                if (file.IsBusy || file.HasMail)
                {
                    yield return default;
                    continue;
                }

                file.SealIfPossible();
                foreach (Turn turn in new StepFlush(Scene, file).Sealed())
                    yield return turn;
            }

            if (!file.IsDropped && file.Progress.CleanUpTo >= at)
                clean.Add(file.Clean);
        }

        yield return default;
        while (Scene.IsOwnerBusy)
            yield return default;
        Engine.RecordCheckpoint(at, clean, Model);
        yield return default;
        Engine.Recycle();
        Scene.IsCheckpointing = false;
    }

    private static bool IsSettled(StepFile file, Lsn at) =>
        file.IsDropped || file.IsOffline || file.Fenced is not null || file.Progress.CleanUpTo >= at;
}
