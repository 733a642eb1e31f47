namespace Pitr.Simulation;

/// <summary>The disk has hardly any room for some turns (H4, H9).</summary>
internal sealed class StepFullDisk(StepScene scene) : StepActivity(scene)
{
    public override IEnumerable<Turn> Run()
    {
        if (!Scene.Settings.FillsDisk)
            yield break;
        Scene.Disk.CapacityBytes = Scene.Disk.UsedBytes + Scene.Next(128 << 10);
        for (int i = 1 + Scene.Next(15); i > 0; i--)
            yield return default;
        LetGo();
    }

    public override void LetGo() => Scene.Disk.CapacityBytes = long.MaxValue;
}
