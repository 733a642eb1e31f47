using Pitr.Storage;
using Pitr.Wal;

namespace Pitr.Simulation;

/// <summary>The segment in use is ended, a restore point named, or a heartbeat logged.</summary>
internal sealed class StepSwitch(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        try
        {
            switch (Scene.Next(3))
            {
                case 0:
                    Engine.Switch(Model);
                    Scene.Hazards.Note(6);
                    if (Scene.Settings.WalSegmentBytes <= 16 << 10 && Scene.Chance(50)) // a group that begins with a segment
                        new StepCommit(Scene).CommitLarge();
                    break;
                case 1:
                    Engine.Log(new WalEvent.RestorePoint(Scene.NewName('p')), Model);
                    break;
                default:
                    Engine.Log(new WalEvent.Heartbeat(), Model);
                    break;
            }
        }
        catch (StorageFailedException full) when (full.IsDiskFull && Model.Acknowledged == Engine.DurableLsn)
        {
            Scene.Hazards.Note(4);
        }

        yield break;
    }
}
